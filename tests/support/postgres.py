"""A real PostgreSQL for tests: a cluster of its own in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

USER = "ordain"
#: What a careless writer of connection strings gets wrong.
PASSWORD = "s3cret' word\\@/:"


@dataclass(frozen=True)
class Server:
    """A running server that asks for a password."""

    port: int

    def address(self, database: str, password: str = "") -> str:
        """`metadata` in pipeline.yaml; `password` is a reference."""
        user = f"{USER}:{password}" if password else USER
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def make(self, database: str) -> None:
        """A database of its own for a test; the name is a test's, not a stranger's."""
        with contextlib.closing(self.connect()) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')

    def connect(self, database: str = "postgres"):
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
        )


def is_installed() -> bool:
    """Whether a server can be started here."""
    with contextlib.suppress(RuntimeError):
        return bool(program("initdb"))
    return False


def program(name: str) -> str:
    """A program of PostgreSQL's, the newest there is.

    Raises:
        RuntimeError: There is none; a test that needs it fails.
    """
    debian = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3])
    )
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    if found is None:
        raise RuntimeError(f"PostgreSQL's {name} is not installed: apt-get install postgresql")
    return found


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Starts a server, and ends it with everything it had."""
    # Not below pytest's folder: that is root's alone, and the server does not run as root.
    folder = Path(tempfile.mkdtemp(prefix="ordain-postgres-"))
    secret = folder / "password"
    secret.write_text(PASSWORD)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    as_user = []
    if os.geteuid() == 0:
        as_user = ["runuser", "-u", "nobody", "--"]
        for path in (folder, secret):
            shutil.chown(path, "nobody")
    data = str(folder / "data")
    make = [program("initdb"), "-D", data, "-U", USER, f"--pwfile={secret}", "--no-sync"]
    make += ["--auth=scram-sha-256", "--locale=C", "--encoding=UTF8"]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [program("pg_ctl"), "-D", data, "-w"]
    try:
        _run([*as_user, *make], folder)
        _run([*as_user, *control, "-l", str(folder / "log"), "-o", options, "start"], folder)
        yield Server(port)
    finally:
        subprocess.run(
            [*as_user, *control, "-m", "immediate", "stop"],
            check=False,
            capture_output=True,
            cwd=folder,
        )
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], folder: Path) -> None:
    # The server inherits these streams: a pipe would never be closed.
    with (folder / "setup.log").open("a+") as log:
        done = subprocess.run(command, check=False, stdout=log, stderr=log, cwd=folder)
        log.seek(0)
        assert done.returncode == 0, log.read()
