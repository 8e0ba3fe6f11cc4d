"""Finds thresholds that a trivial predictor passed in the last evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ordain.common.json_files import read_json
from ordain.common.node_id import NodeId
from ordain.config.model import SPAN_SLICE, Limit, SliceLimit, Threshold
from ordain.config.project import Project


def weak_thresholds(project: Project) -> list[str]:
    """Describes thresholds that a predictor without features passed, one line each.

    Args:
        project: The project; without a past evaluation on this machine there are no lines.
    """
    readout = _last_readout(project)
    trivial: dict[tuple[str, str], Mapping[str, float]] = {
        (entry["name"], entry["slice"]): entry["trivial"]
        for entry in readout.get("metrics", ())
        if "trivial" in entry
    }
    slices = list(readout.get("rows", ()))
    lines: list[str] = []
    for name, threshold in project.evaluate.thresholds.items():
        for limit, title, covered in _covered(threshold, slices):
            found = [trivial[name, where] for where in covered if (name, where) in trivial]
            lines += _weak(f"{name}{title}", limit, found)
    return lines


def _weak(name: str, limit: Limit, trivial: list[Mapping[str, float]]) -> Iterator[str]:
    for bound, best in (("min", max), ("max", min)):
        value = getattr(limit, bound)
        if not isinstance(value, float):  # not set, or an unresolved reference
            continue
        bests = [best(reached.items(), key=lambda item: item[1]) for reached in trivial]
        passed = [b for b in bests if (b[1] >= value if bound == "min" else b[1] <= value)]
        if passed:
            who, reached = best(passed, key=lambda item: item[1])
            of = f" on {len(passed)} of {len(bests)} slices" if len(bests) > 1 else ""
            yield (
                f"{name} {bound} {value:g} would be passed{of} by {who} "
                f"({reached:.4f} in the last evaluation): it asks nothing of a model"
            )


def _covered(threshold: Threshold, slices: list[str]) -> Iterator[tuple[Limit, str, list[str]]]:
    """Yields each limit with its name and the slices of an evaluation to which it applies."""
    yield threshold, "", [""]
    if threshold.newest is not None:
        prefix = f"{SPAN_SLICE}="
        spans = [where for where in slices if where.startswith(prefix) and "," not in where]
        newest = max(spans, key=lambda where: int(where.removeprefix(prefix)), default="")
        yield threshold.newest, f" on {newest}, then the newest,", [newest] if newest else []
    for limit in threshold.slices:
        yield (
            limit,
            f" on {', '.join(limit.keys or _named(limit))}",
            [where for where in slices if where and _is_of(where, limit)],
        )


def _named(limit: SliceLimit) -> list[str]:
    return sorted(f"{column}={value}" for column, value in limit.values.items())


def _is_of(where: str, limit: SliceLimit) -> bool:
    if limit.values:
        return where == ", ".join(_named(limit))
    # A value may contain anything, commas included; only the order of columns is fixed.
    pattern = ", ".join(f"{re.escape(key)}=.*" for key in sorted(limit.keys))
    return re.fullmatch(pattern, where) is not None


def _last_readout(project: Project) -> dict[str, Any]:
    """Reads the last evaluation's readout from its artifact; empty if there is none."""
    folder = project.artifacts / NodeId.EVALUATOR / "evaluation"
    found = [path for path in folder.glob("*/readout.json") if path.parent.name.isdecimal()]
    newest = max(found, key=lambda path: int(path.parent.name), default=None)
    return {} if newest is None else read_json(newest) or {}
