"""Verification reports every change of a published version."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.verification import read_manifest, verify

ROOT = Path(__file__).resolve().parents[4]


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
    "a changed bit": (flip_a_bit, "variables/variables.index was changed after"),
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
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "has no manifest.json"),
    "a manifest cut off": (
        lambda f: os.truncate(f / "manifest.json", 99),
        "the manifest is damaged",
    ),
    "a manifest of another version": (edit_manifest, "is that of version 2, not 1"),
    "no folder at all": (shutil.rmtree, "has no manifest.json"),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_changed_version_is_reported(push, name):
    folder = push()
    assert verify(folder) == []
    tamper, expected = TAMPERING[name]
    tamper(folder)
    problems = verify(folder)
    assert any(expected in problem for problem in problems), problems


def test_all_problems_are_reported(push):
    folder = push()
    (folder / "saved_model.pb").unlink()
    (folder / "extra").touch()
    assert verify(folder) == ["saved_model.pb is missing", "extra is not listed"]


def test_renamed_version_is_reported(push, base):
    push()
    (base / "1").rename(base / "9")
    assert verify(base / "9") == ["the manifest is that of version 1, not 9"]


def test_too_large_manifest_is_not_read(push, monkeypatch):
    folder = push()
    monkeypatch.setattr("ordain.serving.registry.verification.MAX_MANIFEST_BYTES", 10)
    with pytest.raises(InfrastructureError, match="larger than 10 bytes"):
        read_manifest(folder)


class TestSignature:
    def test_verifies_with_its_key_only(self, push, trust, keys):
        folder = push(trust=trust)
        assert verify(folder) == verify(folder, trust) == []
        (problem,) = verify(folder, Trust("toy", keys / "b.pub.pem"))
        assert "Key mismatch" in problem

    def test_is_required_when_signing_is_on(self, push, reader):
        (problem,) = verify(push(), reader)
        assert problem == "it is not signed, and signing is on"

    def test_covers_the_manifest(self, push, trust):
        # Digests and manifest agree with each other, and not with what was signed.
        folder = push(trust=trust)
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace('"run_id": "r"', '"run_id": "s"'))
        assert verify(folder) == []
        (problem,) = verify(folder, trust)
        assert "manifest.json" in problem

    def test_of_another_version_does_not_verify(self, push, trust):
        first, second = push(trust=trust), push(trust=trust, size=2000)
        shutil.copy(first / "manifest.json.sig", second / "manifest.json.sig")
        assert verify(second, trust)

    def test_of_an_older_version_in_place_of_a_newer_does_not_verify(self, push, trust):
        first, second = push(trust=trust), push(trust=trust, size=2000)
        shutil.rmtree(second)
        shutil.copytree(first, second)
        assert verify(second, trust) == ["the manifest is that of version 1, not 2"]

    def test_of_another_project_does_not_verify(self, push, trust):
        # One key pair for two projects, as a team has it.
        other = push(trust=replace(trust, project="other"), project="other")
        own = push(trust=trust)
        shutil.rmtree(own)
        shutil.copytree(other, own)
        assert verify(own, trust) == ["the manifest is that of project 'other', not 'toy'"]

    @pytest.mark.parametrize(
        "content", [b"", b"{}", b"\xff\xfe", b'{"mediaType": 3}', b"[" * 10**6]
    )
    def test_damaged_signature_does_not_verify(self, push, trust, content):
        folder = push(trust=trust)
        (folder / "manifest.json.sig").write_bytes(content)
        (problem,) = verify(folder, trust)
        assert problem.startswith("the signature does not verify")

    @pytest.mark.parametrize("flaw", ["missing", "no key", "wrong password", "no password"])
    def test_a_key_that_cannot_be_used_publishes_nothing(
        self, push, base, trust, keys, tmp_path, flaw
    ):
        (tmp_path / "bad.pem").write_text("not a key")
        bad = {
            "missing": replace(trust, private_key=tmp_path / "none.pem"),
            "no key": replace(trust, private_key=tmp_path / "bad.pem"),
            "wrong password": replace(trust, password="wrong secret"),
            "no password": replace(trust, password=None),
        }[flaw]
        with pytest.raises(ConfigError, match=r"push\.signing\.private_key") as caught:
            push(trust=bad)
        assert "wrong secret" not in str(caught.value) + repr(bad)
        assert not list(base.glob("[0-9]*")) and not list(base.glob(".staging-*"))

    def test_unusable_public_key_is_a_config_error(self, push, trust, tmp_path):
        with pytest.raises(ConfigError, match=r"push\.signing\.public_key"):
            verify(push(trust=trust), Trust("toy", tmp_path / "none.pem"))

    def test_model_signing_command_verifies_it(self, push, trust, keys):
        folder = push(trust=trust)
        signature = folder / "manifest.json.sig"
        command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
        command += ["--signature", str(signature), "--ignore-paths", str(signature)]
        command += ["--public_key", str(keys / "a.pub.pem")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _changed(**keys):
    return lambda raw: json.dumps({**raw, **keys})


def _metric(value):
    text = json.dumps([{"name": "auc", "value": 0, "slice": "", "baseline": None}])
    return _put("metrics", text.replace("0,", f"{value},"))


def _put(key, text):
    return lambda raw: json.dumps({**raw, key: "?"}).replace(f'"{key}": "?"', f'"{key}": {text}')


def _file(**keys):
    return _changed(files=[{"path": "a", "sha256": "0" * 64, "size_bytes": 1, **keys}])


def _reason(**keys):
    reason = {"outcome": "passed", "kind": "k", "text": "t", **keys}
    return _changed(verdicts=[{"gate": "g", "outcome": "passed", "reasons": [reason]}])


#: Invalid manifests, and the message for each.
HOSTILE = {
    "deep": (lambda _: "[" * 200_000, "nested too deep"),
    "deep inside": (_put("metrics", "[" * 10**5 + "]" * 10**5), "nested too deep"),
    "a number of 5000 digits": (_put("version", "9" * 5000), "more than 4300 digits"),
    "a number of 4000 digits": (_put("version", "9" * 4000), "got a very large number"),
    "version NaN": (_put("version", "NaN"), "it contains NaN"),
    "version true": (_changed(version=True), "version must be a valid integer, got True"),
    "version below zero": (
        _changed(version=-1),
        "greater than or equal to 0, got -1",
    ),
    "a metric NaN": (_metric("NaN"), "it contains NaN"),
    "a metric infinite": (_metric("-Infinity"), "it contains -Infinity"),
    "a metric too large": (_metric("1e999"), "1e999, which is too large"),
    "a metric as text": (_metric('"x"'), "metrics.0.value must be a valid number, got 'x'"),
    "a metric as list": (_metric("[]"), "metrics.0.value must be a valid number, got a list"),
    "metrics no list": (_changed(metrics={"a": 1}), "metrics must be a valid array, got an object"),
    "spans as text": (_changed(spans="12"), "spans must be a valid array, got '12'"),
    "a span infinite": (_put("spans", "[1e999]"), "1e999, which is too large"),
    "signatures as list": (_changed(signatures=[1]), "signatures must be an object, got a list"),
    "a shape as text": (
        _changed(
            signatures={"a": {"inputs": {"x": {"dtype": "f", "shape": "abc"}}, "outputs": {}}}
        ),
        "signatures.a.inputs.x.shape must be a valid array, got 'abc'",
    ),
    "no files": (_changed(files=None), "files must be a valid array, got None"),
    "a path that is none": (_file(path=3), "files.0.path must be a valid string, got 3"),
    "a path with a zero": (_file(path="a\0b"), "is not inside the version's folder"),
    "a path that leads out": (_file(path="../x"), "is not inside the version's folder"),
    "half a character": (_put("run_id", r'"\ud800"'), "is not valid UTF-8"),
    "a digest that is none": (_file(sha256=3), "files.0.sha256 must be a valid string, got 3"),
    "a size that is none": (
        _file(size_bytes=True),
        "size_bytes must be a valid integer, got True",
    ),
    "a verdict as text": (_changed(verdicts=["x"]), "verdicts.0 must be an object, got 'x'"),
    "reasons that are none": (
        _changed(verdicts=[{"gate": "g", "outcome": "passed", "reasons": 3}]),
        "verdicts.0.reasons must be a valid array, got 3",
    ),
    "a text that is none": (
        _reason(text=["x"]),
        "0.text must be a valid string, got a list",
    ),
    "a measure that is none": (
        _reason(measured="x"),
        "measured must be a valid number, got 'x'",
    ),
    "an outcome there is not": (_reason(outcome="great"), "'warned' or 'blocked', got 'great'"),
    "a key twice": (lambda raw: '{"version": 1,' + json.dumps(raw)[1:], "key 'version' twice"),
    "a format that is a list": (_changed(format=[1]), "the manifest's format is [1]"),
    "no object": (lambda _: "[]", "the manifest's format is None"),
    "no text": (lambda _: b"\xff\xfe", "not valid UTF-8"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_manifest_is_one_problem(push, name):
    folder = push()
    make, expected = HOSTILE[name]
    made = make(json.loads((folder / "manifest.json").read_text()))
    (folder / "manifest.json").write_bytes(made if isinstance(made, bytes) else made.encode())
    (problem,) = verify(folder)
    assert expected in problem and "\n" not in problem and len(problem) < 600, problem


def _replaced(make):
    def put(path: Path) -> None:
        path.unlink(missing_ok=True)
        make(path)

    return put


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


#: What stands where a file should.
NO_FILES = {
    "a pipe": _replaced(os.mkfifo),
    "a device": _replaced(lambda p: os.mknod(p, 0o600 | stat.S_IFCHR, os.makedev(1, 5))),
    "a link to a device": _replaced(lambda p: p.symlink_to("/dev/zero")),
    "a link to a file": _replaced(lambda p: p.symlink_to(__file__)),
    "a link to nothing": _replaced(lambda p: p.symlink_to("/nowhere/at/all")),
    "a socket": _replaced(_bind),
}


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize(
    "name",
    ["manifest.json", "manifest.json.sig", "saved_model.pb", "MODEL_CARD.md", "assets/ordain.json"],
)
@pytest.mark.timeout(60)
def test_only_plain_files_are_opened(push, reader, kind, name):
    folder = push()
    (folder / name).parent.mkdir(exist_ok=True)
    try:
        NO_FILES[kind](folder / name)
    except PermissionError:
        pytest.skip("only root makes a device")
    assert verify(folder, reader) == [f"{name} is not a plain file"]
    if name == "manifest.json":
        with pytest.raises(InfrastructureError, match="not a plain file"):
            read_manifest(folder)


def test_linked_version_is_refused(push, base):
    push()
    (base / "2").symlink_to(base / "1")
    assert verify(base / "2") == ["2 is a link, not a folder"]


def test_nothing_heavy_is_imported():
    script = (
        "import sys\n"
        "from ordain.serving.registry import directory, labels, verification, retention\n"
        "from ordain.serving.registry import object_store, manifests, diff\n"
        "heavy = {'tensorflow', 'tfx', 'model_signing', 'google.cloud.storage'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
