"""Checks before a run: all errors that can be found cheaply.

TensorFlow and TFX are imported only if the project has own nodes.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from ordain.common.env_references import resolve_references
from ordain.common.json_files import read_json
from ordain.config.model import SPAN_SLICE, NoBaseline
from ordain.config.project import Project
from ordain.config.thresholds import check_thresholds, idle_limits
from ordain.errors import ConfigError, InfrastructureError
from ordain.pipeline.topology import topology_of
from ordain.project.schema import feature_types
from ordain.project.source import functions_of, library_versions
from ordain.project.spans import Span, find_spans, select_window
from ordain.runner.store_checks import check_baseline, check_metadata
from ordain.runner.weak_thresholds import weak_thresholds

#: A run needs room for raw, transformed and evaluated copies; measured on the flights project a
#: run's artifacts take about 45 times its zstd Parquet and 2 times a CSV.
DISK_FACTOR = {"parquet": 60, "csv": 6, "tfrecord": 6}
DISK_FLOOR_BYTES = 500_000_000


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Attributes:
        window: Its spans, oldest first.
        notes: Notes for the user, a sentence each.
        needed_bytes: Disk space that the run may need.
    """

    window: tuple[Span, ...]
    notes: tuple[str, ...]
    needed_bytes: int

    @property
    def newest(self) -> int:
        """The newest span's number."""
        return self.window[-1].number


def make_plan(project: Project, span: int | None = None) -> Plan:
    """Checks a project and plans a run.

    Args:
        project: The project.
        span: Last span of the window; None for the newest.

    Raises:
        ConfigError: The project is not valid.
        InfrastructureError: The workspace, the disk or the metadata store cannot be used.
    """
    _check_module(project)
    types = feature_types(project.schema_file)
    _check_names(project, types)
    check_thresholds(project)
    _check_signing(project)
    if project.nodes:
        topology_of(project)  # imports their components, and TFX with them
    spans = find_spans(project.data)
    if span is not None and not project.data.has_spans:
        raise ConfigError(f"--span {span}: data.pattern {project.data.pattern!r} has no spans")
    window = select_window(spans, project.data.window, span)
    check_metadata(project.metadata)
    check_baseline(project)
    needed = _check_disk(project, window)
    notes = _upgrade_notes(project)
    if len(window) < project.data.window:
        notes.append(f"data.window is {project.data.window}; only {len(window)} spans exist so far")
    if not types:
        notes.append(
            "no frozen schema: it is inferred from the window's older spans "
            "(after a good run: ordain schema freeze)"
        )
    if isinstance(project.evaluate.baseline, NoBaseline):
        notes.append(f"no baseline: {project.evaluate.baseline.none}")
    notes += [*idle_limits(project), *weak_thresholds(project)]
    if project.gate.server.none is not None:
        notes.append(f"no server gate: {project.gate.server.none}")
    return Plan(tuple(window), tuple(notes), needed)


def _upgrade_notes(project: Project) -> list[str]:
    """A note if another version of ordain made the last run; its results are not cached then."""
    newest = max(project.runs.glob("*/result.json"), default=None)
    if newest is None:
        return []
    before = ((read_json(newest) or {}).get("versions") or {}).get("ordain")
    now = library_versions()["ordain"]
    if before in (None, now):  # None: not a result, which `ordain runs show` reports
        return []
    return [
        f"run {newest.parent.name} was made by ordain {before}, this is {now}: "
        "nodes run again instead of being cached; published versions stay"
    ]


def _check_module(project: Project) -> None:
    defined = functions_of(project.train.module)
    wanted = ["preprocessing_fn", "run_fn"] + (["tuner_fn"] if project.tune else [])
    for name in wanted:
        if name not in defined:
            near = difflib.get_close_matches(name, sorted(defined), n=1)
            meant = f" (there is {near[0]!r})" if near else ""
            raise ConfigError(
                f"{project.train.module}: defines no {name}{meant}",
                "see docs/model.md for what the module must define",
            )


def _check_signing(project: Project) -> None:
    """Checks the keys before the training rather than at the push."""
    signing = project.push.signing
    if signing is None:
        return
    for key, path in (("private_key", signing.private_key), ("public_key", signing.public_key)):
        if path is None or not path.is_file():
            raise ConfigError(
                f"push.signing.{key}: " + ("not set" if path is None else f"{path} does not exist"),
                "a run that publishes needs both keys; docs/serving-directory.md makes a pair",
            )
    resolve_references(signing.password, "push.signing.password")


def _check_names(project: Project, types: dict[str, str]) -> None:
    """Checks that all columns in the configuration are in the frozen schema."""
    if not types:
        return
    if SPAN_SLICE in types:
        raise ConfigError(
            f"{project.schema_file}: the data has a column {SPAN_SLICE!r}, the name under which "
            "evaluation slices by data span",
            "rename the column",
        )
    named: list[tuple[str, str]] = [("data.label", project.data.label)]
    if project.data.split.by:
        named.append(("data.split.by", project.data.split.by))
    named += [("evaluate.slices", key) for keys in project.evaluate.slices for key in keys]
    for place, metric in enumerate(project.evaluate.metrics):
        options = {"query_key": metric.query_key, **metric.settings}
        named += [
            (f"evaluate.metrics.{place}.{key}", options[key])
            for key in ("query_key", "gain_key", "feature_key")
            if options.get(key) is not None
        ]
    for name, threshold in project.evaluate.thresholds.items():
        for limit in threshold.slices:
            key = f"evaluate.thresholds.{name}.slices"
            named += [(key, column) for column in (*limit.keys, *limit.values)]
    for key, column in named:
        if column not in types and column != SPAN_SLICE:
            near = difflib.get_close_matches(column, sorted(types), n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"{key}: {project.schema_file} has no feature {column!r}{meant}",
                "correct pipeline.yaml, or accept the data's new columns: ordain schema accept",
            )


def _check_disk(project: Project, window: Iterable[Span]) -> int:
    size = sum(span.size_bytes for span in window)
    factor = DISK_FACTOR[project.data.format or _format(window)]
    needed = max(DISK_FLOOR_BYTES, size * factor)
    folder = project.workspace
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InfrastructureError(
            f"{folder}: {free / 1e9:.1f} GB free, this run may need {needed / 1e9:.1f} GB",
            "free space, take a smaller data.window, or use another workspace",
        )
    return needed


def _format(window: Iterable[Span]) -> str:
    name = next(iter(window)).files[0].name
    return "parquet" if name.endswith((".parquet", ".pq")) else "csv"
