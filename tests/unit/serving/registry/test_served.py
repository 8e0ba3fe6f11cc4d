"""The published version that a new model is compared with, and reasons against one."""

import os
import shutil
from pathlib import Path

import pytest

from ordain.common.digests import digest_tree
from ordain.errors import ConfigError, InfrastructureError
from ordain.serving.registry.directory import publish
from ordain.serving.registry.label_file import Change, Labels
from ordain.serving.registry.labels import promote, record_push, rollback
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.served import (
    check_served,
    find_served,
    holds_files,
    is_preceded,
    private_copy,
)
from ordain.serving.registry.trust import Trust


@pytest.fixture
def export_served(base, tmp_path):
    """Publishes a SavedModel that can be loaded; returns its folder."""

    def run() -> Path:
        import tensorflow as tf

        model = tf.Module()
        spec = tf.TensorSpec([None], tf.float32)
        model.twice = tf.function(lambda x: {"y": x + x}, input_signature=[spec])
        tf.saved_model.save(model, str(tmp_path / "saved"), {"serving_default": model.twice})
        folder = publish(tmp_path / "saved", base, Manifest("toy", 0, ""))
        record_push(base, int(folder.name), "run r", "auto")
        return folder

    return run


def chosen(base: Path, rule: str | int) -> tuple[int, str] | None:
    served = check_served(str(base), rule, None)
    return None if served is None else (served.version, served.role)


class TestRules:
    @pytest.mark.parametrize("rule", ["stable", "latest"])
    def test_nothing_is_published_yet(self, base, rule):
        assert chosen(base, rule) is None

    def test_stable_is_the_label_and_latest_the_newest(self, base, push):
        push()
        push()
        push("manual")
        assert chosen(base, "stable") == (2, "stable")
        assert chosen(base, "latest") == (3, "newest published")
        assert chosen(base, 1) == (1, "pinned")

    def test_before_anything_was_promoted_it_is_the_newest(self, base, push):
        push("manual")
        push("manual")
        assert chosen(base, "stable") == (2, "newest published")

    def test_rolled_back_version_is_skipped_until_promoted(self, base, push):
        for _ in range(3):
            push()
        rollback(base, "me", "worse", to=1)
        assert [chosen(base, rule) for rule in ("stable", "latest")] == [
            (1, "stable"),
            (1, "newest published"),
        ]
        push()  # stable stays pinned
        assert chosen(base, "stable") == (1, "stable")
        assert chosen(base, "latest") == (4, "newest published")
        promote(base, 3, "me", "it was the data")
        shutil.rmtree(base / "4")
        assert chosen(base, "latest") == (3, "newest published")

    def test_a_pinned_version_that_is_not_there_is_refused(self, base, push):
        push()
        with pytest.raises(ConfigError, match=f"there is no version 7 in {base}") as caught:
            find_served(str(base), 7)
        assert caught.value.hint == "versions there: 1"

    def test_it_is_the_same_after_a_move(self, base, push, tmp_path):
        push()
        before = find_served(str(base), "stable")
        moved = base.rename(tmp_path / "elsewhere")
        after = find_served(str(moved), "stable")
        assert (after.version, after.digest) == (1, before.digest)
        assert after.address == f"{moved}/1"

    def test_older_versions_are_told(self, base, push):
        push()
        push()
        assert [is_preceded(str(base), version) for version in (1, 2)] == [False, True]


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ([], set()),
        ([("publish", None, 1), ("publish", 1, 2)], set()),
        ([("publish", None, 1), ("publish", 1, 2), ("rollback", 2, 1)], {2}),
        ([("publish", 1, 2), ("publish", 2, 3), ("rollback", 3, 1)], {2, 3}),
        ([("publish", 1, 2), ("rollback", 2, 1), ("promote", 1, 2)], set()),
        ([("publish", 1, 2), ("rollback", 2, 1), ("rollback", 1, 2)], {1}),
    ],
)
def test_what_rollbacks_took_out_of_service(changes, gone):
    made = tuple(Change("", "me", "", kind, before, after) for kind, before, after in changes)
    stable = changes[-1][2] if changes else None
    assert Labels(stable, changes=made).rolled_back == gone


