"""Files are handed out by their exact names, within limits, and never through a link."""

from __future__ import annotations

from pathlib import Path

import pytest

from ordain.dashboard import run_files
from ordain.dashboard.run_files import list_logs, read_log, read_report, run_folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "r1"
    (folder / "logs").mkdir(parents=True)
    (folder / "report.html").write_bytes(b"<h1>page</h1>")
    (folder / "logs" / "Trainer.log").write_text("one\ntwo\n")
    (folder / "logs" / "notes.txt").write_text("no log")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "report.html").write_text("secret")
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "secret")
    (folder / "logs" / "Linked.log").symlink_to(tmp_path / "secret" / "report.html")
    return tmp_path / "runs"


def test_what_is_there(runs):
    assert read_report(runs, "r1") == b"<h1>page</h1>"
    assert list_logs(runs, "r1") == ["Trainer"]
    log = read_log(runs, "r1", "Trainer")
    assert log is not None
    assert (log.text, log.size_bytes, log.is_cut) == ("one\ntwo\n", 8, False)


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../secret", "r1/../../secret", "linked", "r2", "R1"]
)
def test_nothing_else(runs, name):
    assert run_folder(runs, name) is None
    assert read_report(runs, name) is None
    assert list_logs(runs, name) == []
    assert read_log(runs, name, "Trainer") is None


@pytest.mark.parametrize(
    "node", ["Linked", "..", "../report", "notes", "notes.txt", "Trainer.log", ""]
)
def test_no_other_log(runs, node):
    assert read_log(runs, "r1", node) is None


def test_of_a_long_log_the_end_is_shown_in_whole_lines(runs):
    lines = [f"line {i} é" for i in range(40_000)]
    (runs / "r1" / "logs" / "Trainer.log").write_text("\n".join(lines), encoding="utf-8")
    log = read_log(runs, "r1", "Trainer")
    assert log is not None
    assert log.is_cut
    shown = log.text.splitlines()
    assert shown == lines[-len(shown) :]
    assert run_files.MAX_LOG_BYTES - 100 < len(log.text.encode()) <= run_files.MAX_LOG_BYTES
