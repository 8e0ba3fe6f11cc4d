"""The section `gate`: limits and policies of the data gate and the server gate."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from ordain.config.base import Policy, Reason, Section, Shown

#: Keys of `gate.anomalies`; `ordain.components.data_gate.anomaly_kinds.KINDS` defines each.
AnomalyKind = Literal[
    "missing_column",
    "new_column",
    "type",
    "new_value",
    "out_of_range",
    "not_a_number",
    "missing_values",
    "value_count",
    "row_count",
    "other",
]


class Drift(Section):
    """Limits on the distance between the newest span and the one before it.

    They apply to every feature whose schema entry has no `drift_comparator` of its own.
    """

    numeric: Annotated[float, Field(gt=0, le=1)] | None = 0.3
    """Limit on the Jensen-Shannon divergence between the newest span and the one before, for
    numeric features. `null` turns the check off."""
    categorical: Annotated[float, Field(gt=0, le=1)] | None = 0.3
    """Limit on the L-infinity norm, for categorical features."""
    ignore: tuple[str, ...] = ()
    """Features that are not compared, even if the schema has a comparator for them."""
    policy: Policy = "warn"
    """Policy for drift above its limit."""


class ServerGate(Section):
    """Limits that a model has to keep on a trial server before it is published."""

    none: Reason | None = None
    """Turns the gate off, regardless of its other keys; `ordain plan` repeats the reason."""
    runner: Literal["ordain", "tensorflow_serving_docker", "kubernetes"] = "ordain"
    """Ordain's server, or TFX's InfraValidator with TensorFlow Serving, which supports `max_load_s`
    only."""
    image_tag: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"), Shown("image tag")
    ] = "latest"
    """Tag of the image `tensorflow/serving`, for the other runners."""
    requests: Annotated[int, Field(ge=1, le=1000)] = 32
    """Number of rows of the eval split that are sent as requests."""
    tolerance: Annotated[FiniteFloat, Field(ge=0)] = 1e-4
    """Allowed difference between a response and the evaluation's prediction; relative to the
    prediction where that is above 1."""
    max_load_s: Annotated[FiniteFloat, Field(gt=0, le=3600)] = 60.0
    """Seconds to load the model and warm it up, without TensorFlow's import."""
    max_size_mb: Annotated[FiniteFloat, Field(gt=0)] = 2000.0
    """Size of the model's files, in 10^6 bytes."""
    max_memory_mb: Annotated[FiniteFloat, Field(gt=0)] = 4000.0
    """Resident memory of the server, in 10^6 bytes; about 700 of them are TensorFlow's own."""
    max_p99_ms: Annotated[FiniteFloat, Field(gt=0)] = 500.0
    """99th percentile of the latency of a request of one row, over 300 requests through REST and
    as many through gRPC."""
    allow_changes: Annotated[dict[str, Reason], Shown("map of change to reason")] = Field(
        default_factory=dict
    )
    """Changes of the signatures that would break clients of the stable version, as the gate names
    them (`serving_default.inputs.age`); the manifest keeps the reason. See
    docs/serving-gate.md."""

    @property
    def compares_signatures(self) -> bool:
        """True if the candidate has to serve the clients of the stable version."""
        return self.none is None and self.runner == "ordain"

    @property
    def policy(self) -> dict[str, Any]:
        """Settings of ordain's own runner."""
        return self.model_dump(exclude={"none", "runner", "image_tag"})


class Gate(Section):
    """Policies for the anomalies that the data gate finds, and the server gate."""

    anomalies: dict[AnomalyKind, Policy] = Field(default_factory=dict)
    """Policy for a kind of anomaly, in place of the kind's own; docs/data-gate.md lists the
    kinds. Any other kind is refused."""
    drift: Drift = Drift()
    skew_policy: Policy = "warn"
    """Policy for skew above its limit."""
    server: ServerGate = ServerGate()
    """Limits of the server gate."""
