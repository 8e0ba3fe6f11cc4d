"""The three that run: how each is started, and what it says it did.

A contestant is a command and a way to read its outcome afterwards, outside the measured time. A
further one, or ordain in another situation (a new span, ten times the rows), is another entry of
`CONTESTANTS`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.inputs import Rows

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
PROJECT = "examples/flights"
EVAL_STEPS = 100
#: Beam 2.77's default runner first tries one whose binary it downloads while it runs. ordain names
#: this one in `ordain/config/project.py`; the stock pipeline gets it as its Beam argument.
BEAM_RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
#: The stock pipeline's metrics, slices and thresholds, said to ordain.
SAME_EVALUATION = (
    "evaluate.metrics=[ExampleCount, AUC]",
    "evaluate.slices=[origin]",
    "evaluate.thresholds={auc: {min: 0.6, max_drop: 0.02}}",
)
DONE, NOT_BLESSED = 0, 4
#: The same node under the name that ordain gives it.
NODE_NAMES = {"CsvExampleGen": "ExampleGen", "latest_blessed_model_resolver": "Baseline"}


class ContestantError(Exception):
    """A contestant did not do the work; the message says what it did instead."""


@dataclass(frozen=True)
class Job:
    """The work that every contestant is given.

    Attributes:
        csv: The peers' CSV, alone in its folder.
        months: Newest months of the data.
        rows: Rows on each side of the split.
        steps: Training steps of 256 rows.
    """

    csv: Path
    months: int
    rows: Rows
    steps: int


@dataclass(frozen=True)
class Outcome:
    """What a contestant says it did.

    Attributes:
        auc: On the eval days.
        slices: AUC by slice, such as `origin=JFK`.
        eval_rows: Rows it evaluated on.
        seconds: Seconds by component; what is missing to the wall time is imports and the rest.
        is_blessed: Whether the model passed its thresholds; None where there are none.
    """

    auc: float
    slices: dict[str, float]
    eval_rows: int
    seconds: dict[str, float] = field(default_factory=dict)
    is_blessed: bool | None = None


@dataclass(frozen=True)
class Contestant:
    """One that runs beside the others.

    Attributes:
        name: As on the command line and in the results.
        title: As in the table.
        command: Program and arguments, from the job and the folder for what it writes.
        read: Its outcome, from the job, that folder and its standard output.
        completes_with: Exit codes of a run that did all its work.
    """

    name: str
    title: str
    command: Callable[[Job, Path], list[str]]
    read: Callable[[Job, Path, str], Outcome]
    completes_with: tuple[int, ...] = (DONE,)


def check_rows(job: Job, outcome: Outcome) -> None:
    """Refuses an outcome over other rows than the job's.

    Raises:
        ContestantError: Naming both counts.
    """
    if outcome.eval_rows != job.rows.eval:
        raise ContestantError(
            f"evaluated on {outcome.eval_rows} rows, not on the {job.rows.eval} of the eval days"
        )


def last_json(output: str) -> dict[str, Any]:
    """The last line that is a JSON object: what a peer prints at its end.

    Raises:
        ContestantError: There is none.
    """
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            return dict(json.loads(line))
    raise ContestantError("ended without printing its result")


def _stock_command(job: Job, out: Path) -> list[str]:
    script = str(PEERS / "run_stock.py")
    return [sys.executable, script, str(job.csv.parent), str(out), str(job.steps), "1", BEAM_RUNNER]


def _read_stock(job: Job, out: Path, output: str) -> Outcome:
    said = last_json(output)
    seconds = {NODE_NAMES.get(name, name): s for name, s in said["components"].items()}
    return _with_evaluation(out / "root", seconds, is_blessed=bool(said["pushed"]))


def _plain_command(job: Job, out: Path) -> list[str]:
    script = str(PEERS / "run_plain.py")
    return [sys.executable, script, str(job.csv), str(out / "model"), str(job.steps)]


def _read_plain(job: Job, out: Path, output: str) -> Outcome:
    said = last_json(output)
    trained = said["rows"]["train"]
    if trained != job.rows.train:
        raise ContestantError(
            f"trained on {trained} rows, not on the {job.rows.train} of the train days"
        )
    slices = {f"origin={name}": auc for name, auc in sorted(said["slices"].items())}
    return Outcome(said["auc"], slices, said["rows"]["eval"], {"the script": said["run_s"]})


def _ordain_command(job: Job, out: Path) -> list[str]:
    settings = [
        f"workspace={out}",
        f"data.window={job.months}",
        f"train.steps={job.steps}",
        f"train.eval_steps={EVAL_STEPS}",
        *SAME_EVALUATION,
    ]
    program = str(Path(sys.executable).with_name("ordain"))
    options = [part for setting in settings for part in ("--set", setting)]
    return [program, "run", PROJECT, "--json", *options]


def _read_ordain(job: Job, out: Path, output: str) -> Outcome:
    result = json.loads(output)
    rows = {node["node"]: node["rows"] for node in result["nodes"]}["ExampleGen"]
    if rows != job.rows.total:
        raise ContestantError(f"ingested {rows} rows, not the {job.rows.total} that have a label")
    if len(result["window"]) != job.months:
        raise ContestantError(f"took {len(result['window'])} months, not {job.months}")
    seconds = {node["node"]: node["seconds"] for node in result["nodes"]}
    is_blessed = result["version"] is not None
    outcome = _with_evaluation(out / result["project"] / "artifacts", seconds, is_blessed)
    verdict = auc_of_verdict(result)
    if abs(verdict - outcome.auc) > 1e-9:
        raise ContestantError(f"its verdict says AUC {verdict}, its evaluation {outcome.auc}")
    return outcome


def auc_of_verdict(result: dict[str, Any]) -> float:
    """The AUC over all eval rows, as the evaluation verdict of a `result.json` names it.

    Raises:
        ContestantError: No verdict names it.
    """
    reasons = [r for v in result["verdicts"] if v["gate"] == "evaluation" for r in v["reasons"]]
    for reason in reasons:
        # Without `where` a reason is about all rows.
        if reason["kind"] == "auc.min" and "where" not in reason and "measured" in reason:
            return float(reason["measured"])
    raise ContestantError("no evaluation verdict names an AUC over all rows")


def _with_evaluation(artifacts: Path, seconds: dict[str, float], is_blessed: bool) -> Outcome:
    """The outcome of a pipeline, from what TFMA wrote in it."""
    folders = sorted(artifacts.glob("Evaluator/evaluation/*"))
    if len(folders) != 1:
        raise ContestantError(f"left {len(folders)} evaluations behind, not one")
    script = Path(__file__).with_name("read_evaluation.py")
    command = [sys.executable, str(script), str(folders[0])]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise ContestantError(f"its evaluation cannot be read: {ended.stderr[-500:]}")
    measured = last_json(ended.stdout)
    slices = {where: values["auc"] for where, values in sorted(measured.items()) if where}
    return Outcome(
        auc=measured[""]["auc"],
        slices=slices,
        eval_rows=round(measured[""]["example_count"]),
        seconds=seconds,
        is_blessed=is_blessed,
    )


CONTESTANTS = (
    Contestant("stock", "stock TFX", _stock_command, _read_stock),
    Contestant("plain", "plain script", _plain_command, _read_plain),
    # A model that misses its threshold is not pushed; stock TFX says the same with exit code 0.
    Contestant("ordain", "ordain", _ordain_command, _read_ordain, (DONE, NOT_BLESSED)),
)
