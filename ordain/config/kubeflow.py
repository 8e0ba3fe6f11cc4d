"""The section `kubeflow`: the pipeline's pods in a cluster, and the Kubeflow Pipelines server.

Names, labels, quantities and images follow Kubernetes' syntax, so that a cluster accepts what
compiles. All values go into the compiled file or to the server unchanged: none holds `${env:NAME}`
or a secret.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    FiniteFloat,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ordain.common.env_references import has_reference
from ordain.config.base import ProjectPath, Section, Shown
from ordain.config.kubernetes_types import (
    Cpu,
    EnvName,
    Image,
    LabelKey,
    LabelValue,
    Memory,
    Name,
    Namespace,
    PodPath,
    ResourceName,
    Root,
    as_text,
    quantity,
)

#: Parts of the name of a variable whose value is a secret.
_SECRET = re.compile(
    r"(^|_)(PASSWORDS?|PASSWD|PASSPHRASE|PGPASSWORD|SECRETS?|TOKENS?|CREDENTIALS?|APIKEY"
    r"|(API|ACCESS|PRIVATE|SIGNING|ENCRYPTION)_KEY)(_|$)"
)
#: Endings of names of variables that hold a secret's location; the last is Google's for a file.
_PLACE = re.compile(r"_(FILE|PATH|DIR|NAME|URL|URI|ID)$|^GOOGLE_APPLICATION_CREDENTIALS$")


class KubeflowSection(Section):
    """A part of `kubeflow` that goes into the compiled file unchanged."""

    has_references: ClassVar[bool] = False

    @field_validator("*", mode="before")
    @classmethod
    def _has_no_reference(cls, value: object) -> object:
        texts: list[object] = [value]
        if isinstance(value, dict):
            texts = [*value, *value.values()]
        elif isinstance(value, (list, tuple)):
            texts = list(value)
        if any(has_reference(text) for text in texts):
            raise ValueError(
                "goes into the compiled file unchanged, so it may not hold ${env:NAME}; "
                "a pod gets a variable from kubeflow.env or kubeflow.secrets"
            )
        return value


class Accelerator(KubeflowSection):
    """Accelerators of a pod."""

    type: ResourceName
    """The resource's name, such as `nvidia.com/gpu`."""
    count: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of accelerators."""


class Toleration(KubeflowSection):
    """A taint that a pod tolerates."""

    key: LabelKey | None = None
    """The taint's key. Without it, every taint; that needs `operator: Exists`."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """`Equal` compares `value`; `Exists` takes no `value`."""
    value: LabelValue | None = None
    """The taint's value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect. Without it, every effect."""
    seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds that the pod may stay on a tainted node. Needs `effect: NoExecute`."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Toleration:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("has a value; operator Exists takes none")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("has no key; that needs operator: Exists")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("has seconds; that needs effect: NoExecute")
        return self


class Retries(KubeflowSection):
    """Retries of a pod that failed, and the pauses before them."""

    count: Annotated[int, Field(ge=0, le=20)] = 2
    """Number of retries of a failed container."""
    backoff_s: Annotated[int, Field(ge=1, le=3600)] = 30
    """Seconds before the first retry."""
    factor: Annotated[FiniteFloat, Field(ge=1, le=10)] = 2.0
    """Factor from each pause to the next."""
    # Kubeflow Pipelines allows an hour at most.
    max_s: Annotated[int, Field(ge=1, le=3600)] = 3600
    """Seconds from the start of the first attempt, its work included, after which there is no
    further one."""

    @model_validator(mode="after")
    def _fits_limit(self) -> Retries:
        if self.backoff_s > self.max_s:
            raise ValueError(f"backoff_s {self.backoff_s} is above max_s {self.max_s}")
        return self


