"""A real MariaDB for tests, in place of MySQL: a server of its own in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

USER = "ordain"
PASSWORD = "s3cret' word\\@/:"
_STARTUP_S = 240


@dataclass(frozen=True)
class Server:
    """A running server that asks for a password."""

    port: int

    def address(self, database: str) -> str:
        """`metadata` in pipeline.yaml, with the password in the variable SECRET."""
        return f"mysql://{USER}:${{env:SECRET}}@127.0.0.1:{self.port}/{database}"

    def make(self, database: str) -> None:
        """A database of its own for a test; the name is a test's, not a stranger's."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{database}`")

    def connect(self):
        import pymysql

        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, autocommit=True
        )


def is_installed() -> bool:
    """Whether a server can be started here."""
    return all(map(_program, ("mariadbd", "mariadb-install-db")))


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Starts a server, and ends it with everything it had."""
    folder = Path(tempfile.mkdtemp(prefix="ordain-mysql-"))
    as_user = []
    if os.geteuid() == 0:
        as_user = ["--user=nobody"]
        shutil.chown(folder, "nobody")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    setup = folder / "setup.sql"
    quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    setup.write_text(
        f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{quoted}';\n"
        f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1';\n"
    )
    setup.chmod(0o644)
    data = f"--datadir={folder}/data"
    log = folder / "log"
    with log.open("wb") as file:
        made = subprocess.run(
            [str(_program("mariadb-install-db")), "--no-defaults", data, *as_user],
            stdout=file,
            stderr=file,
            check=False,
        )
        assert made.returncode == 0, log.read_text()
        process = subprocess.Popen(
            [
                str(_program("mariadbd")),
                "--no-defaults",
                data,
                *as_user,
                f"--port={port}",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                f"--socket={folder}/socket",
                f"--pid-file={folder}/pid",
                f"--init-file={setup}",
                "--innodb-flush-log-at-trx-commit=0",
            ],
            stdout=file,
            stderr=file,
        )
    try:
        server = Server(port)
        _wait(server, process, log)
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    import pymysql

    deadline = time.monotonic() + _STARTUP_S
    while True:
        assert process.poll() is None, log.read_text()
        try:
            return server.connect().close()
        except pymysql.MySQLError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
