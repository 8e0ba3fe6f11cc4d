"""Fixtures: a server on loopback, a project, a compiled file, and the commands on them."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from kubeflow_api import KubeflowApi, serving

from ordain.cli.main import cli

CONFIG = {
    "name": "toy",
    "workspace": "../work",
    "metadata": "postgresql://ordain:${env:ORDAIN_DB_PASSWORD}@ordain-database/ordain",
    "data": {"path": "data", "pattern": "{SPAN}/*.csv", "label": "y"},
    "evaluate": {"metrics": ["ExampleCount", "AUC"], "thresholds": {"auc": {"min": 0.5}}},
}
MODEL = """\
def preprocessing_fn(inputs):
    return inputs


def run_fn(fn_args):
    pass
"""


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KF_PIPELINES_ENDPOINT", "KFP_TOKEN", "KFP_COOKIES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def api() -> Iterator[KubeflowApi]:
    """A server of one user that asks for no credentials."""
    with serving(KubeflowApi()) as server:
        yield server


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Writes a project whose section kubeflow holds the keywords, and returns its folder."""

    def make(schedule: dict[str, Any] | None = None, **kubeflow: Any) -> Path:
        folder = tmp_path / "toy"
        folder.mkdir(exist_ok=True)
        section = {
            "image": "registry.example/ordain:1",
            "pipeline_root": "/workspace",
            "volumes": [{"claim": "ordain-workspace", "path": "/workspace"}],
            "secrets": [
                {"name": "ordain-database", "key": "password", "env": "ORDAIN_DB_PASSWORD"}
            ],
            **kubeflow,
        }
        raw = CONFIG | {"kubeflow": section} | ({"schedule": schedule} if schedule else {})
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        (folder / "model.py").write_text(MODEL)
        return folder

    return make


@pytest.fixture
def ordain() -> Callable[..., Result]:
    """Calls a command; what it raises is raised."""

    def call(*words: Any) -> Result:
        return CliRunner().invoke(
            cli, [str(word) for word in words], prog_name="ordain", catch_exceptions=False
        )

    return call


@pytest.fixture
def told(ordain: Callable[..., Result]) -> Callable[..., Any]:
    """Calls a command with --json and returns what it printed, parsed."""

    def call(*words: Any) -> Any:
        done = ordain(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return call


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that signed itself, with its key, in one PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ordain tests")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """What a server of that certificate speaks TLS with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
