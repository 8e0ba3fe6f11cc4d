"""The section `push`: the serving directory, labels and signatures of versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ValidationInfo, field_validator

from ordain.common.env_references import is_reference
from ordain.config.base import ProjectPath, Section, Shown, absolute_path


class Signing(Section):
    """The key pair that versions are signed with; serving needs the public key alone."""

    public_key: ProjectPath
    """PEM file of the public key."""
    private_key: ProjectPath | None = None
    """PEM file of the private key, needed only to publish or to move labels."""
    password: Annotated[str, Shown("`${env:NAME}`")] | None = None
    """Pass phrase of the private key, always as a reference; resolved when a version is
    signed."""

    @field_validator("password")
    @classmethod
    def _is_reference(cls, value: str | None) -> str | None:
        if value is not None and not is_reference(value):
            raise ValueError("must be a reference such as ${env:NAME}, not the pass phrase itself")
        return value


class Push(Section):
    """The serving directory, and the effect of a push on the label `stable`."""

    directory: Annotated[
        str | None, Shown("path, or `gs://bucket/folder`", "`<workspace>/serving`")
    ] = None
    """Folder of the serving directories; the project's own is `<directory>/<name>`."""
    promote: Literal["auto", "manual"] = "auto"
    """`auto` gives a pushed version the label `stable`, except after a rollback."""
    signing: Signing | None = None
    """Signs versions and `labels.json`. A version that is not signed with this key, for this
    project, gets no label and is not served."""

    @field_validator("directory")
    @classmethod
    def _is_known_scheme(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or value.startswith("gs://"):
            return value
        if "://" in value:
            raise ValueError("must be a path, or an address gs://bucket/folder")
        return str(absolute_path(Path(value), info))

    @property
    def public_key(self) -> Path | None:
        """The key that a version has to be signed with; None while signing is off."""
        return self.signing.public_key if self.signing is not None else None

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the publisher, which are kept in ML Metadata."""
        signing = self.signing.model_dump(mode="json") if self.signing is not None else None
        return {"promote": self.promote, "signing": signing}
