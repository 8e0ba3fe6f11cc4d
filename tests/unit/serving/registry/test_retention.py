"""Pruning: what is kept and why, and that nothing else is."""

import os
import threading

import pytest

from ordain.errors import ConfigError
from ordain.serving.registry.label_file import Canary, Change, Labels, read_labels
from ordain.serving.registry.labels import promote, rollback, set_canary
from ordain.serving.registry.retention import decide, prune
from ordain.serving.registry.versions import list_versions


@pytest.fixture
def six(push, base):
    for _ in range(6):
        push()
    return base


@pytest.mark.parametrize("keep", [1, 2, 6, 100])
@pytest.mark.parametrize("stable", [None, 1, 4, 6])
@pytest.mark.parametrize("canary", [None, 2, 5])
def test_labelled_and_newest_are_always_kept(keep, stable, canary):
    labels = Labels(stable, canary and Canary(canary, 0.1))
    kept = {v for v, why in decide([1, 2, 3, 4, 5, 6], labels, keep).items() if why}
    assert kept == {*range(7 - min(keep, 6), 7), 6, *labels.labelled}


def test_reasons_are_told():
    changes = (Change("t", "w", "y", "publish", 2, 4),)
    reasons = decide([1, 2, 3, 4, 5], Labels(4, changes=changes), 1, {1: "evaluate.baseline"})
    assert reasons == {
        1: ("evaluate.baseline",),
        2: ("stable before",),
        3: (),
        4: ("stable",),
        5: ("among the newest 1", "the newest"),
    }


def test_removes_the_rest_for_good(six):
    set_canary(six, 2, 0.1, "ada", "")
    fates = prune(six, keep=2)
    assert [f.version for f in fates if not f.kept] == [1, 3, 4]
    assert list_versions(six) == [2, 5, 6]
    assert not list(six.glob(".removed-*"))
    assert all(fate.size_bytes > 1000 for fate in fates)


def test_a_dry_run_says_the_same_and_removes_nothing(six):
    before = {p for p in six.rglob("*") if not p.name.startswith(".")}
    told = prune(six, keep=1, is_dry_run=True)
    assert {p for p in six.rglob("*") if not p.name.startswith(".")} == before
    assert prune(six, keep=1) == told


def test_what_a_rollback_needs_is_kept(six):
    prune(six, keep=1)
    assert rollback(six, "ada", "bad").stable == 5


def test_tensorflow_serving_is_not_told_of_what_goes(six):
    promote(six, 1, "ada", "")
    promote(six, 6, "ada", "")
    prune(six, keep=1)
    config = (six / "tensorflow_serving" / "models.config").read_text()
    assert "versions: 1 versions: 6" in config and "versions: 2" not in config


def test_nothing_is_removed_where_there_is_nothing(base):
    assert prune(base, keep=1) == []


def test_a_promotion_at_the_same_time_never_ends_on_a_removed_version(six):
    # The label moves before the choice, or the version is gone before the label moves.
    errors = []

    def move():
        for version in (2, 3, 4, 2, 3, 4):
            try:
                promote(six, version, "ada", "")
            except ConfigError as error:
                errors.append(error)

    mover = threading.Thread(target=move)
    mover.start()
    for _ in range(4):
        prune(six, keep=1)
    mover.join()
    assert read_labels(six).stable in list_versions(six)


def test_a_reader_never_sees_half_a_version(six, push):
    for _ in range(4):
        push(size=200_000)
    expected = sum(len(names) for *_, names in os.walk(six / "1"))
    parts, done = [], threading.Event()

    def watch():
        while not done.is_set():
            for version in list_versions(six):
                files = sum(len(names) for *_, names in os.walk(six / str(version)))
                # Renamed while it was walked: by now the name must be gone.
                if files != expected and (six / str(version)).exists():
                    parts.append((version, files))

    reader = threading.Thread(target=watch)
    reader.start()
    try:
        prune(six, keep=1)
    finally:
        done.set()
        reader.join()
    assert parts == []
