"""The section `kubeflow`: the chain as pods of a cluster, and the server it is submitted to.

Names, labels, quantities and images follow Kubernetes' own syntax, so that what compiles is
not refused by the cluster. All of it goes into the compiled file, or to the server, as it
stands: no text here holds `${env:NAME}`, and no value is a secret.
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
from ordain.config.base import ProjectPath, Section
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

#: Parts of a variable's name that say that its value is a secret.
_SECRET = re.compile(
    r"(^|_)(PASSWORDS?|PASSWD|PASSPHRASE|PGPASSWORD|SECRETS?|TOKENS?|CREDENTIALS?|APIKEY"
    r"|(API|ACCESS|PRIVATE|SIGNING|ENCRYPTION)_KEY)(_|$)"
)
#: Names ending so name where a secret is, not the secret; the last is Google's for a file.
_PLACE = re.compile(r"_(FILE|PATH|DIR|NAME|URL|URI|ID)$|^GOOGLE_APPLICATION_CREDENTIALS$")


class KubeflowSection(Section):
    """A part of `kubeflow` that goes into the compiled file as it stands."""

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
                "goes into the compiled file as it stands, so it may not hold ${env:NAME}; "
                "a pod gets a variable from kubeflow.env or kubeflow.secrets"
            )
        return value


class Accelerator(KubeflowSection):
    """Accelerators of a pod; `type` is the resource's name, such as `nvidia.com/gpu`."""

    type: ResourceName
    count: Annotated[int, Field(ge=1, le=64)] = 1


class Toleration(KubeflowSection):
    """A taint that a pod puts up with. Without `key`, every taint."""

    key: LabelKey | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Toleration:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("has a value; operator Exists takes none")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("has no key; that needs operator: Exists")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("has seconds; that needs effect: NoExecute")
        return self


class Retries(KubeflowSection):
    """How often a pod that failed is tried again, and after which pauses.

    `max_s` bounds all tries together, the first one's work included: a pod that fails later
    than that is not tried again. Kubeflow Pipelines allows an hour at most.
    """

    count: Annotated[int, Field(ge=0, le=20)] = 2
    backoff_s: Annotated[int, Field(ge=1, le=3600)] = 30
    factor: Annotated[FiniteFloat, Field(ge=1, le=10)] = 2.0
    max_s: Annotated[int, Field(ge=1, le=3600)] = 3600

    @model_validator(mode="after")
    def _leaves_time(self) -> Retries:
        if self.backoff_s > self.max_s:
            raise ValueError(f"backoff_s {self.backoff_s} is above max_s {self.max_s}")
        return self


class Pod(KubeflowSection):
    """What one node's pod asks for; a key that is not set is that of `kubeflow.defaults`.

    `cpu` and `memory` are limits; the requests are the same unless set.
    """

    cpu: Cpu | None = None
    memory: Memory | None = None
    cpu_request: Cpu | None = None
    memory_request: Memory | None = None
    accelerator: Accelerator | None = None
    node_selector: dict[LabelKey, LabelValue] | None = None
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] | None = None
    retries: Retries | None = None
    timeout_s: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    image: Image | None = None

    @field_validator("cpu", "memory", "cpu_request", "memory_request")
    @classmethod
    def _is_some(cls, value: str | None) -> str | None:
        if value is not None and quantity(value) <= 0:
            raise ValueError("must be above 0")
        return value

    def over(self, below: Pod) -> Pod:
        """This node's wishes on top of the defaults, checked as a whole; `retries` is set.

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
    """A Kubernetes secret that every pod gets: a key as a variable, or all as files of a folder."""

    name: Name
    key: Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    env: EnvName | None = None
    path: PodPath | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Secret:
        given = {key for key in ("key", "env", "path") if getattr(self, key) is not None}
        if given not in ({"key", "env"}, {"path"}):
            raise ValueError("has key and env for a variable, or path for files")
        return self


class Volume(KubeflowSection):
    """A claim that every pod mounts."""

    claim: Name
    path: PodPath


class Auth(KubeflowSection):
    """How the client shows the server who it is: variables and files that hold it, never itself.

    A token in a variable, one in a file (a service account's, read again for each request), or
    the `Cookie` header of a signed-in browser in a variable.
    """

    token_env: EnvName | None = None
    token_file: ProjectPath | None = None
    cookies_env: EnvName | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Auth:
        if sum(getattr(self, key) is not None for key in type(self).model_fields) != 1:
            raise ValueError("names exactly one of token_env, token_file and cookies_env")
        return self


class Kubeflow(KubeflowSection):
    """The chain in a cluster (`docs/kubeflow-compile.md`) and its server."""

    image: Image | None = None
    project: PodPath = "/project"
    pipeline_root: Root | None = None
    service_account: Name | None = None
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    pull_secrets: Annotated[tuple[Name, ...], Field(max_length=16)] = ()
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    env: dict[EnvName, Annotated[str, BeforeValidator(as_text), Field(max_length=4096)]] = Field(
        default_factory=dict
    )
    secrets: Annotated[tuple[Secret, ...], Field(max_length=64)] = ()
    volumes: Annotated[tuple[Volume, ...], Field(max_length=32)] = ()
    defaults: Pod = Pod()
    nodes: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$")], Pod] = Field(
        default_factory=dict
    )
    host: str | None = None
    namespace: Namespace | None = None
    experiment: Annotated[str, Field(min_length=1, max_length=128)] = "Default"
    ca_file: ProjectPath | None = None
    auth: Auth | None = None

    @field_validator("defaults")
    @classmethod
    def _fit(cls, value: Pod) -> Pod:
        value.over(Pod())
        return value

    @field_validator("nodes")
    @classmethod
    def _fit_the_defaults(cls, value: dict[str, Pod], info: ValidationInfo) -> dict[str, Pod]:
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
    def _names_once(self) -> Kubeflow:
        variables = [*self.env, *(secret.env for secret in self.secrets if secret.env)]
        paths = [volume.path for volume in self.volumes]
        paths += [secret.path for secret in self.secrets if secret.path]
        for what, names in (("variable", variables), ("path", paths)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]} is given more than once")
        return self

    def pod(self, node: str) -> Pod:
        """What a node's pod asks for, defaults filled in."""
        return self.nodes.get(node, Pod()).over(self.defaults)
