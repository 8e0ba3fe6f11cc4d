"""Checks of ML Metadata, and of the version that a candidate is compared with.

Neither TensorFlow nor TFX is imported here.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ordain.config.model import NoBaseline
from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.metadata.location import Location
from ordain.metadata.store import check_server
from ordain.serving.registry.label_file import STABLE, read_labels
from ordain.serving.registry.served import check_served
from ordain.storage.gcs import is_object_store

#: TFX's artifact type of the publisher's output.
PUSHED = "PushedModel"
#: A larger ML Metadata file is not read completely at each start. This is about 200 runs, which
#: take about 15 ms.
_READ_WHOLE_BYTES = 4_000_000


def check_metadata(path: Location) -> None:
    """Checks that the metadata file is intact and not locked, or that the server answers.

    Raises:
        InfrastructureError: It cannot be used; names the file or the server.
    """
    if not isinstance(path, Path):
        check_server(path, "ordain plan")
        return
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(path, timeout=2, isolation_level=None)
        try:
            _check_damage(connection, path.stat().st_size)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise InfrastructureError(
            f"{path}: ML Metadata cannot be used: {error}",
            "another process has locked the file, or it is not writable: "
            "find it with `fuser`, wait or stop it, then run again",
        ) from error
    except sqlite3.DatabaseError as error:
        raise InfrastructureError(
            f"{path}: ML Metadata is corrupt: {error}",
            f"restore it from a backup, or move it away (mv {path} {path}.corrupt): "
            "the next run then starts a new history; served models are not touched",
        ) from error


def _check_damage(connection: sqlite3.Connection, size_bytes: int) -> None:
    """Reads all of a small file, and of a large one only the ends of its tables.

    Otherwise a run would start later with each past run. `ordain doctor` reads all of it.

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
        raise sqlite3.DatabaseError(f"truncated: {size_bytes} of {pages * page_bytes} bytes")


def check_baseline(project: Project) -> None:
    """Checks before the training that the candidate can be compared as configured.

    Raises:
        ConfigError: The version that `evaluate.baseline` pins does not exist.
        InfrastructureError: A version that should exist cannot be read; names it.
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
    """Refuses an empty serving directory that had versions: its volume may not be mounted."""
    metadata = project.metadata
    # In a shared database, the path of another machine's workspace may be the same.
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
                f"{project.push_base} holds no version, but version {version} was published "
                "there: there is no baseline to compare with",
                "mount or restore the directory; or start without a comparison: "
                "--set 'evaluate.baseline={none: REASON}'",
            )
