"""Lineage graph of a run, from spans to the pushed version.

Nodes are in rows, each below the nodes of its inputs. The layout is computed here; the template
draws boxes with links.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ordain.common.node_id import NodeId
from ordain.reports.facts.run_record import Record

BOX_WIDTH, BOX_HEIGHT = 168, 44
_COLUMN, _ROW, _MARGIN = 196, 72, 10
SOURCE, TARGET = "spans", "version"


@dataclass(frozen=True)
class Artifact:
    """An output of a node.

    Attributes:
        id: ML Metadata's id.
        type: TFX's type.
        span: The span it belongs to, or None.
        uri: Its path.
        link: Relative path from the run's folder; empty if it is not on this machine.
    """

    id: int
    type: str
    span: int | None
    uri: str
    link: str


@dataclass(frozen=True)
class Box:
    """A node in the drawing; `x` and `y` are its upper left corner in pixels."""

    id: str
    title: str
    detail: str
    state: str
    x: int
    y: int


@dataclass(frozen=True)
class Edge:
    """An arrow: an SVG path with its meaning."""

    path: str
    text: str


@dataclass(frozen=True)
class Graph:
    """The drawing, with its size in pixels."""

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    width: int
    height: int


def artifacts(record: Record) -> dict[str, list[Artifact]]:
    """List the outputs of each node, in pipeline order."""
    found: dict[str, dict[int, Artifact]] = {}
    for run in record.run.nodes:
        mine = found.setdefault(run.node, {})
        for output in run.own_outputs:
            span = run.span if run.span is not None else output.properties.get("span")
            link = _link(output.uri, record.folder)
            mine.setdefault(output.id, Artifact(output.id, output.type, span, output.uri, link))
    return {node: list(mine.values()) for node, mine in found.items()}


def graph(record: Record, version: int | None) -> Graph | None:
    """Lay out the graph of a run.

    Args:
        record: The run.
        version: The version it pushed or found pushed, or None.

    Returns:
        None if nothing ran.
    """
    names = list(dict.fromkeys(run.node for run in record.run.nodes))
    if not names:
        return None
    links = _links(record)
    # A resolver without a result is not part of the version's lineage.
    linked = {name for link in links for name in link}
    names = [name for name in names if name in linked or not links]
    states = {run.node: run.state for run in record.run.nodes}
    if record.result is not None:
        states |= {entry["node"]: entry["state"] for entry in record.result["nodes"]}
    before: dict[str, set[str]] = {name: set() for name in (SOURCE, *names)}
    for origin, target in links:
        before[target].add(origin)
    # The pipeline starts with the node that reads the data.
    before[names[0]].add(SOURCE)
    names = [SOURCE, *names]
    if version is not None and NodeId.PUSHER in before:
        names.append(TARGET)
        before[TARGET] = {NodeId.PUSHER}
    rows = _rows(names, before)
    by_row = {row: [n for n in names if rows[n] == row] for row in sorted(set(rows.values()))}
    widest = max(map(len, by_row.values()))
    boxes = {}
    for row, members in by_row.items():
        left = _MARGIN + (widest - len(members)) * _COLUMN // 2
        for place, name in enumerate(members):
            x, y = left + place * _COLUMN, _MARGIN + row * _ROW
            boxes[name] = _box(record, name, states.get(name, ""), version, x, y)
    edges = [
        Edge(_path(boxes[origin], boxes[name]), f"{boxes[origin].title} to {boxes[name].title}")
        for name in names
        for origin in sorted(_direct(before, name))
    ]
    width = 2 * _MARGIN + (widest - 1) * _COLUMN + BOX_WIDTH
    height = 2 * _MARGIN + max(by_row) * _ROW + BOX_HEIGHT
    return Graph(tuple(boxes.values()), tuple(edges), width, height)


def _links(record: Record) -> set[tuple[str, str]]:
    """Find pairs of nodes where the second consumes an output of the first."""
    makers: dict[int, str] = {}
    for run in record.run.nodes:
        for output in run.own_outputs:
            makers.setdefault(output.id, run.node)
    return {
        (makers[artifact], run.node)
        for run in record.run.nodes
        for artifact in record.inputs.get(run.execution_id, ())
        if artifact in makers and makers[artifact] != run.node
    }


def _rows(names: list[str], before: dict[str, set[str]]) -> dict[str, int]:
    """Compute the longest path to each node; names are in topological order.

    A node without inputs from this run, such as a resolver, is just above its consumers.
    """
    rows: dict[str, int] = {}
    for name in names:
        rows[name] = max((rows[b] + 1 for b in before[name]), default=0)
    for name in reversed(names):
        takers = [rows[other] for other in names if name in before[other]]
        if name != SOURCE and not before[name] and takers:
            rows[name] = max(0, min(takers) - 1)
    return rows


def _direct(before: dict[str, set[str]], name: str) -> set[str]:
    """Find the upstream nodes of a node, without those already upstream of another one.

    Nearly every node reads the schema and the examples: all arrows would hide the structure.
    """
    mine = before[name]

    def reaches(start: str, goal: str) -> bool:
        return any(b == goal or reaches(b, goal) for b in before[start])

    return {b for b in mine if not any(o != b and reaches(o, b) for o in mine)}


def _box(record: Record, name: str, state: str, version: int | None, x: int, y: int) -> Box:
    window = record.window
    if name == SOURCE:
        named = f"{window[0]} – {window[-1]}" if len(window) > 1 else "".join(map(str, window))
        return Box("", f"{len(window)} span{'s' * (len(window) != 1)}", named, "source", x, y)
    if name == TARGET:
        return Box("", f"version {version}", "serving directory", "target", x, y)
    count = len({o.id for run in record.executions(name) for o in run.own_outputs})
    detail = f"{state}, {count} artifact{'s' * (count != 1)}"
    return Box(f"node-{name}", name, detail, state, x, y)


def _path(origin: Box, target: Box) -> str:
    x0, y0 = origin.x + BOX_WIDTH // 2, origin.y + BOX_HEIGHT
    x1, y1 = target.x + BOX_WIDTH // 2, target.y
    middle = (y1 - y0) // 2
    return f"M{x0},{y0} C{x0},{y0 + middle} {x1},{y1 - middle} {x1},{y1}"


def _link(uri: str, folder: Path) -> str:
    """Build a relative link, which stays valid if the workspace moves."""
    if "://" in uri or not Path(uri).exists():
        return ""
    return Path(os.path.relpath(uri, folder)).as_posix()
