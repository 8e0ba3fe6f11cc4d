"""Labels: which actions move them, which do not, and concurrent changes."""

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2

from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry.directory import publish
from ordain.serving.registry.label_file import Canary, Change, FollowedLabels, Labels, read_labels
from ordain.serving.registry.label_writing import settle, write_labels
from ordain.serving.registry.labels import drop_canary, promote, record_push, rollback, set_canary
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.retention import prune
from ordain.serving.registry.signing import sign_text
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.verification import verify
from ordain.serving.scan.scan import scan
from ordain.serving.server.models.loaded_model import LoadedModel
from ordain.serving.server.models.signature_defs import LoadError

ROOT = Path(__file__).resolve().parents[4]


def _labels(**keys) -> str:
    return json.dumps({"stable": 1, "canary": None, "pinned": False, "changes": [], **keys})


def _change(**keys) -> str:
    at = "2026-11-21T10:00:00+00:00"
    whole = {"at": at, "who": "a", "why": "b", "action": "publish", "from": None, "to": 1}
    return _labels(changes=[{**whole, **keys}])


#: Invalid files, and the message for each.
DAMAGED = {
    "empty": ("", "Expecting value"),
    "a list": ("[]", "the file must be an object, got a list"),
    "nothing in it": ("{}", "stable is missing"),
    "no changes": ('{"stable": 1, "canary": null, "pinned": false}', "changes is missing"),
    "deep": ("[" * 200_000, "nested too deep"),
    "deep inside": (_labels().replace("[]", "[" * 10**5 + "]" * 10**5), "nested too deep"),
    "stable a text": (_labels(stable="1"), "stable must be a valid integer, got '1'"),
    "stable true": (_labels(stable=True), "stable must be a valid integer, got True"),
    "stable a part": (_labels(stable=1.9), "stable must be a valid integer, got 1.9"),
    "stable below zero": (_labels(stable=-5), "stable must be greater than or equal to 0, got -5"),
    "stable a list": (_labels(stable=[1]), "stable must be a valid integer, got a list"),
    "stable too large": (_labels().replace("1", "1e400", 1), "1e400, which is too large"),
    "stable of 5000 digits": (_labels().replace("1", "9" * 5000, 1), "more than 4300 digits"),
    "stable beyond 64 bits": (_labels(stable=2**63), "got 9223372036854775808"),
    "stable NaN": (_labels(stable=float("nan")), "it contains NaN"),
    "stable twice": ('{"stable": 2,' + _labels()[1:], "the key 'stable' twice"),
    "pinned a text": (_labels(pinned="false"), "pinned must be a valid boolean, got 'false'"),
    "canary a number": (_labels(canary=2), "canary must be an object, got 2"),
    "canary without share": (_labels(canary={"version": 2}), "canary.share is missing"),
    "a share of 7": (
        _labels(canary={"version": 2, "share": 7}),
        "share must be less than 1, got 7",
    ),
    "a share of 1": (
        _labels(canary={"version": 2, "share": 1}),
        "share must be less than 1, got 1",
    ),
    "a share below 0": (
        _labels(canary={"version": 2, "share": -0.1}),
        "must be greater than 0, got -0.1",
    ),
    "a share NaN": (_labels(canary={"version": 2, "share": float("nan")}), "it contains NaN"),
    "a share infinite": (
        _labels(canary={"version": 2, "share": float("inf")}),
        "contains Infinity",
    ),
    "a share as text": (
        _labels(canary={"version": 2, "share": "0.1"}),
        "must be a valid number, got '0.1'",
    ),
    "a change that is none": (_labels(changes=[3]), "changes.0 must be an object, got 3"),
    "who a list": (_change(who=[]), "changes.0.who must be a valid string, got a list"),
    "no time": (
        _change(at="yesterday"),
        "changes.0.at must be a time with a time zone, got 'yesterday'",
    ),
    "the end of time": (
        _change(at="9999-12-31T23:59:59.999+00:00"),
        "must be a time with a time zone",
    ),
    "a time without zone": (_change(at="2026-11-21T10:00:00"), "must be a time with a time zone"),
    "from a text": (_change(**{"from": "a"}), "changes.0.from must be a valid integer, got 'a'"),
    "half a character": (_change(why="\ud800"), "is not valid UTF-8"),
}


