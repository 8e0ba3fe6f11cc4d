"""Read-only access to the ML Metadata store.

An SQLite file is opened read-only, and each query is its own transaction, so that no lock is held
while a page is rendered.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.history.runs import History
from ordain.metadata.location import without_secret
from ordain.metadata.store import connected, connection_config, open_store

#: Time without queries after a failure: a page that is polled must not wait each time.
PAUSE_S = 5.0


class ReadOnlyHistory(History):
    """A project's past runs, from a read-only store."""

    def __init__(self, project: Project) -> None:
        """Create it; the first query opens the store."""
        super().__init__(project.metadata, project.name, project.paths)
        self._failed: tuple[float, InfrastructureError] | None = None

    @property
    def store(self) -> Any:
        """The open store.

        Raises:
            InfrastructureError: It does not exist yet, or cannot be opened.
        """
        if self._store is not None:
            return self._store
        if self._failed is not None and time.monotonic() - self._failed[0] < PAUSE_S:
            raise self._failed[1]
        try:
            self._store = self._open()
        except InfrastructureError as error:
            self._failed = (time.monotonic(), error)
            raise
        self._failed = None
        return self._store

    def ask(self, method: str, *arguments: Any) -> Any:
        """Query the store.

        Args:
            method: A reading method of ml-metadata's client.
            arguments: Its arguments.

        Raises:
            InfrastructureError: The store cannot be opened, or does not answer; the next query
                opens it again.
        """
        store = self.store
        try:
            return getattr(store, method)(*arguments)
        except Exception as error:
            self._store = None
            failed = InfrastructureError(
                f"{self._location}: ML Metadata does not answer: "
                f"{without_secret(error, self._location)}",
                "ordain doctor PROJECT",
            )
            self._failed = (time.monotonic(), failed)
            raise failed from None

    def contexts(self) -> list[Any]:
        """Read the contexts of all runs; none before the first run."""
        if not self._location.exists():
            return []
        pipeline = self.ask("get_context_by_type_and_name", "pipeline", self._name)
        if pipeline is None:
            return []
        found = self.ask("get_children_contexts_by_context", pipeline.id)
        return [context for context in found if context.type == "pipeline_run"]

    def newest_artifacts(self, node: str, kind: str, limit: int) -> list[Any]:
        """Read the newest inputs and outputs of a node.

        Args:
            node: The node's id.
            kind: The artifacts' type.
            limit: How many of the node's artifacts, of any type, are read.
        """
        from ml_metadata import ListOptions, OrderByField  # noqa: PLC0415  loads with the store

        if not self._location.exists():
            return []
        context = self.ask("get_context_by_type_and_name", "node", f"{self._name}.{node}")
        if context is None:
            return []
        options = ListOptions(limit=limit, order_by=OrderByField.ID, is_asc=False)
        found = self.ask("get_artifacts_by_context", context.id, options)
        return [artifact for artifact in found if artifact.type == kind]

    def run_of(self, artifact_ids: Iterable[int]) -> dict[int, str]:
        """Find the run that produced each artifact."""
        found = {}
        for artifact in artifact_ids:
            contexts = self.ask("get_contexts_by_artifact", artifact)
            runs = [context for context in contexts if context.type == "pipeline_run"]
            if runs:
                found[artifact] = min(runs, key=lambda context: context.id).name
        return found

    def _open(self) -> Any:
        if not isinstance(self._location, Path):
            return open_store(self._location, self._paths)
        from ml_metadata.proto import metadata_store_pb2 as pb  # noqa: PLC0415  a tenth of a second

        if not self._location.exists():
            raise InfrastructureError(
                f"no run of {self._name!r} yet: there is no {self._location}", "ordain run PROJECT"
            )
        config = connection_config(self._location)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
        try:
            return connected(self._location, config, self._paths)
        except Exception as error:
            raise InfrastructureError(
                f"{self._location}: ML Metadata cannot be opened: {' '.join(str(error).split())}",
                "ordain doctor PROJECT",
            ) from error
