"""How much a long history slows a fully cached run down, and where the time goes.

    python -m benchmarks.history --runs 2000 [--repeat 3] [--postgres] [--stock] [--profile]
        [--json FILE]

The small project of the tests runs once for real and once cached; the cached run is then written
again and again through ml-metadata's own API, in the shape that TFX gives it. What is measured is
a run in this process, without Python's imports, of a project with 5 past runs and of one with
`--runs`, in turn; and what `ordain retrain` takes to find nothing to do. `--postgres` starts a
server of its own for it. `--stock` leaves `ordain.upstream.tfx_queries` out, which is how TFX
asks. The long history is written once, the short one for each repetition.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import dataclasses
import itertools
import json
import os
import pstats
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import postgres  # noqa: E402  the path is set above
from sandbox import PROJECTS, Sandbox, good_rows, write_csv  # noqa: E402  the path is set above

from benchmarks.machine import machine_facts  # noqa: E402
from ordain.config.loading import load_project  # noqa: E402
from ordain.history.runs import History  # noqa: E402
from ordain.retraining.retrain import decide_now  # noqa: E402
from ordain.retraining.types import Action  # noqa: E402
from ordain.runner.local import Options, new_run_id, run_project  # noqa: E402
from ordain.runner.preflight import make_plan  # noqa: E402

#: A run with a history is held against one with this many past runs.
FEW = 5
#: Repetitions of each measurement; their median counts.
TIMES = 5


def make_project(folder: Path, spans: int, metadata: str | None = None) -> Sandbox:
    """The small project, with spans of 300 rows, in a folder of its own."""
    shutil.copytree(PROJECTS / "small", folder)
    for span in range(1, spans + 1):
        write_csv(folder / "data" / str(span) / "rows.csv", good_rows(300), ["x", "c", "y"])
    sandbox = Sandbox(folder)
    sandbox.set(evaluate={"thresholds": {"auc": {"min": 0.01}}})
    sandbox.set(data={"window": spans}, **({"metadata": metadata} if metadata else {}))
    return sandbox


def write_runs(store: Any, template: str, count: int) -> None:
    """Writes a run again, as cached runs of other ids.

    Args:
        store: ML Metadata.
        template: Id of a run that was cached.
        count: How many are written.
    """
    context = store.get_context_by_type_and_name("pipeline_run", template)
    executions = store.get_executions_by_context(context.id)
    (pipeline,) = store.get_parent_contexts_by_context(context.id)
    others = [
        [c for c in store.get_contexts_by_execution(e.id) if c.id != context.id] for e in executions
    ]
    events = store.get_events_by_execution_ids([e.id for e in executions])
    index = {execution.id: i for i, execution in enumerate(executions)}
    artifacts = store.get_artifacts_by_id(sorted({event.artifact_id for event in events}))
    places = {artifact.id: i for i, artifact in enumerate(artifacts)}
    for _ in range(count):
        run = pb.Context(type_id=context.type_id, name=f"{template}-{secrets.token_hex(4)}")
        (run.id,) = store.put_contexts([run])
        store.put_parent_contexts([pb.ParentContext(child_id=run.id, parent_id=pipeline.id)])
        copies = [_copy(execution) for execution in executions]
        edges = []
        for event in events:
            copy = pb.Event(type=event.type, path=event.path)
            edges.append((index[event.execution_id], places[event.artifact_id], copy))
        ids, _, _ = store.put_lineage_subgraph(copies, artifacts, [], edges)
        links = [
            pb.Association(execution_id=new, context_id=c.id)
            for new, listed in zip(ids, others, strict=True)
            for c in (*listed, run)
        ]
        attributions = [pb.Attribution(artifact_id=a.id, context_id=run.id) for a in artifacts]
        store.put_attributions_and_associations(attributions, links)


def _copy(execution: Any) -> Any:
    copy = pb.Execution()
    copy.CopyFrom(execution)
    for name in ("id", "name", "create_time_since_epoch", "last_update_time_since_epoch"):
        copy.ClearField(name)
    return copy


@dataclasses.dataclass
class Asked:
    """What was asked of ML Metadata: a figure that no other program on the machine moves."""

    calls: int = 0
    answer_bytes: int = 0


@contextlib.contextmanager
def counted() -> Iterator[Asked]:
    """Counts what this process asks of ML Metadata, through whichever connection."""
    asked = Asked()
    ask = MetadataStore._call_method

    def counting(store: MetadataStore, method: str, request: Any, response: Any) -> None:
        ask(store, method, request, response)
        asked.calls += 1
        asked.answer_bytes += response.ByteSize()

    MetadataStore._call_method = counting
    try:
        yield asked
    finally:
        MetadataStore._call_method = ask


def cached_run(sandbox: Sandbox, is_stock: bool = False) -> float:
    """Seconds of a fully cached run."""
    began = time.monotonic()
    project = load_project(sandbox.folder)
    plan = make_plan(project)
    options = Options(exact_queries=not is_stock)
    result = run_project(project, plan, new_run_id(), options, sandbox)
    seconds = time.monotonic() - began
    states = {n.state for n in result.nodes} - {"cached"}
    assert states <= {"complete"}, result.headline  # noqa: S101  resolvers are never cached
    assert not result.is_new_version  # noqa: S101
    return seconds


def look(sandbox: Sandbox) -> float:
    """Seconds until `ordain retrain` has decided that nothing is to be done."""
    began = time.monotonic()
    decision = decide_now(load_project(sandbox.folder))
    seconds = time.monotonic() - began
    assert decision.action is Action.NOTHING, decision  # noqa: S101
    return seconds


def give_history(sandbox: Sandbox, runs: int) -> float:
    """Runs a project twice, and gives it past runs; returns the seconds that these took."""
    first = sandbox.run()
    assert first.exit_code == 0, first.headline  # noqa: S101
    template = sandbox.run()
    project = load_project(sandbox.folder)
    history = History(project.metadata, project.name, project.paths)
    began = time.monotonic()
    write_runs(history.store, template.run_id, runs - len(history.list_runs()))
    return time.monotonic() - began


def compare(few: Sandbox, many: Sandbox, is_stock: bool = False, times: int = TIMES) -> Any:
    """Measures a project with few past runs and one with many; returns the figures.

    They take turns, so that both meet the same machine.
    """
    seconds: dict[str, list[float]] = {"few": [], "many": [], "look_few": [], "look_many": []}
    for number in range(times + 1):
        for name, sandbox in (("few", few), ("many", many)):
            used = cached_run(sandbox, is_stock)
            looked = look(sandbox)
            if number:  # the first time, each opens files that nobody has read
                seconds[name].append(used)
                seconds[f"look_{name}"].append(looked)
    median = {name: statistics.median(found) for name, found in seconds.items()}
    figures = {f"{name}_s": round(found, 3) for name, found in median.items()}
    return figures | {"ratio": round(median["many"] / median["few"], 2)}


@contextlib.contextmanager
def _profiled(is_wanted: bool) -> Iterator[None]:
    """Prints the forty functions that take the most time, with those they call."""
    if not is_wanted:
        yield
        return
    profile = cProfile.Profile()
    with profile:
        yield
    pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(40)


@contextlib.contextmanager
def _places(is_postgres: bool) -> Iterator[Iterator[str | None]]:
    """Places for ML Metadata, each empty; None is the project's own SQLite file."""
    if not is_postgres:
        yield itertools.repeat(None)
        return
    with postgres.serving() as server:
        os.environ["PGPASSWORD"] = postgres.PASSWORD
        names = (f"history{number}" for number in itertools.count())
        yield (server.make(name) or server.address(name) for name in names)


