"""TFX's handle of the ML Metadata store, for every location."""

from __future__ import annotations

from typing import Any

from tfx.orchestration import metadata

from ordain.metadata.location import Location
from ordain.metadata.portable_paths import PortablePaths
from ordain.metadata.store import connection_config, open_store


class Handle(metadata.Metadata):
    """A handle on the store of `ordain.metadata.store.open_store`.

    It is opened once and stays open: TFX opens it several times for each node, and on PostgreSQL
    each opening is a connection and a query of every table.
    """

    def __init__(self, location: Location, paths: PortablePaths) -> None:
        """Takes the location (a SQLite file is created) and the folders that may move."""
        super().__init__(connection_config(location, is_new=True))
        self._location = location
        self._paths = paths
        self._store: Any = None

    def __enter__(self) -> metadata.Metadata:
        """Opens the store the first time."""
        if self._store is None:
            self._store = open_store(self._location, self._paths, is_new=True)
        self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the store open for the next use."""
        self._users -= 1
