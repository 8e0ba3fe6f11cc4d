"""Verification: whatever is done to a published version is found, and named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import ConfigError, InfrastructureError
from serving.manifest import read_manifest, verify
from serving.signing import SigningKey

ROOT = Path(__file__).resolve().parents[3]


def replace_link(folder: Path) -> None:
    (folder / "saved_model.pb").rename(folder.parent / "elsewhere")
    (folder / "saved_model.pb").symlink_to(folder.parent / "elsewhere")


def edit_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "version": raw["version"] + 1}))


def flip_a_bit(folder: Path) -> None:
    path = folder / "variables" / "variables.index"
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)


TAMPERING = {
    "a missing file": (lambda f: (f / "saved_model.pb").unlink(), "saved_model.pb is missing"),
    "an extra file": (lambda f: (f / "extra.so").touch(), "extra.so is not listed"),
    "a hidden extra file": (lambda f: (f / ".x").touch(), ".x is not listed"),
    "a file more": (
        lambda f: (f / "variables" / "v2").touch(),
        "variables/v2 is not listed",
    ),
    "a changed bit": (flip_a_bit, "variables/variables.index has another content"),
    "a file cut off": (
        lambda f: os.truncate(f / "variables" / "variables.index", 10),
        "has 10 bytes, not 1000",
    ),
    "a changed card": (
        lambda f: (f / "MODEL_CARD.md").write_text("the best model ever"),
        "MODEL_CARD.md has",
    ),
    "a link": (replace_link, "saved_model.pb is not a plain file"),
    "a linked folder": (lambda f: (f / "assets").symlink_to("/"), "assets is not a plain file"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "holds no manifest.json"),
    "a manifest cut off": (lambda f: os.truncate(f / "manifest.json", 99), "is not JSON"),
    "a manifest of another version": (edit_manifest, "is that of version 2, not 1"),
    "no folder at all": (shutil.rmtree, "holds no manifest.json"),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_what_is_not_as_it_was_published_is_named(push, name):
    folder = push()
    assert verify(folder) == []
    tamper, expected = TAMPERING[name]
    tamper(folder)
    problems = verify(folder)
    assert any(expected in problem for problem in problems), problems


def test_all_problems_are_told_at_once(push):
    folder = push()
    (folder / "saved_model.pb").unlink()
    (folder / "extra").touch()
    assert verify(folder) == ["saved_model.pb is missing", "extra is not listed"]


def test_a_version_renamed_is_found(push, base):
    push()
    (base / "1").rename(base / "9")
    assert verify(base / "9") == ["the manifest is that of version 1, not 9"]


def test_a_manifest_too_large_is_not_read(push, monkeypatch):
    folder = push()
    monkeypatch.setattr("serving.manifest.MAX_MANIFEST_BYTES", 10)
    with pytest.raises(InfrastructureError, match="larger than 10 bytes"):
        read_manifest(folder)


class TestSignature:
    def test_of_the_right_key_verifies_and_of_another_does_not(self, push, key, keys):
        folder = push(key=key)
        assert verify(folder) == verify(folder, keys / "a.pub.pem") == []
        (problem,) = verify(folder, keys / "b.pub.pem")
        assert "Key mismatch" in problem

    def test_is_asked_for_when_signing_is_on(self, push, keys):
        (problem,) = verify(push(), keys / "a.pub.pem")
        assert problem == "it is not signed, and signing is on"

    def test_covers_the_manifest(self, push, key, keys):
        # Digests and manifest agree with each other, and not with what was signed.
        folder = push(key=key)
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace('"run_id": "r"', '"run_id": "s"'))
        assert verify(folder) == []
        (problem,) = verify(folder, keys / "a.pub.pem")
        assert "manifest.json" in problem

    def test_of_another_version_does_not_verify(self, push, key, keys):
        first, second = push(key=key), push(key=key, size=2000)
        shutil.copy(first / "manifest.json.sig", second / "manifest.json.sig")
        assert verify(second, keys / "a.pub.pem")

    @pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"mediaType": 3}'])
    def test_that_is_damaged_does_not_verify(self, push, key, keys, content):
        folder = push(key=key)
        (folder / "manifest.json.sig").write_bytes(content)
        (problem,) = verify(folder, keys / "a.pub.pem")
        assert problem.startswith("the signature does not verify")

    @pytest.mark.parametrize("flaw", ["missing", "no key", "wrong password", "no password"])
    def test_a_key_that_cannot_be_used_publishes_nothing(self, push, base, keys, tmp_path, flaw):
        (tmp_path / "bad.pem").write_text("not a key")
        bad = {
            "missing": SigningKey(tmp_path / "none.pem"),
            "no key": SigningKey(tmp_path / "bad.pem"),
            "wrong password": SigningKey(keys / "a.pem", "wrong secret"),
            "no password": SigningKey(keys / "a.pem"),
        }[flaw]
        with pytest.raises(ConfigError, match=r"push\.signing\.private_key") as caught:
            push(key=bad)
        assert "wrong secret" not in str(caught.value) + repr(bad)
        assert not list(base.glob("[0-9]*")) and not list(base.glob(".staging-*"))

    def test_a_public_key_that_cannot_be_used_is_the_callers_fault(self, push, key, tmp_path):
        with pytest.raises(ConfigError, match=r"push\.signing\.public_key"):
            verify(push(key=key), tmp_path / "none.pem")

    def test_is_one_that_the_packages_own_command_reads(self, push, key, keys):
        folder = push(key=key)
        signature = folder / "manifest.json.sig"
        command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
        command += ["--signature", str(signature), "--ignore-paths", str(signature)]
        command += ["--public_key", str(keys / "a.pub.pem")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_heavy_is_imported():
    script = (
        "import sys, serving.directory, serving.labels, serving.manifest, serving.retention\n"
        "import serving.object_store, serving.emit, serving.comparison\n"
        "heavy = {'tensorflow', 'tfx', 'model_signing', 'google.cloud.storage'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
