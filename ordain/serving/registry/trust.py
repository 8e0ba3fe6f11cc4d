"""Keys and project that versions and labels of a serving directory are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ordain.common.env_references import resolve_references
from ordain.errors import ConfigError


@dataclass(frozen=True)
class SigningKey:
    """A private key.

    Attributes:
        path: Its PEM file.
        password: What the file is encrypted with; None if it is not.
    """

    path: Path
    password: str | None = None

    def __repr__(self) -> str:
        """Without the password, which must not get into a log."""
        return f"SigningKey({str(self.path)!r})"


@dataclass(frozen=True)
class Trust:
    """Whose versions and labels are taken, and what signs new ones.

    Attributes:
        project: Name of the project that the serving directory belongs to.
        public_key: PEM file of the key that versions and labels have to be signed with; None
            while signing is off, and then `project` is not compared either: an unsigned name
            proves nothing.
        private_key: PEM file of its other half; None on a machine that only reads.
        password: What the private key's file is encrypted with, as a reference `${env:NAME}`.
    """

    project: str
    public_key: Path | None = None
    private_key: Path | None = None
    password: str | None = None

    def __repr__(self) -> str:
        """Without the password, which must not get into a log."""
        return f"Trust({self.project!r}, {str(self.public_key)!r}, {str(self.private_key)!r})"

    @classmethod
    def of(cls, project: str, signing: Mapping[str, Any] | None) -> Trust:
        """The trust that a section `push.signing` describes; None is signing turned off."""
        if signing is None:
            return cls(project)
        private = signing.get("private_key")
        return cls(
            project,
            Path(signing["public_key"]),
            Path(private) if private else None,
            signing.get("password"),
        )

    @property
    def is_signed(self) -> bool:
        """True if signing is on."""
        return self.public_key is not None

    def key(self) -> SigningKey | None:
        """The key that signs new versions and labels; None while signing is off.

        Raises:
            ConfigError: Signing is on, and there is no private key, or the variable of its pass
                phrase is not set.
        """
        if not self.is_signed:
            return None
        if self.private_key is None:
            raise ConfigError(
                "push.signing has no private_key, so nothing can be published or labelled from "
                "here: both are signed",
                "name the PEM file in push.signing.private_key, or do it where the key is",
            )
        path = resolve_references(str(self.private_key), "push.signing.private_key")
        password = resolve_references(self.password, "push.signing.password")
        return SigningKey(Path(path), password)
