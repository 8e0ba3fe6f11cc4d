"""Notices that wait to be sent: a file for each, so that a crash loses none.

A notice is written before it counts as told and removed after it was taken, so one that was
under way when the process died is sent again: at least once, with the same `id`. The files hold
the target's fingerprint and never its address.
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
from ordain.notifications.events import Notice, wanted


@dataclass(frozen=True)
class Backoff:
    """How long to wait between tries: twice as long each time, up to a ceiling.

    Two days, so that a weekend's outage of a chat server loses nothing.
    """

    first_s: float = 10.0
    ceiling_s: float = 3600.0
    give_up_s: float = 172800.0

    def after(self, tries: int) -> float:
        """Seconds to wait after so many tries that failed."""
        return min(self.ceiling_s, self.first_s * 2.0 ** min(tries - 1, 30))


class Outbox:
    """The notices of one project that were not taken yet."""

    def __init__(
        self,
        folder: Path,
        targets: Sequence[Notify],
        say: Callable[[str], None],
        backoff: Backoff | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Names the folder; makes nothing.

        Args:
            folder: `<workspace>/<name>/schedule/outbox`.
            targets: The project's `notify`.
            say: Is told what was sent and what was not, in lines without secrets.
            backoff: How long to wait between tries.
            now: Seconds since 1970.
        """
        self._folder = folder
        self._targets = {_fingerprint(target): target for target in targets}
        self._say = say
        self._backoff = backoff or Backoff()
        self._now = now

    def add(self, notices: Iterable[Notice]) -> int:
        """Keeps notices for each target that asks for them; returns how many that makes.

        Raises:
            InfrastructureError: The folder cannot be written.
        """
        made = 0
        told = list(notices)
        for mark, target in self._targets.items():
            for notice in wanted(told, target):
                entry = {
                    "target": mark,
                    "created": self._now(),
                    "tries": 0,
                    "not_before": 0.0,
                    "body": notice.body,
                }
                write_file(self._folder / f"{notice.id}-{mark}.json", json.dumps(entry))
                made += 1
        return made

    def waiting(self) -> list[dict[str, Any]]:
        """What was not taken yet, oldest first; an entry that cannot be read is left out."""
        entries = (self._read(path) for path in sorted(self._folder.glob("*.json")))
        return sorted((e for e in entries if e is not None), key=lambda e: float(e["created"]))

    def deliver(self) -> float | None:
        """Sends what is due, each once.

        Returns:
            Seconds until the next try is due; None if nothing waits.
        """
        if not any(self._folder.glob("*.json")):
            return None
        import filelock  # noqa: PLC0415  whoever only reads takes no lock

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
        """Sends what is due, again and again, for a command that starts and ends.

        Args:
            seconds: No try begins later than this; what is left goes out with the next look.
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
        what = f"notice {body.get('event')} ({body.get('id')})"
        target = self._targets.get(entry["target"])
        if target is None:
            self._say(f"{what} dropped: its target is no longer in notify")
            path.unlink(missing_ok=True)
            return
        try:
            send(target, body)
        except OrdainError as error:
            self._put_off(path, entry, f"{what} to {describe(target)}", error.message)
            return
        path.unlink(missing_ok=True)
        self._say(f"{what} sent to {describe(target)}")

    def _put_off(self, path: Path, entry: dict[str, Any], what: str, why: str) -> None:
        tries = int(entry["tries"]) + 1
        if self._now() - float(entry["created"]) > self._backoff.give_up_s:
            self._say(f"{what} given up after {tries} tries: {why}")
            path.unlink(missing_ok=True)
            return
        pause = self._backoff.after(tries)
        self._say(f"{what} not sent: {why}; try {tries + 1} in {pause:g} s")
        entry |= {"tries": tries, "not_before": self._now() + pause, "problem": why}
        write_file(path, json.dumps(entry))

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            is_whole = isinstance(entry["body"], dict) and isinstance(entry["target"], str)
            _ = float(entry["created"]), float(entry["not_before"]), int(entry["tries"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            is_whole = False
        if not is_whole:
            self._say(f"{path} is no notice; remove it")
            return None
        return dict(entry)


class Postman(threading.Thread):
    """Sends what lies in the outbox, in a thread of its own, so that no run waits for it."""

    def __init__(self, outbox: Outbox, say: Callable[[str], None]) -> None:
        super().__init__(name="postman", daemon=True)
        self._outbox = outbox
        self._say = say
        self._news = threading.Event()
        self._is_ending = False

    def call(self) -> None:
        """Something new lies in the outbox."""
        self._news.set()

    def end(self, patience_s: float) -> None:
        """Lets the try that goes on come to its end, for so long; the rest stays in the outbox."""
        self._is_ending = True
        self._news.set()
        self.join(patience_s)

    def run(self) -> None:
        """Sends until `end`."""
        while not self._is_ending:
            self._news.clear()
            try:
                pause = self._outbox.deliver()
            except (InfrastructureError, OSError) as error:
                # A full disk: whatever could not be written is still in the file of before.
                self._say(f"the outbox cannot be used: {error}")
                pause = 60.0
            if not self._is_ending:
                self._news.wait(pause)


def _fingerprint(target: Notify) -> str:
    """Names a target by its unresolved form: the same after a restart, and no secret."""
    form = json.dumps([target.command, target.webhook])
    return hashlib.sha256(form.encode()).hexdigest()[:12]


def describe_waiting(entry: dict[str, Any]) -> dict[str, Any]:
    """What `ordain schedule status` tells of an entry."""
    created = datetime.datetime.fromtimestamp(float(entry["created"]), datetime.UTC)
    return {
        "id": entry["body"].get("id"),
        "event": entry["body"].get("event"),
        "created": created.isoformat(timespec="seconds"),
        "tries": entry["tries"],
        "problem": entry.get("problem"),
    }