@pytest.fixture
def three(push, base) -> Path:
    """Three versions, the newest stable."""
    for _ in range(3):
        push()
    return base


def _edit(change):
    """A change of the model's graph."""

    def edit(model: Path) -> None:
        path = model / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        change(saved.meta_graphs[0])
        path.write_bytes(saved.SerializeToString())

    return edit


def _default(text: str, aliases: str = "x"):
    """A default of the model's one signature, given as text, for each alias."""

    def add(meta) -> None:
        definition = meta.signature_def["serving_default"]
        for alias in aliases:
            text_format.Parse(text, definition.defaults[alias])

    return _edit(add)


def _tags(*tags):
    def put(meta) -> None:
        meta.meta_info_def.tags[:] = tags

    return _edit(put)


INDEX = "variables/variables.index"
SHARD = "variables/variables.data-00000-of-00001"
MILLION = "dtype: DT_FLOAT tensor_shape { dim { size: 1048576 } } float_val: 1"
#: What is published whole, holds allowed operations only, and no server could serve.
UNSERVABLE = {
    "for training": (
        _tags("train"),
        "has no graph for serving: tags must be serve, not train",
    ),
    "for serving on a GPU": (_tags("serve", "gpu"), "tags must be serve, not gpu+serve"),
    "without tags": (_tags(), "tags must be serve, not none"),
    "no signature": (
        lambda model: tf.saved_model.save(tf.Module(), str(model)),
        "it has no signature that can be called",
    ),
    "a signature of another type": (
        _edit(lambda meta: setattr(meta.signature_def["serving_default"].inputs["x"], "dtype", 20)),
        "it has no signature that can be called",
    ),
    "an index of a byte": (
        lambda model: (model / INDEX).write_bytes(b"x"),
        f"{INDEX} is not a checkpoint index: it has 1 bytes",
    ),
    "an index of something else": (
        lambda model: (model / INDEX).write_bytes(b"x" * 1000),
        f"{INDEX} is not a checkpoint index: it does not end with a table's magic number",
    ),
    "an index without blocks": (
        lambda model: (model / INDEX).write_bytes((model / INDEX).read_bytes()[-48:]),
        f"{INDEX} is not a checkpoint index: it refers to a block outside of the file",
    ),
    "an index of nothing": (
        lambda model: (model / INDEX).write_bytes(bytes(200) + (model / INDEX).read_bytes()[-8:]),
        f"{INDEX} is not a checkpoint index: a block of it is damaged",
    ),
    "no index": (lambda model: (model / INDEX).unlink(), f"{INDEX} is missing"),
    "no values": (lambda model: (model / SHARD).unlink(), f"{SHARD} is missing"),
    "values of another number": (
        lambda model: (model / SHARD).rename(model / "variables/variables.data-00000-of-00002"),
        f"{SHARD} is missing",
    ),
    "a huge default": (
        _default("dtype: DT_FLOAT tensor_shape { dim { size: 8589934592 } } float_val: 1"),
        "'serving_default': the default of input 'x' has shape [8589934592] and 1 elements",
    ),
    "a default cut off": (
        _default("dtype: DT_FLOAT tensor_shape { dim { size: 2 } } tensor_content: 'abcd'"),
        "signature 'serving_default': the default of input 'x': ",
    ),
    "a default of a size that is none": (
        _default("dtype: DT_FLOAT tensor_shape { dim { size: -1 } } float_val: 1"),
        "signature 'serving_default': the default of input 'x': unknown shape",
    ),
    "an empty default": (
        _default("dtype: DT_FLOAT tensor_shape { dim { size: 0 } }"),
        "the default of input 'x' has 0 elements",
    ),
    "a default of another type": (
        _default("dtype: DT_INT64 int64_val: 1"),
        "the default of input 'x' has 1 elements of type int64, expected DT_FLOAT",
    ),
    "defaults without end": (
        _default(MILLION, "xabcd"),
        "the defaults of its signatures have more than 4194304 elements",
    ),
}


