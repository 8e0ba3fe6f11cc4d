"""What a server or the network answers, as errors a person can act on.

    ConfigError 2           not known, not allowed, refused: someone has to change it
    +-- NotThereError 2     the path or the thing is not there (404)
    +-- TakenError 2        a thing of that name is there already (409)
    InfrastructureError 5   no connection, TLS, no answer in time, a failure of the server

The server's own words are quoted, on one line and shortened: they come from outside.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ordain.errors import ConfigError, InfrastructureError, OrdainError
from ordain.kubeflow.client.settings import DOCS, PORT_FORWARD, Connection

#: Characters of a server's message that are quoted.
QUOTED = 600
#: Bodies of refused uploads that mean: you may not. The upload paths answer 400 to everything
#: (backend/src/apiserver/server/pipeline_upload_server.go).
_NOT_ALLOWED = re.compile(r"authoriz|authentic|permission|denied", re.IGNORECASE)


class NotThereError(ConfigError):
    """A server knows neither the thing nor, perhaps, the path."""


class TakenError(ConfigError):
    """A server has a thing of that name already."""


def explain(error: Exception, doing: str, connection: Connection) -> OrdainError:
    """The error to raise for what a call of the API raised.

    Args:
        error: An `ApiException`, or what urllib3 raises.
        doing: What was tried, such as `listing the runs`.
        connection: Where it was tried.
    """
    status = getattr(error, "status", None)
    if status:
        return _explain_status(int(status), error, doing, connection)
    if status == 0:
        # What the generated client raises for a field that it cannot read, such as a time.
        return foreign_answer(error, doing, connection)
    return _explain_network(error, doing, connection)


def quote(body: Any) -> str:
    """The message in the body of an answer: one line, printable, shortened.

    Both forms that the backend has are known: `google.rpc.Status` from the gateway, and
    `error_message` from the paths beside it; a text is taken as it is.
    """
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        told = [parsed.get(key) for key in ("error_message", "message", "error")]
        text = next((part for part in told if isinstance(part, str) and part), text)
    elif "<html" in text[:500].lower():
        text = "an HTML page"
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= QUOTED else f"{line[:QUOTED]}..."


def login_page(doing: str, connection: Connection, sent_to: str = "") -> ConfigError:
    """The error for an answer that is a page for a browser."""
    where = f", which sends to {quote(sent_to)}" if sent_to else ""
    return ConfigError(
        f"{doing}: {connection.host} answered with a page for a browser{where}, not with the API: "
        f"it wants a login, or the path is wrong; sent was {connection.shown_credentials}",
        f"kubeflow.auth in pipeline.yaml (see {DOCS}); behind Kubeflow's gateway the address "
        "ends in /pipeline",
    )


def foreign_answer(error: Exception, doing: str, connection: Connection) -> InfrastructureError:
    """The error for an answer that is JSON, but not what the API answers."""
    said = quote(getattr(error, "reason", None) or error)
    return InfrastructureError(
        f"{doing}: {connection.host} answered with what is not of its API: {said}",
        "compare its version with that of kfp-server-api (pip show kfp-server-api)",
    )


def _explain_status(
    status: int, error: Exception, doing: str, connection: Connection
) -> OrdainError:
    said = quote(getattr(error, "body", None)) or quote(getattr(error, "reason", ""))
    host = connection.host
    if status in range(300, 400):
        headers = getattr(error, "headers", None) or {}
        return login_page(doing, connection, str(headers.get("location", "")))
    if status == 401:
        return ConfigError(
            f"{doing}: {host} does not accept who asks (401): {said}; "
            f"sent was {connection.shown_credentials}",
            f"renew it, or set kubeflow.auth in pipeline.yaml; see {DOCS}",
        )
    if status == 403 or (status == 400 and "upload" in doing and _NOT_ALLOWED.search(said)):
        where = f" in namespace {connection.namespace!r}" if connection.namespace else ""
        return ConfigError(
            f"{doing}: {host} does not allow it{where} ({status}): {said}; "
            f"sent was {connection.shown_credentials}",
            "--namespace with one of yours (kubectl get profiles), or the role kubeflow-edit in it",
        )
    if status in (408, 429) or status >= 500:
        return InfrastructureError(
            f"{doing}: {host} failed ({status}): {said}",
            "kubectl -n kubeflow logs deploy/ml-pipeline, then the same command again",
        )
    kind = {404: NotThereError, 409: TakenError}.get(status, ConfigError)
    return kind(f"{doing}: {host} refused it ({status}): {said}", f"see {DOCS}")


def _explain_network(error: Exception, doing: str, connection: Connection) -> OrdainError:
    from urllib3 import exceptions  # noqa: PLC0415  `--help` answers without it

    reason = getattr(error, "reason", None) or error
    host = connection.host
    if isinstance(reason, exceptions.SSLError) or "SSLError" in str(reason):
        is_unknown = "certificate verify failed" in str(reason).lower()
        return InfrastructureError(
            f"{doing}: no TLS connection to {host}: {quote(reason)}",
            "kubeflow.ca_file in pipeline.yaml: the PEM file of the authority that signed its "
            "certificate"
            if is_unknown
            else "http:// instead of https://, if the server speaks no TLS",
        )
    if isinstance(reason, exceptions.ReadTimeoutError):
        return InfrastructureError(
            f"{doing}: {host} did not answer in time: {quote(reason)}; "
            "what was asked for may have been done",
            f"ordain cluster runs {connection.argument_words}",
        )
    if isinstance(reason, exceptions.ProtocolError):
        return InfrastructureError(
            f"{doing}: {host} broke the connection off: {quote(reason)}; "
            "what was asked for may have been done",
            f"ordain cluster runs {connection.argument_words}",
        )
    return InfrastructureError(
        f"{doing}: no connection to {host}: {quote(reason)}", f"{PORT_FORWARD}, or another --host"
    )
