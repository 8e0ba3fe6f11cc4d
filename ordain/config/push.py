"""The section `push`: where versions are published, and how they are signed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationInfo, field_validator

from ordain.config.base import ProjectPath, Section, absolute_path


class Signing(Section):
    """The key pair that versions are signed with.

    A machine that only serves needs the public key alone. The pass phrase of the private key
    is a reference, `${env:NAME}`, which is looked up when a version is signed.
    """

    public_key: ProjectPath
    private_key: ProjectPath | None = None
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
    def told(self) -> dict[str, Any]:
        """What the publisher is told; it is kept in ML Metadata."""
        signing = self.signing.model_dump(mode="json") if self.signing is not None else None
        return {"promote": self.promote, "signing": signing}
