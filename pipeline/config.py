"""A project's configuration: `pipeline.yaml` as frozen models.

Every key a user may write is declared here, with its default and its bounds, and nowhere else.
Paths are absolute once loaded (`pipeline.loading`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    field_validator,
    model_validator,
)

from pipeline.clock_ticks import check_cron, check_timezone
from pipeline.metadata_store import Location, parse_location

#: What `gate.anomalies` may name; `components.data_checks.KINDS` says what each covers.
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
Policy = Literal["pass", "warn", "block"]
ScalarValue = str | int | float | bool
#: What `notify` may be asked to tell; `pipeline.notify` says when each happens.
NotifyEvent = Literal["blocked", "failed", "blessed", "published"]
#: Reserved slice key under which examples are evaluated by the data span they came from.
SPAN_SLICE = "span"
DEFAULT_BEAM_ARGS = (
    # Beam 2.77's DirectRunner first tries a runner whose binary it downloads at run time.
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
)


class Section(BaseModel):
    """A frozen part of the configuration that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Split(Section):
    """How rows go to train or to eval: by a hash, so that a row keeps its side for ever.

    With `by`, all rows that share the column's value stay together; without, each row is
    hashed on its own. `train` and `eval` are shares of the hash buckets (2 and 1: two thirds).
    """

    by: str | None = None
    train: Annotated[int, Field(ge=1)] = 2
    eval: Annotated[int, Field(ge=1)] = 1


class Data(Section):
    """Where the data is, and which of it a run takes."""

    path: Path
    pattern: str = "*"
    format: Literal["csv", "parquet", "tfrecord"] | None = None
    window: Annotated[int, Field(ge=1, le=1000)] = 1
    label: str
    unlabelled: Literal["block", "drop"] = "block"
    split: Split = Split()

    @field_validator("pattern")
    @classmethod
    def _relative(cls, value: str) -> str:
        if value.startswith("/") or ".." in value.split("/"):
            raise ValueError("must be relative to data.path, without '..'")
        dates = [spec for spec in ("{YYYY}", "{MM}", "{DD}") if spec in value]
        if dates and len(dates) != 3:
            raise ValueError("a date pattern needs all of {YYYY}, {MM} and {DD}")
        if dates and "{SPAN" in value:
            raise ValueError("holds both {SPAN} and a date; a span is one or the other")
        twice = [s for s in ("{SPAN", "{VERSION", "{YYYY}", "{MM}", "{DD}") if value.count(s) > 1]
        if twice:
            raise ValueError(f"holds {twice[0]} more than once")
        if "{VERSION" in value and "{SPAN" not in value and not dates:
            raise ValueError("{VERSION} needs {SPAN} or a date beside it")
        return value

    @property
    def has_spans(self) -> bool:
        """Whether the pattern tells spans apart; without, all files are span 0."""
        return "{SPAN" in self.pattern or "{YYYY}" in self.pattern


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

    none: Annotated[str, Field(min_length=3)] | None = None
    runner: Literal["ordain", "tensorflow_serving_docker", "kubernetes"] = "ordain"
    image_tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] = "latest"
    requests: Annotated[int, Field(ge=1, le=1000)] = 32
    tolerance: Annotated[FiniteFloat, Field(ge=0)] = 1e-4
    max_load_s: Annotated[FiniteFloat, Field(gt=0, le=3600)] = 60.0
    max_size_mb: Annotated[FiniteFloat, Field(gt=0)] = 2000.0
    max_memory_mb: Annotated[FiniteFloat, Field(gt=0)] = 4000.0
    max_p99_ms: Annotated[FiniteFloat, Field(gt=0)] = 500.0

    @property
    def policy(self) -> dict[str, float]:
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


class Train(Section):
    """Training: steps, and whatever the project's own `run_fn` wants to be told."""

    module: Path = Path("model.py")
    steps: Annotated[int, Field(ge=1)] = 1000
    eval_steps: Annotated[int, Field(ge=1)] = 100
    parameters: dict[str, ScalarValue] = Field(default_factory=dict)
    #: `served`: `run_fn` gets the served model to go on from (`fn_args.base_model`).
    base_model: Literal["served"] | None = None


class Tune(Section):
    """Hyperparameter search with KerasTuner before training; needs `tuner_fn`."""

    steps: Annotated[int, Field(ge=1)] = 200
    eval_steps: Annotated[int, Field(ge=1)] = 50


