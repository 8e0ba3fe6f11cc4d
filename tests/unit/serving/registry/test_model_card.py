"""The model card tells the manifest's facts, and values of the data do not break its form."""

import json
import os

import pytest

from ordain.serving.export.description import Signature, Tensor
from ordain.serving.registry.diff import compare
from ordain.serving.registry.manifest import Manifest, Metric
from ordain.serving.registry.model_card import MAX_SLICES, read_example, render
from ordain.verdict import Outcome, Reason, Verdict

VERDICT = Verdict.of(
    "evaluation",
    [
        Reason(Outcome.WARNED, "auc.min", "auc is close"),
        Reason(Outcome.PASSED, "auc.max", "fine"),
    ],
)
SIGNATURES = {"serving_default": Signature({"x": Tensor("float32", (None, 2))}, {})}


def make(**facts) -> Manifest:
    return Manifest("toy", 3, "2026-01-01", **facts)


def test_tells_data_metrics_gates_limits_and_the_call(tmp_path):
    metrics = (Metric("auc", 0.71234, baseline=0.7), Metric("auc", 0.6, "origin=EWR"))
    card = render(
        make(spans=(1, 2), metrics=metrics, verdicts=(VERDICT,), signatures=SIGNATURES), tmp_path
    )
    assert card.startswith("# toy, version 3\n")
    assert "| all | 0.71234 (0.7) |" in card and "| origin=EWR | 0.6 |" in card
    assert "**evaluation: warned**" in card and "- warned: auc is close" in card
    assert "- passed: 1 checks" in card and "warned 1 time(s)" in card
    assert "| input | `x` | float32 | [?, 2] |" in card
    assert "/v1/models/toy/versions/3:predict" in card


def test_many_slices_are_counted_and_not_drawn(tmp_path):
    metrics = tuple(Metric("auc", 0.5, f"c={i}") for i in range(MAX_SLICES + 7))
    assert "7 more slices are in manifest.json" in render(make(metrics=metrics), tmp_path)


def test_a_value_of_the_data_cannot_break_the_table(tmp_path):
    card = render(make(metrics=(Metric("auc", 0.5, "c=a|b\n# injected"),)), tmp_path)
    assert "\n# injected" not in card and "c=a\\|b # injected" in card


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"instances": []}', '{"instances": 3}', "\0", "[" * 10**6]
)
def test_an_example_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / "assets.extra" / "ordain").mkdir(parents=True)
    (tmp_path / "assets.extra" / "ordain" / "example.json").write_text(text)
    assert read_example(tmp_path) is None
    assert "after filling in" in render(make(), tmp_path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "link", "linked folder", "device", "large"])
def test_an_example_that_is_no_small_file_of_the_version_is_none(tmp_path, kind):
    version, outside = tmp_path / "1", tmp_path / "outside"
    path = version / "assets.extra" / "ordain" / "example.json"
    outside.mkdir()
    (outside / "example.json").write_text('{"instances": [{"x": "secret"}]}')
    path.parent.mkdir(parents=True)
    if kind == "linked folder":
        path.parent.rmdir()
        path.parent.symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else outside / "example.json")
    assert read_example(version) is None


def test_the_first_example_is_taken(tmp_path):
    (tmp_path / "assets.extra" / "ordain").mkdir(parents=True)
    rows = {"instances": [{"x": 1}, {"x": 2}], "more": 1}
    (tmp_path / "assets.extra" / "ordain" / "example.json").write_text(json.dumps(rows))
    assert read_example(tmp_path) == {"instances": [{"x": 1}]}


def test_signatures_are_compared_tensor_by_tensor():
    before = {
        "gone": Signature({}, {}),
        "kept": Signature({"x": Tensor("float32", (None,)), "y": Tensor("int64", None)}, {}),
    }
    after = {
        "new": Signature({}, {}),
        "kept": Signature({"x": Tensor("float32", (None, 2))}, {"z": Tensor("string", ())}),
    }
    compared = compare(make(signatures=before), make(signatures=after))
    assert compared.signatures == (
        "gone is gone",
        "new is new",
        "y of kept input is gone",
        "x of kept input was float32 [?], is float32 [?, 2]",
        "z of kept output is new",
    )
