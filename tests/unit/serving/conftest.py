"""Serving directories with real files in them."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ordain.serving.registry.directory import publish
from ordain.serving.registry.labels import record_push
from ordain.serving.registry.manifest import Manifest, Metric
from ordain.serving.registry.trust import Trust

PASSWORD = "correct horse"


@pytest.fixture
def base(tmp_path) -> Path:
    return tmp_path / "serving" / "toy"


@pytest.fixture
def push(tmp_path, base, saved) -> Callable[..., Path]:
    """Publishes a small model as the chain does, labels included."""

    def run(
        promote: str = "auto",
        trust: Trust | None = None,
        size: int = 1000,
        content: bytes | None = None,
        project: str = "toy",
    ) -> Path:
        model = tmp_path / "model"
        shutil.copytree(saved, model, dirs_exist_ok=True)
        if content is not None:
            (model / "saved_model.pb").write_bytes(content)
        # A table may hold bytes that nothing refers to, before its footer of 48 bytes.
        index = model / "variables" / "variables.index"
        head, footer = index.read_bytes()[:-48], index.read_bytes()[-48:]
        index.write_bytes(head + b"w" * (size - len(head) - len(footer)) + footer)
        about = Manifest(project, 0, "", run_id="r", spans=(1, 2), metrics=(Metric("auc", 0.7),))
        where = base.with_name(project)
        folder = publish(model, where, about, trust)
        record_push(where, int(folder.name), "run r", promote, trust)
        return folder

    return run


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Path:
    """A model that a server loads: labels are given to no other."""
    from tiny_models import save_doubler

    folder = save_doubler(tmp_path_factory.mktemp("graph") / "m")
    (folder / "fingerprint.pb").unlink()
    (folder / "assets").rmdir()
    return folder


@pytest.fixture(scope="session")
def graph(saved) -> bytes:
    """The graph of it."""
    return (saved / "saved_model.pb").read_bytes()


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> bytes:
    """A graph that writes a file when it is called."""
    from tiny_models import save_doubler

    folder = save_doubler(tmp_path_factory.mktemp("graph") / "m", writes="/nowhere/at/all")
    return (folder / "saved_model.pb").read_bytes()


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
def trust(keys) -> Trust:
    """The toy project, which signs with `a`."""
    return Trust("toy", keys / "a.pub.pem", keys / "a.pem", PASSWORD)


@pytest.fixture
def reader(keys) -> Trust:
    """The toy project where only the public key is."""
    return Trust("toy", keys / "a.pub.pem")
