"""Keys and project that sign and verify the versions and labels of a serving directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ordain.common.env_references import resolve_references
from ordain.errors import ConfigError


@dataclass(frozen=True)
class SigningKey:
    """A private key.

    Attributes:
        path: Its PEM file.
        password: Password of the file; None if it is not encrypted.
    """

    path: Path
    #: Not in the representation: it must not get into a log.
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Trust:
    """Required signer of versions and labels, and the key that signs new ones.

    Attributes:
        project: Name of the project that the serving directory belongs to.
        public_key: PEM file of the public key that verifies versions and labels; None while signing
            is off. `project` is compared only while it is on: an unsigned name proves nothing.
        private_key: PEM file of the private key; None on a machine that only reads.
        password: Password of the private key's file, as a reference `${env:NAME}`.
    """

    project: str
    public_key: Path | None = None
    private_key: Path | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, project: str, signing: Mapping[str, Any] | None) -> Trust:
        """Makes the trust of a section `push.signing`; None means that signing is off."""
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
            ConfigError: Signing is on, and there is no private key, or the variable of its
                password is not set.
        """
        if not self.is_signed:
            return None
        if self.private_key is None:
            raise ConfigError(
                "push.signing has no private_key, which publishing and labelling need to sign",
                "name the PEM file in push.signing.private_key, or do it where the key is",
            )
        path = resolve_references(str(self.private_key), "push.signing.private_key")
        password = resolve_references(self.password, "push.signing.password")
        return SigningKey(Path(path), password)
