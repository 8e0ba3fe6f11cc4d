"""Prometheus metrics of a server, at `/metrics`.

The number of label values is bounded for any requests: the model is the served one or empty, the
version one that was loaded or empty.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


class Metrics:
    """Metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ordain_requests",
            "Completed requests.",
            ("model", "version", "protocol", "method", "code"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ordain_request_seconds",
            "Time from a request's head to its response.",
            ("protocol", "method"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_rows = Histogram(
            "ordain_batch_rows",
            "Rows in one call of the model.",
            buckets=_ROWS,
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "ordain_queue_depth", "Requests waiting for the model.", registry=self.registry
        )
        self.in_flight = Gauge(
            "ordain_requests_in_flight", "Open requests.", registry=self.registry
        )
        self.loaded = Gauge(
            "ordain_version_loaded",
            "1 for each version in memory.",
            ("version",),
            registry=self.registry,
        )
        self.labels = Gauge(
            "ordain_label_version", "Version that has a label.", ("label",), registry=self.registry
        )
        self.reloads = Counter(
            "ordain_version_loads",
            "Versions loaded or refused.",
            ("result",),
            registry=self.registry,
        )
        self.threads_lost = Gauge(
            "ordain_threads_lost",
            "Threads blocked in a call that was cancelled and does not end, of a model or a load.",
            ("work",),
            registry=self.registry,
        )