class Limit(Section):
    """Limits on one metric.

    `min` and `max` bound the candidate's own value; `max_drop` and `max_rise` bound, in the
    metric's own unit, how much worse than the baseline it may be.
    """

    # Finite: no value is below -inf or on the wrong side of NaN, so these would limit nothing.
    min: FiniteFloat | None = None
    max: FiniteFloat | None = None
    max_drop: Annotated[FiniteFloat, Field(ge=0)] | None = None
    max_rise: Annotated[FiniteFloat, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_direction(self) -> Limit:
        if self.max_drop is not None and self.max_rise is not None:
            raise ValueError("has both max_drop and max_rise; a metric has one good direction")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self

    @property
    def is_empty(self) -> bool:
        """Whether it limits nothing."""
        return self.min is self.max is self.max_drop is self.max_rise is None


class SliceLimit(Limit):
    """Limits on one metric over slices: every slice of `keys`, or the one of `values`."""

    keys: tuple[str, ...] = ()
    values: dict[str, ScalarValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_a_slice(self) -> SliceLimit:
        if bool(self.keys) == bool(self.values):
            raise ValueError("needs either keys or values")
        return self


class Threshold(Limit):
    """Limits on one metric: over the whole window, the newest span, and slices."""

    newest: Limit | None = None
    slices: tuple[SliceLimit, ...] = ()


class NoBaseline(Section):
    """Evaluate without a baseline, for a reason that is recorded."""

    none: Annotated[str, Field(min_length=3)]


class Evaluate(Section):
    """Metrics, slices, and the thresholds a model has to pass."""

    metrics: tuple[str, ...] = ("ExampleCount",)
    slices: tuple[tuple[str, ...], ...] = ()
    thresholds: dict[str, Threshold]
    baseline: Literal["latest"] | Annotated[int, Field(ge=1)] | NoBaseline = "latest"

    @field_validator("slices", mode="before")
    @classmethod
    def _single_keys(cls, value: object) -> object:
        if isinstance(value, list):
            return [[entry] if isinstance(entry, str) else entry for entry in value]
        return value

    @model_validator(mode="after")
    def _has_thresholds(self) -> Evaluate:
        limits: list[Limit] = []
        for threshold in self.thresholds.values():
            limits += [threshold, *threshold.slices]
            limits += [threshold.newest] if threshold.newest else []
        # TFX's Evaluator without thresholds neither blesses nor rejects, and says nothing.
        if all(limit.is_empty for limit in limits):
            raise ValueError(
                "thresholds limits nothing, so no model could ever be blessed or rejected; "
                "give at least one, such as thresholds: {auc: {min: 0.7}}"
            )
        return self


class Signing(Section):
    """The key pair that versions are signed with.

    A machine that only serves needs the public key alone. The pass phrase of the private key
    is a reference, `${env:NAME}`, which is looked up when a version is signed.
    """

    public_key: Path
    private_key: Path | None = None
    password: str | None = None

    @field_validator("password")
    @classmethod
    def _is_reference(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}", value):
            raise ValueError("must be a reference such as ${env:NAME}, not the pass phrase itself")
        return value


class Push(Section):
    """Where versions are published, and what a push means for the label `stable`.

    `directory` holds one serving directory for each project, named as the project is.
    """

    directory: str | None = None
    promote: Literal["auto", "manual"] = "auto"
    signing: Signing | None = None

    @field_validator("directory")
    @classmethod
    def _is_known_scheme(cls, value: str | None) -> str | None:
        if value is not None and "://" in value and not value.startswith("gs://"):
            raise ValueError("is a path, or an address gs://bucket/folder")
        return value

    @property
    def public_key(self) -> Path | None:
        """The key that a version has to be signed with; None while signing is off."""
        return self.signing.public_key if self.signing is not None else None

    @property
    def told(self) -> dict[str, Any]:
        """What the publisher is told; it is kept in ML Metadata."""
        signing = self.signing.model_dump(mode="json") if self.signing is not None else None
        return {"promote": self.promote, "signing": signing}


class Schedule(Section):
    """When `ordain schedule` looks whether there is something to do (`docs/scheduling.md`).

    `poll` looks through the data folder again and again, for mounts that report no changes.
    """

    cron: str | None = None
    timezone: str = "UTC"
    watch: bool = False
    poll: bool = False
    settle_s: Annotated[FiniteFloat, Field(ge=0, le=3600)] = 1.0
    again_s: Annotated[FiniteFloat, Field(ge=1, le=86400)] = 300.0
    missed: Literal["run", "skip"] = "run"
    grace_s: Annotated[FiniteFloat, Field(ge=0, le=86400)] = 60.0

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        return None if value is None else check_cron(value)

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        return check_timezone(value)


class Notify(Section):
    """Whom to tell of what: a command that reads JSON, or a webhook that JSON is posted to.

    References in either are looked up when something is sent, never before.
    """

    on: Annotated[tuple[NotifyEvent, ...], Field(min_length=1)]
    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    webhook: str | None = None
    timeout_s: Annotated[FiniteFloat, Field(gt=0, le=300)] = 10.0

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_name(cls, value: object) -> object:
        # YAML 1.1 reads an unquoted `on` as the truth value.
        if isinstance(value, dict) and True in value:
            return {"on" if key is True else key: below for key, below in value.items()}
        return value

    @field_validator("webhook")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is None:
            return value
        if not value.startswith(("http://", "https://", "${env:")):
            raise ValueError("must begin with http://, https:// or ${env:NAME}")
        credentials = re.match(r"https?://([^/?#]*)@", value)
        if credentials and "${env:" not in credentials[1]:
            raise ValueError("holds credentials; put the address into a variable: ${env:NAME}")
        return value

    @model_validator(mode="after")
    def _has_one_target(self) -> Notify:
        if (self.command is None) == (self.webhook is None):
            raise ValueError("needs either command or webhook")
        return self


class Complete(Section):
    """When the delivery of a span is whole; all that is set has to hold.

    `marker` is the name of a file that has to stand beside the span's files, `unfinished` a name
    that files of a delivery in progress have. Both may hold `*`, `?`, and `{SPAN}` and the like
    as `data.pattern` has them. `age_minutes` is how long no file may have changed.
    """

    marker: str | None = None
    unfinished: str | None = None
    age_minutes: Annotated[FiniteFloat, Field(ge=0)] = 0.0

    @field_validator("marker", "unfinished")
    @classmethod
    def _is_name(cls, value: str | None) -> str | None:
        if value is not None and (not value or "/" in value):
            raise ValueError("is the name of a file, without '/'")
        return value


class Retrain(Section):
    """What `ordain retrain` takes as a reason to run, and what holds it back.

    A trigger that is None, empty or False is off (`docs/retraining.md`).
    """

    complete: Complete = Complete()
    new_spans: Annotated[int, Field(ge=1)] | None = 1
    late_data: bool = True
    drift: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    max_age_days: Annotated[FiniteFloat, Field(gt=0)] | None = None
    changes: tuple[Literal["source", "schema"], ...] = ("source", "schema")
    catch_up: Literal["each", "latest"] = "latest"
    cool_down_minutes: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    runs_per_day: Annotated[int, Field(ge=1)] | None = None
    attempts: Annotated[int, Field(ge=1)] = 3


class Project(Section):
    """A whole project as `pipeline.yaml` describes it.

    `folder` and `environment` are not keys of the file; loading fills them in, and `metadata`,
    which is shared by the projects of a workspace, where the file does not name it.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    folder: Path
    environment: str | None = None
    workspace: Path
    metadata: Annotated[Location, BeforeValidator(parse_location)]
    data: Data
    schema_file: Path = Path("schema.pbtxt")
    gate: Gate = Gate()
    train: Train = Train()
    tune: Tune | None = None
    evaluate: Evaluate
    push: Push = Push()
    retrain: Retrain = Retrain()
    schedule: Schedule = Schedule()
    notify: tuple[Notify, ...] = ()
    beam_args: tuple[str, ...] = DEFAULT_BEAM_ARGS

    @property
    def home(self) -> Path:
        """Folder of this project in the workspace: artifacts and runs."""
        return self.workspace / self.name

    @property
    def runs(self) -> Path:
        """Folder that holds one folder per run."""
        return self.home / "runs"

    @property
    def artifacts(self) -> Path:
        """TFX's pipeline root."""
        return self.home / "artifacts"

    @property
    def serving(self) -> Path:
        """Serving directory: one folder per published version.

        For a project that publishes to an object store, the local one, which then stays empty.
        """
        if self.push.directory is None or self.is_pushed_away:
            return self.workspace / "serving" / self.name
        return Path(self.push.directory) / self.name

    @property
    def push_base(self) -> str:
        """The serving directory as the publisher takes it: a path, or `gs://bucket/folder`."""
        if self.is_pushed_away:
            return f"{str(self.push.directory).rstrip('/')}/{self.name}"
        return str(self.serving)

    @property
    def is_pushed_away(self) -> bool:
        """Whether versions go to an object store."""
        return self.push.directory is not None and self.push.directory.startswith("gs://")
