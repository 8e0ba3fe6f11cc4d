"""How much a long history slows a fully cached run down, and where the time goes.

    python -m benchmarks.history --runs 2000 [--repeat 3] [--postgres] [--stock] [--profile]
        [--metadata postgresql://user@host/database] [--json FILE]

The small project of the tests runs once for real and once cached; the cached run is then written
again and again through ml-metadata's own API, in the shape that TFX gives it. What is measured is
a run in this process, without Python's imports, with 5 past runs and with `--runs`. `--postgres`
starts a server of its own for it. `--stock` leaves `pipeline.metadata_queries` out, which is how
TFX asks. Each repetition begins with an empty store.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
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

from ml_metadata.proto import metadata_store_pb2 as pb

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import postgres  # noqa: E402  the path is set above
from sandbox import PROJECTS, Sandbox, good_rows, write_csv  # noqa: E402  the path is set above

from benchmarks.machine import machine_facts  # noqa: E402
from pipeline.checks import make_plan  # noqa: E402
from pipeline.history import History  # noqa: E402
from pipeline.loading import load_project  # noqa: E402
from pipeline.retraining_forms import Action  # noqa: E402
from pipeline.retraining_run import decide_now  # noqa: E402
from pipeline.runner import Options, new_run_id, run_project  # noqa: E402

#: A run with a history is held against one with this many past runs.
FEW = 5
#: Repetitions of each measurement; their median counts.
TIMES = 3


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


def measure(sandbox: Sandbox, is_stock: bool = False, times: int = TIMES) -> float:
    """Seconds of a fully cached run, the median of several."""
    seconds = []
    for _ in range(times):
        began = time.monotonic()
        project = load_project(sandbox.folder)
        plan = make_plan(project)
        options = Options(exact_queries=not is_stock)
        result = run_project(project, plan, new_run_id(), options, sandbox)
        seconds.append(time.monotonic() - began)
        states = {n.state for n in result.nodes} - {"cached"}
        assert states <= {"complete"}, result.headline  # noqa: S101  resolvers are never cached
        assert not result.is_new_version  # noqa: S101
    return statistics.median(seconds)


def measure_look(sandbox: Sandbox, times: int = TIMES) -> float:
    """Seconds until `ordain retrain` has decided that nothing is to be done, the median."""
    seconds = []
    for _ in range(times):
        began = time.monotonic()
        decision = decide_now(load_project(sandbox.folder))
        seconds.append(time.monotonic() - began)
        assert decision.action is Action.NOTHING, decision  # noqa: S101
    return statistics.median(seconds)


def compare(sandbox: Sandbox, runs: int, is_stock: bool = False, times: int = TIMES) -> Any:
    """Measures with few past runs and with many; returns the figures."""
    first = sandbox.run()
    assert first.exit_code == 0, first.headline  # noqa: S101
    template = sandbox.run()
    project = load_project(sandbox.folder)
    history = History(project.metadata, project.name)
    write_runs(history.store, template.run_id, FEW - 2)
    few, look_few = measure(sandbox, is_stock, times), measure_look(sandbox, times)
    began = time.monotonic()
    write_runs(history.store, template.run_id, runs - len(history.list_runs()))
    built = time.monotonic() - began
    many, look_many = measure(sandbox, is_stock, times), measure_look(sandbox, times)
    return {
        "runs": runs,
        "is_stock": is_stock,
        "few_s": round(few, 3),
        "many_s": round(many, 3),
        "ratio": round(many / few, 2),
        "look_few_s": round(look_few, 3),
        "look_many_s": round(look_many, 3),
        "built_s": round(built, 1),
    }


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
def _places(is_postgres: bool, metadata: str | None) -> Iterator[Iterator[str | None]]:
    """Places for ML Metadata, each empty; None is the project's own SQLite file."""
    if not is_postgres:
        yield itertools.repeat(metadata)
        return
    with postgres.serving() as server:
        os.environ["PGPASSWORD"] = postgres.PASSWORD
        names = (f"history{number}" for number in itertools.count())
        yield (server.make(name) or server.address(name) for name in names)


def repeat(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of each repetition."""
    found = []
    with _places(arguments.postgres, arguments.metadata) as places:
        for number, place in zip(range(arguments.repeat), places, strict=False):
            with tempfile.TemporaryDirectory(prefix="ordain-history-") as folder:
                sandbox = make_project(Path(folder) / "small", arguments.spans, place)
                figures = compare(sandbox, arguments.runs, arguments.stock, arguments.times)
                print(json.dumps(figures), flush=True)
                found.append(figures)
                with _profiled(arguments.profile and number == 0):
                    if arguments.profile:
                        measure(sandbox, arguments.stock, times=1)
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--spans", type=int, default=2)
    parser.add_argument("--times", type=int, default=TIMES, help="runs that a median is of")
    parser.add_argument("--repeat", type=int, default=1, help="stores that are built and measured")
    parser.add_argument("--stock", action="store_true", help="let TFX ask as it does")
    parser.add_argument("--profile", action="store_true", help="profile one more run at the end")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--postgres", action="store_true", help="on a PostgreSQL that is started")
    place.add_argument("--metadata", help="a database, postgresql://user@host/database, empty")
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    arguments = parser.parse_args()
    if arguments.metadata and arguments.repeat > 1:
        parser.error("--metadata names one database: --repeat needs an empty one each time")
    figures = repeat(arguments)
    ratios = [one["ratio"] for one in figures]
    about = {
        "database": "postgresql" if arguments.postgres or arguments.metadata else "sqlite",
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
