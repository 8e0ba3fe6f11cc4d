"""Sending one notice: to a command's standard input, or as a POST to a webhook.

What a webhook's address holds may be a secret as a whole, path included, so nothing said here
names more of it than scheme and host, and what a server answers is never repeated.
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
    """A redirected POST would become a GET without its body and pass for delivered."""

    def redirect_request(self, *_: Any) -> None:
        """Refuses; the answer is then an error like any other."""
        return


_OPENER = urllib.request.build_opener(_NoRedirects)


def send(notify: Notify, body: dict[str, Any]) -> None:
    """Sends a notice once.

    Args:
        notify: To whom; references are resolved here.
        body: The JSON document.

    Raises:
        InfrastructureError: It was not taken; the message holds no secret.
        ConfigError: A reference names a variable that is not set.
    """
    text = json.dumps(body).encode()
    if notify.command is not None:
        _run(resolve_references(notify.command, "notify.command"), text, notify.timeout_s)
    else:
        _post(resolve_references(notify.webhook, "notify.webhook"), text, notify.timeout_s)


def describe(notify: Notify) -> str:
    """A target's name for a log: the program, or the webhook without what may be secret."""
    if notify.command is not None:
        return f"command {notify.command[0]}"
    return _describe_address(str(notify.webhook))


def check(notify: Notify) -> None:
    """Looks up the references of a target, so that a missing one is met at the start.

    Raises:
        ConfigError: A variable is not set, or the address that it holds is none.
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
            "notify.webhook: the address is not one of http:// or https://",
            "correct the variable that it is taken from",
        )
    return parts


def _post(address: str, text: bytes, timeout_s: float) -> None:
    parts = _split(address)
    headers = {"Content-Type": "application/json", "User-Agent": "ordain"}
    place = parts.netloc.rpartition("@")[2]
    if parts.username is not None:
        # urllib takes what stands before the @ for a part of the host's name.
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
        raise InfrastructureError(f"it answered with status {error.code}") from None
    except urllib.error.URLError as error:
        # Only the system's own words: others may repeat the address.
        why = error.reason.strerror if isinstance(error.reason, OSError) else None
        raise InfrastructureError(f"no answer: {why or type(error.reason).__name__}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InfrastructureError(f"no answer: {type(error).__name__}") from None


def _run(command: list[str], text: bytes, timeout_s: float) -> None:
    try:
        process = subprocess.Popen(  # noqa: S603  the project names its own command
            command,
            stdin=subprocess.PIPE,
            # Its output belongs in the log, not among the lines of `--json`.
            stdout=sys.stderr.fileno(),
            start_new_session=True,
        )
    except OSError as error:
        raise InfrastructureError(f"cannot be started: {error.strerror}") from error
    try:
        process.communicate(text, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise InfrastructureError(f"no end within {timeout_s:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode != 0:
        raise InfrastructureError(f"it ended with exit code {process.returncode}")