class Pod(KubeflowSection):
    """Resources and scheduling of one node's pod; `kubeflow.defaults` has those of all."""

    cpu: Cpu | None = None
    """Limit."""
    memory: Memory | None = None
    """Limit."""
    cpu_request: Annotated[Cpu | None, Shown(default="`cpu`")] = None
    """CPU that the cluster reserves; not above the limit."""
    memory_request: Annotated[Memory | None, Shown(default="`memory`")] = None
    """Memory that the cluster reserves; not above the limit."""
    accelerator: Accelerator | None = None
    """Accelerators, such as GPUs."""
    node_selector: dict[LabelKey, LabelValue] | None = None
    """Labels that the cluster's node has to have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] | None = None
    """Taints that the pod tolerates."""
    retries: Annotated[Retries | None, Shown(default="its defaults")] = None
    """Retries of a pod that failed."""
    timeout_s: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """Time limit of the pod, in seconds."""
    image: Annotated[Image | None, Shown(default="`kubeflow.image`")] = None
    """Image of the pod."""

    @field_validator("cpu", "memory", "cpu_request", "memory_request")
    @classmethod
    def _is_positive(cls, value: str | None) -> str | None:
        if value is not None and quantity(value) <= 0:
            raise ValueError("must be above 0")
        return value

    def over(self, below: Pod) -> Pod:
        """This node's keys merged over the defaults and checked as a whole; `retries` is set.

        Raises:
            ValueError: A request is above its limit.
        """
        own = {key: value for key in Pod.model_fields if (value := getattr(self, key)) is not None}
        made = below.model_copy(update=own)
        if made.retries is None:
            made = made.model_copy(update={"retries": Retries()})
        for limit, request in (("cpu", "cpu_request"), ("memory", "memory_request")):
            most, least = getattr(made, limit), getattr(made, request)
            if most is not None and least is not None and quantity(least) > quantity(most):
                raise ValueError(f"{request} {least} is above {limit} {most}")
        return made


class Secret(KubeflowSection):
    """A Kubernetes secret in every pod: one key as a variable, or all keys as files of a folder."""

    name: Name
    """The Kubernetes secret. Either `key` and `env`, or `path` stand beside it."""
    key: (
        Annotated[
            str, Field(max_length=253, pattern=r"^[A-Za-z0-9._-]+$"), Shown("key of a secret")
        ]
        | None
    ) = None
    """Key of the secret whose value `env` gets."""
    env: EnvName | None = None
    """Variable of every pod."""
    path: PodPath | None = None
    """Folder in every pod that holds each key as a file."""

    @model_validator(mode="after")
    def _has_one_target(self) -> Secret:
        given = {key for key in ("key", "env", "path") if getattr(self, key) is not None}
        if given not in ({"key", "env"}, {"path"}):
            raise ValueError("needs key and env for a variable, or path for files")
        return self


class Volume(KubeflowSection):
    """A persistent volume claim that every pod mounts."""

    claim: Name
    """The claim."""
    path: PodPath
    """Folder in every pod where it is mounted."""


class Auth(KubeflowSection):
    """Authentication at the server: a variable or a file that holds the secret."""

    token_env: EnvName | None = None
    """Variable that holds a token. Exactly one of the three keys is set."""
    token_file: ProjectPath | None = None
    """File that holds a token, such as a service account's; read again for each request."""
    cookies_env: EnvName | None = None
    """Variable that holds the `Cookie` header of a signed-in browser."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Auth:
        if sum(getattr(self, key) is not None for key in type(self).model_fields) != 1:
            raise ValueError("needs exactly one of token_env, token_file and cookies_env")
        return self


class Kubeflow(KubeflowSection):
    """The pipeline in a cluster (docs/kubeflow-compile.md) and its server."""

    image: Image | None = None
    """Image of the pods; required to compile."""
    project: PodPath = "/project"
    """The project's folder in the image."""
    pipeline_root: Annotated[Root | None, Shown(default="`workspace`")] = None
    """Default of the run parameter `pipeline_root`; see
    docs/kubeflow-pods.md#what-the-pods-share."""
    service_account: Name | None = None
    """Service account of the pods; `ordain submit` passes it to the run."""
    pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"] | None, Shown(default="Kubernetes' own")
    ] = None
    """Pull policy of the images."""
    pull_secrets: Annotated[tuple[Name, ...], Field(max_length=16)] = ()
    """Secrets that images are pulled with."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Labels of every pod."""
    env: dict[EnvName, Annotated[str, BeforeValidator(as_text), Field(max_length=4096)]] = Field(
        default_factory=dict
    )
    """Variables of every pod. One that looks like a secret is refused."""
    secrets: Annotated[tuple[Secret, ...], Field(max_length=64)] = ()
    """Kubernetes secrets that every pod gets, as variables or files."""
    volumes: Annotated[tuple[Volume, ...], Field(max_length=32)] = ()
    """Persistent volume claims that every pod mounts."""
    defaults: Pod = Pod()
    """Keys of every pod; the next table."""
    nodes: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$")], Pod],
        Shown("map of node to keys"),
    ] = Field(default_factory=dict)
    """Keys of the pods of `Trainer` and others, over the defaults; `prepare` and `result` are
    named like nodes."""
    host: Annotated[str, Shown("address")] | None = None
    """The server: `http://` or `https://`, without credentials."""
    namespace: Namespace | None = None
    """The profile's namespace in a Kubeflow with several users."""
    experiment: Annotated[str, Field(min_length=1, max_length=128)] = "Default"
    """Experiment of the runs."""
    ca_file: ProjectPath | None = None
    """PEM file of the authority that signed the server's certificate."""
    auth: Auth | None = None
    """Authentication at the server."""

    @field_validator("defaults")
    @classmethod
    def _is_consistent(cls, value: Pod) -> Pod:
        value.over(Pod())
        return value

    @field_validator("nodes")
    @classmethod
    def _fits_defaults(cls, value: dict[str, Pod], info: ValidationInfo) -> dict[str, Pod]:
        for node, pod in value.items():
            try:
                pod.over(info.data.get("defaults", Pod()))
            except ValueError as error:
                raise ValueError(f"{node}: {error}") from error
        return value

    @field_validator("host")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s@?#]+", value):
            raise ValueError("must begin with http:// or https:// and hold no credentials")
        return value

    @field_validator("env")
    @classmethod
    def _holds_no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            is_secret = _SECRET.search(name.upper()) and not _PLACE.search(name.upper())
            if is_secret or re.search(r"://[^/\s:@]*:[^/\s@]+@", text):
                raise ValueError(
                    f"{name} looks like a secret; put it into a Kubernetes secret and name that "
                    "under kubeflow.secrets"
                )
        return value

    @model_validator(mode="after")
    def _has_no_duplicates(self) -> Kubeflow:
        variables = [*self.env, *(secret.env for secret in self.secrets if secret.env)]
        paths = [volume.path for volume in self.volumes]
        paths += [secret.path for secret in self.secrets if secret.path]
        for what, names in (("variable", variables), ("path", paths)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]} is given more than once")
        return self

    def pod(self, node: str) -> Pod:
        """A node's pod, with the defaults filled in."""
        return self.nodes.get(node, Pod()).over(self.defaults)
