"""The section `gate`: what the data gate and the server gate let through."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from ordain.config.base import Policy, Reason, Section

#: What `gate.anomalies` may name; `ordain.components.data_gate.anomaly_kinds.KINDS` says what each
#: covers.
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

    They hold for every feature whose schema entry has no `drift_comparator` of its own:
    Jensen-Shannon divergence for numeric features, L-infinity norm for categorical ones.
    None turns the check off for that kind.
    """

    numeric: Annotated[float, Field(gt=0, le=1)] | None = 0.3
    categorical: Annotated[float, Field(gt=0, le=1)] | None = 0.3
    ignore: tuple[str, ...] = ()
    policy: Policy = "warn"


class ServerGate(Section):
    """Limits that a model has to keep while it is served on trial, before it is published.

    `ordain` starts a server of our own; the other runners are TFX's InfraValidator, which loads
    the model with TensorFlow Serving and knows `max_load_s` only. The megabytes are 10^6 bytes;
    resident memory includes TensorFlow's own, about 700 MB. `none`, a reason that is recorded,
    switches the gate off, whatever else is set.
    """

    none: Reason | None = None
    runner: Literal["ordain", "tensorflow_serving_docker", "kubernetes"] = "ordain"
    image_tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] = "latest"
    requests: Annotated[int, Field(ge=1, le=1000)] = 32
    tolerance: Annotated[FiniteFloat, Field(ge=0)] = 1e-4
    max_load_s: Annotated[FiniteFloat, Field(gt=0, le=3600)] = 60.0
    max_size_mb: Annotated[FiniteFloat, Field(gt=0)] = 2000.0
    max_memory_mb: Annotated[FiniteFloat, Field(gt=0)] = 4000.0
    max_p99_ms: Annotated[FiniteFloat, Field(gt=0)] = 500.0
    #: Changes of signatures that would break clients of the stable version, each with a reason.
    allow_changes: dict[str, Reason] = Field(default_factory=dict)

    @property
    def compares_signatures(self) -> bool:
        """True if the candidate has to serve the clients of the stable version."""
        return self.none is None and self.runner == "ordain"

    @property
    def policy(self) -> dict[str, Any]:
        """What our own runner is told."""
        return self.model_dump(exclude={"none", "runner", "image_tag"})


class Gate(Section):
    """What each kind of anomaly means for a run (`docs/data-gate.md` lists the kinds).

    `server` is the other gate's, the last one before a model is published
    (`docs/serving-gate.md`).
    """

    anomalies: dict[AnomalyKind, Policy] = Field(default_factory=dict)
    drift: Drift = Drift()
    skew_policy: Policy = "warn"
    server: ServerGate = ServerGate()