@pytest.mark.parametrize("name", UNSERVABLE)
def test_unservable_version_gets_no_label(three, saved, tmp_path, name):
    damage, expected = UNSERVABLE[name]
    shutil.copytree(saved, tmp_path / "bad")
    damage(tmp_path / "bad")
    assert scan(tmp_path / "bad") == []
    version = publish(tmp_path / "bad", three, Manifest("toy", 0, ""))
    assert verify(version) == []
    before = (three / "labels.json").read_bytes()
    for move in (
        lambda: promote(three, 4, "ada", "why"),
        lambda: set_canary(three, 4, 0.1, "ada", "why"),
        lambda: rollback(three, "ada", "why", to=4),
    ):
        with pytest.raises(InfrastructureError) as caught:
            move()
        message = caught.value.message
        assert message.startswith("version 4 gets no label, a server would refuse it: ")
        assert expected in message
        assert "\n" not in message
    assert (three / "labels.json").read_bytes() == before
    # The loading path has the same rule and the same words.
    with pytest.raises(LoadError) as refused:
        LoadedModel(tmp_path / "bad", 4)
    assert expected in str(refused.value)


class TestPush:
    def test_makes_its_version_stable(self, push, base):
        push()
        labels = read_labels(base)
        assert (labels.stable, labels.pinned, labels.canary) == (1, False, None)
        push()
        labels = read_labels(base)
        assert labels.stable == 2
        assert [(c.action, c.before, c.after) for c in labels.changes] == [
            ("publish", None, 1),
            ("publish", 1, 2),
        ]
        assert labels.changes[1].who == "run r"

    def test_moves_nothing_when_promotion_is_manual(self, push, base):
        push("manual")
        assert read_labels(base).stable is None
        push()
        push("manual")
        labels = read_labels(base)
        assert labels.stable == 2
        assert labels.changes[-1].why == "push.promote is manual; stable stays 2"

    def test_moves_nothing_after_a_rollback_until_a_promotion(self, three, push):
        rollback(three, "ada", "bad")
        push()
        labels = read_labels(three)
        assert (labels.stable, labels.pinned) == (2, True)
        assert labels.changes[-1].why == "a rollback pinned stable to 2"
        promote(three, 4, "ada", "good again")
        push()
        assert read_labels(three).stable == 5

    def test_does_not_move_stable_back_from_a_later_push(self, three):
        done = record_push(three, 2, "run slow", "auto")
        assert (done.is_stable, done.reason) == (False, "version 3, pushed meanwhile, is stable")
        assert read_labels(three).stable == 3

    @pytest.mark.parametrize(
        ("compared", "is_stable", "reason"),
        [
            ({3}, True, "stable was 3"),
            (set(), True, "stable was 3"),
            ({2}, False, "stable has become 3 since this version was compared with 2"),
            ({3, 2}, False, "stable has become 3 since this version was compared with 2"),
            ({None}, False, "stable has become 3 since this version was compared with nothing"),
        ],
    )
    def test_moves_nothing_if_it_was_compared_with_another(
        self, three, compared, is_stable, reason
    ):
        done = record_push(three, 4, "run r", "auto", compared=compared)
        assert (done.is_stable, done.reason) == (is_stable, reason)
        # The same push again, as after a kill, moves nothing back.
        again = record_push(three, 4, "run r", "auto", compared=compared)
        assert again.is_stable is is_stable

    def test_of_the_first_may_have_been_compared_with_the_newest_published(self, base, push):
        push(promote="manual")
        assert record_push(base, 1, "run r", "auto", compared={None}).is_stable

    def test_leaves_a_canary(self, three, push):
        set_canary(three, 2, 0.1, "ada", "")
        push()
        assert read_labels(three).canary == Canary(2, 0.1)


