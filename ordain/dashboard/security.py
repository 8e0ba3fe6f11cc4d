"""Who may ask, and who may change: the page's policies, foreign hosts, the token, forged requests.

The application listens on loopback, where any page in the person's browser can send requests, and
where a foreign name can be made to lead (DNS rebinding). So a request has to name this machine as
its host, and a change has to bring the token, a field that only our own page holds, and an origin
that is ours.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import deque

from ordain.errors import ConfigError

#: The variable that holds the token.
TOKEN_VARIABLE = "ORDAIN_DASHBOARD_TOKEN"  # noqa: S105  a name
#: A shorter token can be guessed.
MIN_TOKEN_CHARS = 16
#: Wrong tokens within a minute after which none is looked at.
MAX_WRONG = 5
COOKIE = "ordain_form"
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")

#: Of every page: nothing is fetched but from here, nothing else shows it in a frame.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
#: Of a run's report, which has its style and script within: it may reach nothing, us included.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_local_host(header: str | None) -> bool:
    """Whether a `Host` header names this machine; the port may be that of a tunnel."""
    found = _HOST.fullmatch(header or "")
    return found is not None and found["name"].lower().rstrip(".") in _LOCAL


def is_own_origin(origin: str | None, host: str) -> bool:
    """Whether a form was sent by a page of ours; a browser always names the origin of a POST."""
    return origin in (f"http://{host}", None)


class Guard:
    """Holds the token, and tells forms of ours from forged ones."""

    def __init__(self, token: str) -> None:
        """Takes the token; empty if nothing may be changed.

        Raises:
            ConfigError: The token is too short.
        """
        if token and len(token) < MIN_TOKEN_CHARS:
            raise ConfigError(
                f"{TOKEN_VARIABLE} has {len(token)} characters; it needs {MIN_TOKEN_CHARS}",
                f'export {TOKEN_VARIABLE}="$(openssl rand -hex 16)"',
            )
        self._token = token
        self._key = secrets.token_bytes(32)
        self._wrong: deque[float] = deque(maxlen=MAX_WRONG)

    @property
    def allows_actions(self) -> bool:
        """Whether anything may be changed at all."""
        return bool(self._token)

    @property
    def is_closed(self) -> bool:
        """Whether too many wrong tokens came within the last minute."""
        full = len(self._wrong) == MAX_WRONG
        return full and time.monotonic() - self._wrong[0] < 60

    def new_cookie(self) -> str:
        """A value for the cookie that a form belongs to."""
        return secrets.token_urlsafe(24)

    def form_field(self, cookie: str, path: str) -> str:
        """The hidden field of a form: of this cookie, this address and this process only."""
        return hmac.new(self._key, f"{cookie} {path}".encode(), hashlib.sha256).hexdigest()

    def is_own_form(self, cookie: str | None, path: str, field: str) -> bool:
        """Whether a form that was sent is one that was shown."""
        if not cookie or len(cookie) > 100:
            return False
        return hmac.compare_digest(self.form_field(cookie, path).encode(), field.encode())

    def accepts(self, token: str) -> bool:
        """Whether a token is the right one; in constant time, and counted if it is not."""
        is_right = self.allows_actions and hmac.compare_digest(
            token.encode("utf-8", "surrogateescape"), self._token.encode()
        )
        if not is_right:
            self._wrong.append(time.monotonic())
        return is_right
