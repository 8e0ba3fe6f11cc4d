"""Signs and verifies versions, with the `model-signing` package, and labels.

A version's signature covers every file including the manifest, and is stored beside it as a
Sigstore bundle, which `model_signing verify key` reads as well. The labels' signature is inside
`labels.json`, so that both change by one rename. Keys are elliptic-curve keys in PEM files (P-256,
P-384 or P-521):

    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -out private.pem
    openssl pkey -in private.pem -pubout -out public.pem
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ordain.common.atomic_files import read_plain
from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry.manifest import MANIFEST_FILE, SIGNATURE_FILE
from ordain.serving.registry.trust import SigningKey

#: A bundle holds a digest for each file of the version; larger files are refused.
MAX_SIGNATURE_BYTES = 64_000_000
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


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
    """Finds problems of a version's signature; empty if it verifies with the key.

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
    try:
        read_plain(folder, SIGNATURE_FILE, MAX_SIGNATURE_BYTES)
    except FileNotFoundError:
        return ["it is not signed, and signing is on"]
    except InfrastructureError as error:
        return [error.message]
    try:
        config.set_hashing_config(_hashing()).verify(folder, signature)
    except Exception as error:  # the package may raise anything on a damaged bundle
        brief = str(error).strip().splitlines() or [type(error).__name__]
        return [f"the signature does not verify: {brief[0]:.300}"]
    if not (folder / MANIFEST_FILE).is_file():
        return [f"the signature covers no {MANIFEST_FILE}"]
    return []


def sign_text(text: str, key: SigningKey) -> str:
    """Signs a text; returns base64.

    Raises:
        ConfigError: The key cannot be used.
    """
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  signing is optional
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    password = key.password.encode() if key.password else None
    private = _curve_key(
        "push.signing.private_key", key.path, lambda pem: load_pem_private_key(pem, password)
    )
    return base64.b64encode(private.sign(text.encode(), ec.ECDSA(SHA256()))).decode()


def is_signature_of(text: str, signature: str, public_key: Path) -> bool:
    """True if a base64 signature of a text verifies with a public key.

    Raises:
        ConfigError: The key cannot be used.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  signing is optional
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    public = _curve_key("push.signing.public_key", public_key, load_pem_public_key)
    try:
        decoded = base64.b64decode(signature, validate=True)
        public.verify(decoded, text.encode(), ec.ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _curve_key(setting: str, path: Path, load: Callable[[bytes], Any]) -> Any:
    """Loads an elliptic-curve key from a PEM file."""
    try:
        key = load(path.read_bytes())
        if getattr(getattr(key, "curve", None), "name", None) not in _CURVES:
            raise ValueError("it is not an elliptic-curve key")
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(setting, path, error) from error
    return key


def _hashing() -> Any:
    from model_signing import hashing  # noqa: PLC0415

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE_FILE], ignore_git_paths=False)


def _unusable(key: str, path: Path, error: Exception) -> ConfigError:
    brief = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0]
    return ConfigError(
        f"{key}: {path} cannot be used: {brief}",
        "name a PEM file with a key on P-256, P-384 or P-521; see docs/serving-directory.md",
    )
