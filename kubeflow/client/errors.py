"""Turns failures of the server or the network into errors with a next step.

    ConfigError 2           unknown, not allowed or refused: needs a change
    +-- NotThereError 2     path or object not found (404)
    +-- TakenError 2        name already exists (409)
    InfrastructureError 5   no connection, TLS, timeout, server failure

The server's message is quoted on one line and shortened, because it is untrusted.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ordain.errors import ConfigError, InfrastructureError, OrdainError
from ordain.kubeflow.client.settings import DOCS, PORT_FORWARD, Connection

#: Characters of a server's message that are quoted.
QUOTED = 600
#: Bodies of refused uploads that mean "not allowed": the upload paths return 400 for every error
#: (backend/src/apiserver/server/pipeline_upload_server.go).
_NOT_ALLOWED = re.compile(r"authoriz|authentic|permission|denied", re.IGNORECASE)


class NotThereError(ConfigError):
    """The object, or the path, does not exist on the server."""


class TakenError(ConfigError):
    """The name already exists on the server."""


def explain(error: Exception, doing: str, connection: Connection) -> OrdainError:
    """Maps an exception of an API call to the error to raise.

    Args:
        error: An `ApiException`, or what urllib3 raises.
        doing: The action, such as `listing the runs`.
        connection: The server.
    """
    status = getattr(error, "status", None)
    if status:
        return _explain_status(int(status), error, doing, connection)
    if status == 0:
        # The generated client raises this for a field that it cannot parse, such as a time.
        return bad_response(error, doing, connection)
    return _explain_network(error, doing, connection)


def quote(body: Any) -> str:
    """Extracts the message from a response body: one line, printable, shortened.

    Supports both formats of the backend, `google.rpc.Status` from the gateway and `error_message`
    from other paths; plain text is used as it is.
    """
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        messages = [parsed.get(key) for key in ("error_message", "message", "error")]
        text = next((part for part in messages if isinstance(part, str) and part), text)
    elif "<html" in text[:500].lower():
        text = "an HTML page"
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= QUOTED else f"{line[:QUOTED]}..."


def login_page(doing: str, connection: Connection, sent_to: str = "") -> ConfigError:
    """The error for a response that is a web page."""
    where = f", redirecting to {quote(sent_to)}" if sent_to else ""
    return ConfigError(
        f"{doing}: {connection.host} returned a web page{where} instead of an API response: it "
        f"requires a login, or the path is wrong; sent: {connection.shown_credentials}",
        f"kubeflow.auth in pipeline.yaml (see {DOCS}); behind Kubeflow's gateway the address "
        "ends in /pipeline",
    )


def bad_response(error: Exception, doing: str, connection: Connection) -> InfrastructureError:
    """The error for a response that the API client cannot parse."""
    said = quote(getattr(error, "reason", None) or error)
    return InfrastructureError(
        f"{doing}: {connection.host} returned an unexpected response: {said}",
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
            f"{doing}: {host}: authentication failed (401): {said}; "
            f"sent: {connection.shown_credentials}",
            f"renew it, or set kubeflow.auth in pipeline.yaml; see {DOCS}",
        )
    if status == 403 or (status == 400 and "upload" in doing and _NOT_ALLOWED.search(said)):
        where = f" in namespace {connection.namespace!r}" if connection.namespace else ""
        return ConfigError(
            f"{doing}: {host}: permission denied{where} ({status}): {said}; "
            f"sent: {connection.shown_credentials}",
            "--namespace with one of yours (kubectl get profiles), or the role kubeflow-edit in it",
        )
    if status in (408, 429) or status >= 500:
        return InfrastructureError(
            f"{doing}: {host} failed ({status}): {said}",
            "kubectl -n kubeflow logs deploy/ml-pipeline, then retry",
        )
    kind = {404: NotThereError, 409: TakenError}.get(status, ConfigError)
    return kind(f"{doing}: {host} refused the request ({status}): {said}", f"see {DOCS}")


def _explain_network(error: Exception, doing: str, connection: Connection) -> OrdainError:
    from urllib3 import exceptions  # noqa: PLC0415  `--help` does not need it

    reason = getattr(error, "reason", None) or error
    host = connection.host
    if isinstance(reason, exceptions.SSLError) or "SSLError" in str(reason):
        is_unknown = "certificate verify failed" in str(reason).lower()
        return InfrastructureError(
            f"{doing}: no TLS connection to {host}: {quote(reason)}",
            "kubeflow.ca_file in pipeline.yaml: the PEM file of the authority that signed its "
            "certificate"
            if is_unknown
            else "http:// instead of https://, if the server does not use TLS",
        )
    if isinstance(reason, exceptions.ReadTimeoutError):
        return InfrastructureError(
            f"{doing}: {host} timed out: {quote(reason)}; the request may have been carried out",
            f"ordain cluster runs {connection.argument_words}",
        )
    if isinstance(reason, exceptions.ProtocolError):
        return InfrastructureError(
            f"{doing}: {host} closed the connection: {quote(reason)}; "
            "the request may have been carried out",
            f"ordain cluster runs {connection.argument_words}",
        )
    return InfrastructureError(
        f"{doing}: no connection to {host}: {quote(reason)}", f"{PORT_FORWARD}, or another --host"
    )
