"""The manifest: a round trip, and refusal of invalid ones."""

import json

import pytest

from ordain.common.digests import FileDigest
from ordain.errors import InfrastructureError
from ordain.serving.export.description import Signature, Tensor
from ordain.serving.registry.manifest import FORMAT, Manifest, Metric
from ordain.verdict import Outcome, Reason, Verdict

FULL = Manifest(
    project="toy",
    version=3,
    created="2026-11-21T10:00:00+00:00",
    run_id="20261121-100000-beef",
    spans=(1, 2),
    schema_fingerprint="a" * 64,
    source_fingerprint="b" * 64,
    parent=2,
    tensorflow="2.21.0",
    metrics=(Metric("auc", 0.7, baseline=0.69), Metric("auc", 0.71, "origin=EWR")),
    verdicts=(Verdict.of("evaluation", [Reason(Outcome.PASSED, "auc.min", "good", measured=0.7)]),),
    signatures={
        "serving_default": Signature(
            {"examples": Tensor("string", (None,))},
            {"outputs": Tensor("float32", (None, 1)), "ragged": Tensor("int64", None)},
        )
    },
    files=(FileDigest("saved_model.pb", "c" * 64, 10), FileDigest("variables/v", "d" * 64, 5)),
)


def changed(**keys) -> str:
    return json.dumps({**json.loads(FULL.to_json()), **keys})


@pytest.mark.parametrize("manifest", [FULL, Manifest("toy", 1, "")], ids=["full", "bare"])
def test_reads_what_it_writes(manifest):
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.to_json() == Manifest.from_json(manifest.to_json()).to_json()


def test_knows_its_size():
    assert FULL.size_bytes == 15


@pytest.mark.parametrize("found", [FORMAT + 1, 0, None, "1"])
def test_an_unknown_format_is_refused_by_name(found):
    with pytest.raises(InfrastructureError) as caught:
        Manifest.from_json(changed(format=found))
    assert f"format is {found!r}; this installation reads format {FORMAT}" in str(caught.value)


DIGEST = {"sha256": "c" * 64, "size_bytes": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        FULL.to_json()[:-20],
        changed(version="3"),
        changed(version=True),
        changed(parent="2"),
        changed(created=None),
        changed(spans=None),
        changed(files={"a": 1}),
        changed(files=[{"path": "a"}]),
        changed(files=[{"path": "/etc/passwd", **DIGEST}]),
        changed(files=[{"path": "../other", **DIGEST}]),
        changed(files=[{"path": "a/./b", **DIGEST}]),
        changed(files=[{"path": "a", "sha256": "xyz", "size_bytes": 1}]),
        changed(files=[{"path": "a", **DIGEST}, {"path": "a", **DIGEST}]),
        changed(files=[{"path": "a", "sha256": "c" * 64, "size_bytes": -1}]),
        changed(metrics=[{"nome": "auc"}]),
        changed(metrics=[{"name": "auc", "value": 10**400}]),
        changed(verdicts=[{"gate": "data"}]),
        changed(signatures={"s": {"inputs": {}}}),
        changed(signatures=["s"]),
    ],
)
def test_invalid_manifest_is_refused(text):
    with pytest.raises(InfrastructureError, match="the manifest"):
        Manifest.from_json(text)


REASON = {"outcome": "passed", "kind": "auc.min", "text": "good"}


@pytest.mark.parametrize(
    ("field", "entry", "said"),
    [
        ("files", {"path": "a", **DIGEST, "mode": 1}, "files.0.mode is an unknown key"),
        ("files", {"path": "a", "sha256": "c" * 64}, "files.0.size_bytes is missing"),
        ("metrics", {"name": "auc", "value": 1, "old": 2}, "metrics.0.old is an unknown key"),
        ("metrics", {"name": "auc"}, "metrics.0.value is missing"),
        (
            "verdicts",
            {"gate": "data", "outcome": "passed", "reasons": [{**REASON, "who": "me"}]},
            "verdicts.0.reasons.0.who is an unknown key",
        ),
    ],
)
def test_unknown_or_missing_key_is_named(field, entry, said):
    with pytest.raises(InfrastructureError) as caught:
        Manifest.from_json(changed(**{field: [entry]}))
    assert caught.value.message == f"the manifest is damaged: {said}"
