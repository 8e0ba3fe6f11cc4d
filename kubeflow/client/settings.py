"""Address and credentials of a Kubeflow Pipelines server, from `pipeline.yaml` and options.

Credentials are referenced, never stored: by an environment variable, or by a file that is read
again for each request, because Kubernetes renews service account tokens while a command runs.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ordain.errors import ConfigError

if TYPE_CHECKING:
    from ordain.config.project import Project

DOCS = "docs/kubeflow-submit.md"
PORT_FORWARD = "kubectl -n kubeflow port-forward svc/ml-pipeline 8888"
DEFAULT_EXPERIMENT = "Default"
#: Where Kubernetes writes the namespace of a pod.
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
#: A token is a few kB; more is the wrong file.
MAX_CREDENTIAL_BYTES = 65_536
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Connection:
    """Address and credentials of a server.

    Attributes:
        host: Address of the API or of the UI in front of it, `http://` or `https://`.
        namespace: The profile's namespace on a multi-user Kubeflow; also the pods' namespace.
        experiment: Name of the experiment that runs are put into.
        ca_file: PEM of the server's certificate authority; None: public ones.
        token_env: Name of the environment variable that holds a token.
        token_file: File that holds a token, such as a service account's.
        cookies_env: Name of the environment variable that holds a `Cookie` header.
        project: Folder of the project that configures it; None if there is none.
        options: Further command options that identify it, such as `--host` and the address.
    """

    host: str
    namespace: str | None = None
    experiment: str = DEFAULT_EXPERIMENT
    ca_file: Path | None = None
    token_env: str | None = None
    token_file: Path | None = None
    cookies_env: str | None = None
    project: str | None = None
    options: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Command options for this server: `--project examples/flights --env prod`."""
        named = () if self.project is None else ("--project", self.project)
        return shlex.join((*named, *self.options))

    @property
    def argument_words(self) -> str:
        """As `words`, for a command that takes the project as an argument."""
        return shlex.join((*(() if self.project is None else (self.project,)), *self.options))

    @property
    def shown_credentials(self) -> str:
        """Describes the credentials that are sent, without their value."""
        if self.token_env is not None:
            return f"the token in the environment variable {self.token_env}"
        if self.token_file is not None:
            return f"the token in {self.token_file}"
        if self.cookies_env is not None:
            return f"the cookies in the environment variable {self.cookies_env}"
        return "no credentials"

    def read_variable(self, key: str) -> str | None:
        """The credential in the environment variable that a key names; None if it names none.

        Args:
            key: `token_env` or `cookies_env`.

        Raises:
            ConfigError: The variable is not set or not valid in a header.
        """
        name = getattr(self, key)
        if name is None:
            return None
        value = os.environ.get(name, "").strip()
        if not value:
            raise ConfigError(
                f"kubeflow.auth.{key}: the environment variable {name} is not set",
                f"export {name}=, or another way to authenticate; see {DOCS}",
            )
        if len(value) > MAX_CREDENTIAL_BYTES or not value.isascii() or not value.isprintable():
            raise ConfigError(
                f"kubeflow.auth.{key}: the value of {name} cannot be sent in a header: "
                f"it must be one line of ASCII, {MAX_CREDENTIAL_BYTES} bytes at most",
                f"export {name}= again",
            )
        return value

    def check_files(self) -> None:
        """Checks that the files of the connection can be read.

        Raises:
            ConfigError: One cannot be read; the message names key and file.
        """
        for key, path in (("auth.token_file", self.token_file), ("ca_file", self.ca_file)):
            if path is None:
                continue
            try:
                with path.open("rb") as file:
                    is_empty = not file.read(MAX_CREDENTIAL_BYTES).strip()
            except OSError as error:
                raise ConfigError(
                    f"kubeflow.{key}: {path} cannot be read: {error.strerror}", f"see {DOCS}"
                ) from error
            if is_empty:
                raise ConfigError(f"kubeflow.{key}: {path} is empty", f"see {DOCS}")


def connection_of(
    project: Project | None, host: str | None = None, namespace: str | None = None
) -> Connection:
    """Builds the connection from a project's configuration and a command's options.

    Args:
        project: The project with the section `kubeflow`; None without one.
        host: Option `--host`; overrides the project's.
        namespace: Option `--namespace`; overrides the project's.

    Raises:
        ConfigError: There is no address, or address or namespace is invalid.
    """
    section = None if project is None else project.kubeflow
    address = host or (section.host if section else None)
    if address is None:
        raise ConfigError(
            "no Kubeflow Pipelines server: neither --host nor kubeflow.host is set",
            f"{PORT_FORWARD} & then --host http://127.0.0.1:8888",
        )
    chosen = namespace or (section.namespace if section else None) or _namespace_of_pod()
    if chosen is not None and not _NAMESPACE.fullmatch(chosen):
        raise ConfigError(
            f"--namespace {chosen!r} is not a namespace: lower-case letters, digits and '-', "
            "at most 63",
            "kubectl get namespaces",
        )
    checked = check_host(address)
    given = (("--host", host), ("--namespace", namespace))
    options = tuple(word for name, value in given if value for word in (name, value))
    if project is None or section is None:
        return Connection(checked, chosen, options=options)
    auth = section.auth
    overlay = () if project.environment is None else ("--env", project.environment)
    return Connection(
        host=checked,
        namespace=chosen,
        project=_shown(project.folder),
        options=(*overlay, *options),
        experiment=section.experiment,
        ca_file=section.ca_file,
        token_env=auth.token_env if auth else None,
        token_file=auth.token_file if auth else None,
        cookies_env=auth.cookies_env if auth else None,
    )


def check_host(address: str) -> str:
    """Checks an address and removes the slash at its end.

    Raises:
        ConfigError: It has no scheme or host, or contains credentials.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"host {address!r}: must begin with http:// or https:// and name a host",
            "for example --host http://127.0.0.1:8888, or --host https://kubeflow.example/pipeline",
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"host {parts.scheme}://...@{parts.hostname}: credentials do not belong in an address",
            f"kubeflow.auth in pipeline.yaml; see {DOCS}",
        )
    return address.rstrip("/")


def _shown(folder: Path) -> str:
    """A folder relative to the current one, if it is below it."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)


def _namespace_of_pod() -> str | None:
    try:
        return POD_NAMESPACE.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
