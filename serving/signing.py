"""Signing a version with a key pair, by the `model-signing` package.

The signature covers every file of the version, the manifest among them, and stands beside it
as a Sigstore bundle: `model_signing verify key` reads it as well. Keys are elliptic-curve keys
in PEM files (P-256, P-384 or P-521):

    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -out private.pem
    openssl pkey -in private.pem -pubout -out public.pem
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from serving.manifest import MANIFEST_FILE, SIGNATURE_FILE


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


def sign_version(folder: Path, key: SigningKey) -> None:
    """Writes the signature of a version's folder into it.

    Raises:
        ConfigError: The key cannot be used.
    """
    from model_signing import signing  # noqa: PLC0415  takes a second, and signing is optional

    config = signing.Config()
    try:
        password: Any = key.password.encode() if key.password else None
        config.use_elliptic_key_signer(private_key=key.path, password=password)
    except (OSError, ValueError, TypeError) as error:
        raise _unusable("push.signing.private_key", key.path, error) from error
    config.set_hashing_config(_hashing()).sign(folder, folder / SIGNATURE_FILE)


def check_signature(folder: Path, public_key: Path) -> list[str]:
    """Problems of a version's signature, a sentence each; empty if it is the key's.

    Raises:
        ConfigError: The key cannot be used.
    """
    from model_signing import verifying  # noqa: PLC0415

    signature = folder / SIGNATURE_FILE
    config = verifying.Config()
    try:
        config.use_elliptic_key_verifier(public_key=public_key)
    except (OSError, ValueError, TypeError) as error:
        raise _unusable("push.signing.public_key", public_key, error) from error
    if not signature.is_file():
        return ["it is not signed, and signing is on"]
    try:
        config.set_hashing_config(_hashing()).verify(folder, signature)
    except Exception as error:  # whatever the package raises on a damaged bundle: not verified
        brief = str(error).strip().splitlines() or [type(error).__name__]
        return [f"the signature does not verify: {brief[0]:.300}"]
    if not (folder / MANIFEST_FILE).is_file():
        return [f"the signature covers no {MANIFEST_FILE}"]
    return []


def _hashing() -> Any:
    from model_signing import hashing  # noqa: PLC0415

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE_FILE], ignore_git_paths=False)


def _unusable(key: str, path: Path, error: Exception) -> ConfigError:
    brief = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0]
    return ConfigError(
        f"{key}: {path} cannot be used: {brief}",
        "name a PEM file of a key on P-256, P-384 or P-521; docs/serving-directory.md makes one",
    )