def repeat(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of each repetition: one long history, and a new short one each time."""
    found = []
    with contextlib.ExitStack() as stack:
        places = stack.enter_context(_places(arguments.postgres))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ordain-history-")))
        many = make_project(folder / "many", arguments.spans, next(places))
        built_s = give_history(many, arguments.runs)
        print(f"{arguments.runs} runs written in {built_s:.0f} s", file=sys.stderr, flush=True)
        for number in range(arguments.repeat):
            few = make_project(folder / f"few{number}", arguments.spans, next(places))
            give_history(few, FEW)
            figures = compare(few, many, arguments.stock, arguments.times)
            print(json.dumps(figures), flush=True)
            found.append(figures)
        with _profiled(arguments.profile):
            if arguments.profile:
                cached_run(many, arguments.stock)
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--spans", type=int, default=2)
    parser.add_argument("--times", type=int, default=TIMES, help="runs that a median is of")
    parser.add_argument("--repeat", type=int, default=1, help="how often it is measured")
    parser.add_argument("--stock", action="store_true", help="let TFX ask as it does")
    parser.add_argument("--profile", action="store_true", help="profile one more run at the end")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL that is started")
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    arguments = parser.parse_args()
    figures = repeat(arguments)
    ratios = [one["ratio"] for one in figures]
    about = {
        "database": "postgresql" if arguments.postgres else "sqlite",
        "queries": "stock" if arguments.stock else "exact",
        "runs": arguments.runs,
        "few_s": statistics.median(one["few_s"] for one in figures),
        "many_s": statistics.median(one["many_s"] for one in figures),
        "ratio": statistics.median(ratios),
        "look_few_s": statistics.median(one["look_few_s"] for one in figures),
        "look_many_s": statistics.median(one["look_many_s"] for one in figures),
        "ratios": ratios,
    }
    print(json.dumps(about))
    if arguments.json is not None:
        kept = json.loads(arguments.json.read_text()) if arguments.json.exists() else None
        kept = kept or {"machine": machine_facts(), "spans": arguments.spans, "measured": []}
        kept["measured"].append(about | {"repetitions": figures})
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
