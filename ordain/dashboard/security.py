"""Access control: content policies, host check, token, protection against forged requests.

The application listens on loopback, which any page in the user's browser can send requests to, and
which a foreign name can resolve to (DNS rebinding). So a request must name this machine as its
host, and a change needs the token, a hidden field that only pages of this process hold, and the
dashboard's own origin.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import deque

from ordain.errors import ConfigError

#: Environment variable with the token.
TOKEN_VARIABLE = "ORDAIN_DASHBOARD_TOKEN"  # noqa: S105  a name
#: A shorter token can be guessed.
MIN_TOKEN_CHARS = 16
#: Wrong tokens within a minute after which no token is accepted.
MAX_WRONG = 5
COOKIE = "ordain_form"
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")

#: Of every page: fetch only from this origin, no framing by others.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
#: Of a run's report, which has inline style and script: no access to anything, not even here.
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
    """True if a `Host` header names this machine; the port may be that of a tunnel."""
    found = _HOST.fullmatch(header or "")
    return found is not None and found["name"].lower().rstrip(".") in _LOCAL


def is_own_origin(origin: str | None, host: str) -> bool:
    """True if a POST comes from the dashboard's own origin; browsers always send it."""
    return origin in (f"http://{host}", None)


class Guard:
    """Checks tokens, and that a form was shown by this process."""

    def __init__(self, token: str) -> None:
        """Create it with the token; empty to allow no changes.

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
        """True if changes are allowed."""
        return bool(self._token)

    @property
    def is_closed(self) -> bool:
        """True after too many wrong tokens within the last minute."""
        full = len(self._wrong) == MAX_WRONG
        return full and time.monotonic() - self._wrong[0] < 60

    def new_cookie(self) -> str:
        """Create the cookie that a form is bound to."""
        return secrets.token_urlsafe(24)

    def form_field(self, cookie: str, path: str) -> str:
        """Compute the hidden field of a form, bound to this cookie, URL and process."""
        return hmac.new(self._key, f"{cookie} {path}".encode(), hashlib.sha256).hexdigest()

    def is_own_form(self, cookie: str | None, path: str, field: str) -> bool:
        """True if a submitted form was shown by this process."""
        if not cookie or len(cookie) > 100:
            return False
        return hmac.compare_digest(self.form_field(cookie, path).encode(), field.encode())

    def accepts(self, token: str) -> bool:
        """Compare a token in constant time; wrong ones are counted."""
        is_right = self.allows_actions and hmac.compare_digest(
            token.encode("utf-8", "surrogateescape"), self._token.encode()
        )
        if not is_right:
            self._wrong.append(time.monotonic())
        return is_right
