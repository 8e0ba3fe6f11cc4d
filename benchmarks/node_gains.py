"""CPU time of a node with and without each speed-up, in pairs: the gain of each as a share.

    .venv/bin/ordain run examples/flights --set workspace=FOLDER
    .venv/bin/python -m benchmarks.node_gains FOLDER [--only NAME ...] [--repeat 2] [--json FILE]

Takes the inputs and execution properties of a run that ended in FOLDER and executes the node again,
with and without one piece, in turns. Each execution is a process of its own; its imports are not
measured. The gain is `1 - with / without` of CPU seconds, children included, which other work on
the machine hardly changes. Pieces that move work to other processes or threads save no CPU time: of
these the CPU seconds of the main thread are compared, the least time the node takes with free
cores.

Exit code: 0; 1 if an execution failed; 2 for arguments.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_facts, source_state

PROJECT = Path(__file__).resolve().parent.parent / "examples" / "flights"
#: Executor of each node, and TFX's in its place.
EXECUTORS = {
    "ExampleGen": "ordain.components.examples.example_gen:Executor",
    "StatisticsGen": "ordain.components.statistics_gen:Executor",
    "Transform": "ordain.components.transform.executor:Executor",
    "Trainer": "ordain.components.trainer.component:Executor",
    "Evaluator": "ordain.components.evaluator.executor:Executor",
}
STOCK = {
    "ExampleGen": "ordain.components.tfx_executors:ParquetExampleGen",
    "StatisticsGen": "tfx.components.statistics_gen.executor:Executor",
    "Transform": "ordain.components.tfx_executors:Transform",
    "Evaluator": "ordain.components.tfx_executors:Evaluator",
}


@dataclass(frozen=True)
class Piece:
    """A speed-up.

    Attributes:
        name: As on the command line.
        node: The node that it speeds up.
        without: Runs in the measured process before the node and takes the piece away.
        is_spread: True for a piece that moves work to other processes or threads.
        prepare: Called with inputs and outputs of each execution with the piece.
    """

    name: str
    node: str
    without: Callable[[], None] | None
    is_spread: bool = False
    prepare: Callable[[dict[str, Any], dict[str, Any]], None] | None = None


def _set(target: str, value: Any) -> Callable[[], None]:
    """Replaces `module:name`, in this process, for the measurement."""

    def replace() -> None:
        module, _, name = target.partition(":")
        found: Any = importlib.import_module(module)
        *path, last = name.split(".")
        for part in path:
            found = getattr(found, part)
        setattr(found, last, value)

    return replace


def _without_patch(name: str) -> Callable[[], None]:
    def remove() -> None:
        from ordain.upstream import beam  # noqa: PLC0415  in the measured process only

        beam.PATCHES = tuple(patch for patch in beam.PATCHES if patch.name != name)

    return remove


def _without_prefetch() -> None:
    for name in ("data_pass", "executor"):
        _set(f"ordain.components.transform.{name}:prefetch", lambda batches: batches)()


def _give_cache(inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    """Gives Transform the run's analyzer cache without the newest span, as if that were new."""
    from ordain.components.transform import analyzer_cache  # noqa: PLC0415  as above

    read = analyzer_cache.read_entries
    newest = f"span-{max(artifact.span for artifact in inputs['examples'])}-"

    def read_older(folder: str | None, datasets: Any) -> Any:
        return read(folder, [name for name in datasets if not name.startswith(newest)])

    _set("ordain.components.transform.analyzer_cache:read_entries", read_older)()
    inputs["analyzer_cache"] = copy.deepcopy(outputs["updated_analyzer_cache"])


_without_passes = _set("ordain.components.transform.analysis:_analyze_in_passes", lambda *_: None)


def _give_cache_to_beam(inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    _without_passes()
    _give_cache(inputs, outputs)


def _by_example(*_: Any) -> Any:
    from ordain.components.evaluator.metrics import ByExample  # noqa: PLC0415  as above

    return ByExample("the measurement")


_EXECUTOR = "ordain.components.evaluator.executor"
PIECES = (
    *(Piece(f"executor-{node}", node, None) for node in STOCK),
    Piece("transform-passes", "Transform", _without_passes),
    Piece("analyzer-cache", "Transform", lambda: None, prepare=_give_cache),
    Piece("analyzer-cache-in-beam", "Transform", _without_passes, prepare=_give_cache_to_beam),
    Piece("evaluator-batches", "Evaluator", _set(f"{_EXECUTOR}:needs_examples", _by_example)),
    Piece(
        "evaluator-histogram",
        "Evaluator",
        _set("ordain.components.evaluator.metrics:with_arrays", lambda combiner: combiner),
    ),
    Piece("beam-specs", "Evaluator", _without_patch("specs")),
    Piece(
        "trainer-dataset",
        "Trainer",
        _set("ordain.components.trainer.component:faster", lambda stock, _: stock),
    ),
    Piece(
        "trainer-kept-rows",
        "Trainer",
        _set("ordain.components.trainer.dataset:KEPT_BYTES", 0),
    ),
    *(
        Piece(
            f"worker-process-{node}",
            node,
            _set("ordain.components.beam.worker_process:start", lambda: None),
            is_spread=True,
        )
        for node in ("ExampleGen", "StatisticsGen", "Transform")
    ),
    Piece("prefetch-Transform", "Transform", _without_prefetch, is_spread=True),
)


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one execution: of all processes, and of this process' main thread."""

    total: float
    main_thread: float


def measure(workspace: Path, piece: Piece, is_without: bool) -> Cost:
    """Executes the piece's node once, in this process.

    Args:
        workspace: The workspace of a run that ended.
        piece: The piece.
        is_without: Whether it is taken away before.
    """
    from tfx.dsl.components.base import base_beam_executor, base_executor  # noqa: PLC0415  heavy

    from ordain.components.beam import worker_process  # noqa: PLC0415  heavy

    stock = is_without and piece.without is None
    module, _, name = (STOCK if stock else EXECUTORS)[piece.node].partition(":")
    kind = getattr(importlib.import_module(module), name)
    project, jobs = _jobs(workspace, piece.node, stock)
    if is_without and piece.without is not None:
        piece.without()
    with tempfile.TemporaryDirectory(prefix="node-gains-") as folder:
        is_beam = issubclass(kind, base_beam_executor.BaseBeamExecutor)
        options = {"beam_pipeline_args": list(project.beam_args)} if is_beam else {}
        context = base_beam_executor.BaseBeamExecutor if is_beam else base_executor.BaseExecutor
        before, main_before = _cpu(), time.thread_time()
        for number, (inputs, outputs, properties) in enumerate(jobs):
            if piece.prepare is not None and not is_without:
                piece.prepare(inputs, outputs)
            for key, artifacts in outputs.items():
                for place, artifact in enumerate(artifacts):
                    artifact.uri = f"{folder}/{number}/{key}/{place}"
                    Path(artifact.uri).mkdir(parents=True)
            made = context.Context(
                tmp_dir=f"{folder}/{number}-temporary/", unique_id="1", **options
            )
            kind(made).Do(inputs, outputs, properties)
        worker_process.stop()
        main_thread = time.thread_time() - main_before
        return Cost(_cpu() - before, main_thread)


def _cpu() -> float:
    """CPU seconds of this process and of its children that ended."""
    found = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in found)


