"""Selects the artifacts of old runs that `ordain gc` may remove: a pure function of the history.

What is kept, and why:

1. everything that a kept run left or took: the newest runs, and those younger than a limit;
2. what a published version was made of, while the version is in the serving directory or has a
   label;
3. the analyzer cache that the next Transform starts from;
4. the inputs of all these, and theirs.

One kind of input is followed one step only: what a node merely looks back to (the analyzer cache;
the baseline and a warm start's model, which are published versions). Followed to its end, that
would keep the whole history, and no run needs more of it than the first step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: Input keys by which a node looks back to another run.
LOOKED_BACK = frozenset({"baseline_model", "base_model", "analyzer_cache"})


@dataclass(frozen=True)
class Step:
    """One execution of a node, as far as keeping is concerned.

    Attributes:
        run_id: The run it belongs to.
        left: Artifacts it wrote, or took over from the cache.
        took: Its inputs.
        looked_back: Inputs of an earlier run that it was only compared with or started from.
    """

    run_id: str
    left: tuple[int, ...] = ()
    took: tuple[int, ...] = ()
    looked_back: tuple[int, ...] = ()


def choose_runs(
    runs: Sequence[tuple[str, int]], keep_runs: int, keep_days: float, now_ms: int
) -> set[str]:
    """The runs that are kept.

    Args:
        runs: Id and start, in milliseconds since 1970, of every run.
        keep_runs: How many of the newest are kept.
        keep_days: Younger ones are kept besides, in days.
        now_ms: The time, in milliseconds since 1970.
    """
    newest = sorted(runs, key=lambda run: (run[1], run[0]), reverse=True)
    oldest_ms = now_ms - keep_days * 86_400_000
    return {run for run, _ in newest[:keep_runs]} | {run for run, at in runs if at > oldest_ms}


def choose_kept(
    steps: Iterable[Step], kept_runs: set[str], roots: Mapping[int, str], ends: Mapping[int, str]
) -> dict[int, str]:
    """Every artifact that has to stay, with the reason. See the module's rules.

    Args:
        steps: The executions of all runs.
        kept_runs: Runs whose artifacts stay.
        roots: Artifacts that stay with what they were made of, and why.
        ends: Artifacts that stay by themselves, and why.
    """
    made_by: dict[int, list[Step]] = defaultdict(list)
    kept: dict[int, str] = {}
    waiting = []
    for step in steps:
        for artifact in step.left:
            made_by[artifact].append(step)
        if step.run_id in kept_runs:
            waiting += [(artifact, f"run {step.run_id}") for artifact in (*step.left, *step.took)]
            for artifact in step.looked_back:
                kept.setdefault(artifact, f"run {step.run_id} looked back to it")
    waiting += roots.items()
    expanded: set[int] = set()
    while waiting:
        artifact, reason = waiting.pop()
        if artifact in expanded:
            continue
        expanded.add(artifact)
        kept[artifact] = reason
        for step in made_by[artifact]:
            waiting += [(taken, reason) for taken in step.took]
            for looked in step.looked_back:
                kept.setdefault(looked, reason)
    for artifact, reason in ends.items():
        kept.setdefault(artifact, reason)
    return kept
