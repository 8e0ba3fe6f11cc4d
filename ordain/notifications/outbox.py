"""Outbox of unsent notifications: one file each, so that a crash loses none.

A notification is written before its event counts as handled and removed after it was accepted, so
one that is being sent when the process dies is sent again: at least once, with the same `id`. The
files hold a fingerprint of the target, never its address.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.common.atomic_files import write_file
from ordain.config.schedule import Notify
from ordain.errors import InfrastructureError, OrdainError
from ordain.notifications.delivery import describe, send
from ordain.notifications.events import Notice

#: Seconds a stopping scheduler gives to the delivery in progress.
_STOP_PATIENCE_S = 5.0
#: Seconds until the outbox is tried again after its folder could not be used.
_DISK_RETRY_S = 60.0


@dataclass(frozen=True)
class Backoff:
    """Waits between attempts: doubled each time, up to a ceiling.

    Gives up after two days, so that a weekend's outage of a chat server loses nothing.
    """

    first_s: float = 10.0
    ceiling_s: float = 3600.0
    give_up_s: float = 172800.0

    def after(self, tries: int) -> float:
        """Seconds to wait after this many failed attempts."""
        return min(self.ceiling_s, self.first_s * 2.0 ** min(tries - 1, 30))


class Outbox:
    """Unsent notifications of one project."""

    def __init__(
        self,
        folder: Path,
        targets: Sequence[Notify],
        log: Callable[[str], None],
        backoff: Backoff | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Sets the folder; creates nothing.

        Args:
            folder: `<workspace>/<name>/schedule/outbox`.
            targets: The project's `notify`.
            log: Receives a line without secrets for each attempt.
            backoff: Waits between attempts.
            now: Seconds since 1970.
        """
        self._folder = folder
        self._targets = {_fingerprint(target): target for target in targets}
        self._log = log
        self._backoff = backoff or Backoff()
        self._now = now

    def add(self, notices: Iterable[Notice]) -> int:
        """Writes notices for each target that subscribes to them; returns how many files.

        Raises:
            InfrastructureError: The folder cannot be written.
        """
        wanted = [
            (mark, notice)
            for notice in notices
            for mark, target in self._targets.items()
            if notice.event in target.on
        ]
        for mark, notice in wanted:
            entry = {
                "target": mark,
                "created": self._now(),
                "tries": 0,
                "not_before": 0.0,
                "body": notice.body,
            }
            write_file(self._folder / f"{notice.id}-{mark}.json", json.dumps(entry))
        return len(wanted)

    def waiting(self) -> list[dict[str, Any]]:
        """Unsent notifications, oldest first; unreadable entries are left out."""
        entries = (self._read(path) for path in sorted(self._folder.glob("*.json")))
        return sorted((e for e in entries if e is not None), key=lambda e: float(e["created"]))

    def deliver(self) -> float | None:
        """Sends what is due, each once.

        Returns:
            Seconds until the next attempt is due; None if the outbox is empty.
        """
        if not any(self._folder.glob("*.json")):
            return None
        import filelock  # noqa: PLC0415  `ordain schedule status` takes no lock

        try:
            # Two schedulers of one project share the outbox; one of them sends.
            with filelock.FileLock(self._folder / ".lock", timeout=0):
                for path in sorted(self._folder.glob("*.json")):
                    self._try(path)
        except filelock.Timeout:
            return self._backoff.first_s
        times = [float(entry["not_before"]) for entry in self.waiting()]
        return max(0.0, min(times) - self._now()) if times else None

    def deliver_within(self, seconds: float) -> None:
        """Sends what is due and retries, for a command that does not stay.

        Args:
            seconds: No attempt starts later than this; the rest stays in the outbox.
        """
        end = time.monotonic() + seconds
        pause = self.deliver()
        while pause is not None and time.monotonic() + pause < end:
            time.sleep(pause)
            pause = self.deliver()

    def _try(self, path: Path) -> None:
        entry = self._read(path)
        if entry is None or float(entry["not_before"]) > self._now():
            return
        body = entry["body"]
        name = f"notification {body.get('event')} ({body.get('id')})"
        target = self._targets.get(entry["target"])
        if target is None:
            self._log(f"{name} dropped: its target is no longer in notify")
            path.unlink(missing_ok=True)
            return
        try:
            send(target, body)
        except OrdainError as error:
            self._postpone(path, entry, f"{name} to {describe(target)}", error.message)
            return
        path.unlink(missing_ok=True)
        self._log(f"{name} sent to {describe(target)}")

    def _postpone(self, path: Path, entry: dict[str, Any], name: str, why: str) -> None:
        tries = int(entry["tries"]) + 1
        if self._now() - float(entry["created"]) > self._backoff.give_up_s:
            self._log(f"{name} given up after {tries} attempts: {why}")
            path.unlink(missing_ok=True)
            return
        pause = self._backoff.after(tries)
        self._log(f"{name} not sent: {why}; attempt {tries + 1} in {pause:g} s")
        entry |= {"tries": tries, "not_before": self._now() + pause, "problem": why}
        write_file(path, json.dumps(entry))

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            is_valid = isinstance(entry["body"], dict) and isinstance(entry["target"], str)
            _ = float(entry["created"]), float(entry["not_before"]), int(entry["tries"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            is_valid = False
        if not is_valid:
            self._log(f"{path} is not a notification; remove it")
            return None
        return dict(entry)


class DeliveryThread(threading.Thread):
    """Sends the outbox in a thread of its own, so that no check waits for a delivery."""

    def __init__(self, outbox: Outbox, log: Callable[[str], None]) -> None:
        super().__init__(name="delivery", daemon=True)
        self._outbox = outbox
        self._log = log
        self._wake_event = threading.Event()
        self._is_ending = False

    def wake(self) -> None:
        """Ends its wait, because the outbox has a new entry."""
        self._wake_event.set()

    def end(self, patience_s: float = _STOP_PATIENCE_S) -> None:
        """Waits for the delivery in progress, for a while; the rest stays in the outbox."""
        self._is_ending = True
        self._wake_event.set()
        self.join(patience_s)

    def run(self) -> None:
        """Sends until `end` is called."""
        while not self._is_ending:
            self._wake_event.clear()
            try:
                pause = self._outbox.deliver()
            except (InfrastructureError, OSError) as error:
                # Such as a full disk: entries that could not be rewritten are unchanged.
                self._log(f"the outbox cannot be used: {error}")
                pause = _DISK_RETRY_S
            if not self._is_ending:
                self._wake_event.wait(pause)


def _fingerprint(target: Notify) -> str:
    """Identifies a target by its unresolved form: stable across restarts, and no secret."""
    form = json.dumps([target.command, target.webhook])
    return hashlib.sha256(form.encode()).hexdigest()[:12]


def describe_waiting(entry: dict[str, Any]) -> dict[str, Any]:
    """Summary of an entry for `ordain schedule status`."""
    created = datetime.datetime.fromtimestamp(float(entry["created"]), datetime.UTC)
    return {
        "id": entry["body"].get("id"),
        "event": entry["body"].get("event"),
        "created": created.isoformat(timespec="seconds"),
        "tries": entry["tries"],
        "problem": entry.get("problem"),
    }
