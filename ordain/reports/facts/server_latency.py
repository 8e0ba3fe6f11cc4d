"""Measurements of the server gate."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from ordain.common.node_id import NodeId
from ordain.reports.facts.run_record import Record
from ordain.serving.sandbox.latency import percentile
from ordain.verdict import Verdict

MEASUREMENTS_FILE = "measurements.json"
_SHARES = (0.50, 0.90, 0.95, 0.99)


@dataclass(frozen=True)
class Latency:
    """Times of requests of one row through one protocol, in milliseconds."""

    protocol: str
    times_ms: tuple[float, ...]

    @property
    def percentiles(self) -> tuple[float, ...]:
        """p50, p90, p95, p99 by nearest rank, as in the verdict."""
        return tuple(percentile(self.times_ms, share) for share in _SHARES)


@dataclass(frozen=True)
class Server:
    """A trial.

    Attributes:
        load_s: Load time in seconds.
        peak_bytes: Peak resident memory of the server in bytes.
        latencies: By protocol.
    """

    load_s: float
    peak_bytes: int
    latencies: tuple[Latency, ...]


def read_server(record: Record) -> Server | None:
    """Read the trial of a run's model; None if it did not take place."""
    folder = record.folder_of(NodeId.SERVER_GATE, "blessing")
    if folder is None or not (folder / MEASUREMENTS_FILE).is_file():
        return None
    raw = json.loads((folder / MEASUREMENTS_FILE).read_text(encoding="utf-8"))
    found = (Latency(name, tuple(times)) for name, times in raw["single_ms"].items() if times)
    return Server(raw["load_s"], raw["peak_bytes"], tuple(found))


def latency_limit(verdicts: Iterable[Verdict]) -> float | None:
    """Read the limit on p99 in milliseconds from the gate's verdict."""
    reasons = (r for v in verdicts if v.gate == "server" for r in v.reasons)
    return next((r.limit for r in reasons if r.kind.startswith("latency.")), None)
