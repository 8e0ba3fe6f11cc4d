"""Serving directories with real files in them."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.manifest import Manifest, Metric
from serving.directory import publish
from serving.labels import record_push, settle
from serving.signing import SigningKey

PASSWORD = "correct horse"


@pytest.fixture
def base(tmp_path) -> Path:
    return tmp_path / "serving" / "toy"


@pytest.fixture
def push(tmp_path, base) -> Callable[..., Path]:
    """Publishes a small model as the chain does, labels included."""

    def run(promote: str = "auto", key: SigningKey | None = None, size: int = 1000) -> Path:
        model = tmp_path / "model"
        (model / "variables").mkdir(parents=True, exist_ok=True)
        (model / "saved_model.pb").write_bytes(b"graph")
        (model / "variables" / "variables.index").write_bytes(b"w" * size)
        about = Manifest("toy", 0, "", run_id="r", spans=(1, 2), metrics=(Metric("auc", 0.7),))
        settle(base)
        folder = publish(model, base, about, key)
        record_push(base, int(folder.name), "run r", promote)
        return folder

    return run


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Path:
    """Two key pairs, made as the documentation says: `a` with a pass phrase, `b` without."""
    folder = tmp_path_factory.mktemp("keys")
    for name, protect in (("a", ["-v2", "aes256", "-passout", f"pass:{PASSWORD}"]), ("b", None)):
        made = subprocess.run(
            ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"],
            check=True,
            capture_output=True,
        ).stdout
        private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
        command = ["openssl", "pkcs8", "-topk8", "-out", str(private), *(protect or ["-nocrypt"])]
        subprocess.run(command, input=made, check=True)
        command = ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)]
        subprocess.run([*command, "-passin", f"pass:{PASSWORD}"], check=True)
    return folder


@pytest.fixture
def key(keys) -> SigningKey:
    return SigningKey(keys / "a.pem", PASSWORD)
