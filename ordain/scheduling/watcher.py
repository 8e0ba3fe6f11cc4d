"""Watches the data folder for changed files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import watchfiles

#: Milliseconds between two checks that the folder is still the one that is watched.
_CHECK_MS = 1000
#: Changes within this many milliseconds are reported as one.
_GROUP_MS = 200
#: Seconds between attempts to watch a folder that is missing, such as an unmounted one.
_RETRY_S = 2.0


class Watcher(threading.Thread):
    """Watches a folder and everything below it, in a thread of its own.

    The kernel reports changes (inotify), but not those that another machine writes to a network
    mount; with `poll` the folder is listed periodically instead. A folder that disappears and
    comes back, as a mount does, is watched again, and its return counts as a change.
    """

    def __init__(
        self,
        folder: Path,
        ignored: Sequence[Path],
        poll: bool,
        on_change: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        """Prepares; `start` begins.

        Args:
            folder: The data folder.
            ignored: Folders that ordain itself writes, such as the workspace.
            poll: List the folder periodically instead of relying on the kernel.
            on_change: Called in this thread after something changed.
            log: Receives a line when the folder disappears and when it returns.
        """
        super().__init__(name="watcher", daemon=True)
        self._folder = folder
        self._ignored = tuple(str(path) for path in ignored)
        self._poll = poll
        self._on_change = on_change
        self._log = log
        self._stop_event = threading.Event()

    def end(self) -> None:
        """Ends the thread."""
        self._stop_event.set()
        self.join(2 * _CHECK_MS / 1000)

    def run(self) -> None:
        """Watches until `end` is called."""
        is_missing = False
        while not self._stop_event.is_set():
            identity = self._identity()
            if identity is None:
                if not is_missing:
                    self._log(f"{self._folder} is missing; watching again once it is back")
                is_missing = True
                self._stop_event.wait(_RETRY_S)
                continue
            if is_missing:
                self._log(f"{self._folder} is back")
                self._on_change()
            is_missing = False
            try:
                self._watch(identity)
            except OSError as error:
                # For example the kernel's limit of watches, which all programs share.
                self._log(f"{self._folder} cannot be watched: {error}; try schedule.poll: true")
                self._stop_event.wait(_RETRY_S * 15)

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
        """Device and inode, which differ if another folder took the place of this one."""
        try:
            found = self._folder.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