def _change(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


#: What happens to stable, version 2, and what the refusal says beside the version and its folder.
DAMAGE = {
    "a file of it is changed": (
        lambda folder: _change(folder / "saved_model.pb"),
        "saved_model.pb was changed after it was published",
    ),
    "a file of it is cut": (
        lambda folder: _cut(folder / "variables" / "variables.index"),
        "variables/variables.index has 999 bytes, not 1000",
    ),
    "a file of it is gone": (
        lambda folder: (folder / "saved_model.pb").unlink(),
        "saved_model.pb is missing",
    ),
    "a link stands in it": (
        lambda folder: (folder / "more").symlink_to("/etc/passwd"),
        "more is not a plain file",
    ),
    "a pipe stands for its manifest": (
        lambda folder: ((folder / "manifest.json").unlink(), os.mkfifo(folder / "manifest.json")),
        "manifest.json is a pipe, not a plain file",
    ),
    "its manifest is gone": (
        lambda folder: (folder / "manifest.json").unlink(),
        "2 has no manifest.json",
    ),
    "its manifest is damaged": (
        lambda folder: (folder / "manifest.json").write_text("{"),
        "the manifest is damaged",
    ),
    "its folder is gone": (shutil.rmtree, "version 2 is stable in "),
    "its folder is that of version 1": (
        lambda folder: (
            shutil.rmtree(folder),
            shutil.copytree(folder.with_name("1"), folder),
        ),
        "the manifest is that of version 1, not 2",
    ),
}


class TestRefused:
    """A baseline that should be there is never passed over."""

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_damaged_stable_version_is_an_error(self, base, push, damage):
        push()
        folder = push()
        make, words = DAMAGE[damage]
        make(folder)
        with pytest.raises(InfrastructureError) as caught:
            check_served(str(base), "stable", None)
        assert words in caught.value.message
        assert "version 2" in caught.value.message and str(folder) in caught.value.message

    @pytest.mark.parametrize("text", ["{", '{"stable": 1}', "[]"])
    def test_labels_that_cannot_be_read(self, base, push, text):
        push()
        (base / "labels.json").write_text(text)
        with pytest.raises(InfrastructureError, match="labels.json is damaged"):
            check_served(str(base), "stable", None)

    def test_one_that_is_not_signed_where_signing_is_on(self, base, push, trust, reader, keys):
        push(trust=trust)
        assert check_served(str(base), "stable", reader).version == 1
        with pytest.raises(InfrastructureError, match="labels.json does not verify"):
            check_served(str(base), "stable", Trust("toy", keys / "b.pub.pem"))
        (base / "1" / "manifest.json.sig").unlink()
        with pytest.raises(InfrastructureError, match="it is not signed, and signing is on"):
            check_served(str(base), "stable", reader)

    @pytest.mark.parametrize("rule", ["stable", "latest", 1])
    def test_labels_that_are_lost(self, base, push, rule):
        """The newest version would be stable then, also one that was rolled back."""
        push()
        push()
        rollback(base, "me", "worse")
        (base / "labels.json").unlink()
        with pytest.raises(InfrastructureError, match="labels.json is missing, and version 1"):
            check_served(str(base), rule, None)

    def test_all_were_rolled_back_and_the_one_that_serves_is_gone(self, base, push):
        for _ in range(2):
            push()
        rollback(base, "me", "worse")
        shutil.rmtree(base / "1")
        for rule in ("stable", "latest"):
            with pytest.raises(InfrastructureError, match=str(base)):
                check_served(str(base), rule, None)


class TestPrivateCopy:
    def test_what_changes_after_the_check_is_not_what_is_loaded(self, base, export_served):
        folder = export_served()
        listed = digest_tree(folder)
        with private_copy(str(folder), None) as copy:
            (folder / "saved_model.pb").write_bytes(b"something else")
            assert digest_tree(copy) == listed
            assert not copy.is_relative_to(base)
        assert not copy.exists()

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda f: (f / "saved_model.pb").write_bytes(b"x"), "saved_model.pb has 1 bytes"),
            (lambda f: (f / "more").symlink_to("/etc/passwd"), "more is not a plain file"),
            (lambda f: os.mkfifo(f / "more"), "more is not a plain file"),
            (shutil.rmtree, "No such file or directory"),
        ],
    )
    def test_a_damaged_one_is_not_loaded(self, export_served, damage, words):
        folder = export_served()
        damage(folder)
        with pytest.raises(InfrastructureError, match=words), private_copy(str(folder), None):
            pass

    def test_one_that_the_scan_refuses_is_not_loaded(self, push, hostile):
        """Published by something that does not scan."""
        folder = push(content=hostile)
        with (
            pytest.raises(InfrastructureError, match="version 1 .*SaveV2|version 1 .*WriteFile"),
            private_copy(str(folder), None),
        ):
            pass


def test_a_version_is_told_from_another_model_by_its_files(base, push, tmp_path):
    push()
    served = find_served(str(base), "stable")
    model = tmp_path / "model"
    assert holds_files(served, model)
    content = (model / "saved_model.pb").read_bytes()
    _change(model / "saved_model.pb")
    assert not holds_files(served, model)
    (model / "saved_model.pb").write_bytes(content)
    (model / "more").write_bytes(b"")
    assert not holds_files(served, model)
