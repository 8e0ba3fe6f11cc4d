"""A loopback server that takes notices, as a chat's webhook does."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any


class Hook(http.server.ThreadingHTTPServer):
    """A loopback server with a list of answers to give; after the last, 200.

    An answer is a status, the seconds after which it is 200, or the event after which it is.
    """

    def __init__(self) -> None:
        self.answers: list[int | float | threading.Event] = []
        self.got: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), HookHandler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class HookHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Hook)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.got.append(
            {
                "body": json.loads(body),
                "path": self.path,
                "type": self.headers["Content-Type"],
                "authorization": self.headers["Authorization"],
            }
        )
        answer = server.answers.pop(0) if server.answers else 200
        if isinstance(answer, float):
            time.sleep(answer)
            answer = 200
        elif isinstance(answer, threading.Event):
            answer.wait(60)
            answer = 200
        self.send_response(answer)
        if answer == 302:
            self.send_header("Location", f"{server.address}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def hooked() -> Iterator[Hook]:
    """A server that runs."""
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
