"""The harness with contestants of the test's own: real processes, made-up work."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.contestants import ROOT, Contestant, Job, Outcome, last_json
from benchmarks.machine import without_paths
from benchmarks.run import main

pytestmark = pytest.mark.process


def _contestant(name: str, code: str, eval_rows: int | None = None) -> Contestant:
    def read(job: Job, out: Path, output: str) -> Outcome:
        rows = job.rows.eval if eval_rows is None else eval_rows
        return Outcome(last_json(output)["auc"], {}, rows, {}, True)

    return Contestant(
        name, name.title(), lambda job, out: [sys.executable, "-c", code, str(out)], read
    )


GOOD = "print('{\"auc\": 0.7}')"
BROKEN = "open('/etc/secret-folder/file.csv')"


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., tuple[int, dict]]:
    """Runs the harness over one month; returns its exit code and the results file's content."""

    def run(*contestants: Contestant, repeat: int = 1, options: tuple[str, ...] = ()) -> tuple:
        arguments = ["--months", "1", "--repeat", str(repeat), "--results", str(tmp_path / "res")]
        code = main([*arguments, *options], contestants)
        (path,) = (tmp_path / "res").glob("*.json")
        return code, json.loads(path.read_text())

    return run


def test_a_failing_peer_is_said_plainly_and_the_others_still_run(
    bench: Callable[..., tuple[int, dict]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = bench(_contestant("stock", BROKEN), _contestant("ordain", GOOD))
    shown = capsys.readouterr().out
    assert code == 1
    assert "FAILED: stock, repetition 1: ended with exit code 1" in shown
    assert "No such file or directory" in shown
    stock, ordain = report["runs"]
    assert stock["outcome"] is None
    assert stock["measured"]["exit_code"] == 1
    assert ordain["error"] is None
    assert ordain["outcome"]["auc"] == 0.7
    assert list(report["medians"]) == ["ordain"]


def test_alternates_and_starts_each_repetition_with_another(
    bench: Callable[..., tuple[int, dict]],
) -> None:
    code, report = bench(_contestant("stock", GOOD), _contestant("ordain", GOOD), repeat=2)
    assert code == 0
    order = [(run["repetition"], run["contestant"]) for run in report["runs"]]
    assert order == [(1, "stock"), (1, "ordain"), (2, "ordain"), (2, "stock")]
    assert report["medians"]["ordain"]["done"] == 2
    assert set(report["comparisons"]) == {"ordain/stock"}


@pytest.mark.parametrize(
    ("contestant", "message"),
    [
        (_contestant("stock", GOOD, eval_rows=9), "evaluated on 9 rows, not on the 6562 of"),
        (_contestant("stock", "pass"), "ended without printing its result"),
        (_contestant("stock", 'print("{")'), "its result cannot be read"),
        (_contestant("stock", "import time; time.sleep(30)"), "killed after 1 s"),
        (
            Contestant("stock", "Stock", lambda job, out: ["/no/such/program"], lambda *_: None),  # type: ignore[arg-type,return-value]
            "No such file or directory",
        ),
    ],
)
def test_what_counts_as_failed(
    bench: Callable[..., tuple[int, dict]], contestant: Contestant, message: str
) -> None:
    code, report = bench(contestant, options=("--timeout", "1"))
    assert code == 1
    assert message in report["runs"][0]["error"]
    assert report["medians"] == {}


def test_results_name_the_machine_and_no_folder_of_it(
    bench: Callable[..., tuple[int, dict]], tmp_path: Path
) -> None:
    _, report = bench(_contestant("stock", BROKEN), _contestant("ordain", GOOD))
    machine = report["machine"]
    assert machine["cores"] >= 1
    assert machine["memory_bytes"] > 1_000_000_000
    assert machine["cpu"]
    assert machine["packages"]["tfx"]
    assert report["settings"]["rows"] == {"train": 20_458, "eval": 6_562}
    text = json.dumps(report)
    for folder in (str(ROOT), str(tmp_path), str(Path.home()) + "/", "/etc/", "/tmp/"):
        assert folder not in text


def test_a_second_run_of_a_day_overwrites_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        main(["--months", "1", "--repeat", "1", "--results", str(tmp_path)],
             [_contestant("ordain", GOOD)])  # fmt: skip
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_paths_are_cut_to_what_matters() -> None:
    names = {"<work>": Path("/tmp/bench-1"), "<home>": Path("/root")}
    assert without_paths("'/tmp/bench-1/out/root/x.whl'", names) == "'<work>/out/root/x.whl'"
    assert without_paths("/rooted/a.py:3 /root/b.py", names) == ".../a.py:3 <home>/b.py"
    assert without_paths("https://example.org/a/b and/or c/d", names) == (
        "https://example.org/a/b and/or c/d"
    )
    assert without_paths("--set workspace=/root/x", names) == "--set workspace=<home>/x"
