"""Delivery of one notification: to a command's standard input, or as a POST to a webhook.

A webhook's address may be a secret as a whole, path included. Messages name only its scheme and
host, and never repeat the server's response.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from ordain.common.env_references import resolve_references
from ordain.config.schedule import Notify
from ordain.errors import ConfigError, InfrastructureError


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: a redirected POST would become a GET without its body."""

    def redirect_request(self, *_: Any) -> None:
        """Makes the redirect an HTTP error."""
        return


_OPENER = urllib.request.build_opener(_NoRedirects)


def send(notify: Notify, body: dict[str, Any]) -> None:
    """Sends a notification once.

    Args:
        notify: The target; its references are resolved here.
        body: The JSON document.

    Raises:
        InfrastructureError: It was not accepted; the message holds no secret.
        ConfigError: A reference names a variable that is not set.
    """
    text = json.dumps(body).encode()
    if notify.command is not None:
        _run(resolve_references(notify.command, "notify.command"), text, notify.timeout_s)
    else:
        _post(resolve_references(notify.webhook, "notify.webhook"), text, notify.timeout_s)


def describe(notify: Notify) -> str:
    """Name of a target for a log: the program, or the webhook without its secret parts."""
    if notify.command is not None:
        return f"command {notify.command[0]}"
    return _describe_address(str(notify.webhook))


def check_target(notify: Notify) -> None:
    """Resolves the references of a target, so that a missing variable is reported at the start.

    Raises:
        ConfigError: A variable is not set, or its value is not an address.
    """
    resolve_references(notify.command, "notify.command")
    if notify.webhook is not None:
        _split(resolve_references(notify.webhook, "notify.webhook"))


def _describe_address(address: str) -> str:
    if address.startswith("${env:"):
        return f"webhook {address.partition('}')[0]}}}"
    try:
        parts = urllib.parse.urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
        return f"webhook {parts.scheme}://{parts.hostname}{port}"
    except ValueError:
        return "webhook"


def _split(address: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(address)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_usable = is_usable and (parts.port is None or parts.port > 0)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ConfigError(
            "notify.webhook: the address must begin with http:// or https://",
            "correct the variable that holds it",
        )
    return parts


def _post(address: str, text: bytes, timeout_s: float) -> None:
    parts = _split(address)
    headers = {"Content-Type": "application/json", "User-Agent": "ordain"}
    place = parts.netloc.rpartition("@")[2]
    if parts.username is not None:
        # urllib takes credentials before the @ for a part of the host name.
        words = (urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))
        token = base64.b64encode(":".join(words).encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    bare = urllib.parse.urlunsplit(parts._replace(netloc=place, fragment=""))
    request = urllib.request.Request(bare, data=text, headers=headers, method="POST")  # noqa: S310  the scheme was checked
    try:
        with _OPENER.open(request, timeout=timeout_s):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise InfrastructureError(f"HTTP {error.code}") from None
    except urllib.error.URLError as error:
        # Only the system's error text: other texts may repeat the address.
        why = error.reason.strerror if isinstance(error.reason, OSError) else None
        raise InfrastructureError(f"no response: {why or type(error.reason).__name__}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InfrastructureError(f"no response: {type(error).__name__}") from None


def _run(command: list[str], text: bytes, timeout_s: float) -> None:
    try:
        process = subprocess.Popen(  # noqa: S603  the project names its own command
            command,
            stdin=subprocess.PIPE,
            # Its output goes to the log; standard output may be the document of `--json`.
            stdout=sys.stderr.fileno(),
            start_new_session=True,
        )
    except OSError as error:
        raise InfrastructureError(f"cannot be started: {error.strerror}") from error
    try:
        process.communicate(text, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise InfrastructureError(f"timed out after {timeout_s:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode != 0:
        raise InfrastructureError(f"exit code {process.returncode}")
