"""Measures the resources of a node: processor time, memory, bytes written.

Processor time is the kernel's, of this process with all its threads and of its children, alive or
ended (such as the server gate's trial). Memory is sampled, because the kernel keeps a peak only for
the whole life of a process; a peak shorter than the interval is missed. Of a child only unshared
memory counts: a forked child shares most of its memory with this process.

While a node is launched, its memory is recorded in a small file in the run's folder. It shows
afterwards whether the system killed the process because memory ran out
(`ordain.history.recovery`).
"""

from __future__ import annotations

import contextlib
import json
import resource
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ordain.common.memory import Memory, read_memory
from ordain.common.profiler import PROGRAM

#: A sample takes 0.4 ms and one of a child of 1 GB 35 ms: 1 to 2 % of one processor.
INTERVAL_S = 0.25
_CHILDREN_EACH = 8
#: The file is written this often, and with each sample while little memory is left.
_RECORD_EACH_S = 2.0
#: Below this share of the machine's memory, little is left.
SCARCE_SHARE = 0.1
#: Folder in the run's folder with a file for each node that is being launched.
RECORDS = "memory"


@dataclass(frozen=True)
class Cost:
    """Resources of a node, over all its launches.

    Attributes:
        cpu_s: Processor time, user and system, of this process and its children.
        peak_rss_bytes: Largest resident memory of this process, with the children's own memory
            (USS), as sampled.
        bytes_written: Size of its outputs in its own folders, without cached ones.
        rows: Rows that it processed, without cached ones; None if it does not count them.
    """

    cpu_s: float
    peak_rss_bytes: int
    bytes_written: int = 0
    rows: int | None = None


@dataclass(frozen=True)
class LastRecord:
    """Last record of a node's memory.

    Attributes:
        rss_bytes: Memory of the run's process and its children.
        memory: The machine's.
    """

    rss_bytes: int
    memory: Memory

    @property
    def was_scarce(self) -> bool:
        """True if little memory was left."""
        return self.memory.available_bytes < SCARCE_SHARE * self.memory.total_bytes


class Meter:
    """Measures while it is entered."""

    def __init__(self, record: Path | None = None) -> None:
        """Measures nothing yet.

        Args:
            record: File for the memory records, removed at the end; None for no records.
        """
        self._record = record
        self._recorded = -_RECORD_EACH_S
        self._process = psutil.Process()
        self._peak = 0
        self._children = 0
        self._began = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ordain-meter", daemon=True)

    def __enter__(self) -> Meter:
        """Starts measuring."""
        self._began = _cpu_s(self._process)
        self._sample(has_children=False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops measuring; `cost` is complete from here on."""
        self._ended.set()
        self._thread.join()
        self._sample(has_children=False)
        if self._record is not None:
            with contextlib.suppress(OSError):
                self._record.unlink(missing_ok=True)
                self._record.parent.rmdir()

    def cost(self, bytes_written: int = 0, rows: int | None = None) -> Cost:
        """Measurements so far, with the caller's counts."""
        return Cost(round(_cpu_s(self._process) - self._began, 3), self._peak, bytes_written, rows)

    def _watch(self) -> None:
        number = 0
        while not self._ended.wait(INTERVAL_S):
            number += 1
            self._sample(has_children=number % _CHILDREN_EACH == 1)

    def _sample(self, has_children: bool) -> None:
        if has_children:
            self._children = _children_bytes(self._process)
        held = self._process.memory_info().rss + self._children
        self._peak = max(self._peak, held)
        if self._record is not None:
            with contextlib.suppress(OSError):  # on a full disk the node itself fails
                self._note(self._record, held)

    def _note(self, record: Path, held: int) -> None:
        memory = read_memory()
        is_due = time.monotonic() - self._recorded >= _RECORD_EACH_S
        if not is_due and memory.available_bytes >= SCARCE_SHARE * memory.total_bytes:
            return
        self._recorded = time.monotonic()
        document = {
            "rss_bytes": held,
            "available_bytes": memory.available_bytes,
            "total_bytes": memory.total_bytes,
        }
        record.parent.mkdir(parents=True, exist_ok=True)
        staged = record.with_name(f".{record.name}")
        staged.write_text(json.dumps(document), encoding="utf-8")
        staged.replace(record)


def last_record(run_folder: Path, node: str) -> LastRecord | None:
    """Reads the last memory record of a killed process; None if there is none.

    Args:
        run_folder: The run's folder.
        node: The node's id.
    """
    try:
        raw: dict[str, Any] = json.loads((run_folder / RECORDS / f"{node}.json").read_bytes())
        memory = Memory(int(raw["total_bytes"]), int(raw["available_bytes"]))
        return LastRecord(int(raw["rss_bytes"]), memory)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _cpu_s(process: psutil.Process) -> float:
    """Processor time so far, in seconds, of this process and of living and ended children."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for child in _children(process):
        with contextlib.suppress(psutil.Error):
            total += sum(child.cpu_times()[:4])  # its own, and of its children that ended
    return total


def _children_bytes(process: psutil.Process) -> int:
    total = 0
    for child in _children(process):
        with contextlib.suppress(psutil.Error):
            total += child.memory_full_info().uss
    return total


def _children(process: psutil.Process) -> Iterator[psutil.Process]:
    """Living descendants, without the profiler."""
    with contextlib.suppress(psutil.Error):
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.name() != PROGRAM:
                    yield child