class TestReading:
    def test_without_a_file_the_newest_is_stable(self, base):
        assert read_labels(base) == Labels()
        for name in ("3", "12"):
            (base / name).mkdir(parents=True)
        assert read_labels(base) == Labels(stable=12)

    def test_a_lost_file_is_an_error_and_not_the_newest(self, three, push):
        rollback(three, "ada", "worse", 1)
        (three / "labels.json").unlink()
        with pytest.raises(InfrastructureError) as caught:
            read_labels(three)
        assert "labels.json is missing, and version 1 was published there" in caught.value.message
        with pytest.raises(InfrastructureError, match="is missing"):
            push()
        assert not (three / "labels.json").exists()
        with pytest.raises(InfrastructureError, match="is missing"):
            promote(three, 1, "ada", "it served")
        promote(three, 1, "ada", "it served", is_replacing=True)
        assert read_labels(three).stable == 1

    def test_settling_keeps_what_was_stable_before_the_push(self, base):
        (base / "3").mkdir(parents=True)
        settle(base)
        (base / "4").mkdir()
        assert read_labels(base).stable == 3

    @pytest.mark.parametrize("name", DAMAGED)
    def test_a_damaged_file_is_an_error_and_not_the_newest(self, three, push, name):
        text, expected = DAMAGED[name]
        (three / "labels.json").write_text(text)
        with pytest.raises(InfrastructureError, match=r"labels\.json is damaged") as caught:
            read_labels(three)
        message = caught.value.message
        assert expected in message and "\n" not in message and len(message) < 600, message
        with pytest.raises(InfrastructureError):
            push()
        assert (three / "labels.json").read_text() == text

    @pytest.mark.parametrize("kind", ["pipe", "folder", "link", "device", "large"])
    @pytest.mark.timeout(60)
    def test_only_small_plain_files_are_opened(self, three, tmp_path, kind):
        path = three / "labels.json"
        path.rename(tmp_path / "labels.json")
        make = {
            "pipe": lambda: os.mkfifo(path),
            "folder": path.mkdir,
            "link": lambda: path.symlink_to(tmp_path / "labels.json"),
            "device": lambda: path.symlink_to("/dev/zero"),
            "large": lambda: (path.touch(), os.truncate(path, 1 << 40)),
        }
        make[kind]()
        with pytest.raises(InfrastructureError, match=r"labels\.json is (a|larger)"):
            read_labels(three)

    def test_reads_what_it_writes(self, three):
        set_canary(three, 1, 0.25, "ada", "try")
        labels = read_labels(three)
        assert labels.labelled == {1, 3}
        assert (labels.version_of("stable"), labels.version_of("canary")) == (3, 1)
        assert labels.version_of("other") is None
        assert labels.labels_of(1) == ("canary",)
        raw = json.loads((three / "labels.json").read_text())
        assert raw["canary"] == {"version": 1, "share": 0.25}
        assert set(raw["changes"][-1]) == {
            *("at", "who", "why", "action", "from", "to", "version", "share")
        }


