"""A dashboard in a process of its own, and requests to it as a browser, or a forger, sends them."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

TOKEN = "a-token-for-tests-4711"
_FIELD = re.compile(r'name="form" value="([0-9a-f]{64})"')


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Dashboard:
    """A running dashboard."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        method: str = "GET",
        form: Mapping[str, str] | None = None,
        **headers: str,
    ) -> Answer:
        """One request; headers by their names with `_` for `-`, the path as it is written."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=240)
        body = None if form is None else urlencode(form)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if form is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read().decode("utf-8", "replace"))

    def form_of(self, path: str) -> tuple[str, str]:
        """The hidden field and the cookie that come with a form."""
        shown = self.ask(path)
        assert shown.status == 200, shown.text
        field = _FIELD.search(shown.text)
        assert field is not None
        return field.group(1), shown.headers["set-cookie"].partition(";")[0]


@contextlib.contextmanager
def dashboard(*projects: Path, actions: bool = False) -> Iterator[Dashboard]:
    """Starts `ordain dashboard` on a free port; it has to end by itself on SIGTERM."""
    command = [sys.executable, "-m", "ordain.cli.main", "dashboard", *map(str, projects)]
    command += ["--port", "0", *(["--allow-actions"] if actions else [])]
    environment = {**os.environ, "ORDAIN_DASHBOARD_TOKEN": TOKEN}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        assert found is not None, said
        yield Dashboard(int(found.group(1)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(240) == 0
    finally:
        process.kill()
        process.wait()