def _jobs(workspace: Path, node: str, is_stock: bool) -> tuple[Any, list[Any]]:
    """Project, and inputs, outputs and properties of each of the node's executions."""
    from ml_metadata.proto import metadata_store_pb2 as pb  # noqa: PLC0415  heavy
    from tfx.orchestration.portable.mlmd import execution_lib  # noqa: PLC0415  heavy
    from tfx.types import artifact_utils  # noqa: PLC0415  heavy

    from ordain.config.loading import load_project  # noqa: PLC0415  heavy
    from ordain.metadata.store import open_store  # noqa: PLC0415  heavy

    project = load_project(PROJECT, settings=[f"workspace={workspace}"])
    store = open_store(project.metadata, project.paths, is_new=False)
    (kind,) = (t for t in store.get_execution_types() if t.name.rpartition(".")[2] in NAMES[node])
    jobs = []
    for execution in store.get_executions_by_type(kind.name):
        if not execution_lib.is_execution_successful(execution):
            continue
        inputs: dict[str, list[Any]] = {}
        outputs: dict[str, list[Any]] = {}
        for event in store.get_events_by_execution_ids([execution.id]):
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            (type_,) = store.get_artifact_types_by_id([artifact.type_id])
            group = inputs if event.type == pb.Event.INPUT else outputs
            found = artifact_utils.deserialize_artifact(type_, artifact)
            group.setdefault(event.path.steps[0].key, []).append(found)
        properties = {
            name: getattr(value, value.WhichOneof("value"))
            for name, value in execution.custom_properties.items()
        }
        inputs = {k: v for k, v in inputs.items() if not k.startswith("_")}
        if is_stock:
            inputs.pop("analyzer_cache", None)
            outputs.pop("updated_analyzer_cache", None)
        jobs.append((inputs, outputs, properties))
    return project, jobs


#: Last part of the execution type's name, by node.
NAMES = {
    "ExampleGen": ("ArrowExampleGen",),
    "StatisticsGen": ("StatisticsGen",),
    "Transform": ("Transform",),
    "Trainer": ("Trainer",),
    "Evaluator": ("Evaluator",),
}


def compare(workspace: Path, piece: Piece, repeat: int) -> dict[str, Any]:
    """Executes a piece's node with and without it, in turns.

    Returns:
        CPU seconds of each (`with_s`, `without_s`, medians), and the `gain`, `1 - with / without`.
    """
    found: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(repeat):
        for is_without in (True, False):
            command = [sys.executable, "-m", "benchmarks.node_gains", str(workspace)]
            command += ["--measure", piece.name, *(["--without"] if is_without else [])]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                raise RuntimeError(f"{piece.name}: {ended.stderr[-2000:]}")
            cost = Cost(**json.loads(ended.stdout.splitlines()[-1]))
            found[is_without].append(cost.main_thread if piece.is_spread else cost.total)
    with_s, without_s = (statistics.median(found[key]) for key in (False, True))
    return {
        "piece": piece.name,
        "node": piece.node,
        "with_s": round(with_s, 2),
        "without_s": round(without_s, 2),
        "gain": round(1 - with_s / without_s, 3),
        "each": found[False] + found[True],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table of the pieces' gains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path, help="workspace of a run of the flights")
    parser.add_argument("--only", nargs="*", choices=[p.name for p in PIECES], default=None)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--without", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    by_name = {piece.name: piece for piece in PIECES}
    if options.measure:
        cost = measure(options.workspace, by_name[options.measure], options.without)
        print(json.dumps(asdict(cost)))
        return 0
    rows = []
    print("| piece | node | with, s | without, s | gain |\n|---|---|---:|---:|---:|")
    for piece in PIECES:
        if options.only is None or piece.name in options.only:
            row = compare(options.workspace, piece, options.repeat)
            rows.append(row)
            print(
                f"| {row['piece']} | {row['node']} | {row['with_s']} | {row['without_s']} | "
                f"{row['gain']:.0%} |",
                flush=True,
            )
    if options.json:
        facts = {
            "machine": machine_facts(),
            "source": source_state(PROJECT.parents[1]),
            "pieces": rows,
        }
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
