"""Selects the artifacts of old runs that `ordain gc` keeps: a pure function of the history.

Kept are

1. all inputs and outputs of kept runs: the newest runs, and those younger than a limit;
2. the published model of a version that is in the serving directory or has a label;
3. the analyzer cache that the next Transform starts from;
4. the inputs of 1 and 2, and theirs.

References to earlier runs are kept without their own inputs: the analyzer cache that a Transform
started from, and a published version as baseline or as start of a training. Otherwise the whole
history would be kept, and no run needs more of it than what it refers to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Input keys by which a node refers to an earlier run.
REFERENCES = frozenset({"baseline_model", "base_model", "analyzer_cache"})


@dataclass(frozen=True)
class Step:
    """One execution of a node; artifacts by their ids.

    Attributes:
        run_id: Its run.
        outputs: Artifacts that it wrote, or that the cache gave it.
        inputs: Its inputs.
        references: Inputs from an earlier run that it was only compared with or started from.
    """

    run_id: str
    outputs: tuple[int, ...] = ()
    inputs: tuple[int, ...] = ()
    references: tuple[int, ...] = ()


def choose_runs(
    runs: Sequence[tuple[str, int]], keep_runs: int, keep_days: float, now_ms: int
) -> set[str]:
    """Selects the runs that are kept.

    Args:
        runs: Id and start, in milliseconds since 1970, of every run.
        keep_runs: Number of the newest runs that are kept.
        keep_days: Younger runs are kept as well, in days.
        now_ms: The time, in milliseconds since 1970.
    """
    newest = sorted(runs, key=lambda run: (run[1], run[0]), reverse=True)
    oldest_ms = now_ms - keep_days * 86_400_000
    return {run for run, _ in newest[:keep_runs]} | {run for run, at in runs if at > oldest_ms}


def choose_kept(
    steps: Iterable[Step], kept_runs: set[str], roots: Iterable[int], ends: Iterable[int]
) -> set[int]:
    """Selects the artifacts that are kept, by the module's rules.

    Args:
        steps: The executions of all runs.
        kept_runs: Runs whose artifacts are kept.
        roots: Artifacts that are kept with their inputs.
        ends: Artifacts that are kept without their inputs.
    """
    made_by: dict[int, list[Step]] = defaultdict(list)
    kept = set(ends)
    waiting = list(roots)
    for step in steps:
        for artifact in step.outputs:
            made_by[artifact].append(step)
        if step.run_id in kept_runs:
            waiting += [*step.outputs, *step.inputs]
            kept.update(step.references)
    expanded: set[int] = set()
    while waiting:
        artifact = waiting.pop()
        if artifact in expanded:
            continue
        expanded.add(artifact)
        for step in made_by[artifact]:
            waiting += step.inputs
            kept.update(step.references)
    return kept | expanded