class TestRollback:
    def test_goes_one_step_further_back_each_time(self, three):
        labels = rollback(three, "ada", "bad")
        assert (labels.stable, labels.pinned) == (2, True)
        change = labels.changes[-1]
        assert (change.action, change.who, change.why) == ("rollback", "ada", "bad")
        assert (change.before, change.after) == (3, 2)
        assert rollback(three, "ada", "worse").stable == 1
        with pytest.raises(ConfigError, match="nothing to roll back to"):
            rollback(three, "ada", "worst")
        assert read_labels(three).stable == 1

    def test_goes_to_a_named_version(self, three):
        assert rollback(three, "ada", "bad", to=1).stable == 1
        with pytest.raises(ConfigError, match="no version 9"):
            rollback(three, "ada", "bad", to=9)
        with pytest.raises(ConfigError, match="stable already"):
            rollback(three, "ada", "bad", to=1)

    def test_moves_to_the_previous_stable_not_to_the_previous_number(self, push, base):
        push()
        push("manual")
        push()
        assert rollback(base, "ada", "bad").stable == 1

    def test_without_history_goes_to_the_version_below(self, three):
        write_labels(three, Labels(stable=3), None)
        assert rollback(three, "ada", "bad").stable == 2

    def test_skips_removed_versions(self, three):
        shutil.rmtree(three / "2")
        assert rollback(three, "ada", "bad").stable == 1

    def test_refuses_an_incomplete_version(self, three):
        (three / "2" / "saved_model.pb").unlink()
        with pytest.raises(InfrastructureError, match=r"version 2 gets no label.*missing"):
            rollback(three, "ada", "bad")
        assert read_labels(three).stable == 3

    @pytest.mark.parametrize(
        ("moves", "previous"),
        [
            ([], None),
            ([("publish", None, 1)], None),
            ([("publish", None, 1), ("publish", 1, 2)], 1),
            ([("publish", 1, 2), ("publish", 2, 3), ("rollback", 3, 2)], 1),
            ([("publish", 1, 2), ("promote", 2, 1)], 2),
            ([("publish", 1, 2), ("publish", 2, 2)], 1),
            ([("publish", 1, 2), ("rollback", 2, 1), ("promote", 1, 3)], 1),
            ([("publish", 1, 2), ("canary", None, 5), ("drop_canary", 5, None)], 1),
        ],
    )
    def test_what_was_stable_before(self, moves, previous):
        changes = tuple(Change("t", "w", "y", a, before, after) for a, before, after in moves)
        assert Labels(changes=changes).previous == previous


class TestCanary:
    def test_is_set_moved_and_dropped(self, three):
        assert set_canary(three, 1, 0.1, "ada", "try").canary == Canary(1, 0.1)
        assert set_canary(three, 2, 0.5, "ada", "more").canary == Canary(2, 0.5)
        labels = drop_canary(three, "ada", "enough")
        assert labels.canary is None and labels.stable == 3
        assert [(c.action, c.before, c.after, c.share) for c in labels.changes[-3:]] == [
            ("canary", None, 1, 0.1),
            ("canary", 1, 2, 0.5),
            ("drop_canary", 2, None, None),
        ]
        with pytest.raises(ConfigError, match="no canary"):
            drop_canary(three, "ada", "")

    @pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
    def test_share_is_between_0_and_1(self, three, share):
        with pytest.raises(ConfigError, match="above 0 and below 1"):
            set_canary(three, 1, share, "ada", "")

    def test_is_neither_stable_nor_missing(self, three):
        with pytest.raises(ConfigError, match="is stable"):
            set_canary(three, 3, 0.1, "ada", "")
        with pytest.raises(ConfigError, match="versions there: 1, 2, 3"):
            set_canary(three, 8, 0.1, "ada", "")

    @pytest.mark.parametrize("move", ["promote", "rollback"])
    def test_promoted_canary_is_no_longer_the_canary(self, three, move):
        set_canary(three, 2, 0.1, "ada", "")
        if move == "promote":
            labels = promote(three, 2, "ada", "it is good")
        else:
            labels = rollback(three, "ada", "back", to=2)
        assert (labels.stable, labels.canary) == (2, None)


@pytest.mark.parametrize("move", ["promote", "rollback", "canary"])
def test_version_that_a_server_refuses_gets_no_label(push, base, hostile, move):
    push()
    push("manual", content=hostile)
    push()
    before = (base / "labels.json").read_text()
    with pytest.raises(InfrastructureError, match=r"version 2 gets no label.*WriteFile"):
        if move == "promote":
            promote(base, 2, "ada", "x")
        elif move == "rollback":
            rollback(base, "ada", "x", to=2)
        else:
            set_canary(base, 2, 0.1, "ada", "x")
    assert (base / "labels.json").read_text() == before


