"""A project of one's own in a temporary folder, and the real chain run over it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ordain.common.portable_paths import PortablePaths
from ordain.config.loading import load_project
from ordain.history.results import NodeResult, RunResult
from ordain.runner.local import Options, new_run_id, run_project
from ordain.runner.preflight import make_plan

PROJECTS = Path(__file__).parent.parent / "projects"
#: What a serving directory holds that is no version and no staging.
BESIDE_VERSIONS = {".labels.lock", ".publish.lock", "labels.json", "tensorflow_serving"}


@dataclass
class Sandbox:
    """A project folder that a test may change, and what running it came to."""

    folder: Path
    events: list[tuple[str, int | None]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def paths(self) -> PortablePaths:
        """Portable form of this project's paths, as ML Metadata stores them."""
        return load_project(self.folder).paths

    @property
    def versions(self) -> list[str]:
        """What a model server reading the serving directory would see, staging included."""
        base = self.folder / "var" / "serving"
        names = {p.name for d in base.glob("*") for p in d.iterdir()}
        return sorted(names - BESIDE_VERSIONS)

    def set(self, **changes: Any) -> None:
        """Changes keys of pipeline.yaml: `set(train={"steps": 1})` merges one level deep."""
        path = self.folder / "pipeline.yaml"
        raw = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            both = isinstance(raw.get(key), dict) and isinstance(value, dict)
            raw[key] = {**raw[key], **value} if both else value
        path.write_text(yaml.safe_dump(raw))

    def run(self, *settings: str, span: int | None = None, **options: Any) -> RunResult:
        """Runs the chain in this process, as `ordain run` does."""
        project = load_project(self.folder, settings=settings)
        plan = make_plan(project, span)
        return run_project(project, plan, new_run_id(), Options(**options), self)

    def started(self, node: str, span: int | None) -> None:
        self.events.append((node, span))

    def finished(self, result: NodeResult) -> None:
        pass


def states(result: RunResult) -> dict[str, str]:
    return {node.node: node.state for node in result.nodes}


def write_csv(path: Path, rows: Iterable[Iterable[Any]], header: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def good_rows(count: int = 400, shift: float = 0.0) -> list[list[Any]]:
    """Rows whose label follows from x: a model can learn them."""
    return [
        [round(((i * 37) % 100) / 100 + shift, 4), "ab"[i % 2], int((i * 37) % 100 > 50)]
        for i in range(count)
    ]
