"""Spans of the data folder: complete or not, with fingerprints equal to TFX's."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from ordain.config.data import Data
from ordain.config.schedule import Complete
from ordain.errors import ConfigError
from ordain.project.span_status import Delivery, find_deliveries


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def lay(folder: Path):
    """Writes files, each with its name as content."""

    def write(*names: str) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)

    return write


@pytest.fixture
def find(folder: Path):
    def look(pattern: str = "{SPAN}/*.csv", **complete: Any) -> list[Delivery]:
        data = Data(path=folder, pattern=pattern, label="y")
        return find_deliveries(data, Complete(**complete))

    return look


def test_spans_oldest_first_each_at_its_highest_version(lay, find):
    lay("10/v1/a.csv", "2/v1/a.csv", "2/v10/a.csv", "2/v9/a.csv")
    found = find("{SPAN}/v{VERSION}/*.csv")
    assert [(d.span, d.version) for d in found] == [(2, 10), (10, 1)]


def test_a_folder_without_data_holds_no_delivery(folder, lay, find):
    folder.mkdir()
    assert find() == []
    lay("1/_SUCCESS", "1/.hidden.csv")
    assert find("{SPAN}/*") == []


def test_no_folder_is_refused(find):
    with pytest.raises(ConfigError, match=r"data.path: .* is not a folder"):
        find()


@pytest.mark.parametrize(
    ("pattern", "files", "resolved"),
    [
        ("{SPAN}/*.csv", ["1/a.csv", "1/b.csv", "1/_SUCCESS"], "1/*.csv"),
        # Here the marker and hidden files are part of what TFX looks at.
        ("{SPAN}/*", ["1/a.csv", "1/_SUCCESS", "1/.part"], "1/*"),
        ("{SPAN:3}/v{VERSION}/*.csv", ["001/v1/a.csv", "001/v2/b.csv"], "001/v2/*.csv"),
        ("rows-{SPAN}.csv", ["rows-1.csv"], "rows-1.csv"),
        ("*.csv", ["a.csv", "b.csv"], "*.csv"),
    ],
)
def test_the_fingerprint_is_tfxs(folder, lay, find, pattern, files, resolved):
    from tfx.utils import io_utils

    lay(*files)
    for number, name in enumerate(files):
        os.utime(folder / name, (number, 1_700_000_000.9 + number))
    (found,) = find(pattern)
    assert found.fingerprint == io_utils.generate_fingerprint(
        "single_split", str(folder / resolved)
    )


@pytest.mark.parametrize("change", ["content", "time", "more", "fewer", "version"])
def test_another_delivery_has_another_fingerprint(folder, lay, find, change):
    lay("1/v1/a.csv", "1/v1/b.csv")
    pattern = "{SPAN}/v{VERSION}/*.csv"
    (before,) = find(pattern)
    if change == "content":
        (folder / "1/v1/a.csv").write_text("more than its name")
    elif change == "time":
        os.utime(folder / "1/v1/a.csv", (0, 1_600_000_000))
    elif change == "more":
        lay("1/v1/c.csv")
    elif change == "fewer":
        (folder / "1/v1/b.csv").unlink()
    else:
        lay("1/v2/a.csv", "1/v2/c.csv", "1/v2/d.csv")
    (after,) = find(pattern)
    assert after.fingerprint != before.fingerprint


class TestChanged:
    """The time of the last change, by which a span that could not be read is tried again."""

    @pytest.fixture
    def before(self, lay) -> float:
        lay("1/a.csv", "1/b.csv", "2/a.csv")
        time.sleep(0.05)
        return time.time()

    def test_nothing(self, find, before):
        assert all(d.changed < before for d in find())

    @pytest.mark.parametrize("change", ["content", "old copy", "removed"])
    def test_of_one_span_only(self, folder, find, before, change):
        if change == "content":
            (folder / "1/a.csv").write_text("repaired")
        elif change == "old copy":  # its own time says that it is older than the broken one
            (folder / "1/a.csv").write_text("repaired")
            os.utime(folder / "1/a.csv", (0, 1_000_000_000))
        else:
            (folder / "1/b.csv").unlink()
        first, second = find()
        assert first.changed >= before - 0.02
        assert second.changed < before

    def test_spans_in_one_folder_are_told_apart(self, lay, find):
        lay("rows-1.csv")
        time.sleep(0.05)
        before = time.time()
        lay("rows-2.csv")
        first, second = find("rows-{SPAN}.csv")
        assert first.changed < before - 0.02 < second.changed


class TestComplete:
    def test_whole_if_nothing_is_asked_for(self, lay, find):
        lay("1/a.csv")
        assert find()[0].missing == ""

    def test_a_marker_beside_the_files(self, folder, lay, find):
        lay("1/a.csv", "2/a.csv", "1/_SUCCESS")
        first, second = find(marker="_SUCCESS")
        assert first.missing == ""
        assert second.missing == f"there is no {folder}/2/_SUCCESS"

    def test_a_marker_by_pattern(self, lay, find):
        lay("1/a.csv", "2/a.csv", "1/load-17.done")
        assert [bool(d.missing) for d in find(marker="*.done")] == [False, True]

    def test_a_marker_of_each_version(self, lay, find):
        lay("1/v1/a.csv", "1/v1/_SUCCESS", "1/v2/a.csv")
        assert find("{SPAN}/v{VERSION}/*.csv", marker="_SUCCESS")[0].missing

    def test_a_marker_of_each_span_in_one_folder(self, folder, lay, find):
        lay("rows-001.csv", "rows-002.csv", "rows-001.done")
        first, second = find("rows-{SPAN:3}.csv", marker="rows-{SPAN:3}.done")
        assert first.missing == ""
        assert second.missing == f"there is no {folder}/rows-002.done"

    def test_files_in_progress(self, folder, lay, find):
        lay("1/a.csv", "2/a.csv", "2/b.csv.part")
        first, second = find(unfinished="*.part")
        assert first.missing == ""
        assert second.missing == f"{folder}/2/b.csv.part is still being written"

    def test_the_newest_change_of_content_counts_for_the_age(self, folder, lay, find):
        lay("1/a.csv", "1/b.csv", "1/_SUCCESS")
        os.utime(folder / "1/a.csv", (0, 1_700_000_000))
        os.utime(folder / "1/b.csv", (0, 1_700_000_060))
        assert find()[0].modified == 1_700_000_060

    @pytest.mark.parametrize("name", ["a/b", ""])
    def test_a_marker_is_a_name(self, name):
        with pytest.raises(ValueError, match="must be the name of a file"):
            Complete(marker=name)
