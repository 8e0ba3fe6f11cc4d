"""Everything cheap that can be wrong, found before anything expensive starts.

Nothing here imports TensorFlow or TFX, but for the nodes of a project's own.
"""

from __future__ import annotations

import difflib
import json
import shutil
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ordain.common.env_references import resolve_references
from ordain.config.model import SPAN_SLICE, NoBaseline
from ordain.config.project import Project
from ordain.config.thresholds import check_thresholds, idle_limits
from ordain.errors import ConfigError, InfrastructureError
from ordain.metadata.location import Location
from ordain.metadata.store import check_server
from ordain.pipeline.topology import chain_of
from ordain.project.schema import feature_types
from ordain.project.source import functions_of, library_versions
from ordain.project.spans import Span, find_spans, select_window
from ordain.runner.weak_thresholds import weak_thresholds
from ordain.serving.registry.label_file import STABLE, read_labels
from ordain.serving.registry.served import check_served
from ordain.storage.gcs import is_object_store

#: A run needs room for raw, transformed and evaluated copies; measured on the flights project a
#: run's artifacts take about 45 times its zstd Parquet and 2 times a CSV.
DISK_FACTOR = {"parquet": 60, "csv": 6, "tfrecord": 6}
DISK_FLOOR_BYTES = 500_000_000
#: TFX's type of what the publisher leaves.
PUSHED = "PushedModel"
#: A larger ML Metadata file is not read whole at each start. About 200 runs; reading them takes
#: some 15 ms.
_READ_WHOLE_BYTES = 4_000_000


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Attributes:
        window: The spans it takes, oldest first.
        notes: What the user should know, a sentence each.
        needed_bytes: Disk the run may take.
    """

    window: tuple[Span, ...]
    notes: tuple[str, ...]
    needed_bytes: int

    @property
    def newest(self) -> int:
        """The newest span's number."""
        return self.window[-1].number


def make_plan(project: Project, span: int | None = None) -> Plan:
    """Checks a project and says what a run would do.

    Args:
        project: The project.
        span: Last span of the window; None for the newest there is.

    Raises:
        ConfigError: Something in the project is wrong.
        InfrastructureError: The workspace, the disk or the metadata store is.
    """
    _check_module(project)
    types = feature_types(project.schema_file)
    _check_names(project, types)
    check_thresholds(project)
    _check_signing(project)
    if project.nodes:
        chain_of(project)  # imports their components, and TFX with them
    spans = find_spans(project.data)
    if span is not None and not project.data.has_spans:
        raise ConfigError(f"--span {span}: data.pattern {project.data.pattern!r} knows no spans")
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
    """A note if another version of ordain made the last run, whose results are then not reused."""
    newest = max(project.runs.glob("*/result.json"), default=None)
    if newest is None:
        return []
    try:
        before = json.loads(newest.read_text(encoding="utf-8"))["versions"]["ordain"]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # not a result; `ordain runs show` says so
    now = library_versions()["ordain"]
    if before == now:
        return []
    return [
        f"run {newest.parent.name} was made by ordain {before}, this is {now}: "
        "nodes run again instead of being cached; published versions stay"
    ]


def check_metadata(path: Location) -> None:
    """Refuses a metadata file that is corrupt or held by somebody else, or a silent server.

    Raises:
        InfrastructureError: Names the file or the server, and what to do.
    """
    if not isinstance(path, Path):
        check_server(path, "ordain plan")
        return
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(path, timeout=2, isolation_level=None)
        try:
            _look_for_damage(connection, path.stat().st_size)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise InfrastructureError(
            f"{path}: ML Metadata cannot be used: {error}",
            "another process holds the file, or it is not writable: "
            "find it with `fuser`, wait or stop it, then run again",
        ) from error
    except sqlite3.DatabaseError as error:
        raise InfrastructureError(
            f"{path}: ML Metadata is corrupt: {error}",
            f"restore it from a backup, or move it away (mv {path} {path}.corrupt): "
            "the next run then starts a new history; served models are not touched",
        ) from error


def _look_for_damage(connection: sqlite3.Connection, size_bytes: int) -> None:
    """Reads a small file whole, and of a large one the ends of its tables.

    A run's start is not to take longer with each past run. `ordain doctor` reads all of it.

    Raises:
        sqlite3.DatabaseError: It is damaged.
    """
    if size_bytes <= _READ_WHOLE_BYTES:
        result = connection.execute("PRAGMA quick_check(1)").fetchone()
        if result != ("ok",):
            raise sqlite3.DatabaseError(str(result[0]))
        return
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        connection.execute(f'SELECT max(rowid) FROM "{table}"').fetchone()  # noqa: S608  its own name
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    if size_bytes < pages * page_bytes:
        raise sqlite3.DatabaseError(
            f"it is cut off: {size_bytes} of {pages * page_bytes} bytes are there"
        )


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


def check_baseline(project: Project) -> None:
    """Refuses a run whose candidate could not be compared as the project wants, before it trains.

    Raises:
        ConfigError: There is no version of the number that `evaluate.baseline` pins.
        InfrastructureError: A version that should be there cannot be read; names it.
    """
    rule = project.evaluate.baseline
    if not isinstance(rule, NoBaseline):
        baseline = check_served(project.push_base, rule, project.trust)
        if baseline is None:
            _refuse_if_lost(project)
    elif not is_object_store(project.push_base):
        read_labels(project.push_base, project.trust)  # the push will
    if project.gate.server.compares_signatures and rule != STABLE:
        check_served(project.push_base, STABLE, project.trust)


def _refuse_if_lost(project: Project) -> None:
    """An empty serving directory may be one whose volume is not mounted."""
    metadata = project.metadata
    # In a database that machines share, another one's workspace has the same address.
    is_own = isinstance(metadata, Path) and metadata.is_relative_to(project.workspace)
    if not is_own or not metadata.exists():
        return
    from ordain.history.runs import History  # noqa: PLC0415  rarely needed

    for pushed in History(
        project.metadata, project.name, project.paths
    ).store.get_artifacts_by_type(PUSHED):
        version = pushed.custom_properties["pushed_version"].string_value
        where = f"{project.push_base}/{version}"
        if version and pushed.custom_properties["pushed_destination"].string_value == where:
            raise InfrastructureError(
                f"{project.push_base} holds no version, and version {version} was published "
                "there: there is nothing to compare with",
                "mount or restore the directory; or begin anew without a comparison: "
                "--set 'evaluate.baseline={none: REASON}'",
            )


def _check_signing(project: Project) -> None:
    """A key that is missed after an hour of training is missed too late."""
    signing = project.push.signing
    if signing is None:
        return
    for key, path in (("private_key", signing.private_key), ("public_key", signing.public_key)):
        if path is None or not path.is_file():
            raise ConfigError(
                f"push.signing.{key}: {path or 'it is not set and'} is not there",
                "a run that publishes needs both keys; docs/serving-directory.md makes a pair",
            )
    resolve_references(signing.password, "push.signing.password")


def _check_names(project: Project, types: dict[str, str]) -> None:
    """Columns that the configuration names must be in the frozen schema."""
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
        told = {"query_key": metric.query_key, **metric.settings}
        named += [
            (f"evaluate.metrics.{place}.{key}", told[key])
            for key in ("query_key", "gain_key", "feature_key")
            if told.get(key) is not None
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