class TestSigned:
    """Labels where signing is on: without the key none can be moved."""

    @pytest.fixture
    def signed(self, push, base, trust) -> Path:
        push(trust=trust)
        push(trust=trust)
        return base

    def test_every_move_is_signed_and_read_with_the_public_key(self, signed, trust, reader, push):
        moves = [
            lambda: promote(signed, 1, "ada", "x", trust),
            lambda: set_canary(signed, 2, 0.1, "ada", "x", trust),
            lambda: drop_canary(signed, "ada", "x", trust),
            lambda: rollback(signed, "ada", "x", 2, trust),
            lambda: push(trust=trust) and read_labels(signed),
        ]
        for move in moves:
            assert read_labels(signed, reader) == read_labels(signed) != move()
        assert len(read_labels(signed, reader).changes) == 7

    def test_without_the_private_key_no_label_moves(self, signed, reader):
        before = (signed / "labels.json").read_text()
        for move in (
            lambda: promote(signed, 1, "ada", "x", reader),
            lambda: rollback(signed, "ada", "x", None, reader),
            lambda: set_canary(signed, 1, 0.1, "ada", "x", reader),
        ):
            with pytest.raises(ConfigError, match=r"push\.signing has no private_key"):
                move()
        assert (signed / "labels.json").read_text() == before

    def test_a_private_key_that_is_not_the_public_ones_signs_nothing(self, signed, trust, keys):
        wrong = replace(trust, private_key=keys / "b.pem", password=None)
        with pytest.raises(ConfigError, match="are not a key pair"):
            promote(signed, 1, "ada", "x", wrong)
        assert read_labels(signed, trust).stable == 2

    @pytest.mark.parametrize("name", ["moved", "unsigned", "no signature", "other", "removed"])
    def test_labels_written_without_the_key_are_refused(self, signed, reader, push, trust, name):
        path = signed / "labels.json"
        raw = json.loads(path.read_text())
        if name == "other":  # the labels of another project with the same key
            there = replace(trust, project="other")
            push(trust=there, project="other")
            shutil.copy(signed.with_name("other") / "labels.json", path)
        elif name == "removed":
            path.unlink()
        else:
            rest = {key: value for key, value in raw.items() if key != "signature"}
            content = {
                "moved": {**raw, "stable": 1},
                "unsigned": rest,
                "no signature": {**rest, "signature": {"a": [1]}},
            }
            path.write_text(json.dumps(content[name]))
        expected = {"unsigned": "is not signed", "removed": "is missing, and signing is on"}
        with pytest.raises(InfrastructureError) as caught:
            read_labels(signed, reader)
        assert expected.get(name, "does not verify") in caught.value.message
        assert "--replace-labels" in caught.value.hint
        for move in (lambda: promote(signed, 2, "a", "x", trust), lambda: push(trust=trust)):
            with pytest.raises(InfrastructureError):
                move()
        assert len(list(signed.glob("[0-9]*"))) == 2

    def test_refused_labels_are_replaced_on_request_with_the_key(self, signed, trust, reader):
        path = signed / "labels.json"
        planted = json.dumps(
            {**json.loads(path.read_text()), "canary": {"version": 1, "share": 0.9}}
        )
        path.write_text(planted)
        with pytest.raises(ConfigError):
            promote(signed, 2, "ada", "x", reader, is_replacing=True)
        assert path.read_text() == planted
        promote(signed, 2, "ada", "somebody was here", trust, is_replacing=True)
        labels = read_labels(signed, reader)
        assert (labels.stable, labels.canary, len(labels.changes)) == (2, None, 1)
        assert (signed / "labels.json.refused").read_text() == planted

    def test_followers_refuse_older_labels(self, signed, trust, reader):
        followed = FollowedLabels(signed, reader)
        first = (signed / "labels.json").read_text()
        assert followed.read().stable == 2
        rollback(signed, "ada", "x", None, trust)
        assert followed.read().stable == 1
        (signed / "labels.json").write_text(first)
        with pytest.raises(InfrastructureError, match="is older than the labels that were read"):
            followed.read()
        # Somebody who has the key goes on from there.
        promote(signed, 2, "ada", "x", trust)
        assert followed.read().stable == 2

    def test_change_is_later_than_the_last_despite_a_slow_clock(self, signed, trust, reader):
        ahead = "2999-01-01T00:00:00.000+00:00"
        labels = read_labels(signed)
        labels = replace(
            labels, changes=(*labels.changes[:-1], replace(labels.changes[-1], at=ahead))
        )
        text = labels.signed_text("toy")
        (signed / "labels.json").write_text(labels.to_json(sign_text(text, trust.key())))
        followed = FollowedLabels(signed, reader)
        followed.read()
        promote(signed, 1, "ada", "x", trust)
        assert followed.read().stable == 1

    def test_pruning_reads_signed_labels_only(self, signed, reader):
        path = signed / "labels.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "stable": 1}))
        with pytest.raises(InfrastructureError, match="does not verify"):
            prune(signed, 1, trust=reader)
        assert len(list(signed.glob("[0-9]*"))) == 2


