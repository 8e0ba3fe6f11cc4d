"""Labels: what moves them, what does not, and that no change is lost."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from contracts.errors import ConfigError, InfrastructureError
from serving.label_file import Canary, Change, Labels
from serving.labels import (
    drop_canary,
    promote,
    read_labels,
    record_push,
    rollback,
    set_canary,
    settle,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def three(push, base) -> Path:
    """Three versions, the newest stable."""
    for _ in range(3):
        push()
    return base


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

    def test_that_ends_after_a_later_one_does_not_move_stable_back(self, three):
        done = record_push(three, 2, "run slow", "auto")
        assert (done.is_stable, done.reason) == (False, "version 3, pushed meanwhile, is stable")
        assert read_labels(three).stable == 3

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

    def test_settling_keeps_what_was_stable_before_the_push(self, base):
        (base / "3").mkdir(parents=True)
        settle(base)
        (base / "4").mkdir()
        assert read_labels(base).stable == 3

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"stable": 1}', '{"stable":"x","canary":null,"changes":[]}']
    )
    def test_a_damaged_file_is_an_error_and_not_the_newest(self, three, push, text):
        (three / "labels.json").write_text(text)
        with pytest.raises(InfrastructureError, match=r"labels\.json is damaged"):
            read_labels(three)
        with pytest.raises(InfrastructureError):
            push()
        assert (three / "labels.json").read_text() == text

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

    def test_goes_to_what_was_stable_not_to_what_is_older(self, push, base):
        push()
        push("manual")
        push()
        assert rollback(base, "ada", "bad").stable == 1

    def test_without_history_goes_to_the_version_below(self, three):
        (three / "labels.json").unlink()
        assert rollback(three, "ada", "bad").stable == 2

    def test_passes_by_a_version_that_is_gone(self, three):
        shutil.rmtree(three / "2")
        assert rollback(three, "ada", "bad").stable == 1

    def test_never_to_a_version_that_is_not_whole(self, three):
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
    def test_has_a_share_between_nothing_and_all(self, three, share):
        with pytest.raises(ConfigError, match="above 0 and below 1"):
            set_canary(three, 1, share, "ada", "")

    def test_is_neither_stable_nor_missing(self, three):
        with pytest.raises(ConfigError, match="is stable"):
            set_canary(three, 3, 0.1, "ada", "")
        with pytest.raises(ConfigError, match="versions there: 1, 2, 3"):
            set_canary(three, 8, 0.1, "ada", "")

    @pytest.mark.parametrize("move", ["promote", "rollback"])
    def test_that_becomes_stable_is_the_canary_no_more(self, three, move):
        set_canary(three, 2, 0.1, "ada", "")
        if move == "promote":
            labels = promote(three, 2, "ada", "it is good")
        else:
            labels = rollback(three, "ada", "back", to=2)
        assert (labels.stable, labels.canary) == (2, None)


def test_a_version_without_the_right_signature_gets_no_label(three, push, key, keys):
    push("manual", key=key)
    with pytest.raises(InfrastructureError, match="it is not signed"):
        promote(three, 2, "ada", "", keys / "a.pub.pem")
    with pytest.raises(InfrastructureError, match="Key mismatch"):
        promote(three, 4, "ada", "", keys / "b.pub.pem")
    assert promote(three, 4, "ada", "", keys / "a.pub.pem").stable == 4


def test_a_label_that_cannot_be_written_stays(three):
    (three / ".labels.json.staged").mkdir()  # in the way, also of root
    with pytest.raises(InfrastructureError, match="cannot be written.*the labels are as before"):
        promote(three, 1, "ada", "x")
    assert read_labels(three).stable == 3


def test_two_writers_lose_no_change_and_a_reader_sees_no_part(three):
    script = (
        "import sys\n"
        "from serving.labels import promote, set_canary\n"
        "for i in range(40):\n"
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
    assert len(changes) == 80
    for who in "ab":
        assert [c.why for c in changes if c.who == who] == [str(i) for i in range(40)]
    assert seen == sorted(seen) and len(set(seen)) > 5
