"""Read-only access to the ML Metadata store.

An SQLite file is opened read-only, and each query is its own transaction, so that no lock is held
while a page is rendered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from ordain.config.project import Project
from ordain.errors import InfrastructureError
from ordain.history.runs import History
from ordain.metadata.location import without_secret

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
        """The open store; a query that fails raises an InfrastructureError, and closes it.

        Raises:
            InfrastructureError: It does not exist yet, cannot be opened, or failed a moment ago.
        """
        if self._store is not None:
            return self._store
        if self._failed is not None and time.monotonic() - self._failed[0] < PAUSE_S:
            raise self._failed[1]
        try:
            store = self._open(is_read_only=True)
        except InfrastructureError as error:
            self._failed = (time.monotonic(), error)
            raise
        self._store = _Queries(store, self._close)
        return self._store

    def contexts(self) -> list[Any]:
        """Read the contexts of all runs; none before the first run."""
        return super().contexts() if self._location.exists() else []

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
        context = self.store.get_context_by_type_and_name("node", f"{self._name}.{node}")
        if context is None:
            return []
        options = ListOptions(limit=limit, order_by=OrderByField.ID, is_asc=False)
        found = self.store.get_artifacts_by_context(context.id, options)
        return [artifact for artifact in found if artifact.type == kind]

    def run_of(self, artifact_ids: Iterable[int]) -> dict[int, str]:
        """Find the run that produced each artifact."""
        found = {}
        for artifact in artifact_ids:
            contexts = self.store.get_contexts_by_artifact(artifact)
            runs = [context for context in contexts if context.type == "pipeline_run"]
            if runs:
                found[artifact] = min(runs, key=lambda context: context.id).name
        return found

    def _close(self, error: Exception) -> InfrastructureError:
        failed = InfrastructureError(
            f"{self._location}: ML Metadata does not answer: "
            f"{without_secret(error, self._location)}",
            "ordain doctor PROJECT",
        )
        self._store = None
        self._failed = (time.monotonic(), failed)
        return failed


class _Queries:
    """The methods of a store, with errors from `on_error`."""

    def __init__(self, store: Any, on_error: Callable[[Exception], Exception]) -> None:
        self._store = store
        self._on_error = on_error

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def query(*arguments: Any, **named: Any) -> Any:
            try:
                return getattr(self._store, method)(*arguments, **named)
            except Exception as error:
                raise self._on_error(error) from None

        return query