def test_a_version_without_the_right_signature_gets_no_label(three, push, trust, keys):
    promote(three, 2, "ada", "signing is on now", is_replacing=True)
    for wrong, words in ((trust, "it is not signed"),):
        with pytest.raises(InfrastructureError, match=words):
            promote(three, 2, "ada", "", wrong, is_replacing=True)
    push_signed = Trust("toy", keys / "b.pub.pem", keys / "b.pem")
    (three / "labels.json").unlink()
    for folder in three.glob("[0-9]*"):
        shutil.rmtree(folder)
    push(trust=trust)
    with pytest.raises(InfrastructureError, match="Key mismatch"):
        promote(three, 1, "ada", "", push_signed, is_replacing=True)
    assert promote(three, 1, "ada", "", trust).stable == 1


def test_unwritable_labels_are_unchanged(three):
    (three / ".labels.json.staged").mkdir()  # in the way, also of root
    with pytest.raises(InfrastructureError, match="cannot be written.*the labels are unchanged"):
        promote(three, 1, "ada", "x")
    assert read_labels(three).stable == 3


@pytest.mark.timeout(60)
def test_links_in_place_of_written_files_are_not_followed(three, tmp_path):
    """Files behind links are not changed when a label moves."""
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("mine")
    folder.mkdir()
    staged = three / ".labels.json.staged"
    for make in (lambda: staged.symlink_to(victim), lambda: os.mkfifo(staged)):
        make()
        promote(three, 1, "ada", "x")
        assert victim.read_text() == "mine" and not staged.exists()
    shutil.rmtree(three / "tensorflow_serving")
    (three / "tensorflow_serving").symlink_to(folder)
    with pytest.raises(InfrastructureError, match="cannot be written: it is a link"):
        promote(three, 2, "ada", "x")
    assert list(folder.iterdir()) == []
    (three / ".labels.lock").unlink()
    (three / ".labels.lock").symlink_to(victim)
    with pytest.raises(InfrastructureError, match="cannot be locked"):
        promote(three, 3, "ada", "x")
    assert victim.read_text() == "mine"


def test_concurrent_writers_lose_no_change_and_readers_see_complete_files(three):
    script = (
        "import sys\n"
        "from ordain.serving.registry.labels import promote, set_canary\n"
        "for i in range(20):\n"
        "    if sys.argv[2] == 'a':\n"
        "        promote(sys.argv[1], 1 + 2 * (i % 2), 'a', str(i))\n"
        "    else:\n"
        "        set_canary(sys.argv[1], 2, 0.01 + i / 100, 'b', str(i))\n"
    )
    before = len(read_labels(three).changes)
    seen, done = [], threading.Event()

    def watch():
        while not done.is_set():
            seen.append(len(read_labels(three).changes))

    reader = threading.Thread(target=watch)
    reader.start()
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(three), who], cwd=ROOT) for who in "ab"
    ]
    try:
        assert [writer.wait() for writer in writers] == [0, 0]
    finally:
        done.set()
        reader.join()
    changes = read_labels(three).changes[before:]
    assert len(changes) == 40
    for who in "ab":
        assert [c.why for c in changes if c.who == who] == [str(i) for i in range(20)]
    assert seen == sorted(seen) and len(set(seen)) > 5
