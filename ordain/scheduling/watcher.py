"""Notices that files of the data folder changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import watchfiles

#: Milliseconds between two looks at whether the folder is still the one that is watched.
_CHECK_MS = 1000
#: Changes that follow each other within this are one, in milliseconds.
_GROUP_MS = 200
#: Seconds between tries to watch a folder that is not there: a mount that is away.
_AWAY_S = 2.0


class Watcher(threading.Thread):
    """Watches a folder with all below it, in a thread of its own.

    The kernel tells of changes (inotify). It does not where another machine writes to a mount;
    with `poll` the folder is looked through instead. A folder that goes away and comes back, as a
    mount does, is watched again, and its coming back counts as a change.
    """

    def __init__(
        self,
        folder: Path,
        ignored: Sequence[Path],
        poll: bool,
        on_change: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        """Prepares; `start` begins.

        Args:
            folder: The data folder.
            ignored: Folders whose changes are our own, such as the workspace.
            poll: Look through the folder instead of asking the kernel.
            on_change: Called in this thread after something changed.
            say: Is told when the folder goes away and comes back.
        """
        super().__init__(name="watcher", daemon=True)
        self._folder = folder
        self._ignored = tuple(str(path) for path in ignored)
        self._poll = poll
        self._on_change = on_change
        self._say = say
        self._stop_event = threading.Event()

    def end(self) -> None:
        """Ends the thread."""
        self._stop_event.set()
        self.join(2 * _CHECK_MS / 1000)

    def run(self) -> None:
        """Watches until `end`."""
        is_away = False
        while not self._stop_event.is_set():
            identity = self._identity()
            if identity is None:
                if not is_away:
                    self._say(f"{self._folder} is not there: watching again once it is")
                is_away = True
                self._stop_event.wait(_AWAY_S)
                continue
            if is_away:
                self._say(f"{self._folder} is there again")
                self._on_change()
            is_away = False
            try:
                self._watch(identity)
            except OSError as error:
                # Such as too many watches: the kernel's limit is for all programs together.
                self._say(f"{self._folder} cannot be watched: {error}; try schedule.poll: true")
                self._stop_event.wait(_AWAY_S * 15)

    def _watch(self, identity: tuple[int, int]) -> None:
        for changes in watchfiles.watch(
            self._folder,
            watch_filter=self._is_data,
            debounce=_GROUP_MS,
            rust_timeout=_CHECK_MS,
            yield_on_timeout=True,
            stop_event=self._stop_event,
            raise_interrupt=False,
            force_polling=True if self._poll else None,
            ignore_permission_denied=True,
        ):
            if changes:
                self._on_change()
            if self._identity() != identity:
                self._on_change()
                return

    def _is_data(self, _: watchfiles.Change, path: str) -> bool:
        return not any(path == own or path.startswith(f"{own}/") for own in self._ignored)

    def _identity(self) -> tuple[int, int] | None:
        """What tells a folder from another one that took its place."""
        try:
            found = self._folder.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
