"""The commit protocol under a runner that kills, doubles and reorders: rows out = rows in.

A trial is an execution on real files: pieces of work with rows of their own, attempts at each that
end at any point of their way, results that arrive in any order, a worker that was given up and
writes when everything is over, and earlier attempts at the whole execution, killed anywhere.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ordain.common.commit import (
    COMMITTED_FILE,
    Staging,
    Written,
    list_committed,
    one_each,
)
from ordain.common.files import LocalFiles
from ordain.errors import InfrastructureError, NodeFailedError

FILES = LocalFiles()
SPLITS = ("Split-train", "Split-eval")
TRIALS = 1500


class Killed(BaseException):
    """The process is gone: nothing after it is done, `__exit__` neither."""


class Mortal(LocalFiles):
    """Files of a process that is killed before, or in the middle of, one of its operations."""

    def __init__(self, operations: int) -> None:
        self.left = operations

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def make_folder(self, path: str) -> None:
        self._count()
        super().make_folder(path)

    def remove(self, path: str) -> None:
        self._count()
        super().remove(path)

    def move(self, source: str, target: str) -> None:
        self._count()
        super().move(source, target)

    def write(self, path: str, content: bytes) -> None:
        if self.left <= 0:
            super().write(path, content[: len(content) // 2])
        self._count()
        super().write(path, content)


Rows = dict[str, list[int]]
Result = tuple[int, dict[str, Written]]


def attempt(staging: Staging, files: LocalFiles, piece: Rows) -> dict[str, Written]:
    """What a worker does with a piece: a file for each split."""
    done = {}
    for split, rows in piece.items():
        path = staging.new_path()
        files.write(path, struct.pack(f"<{len(rows)}q", *rows))
        done[split] = staging.written(path, len(rows))
    return done


def do_pieces(rng: random.Random, staging: Staging, pieces: list[Rows]) -> list[Result]:
    """A runner: each piece is tried until an attempt ends, some once more; in any order."""
    results: list[Result] = []
    waiting = list(enumerate(pieces))
    while waiting:
        number, piece = waiting.pop(rng.randrange(len(waiting)))
        fate = rng.random()
        try:
            # Two files: killed before, in or after each of them, or once all is written.
            files = Mortal(rng.choice([0, 1, 2]) if fate < 0.4 else 9)
            done = attempt(staging, files, piece)
        except Killed:
            waiting.append((number, piece))
            continue
        if fate < 0.55:  # written, but nobody hears of it
            waiting.append((number, piece))
            continue
        results.append((number, done))
        if fate > 0.8:  # speculation: a second attempt at a piece that is done
            waiting.append((number, piece))
    rng.shuffle(results)
    return results


def commit(staging: Staging, results: list[Result], count: int, root: Path) -> None:
    """What the driving process does at the end, through the pipeline's own way back."""
    staging.keep_results(results, "pieces")
    chosen = one_each(staging.results("pieces"), count)
    staging.commit(
        str(root),
        {
            split: {f"part-{n:05d}-of-{count:05d}": c[split] for n, c in enumerate(chosen)}
            for split in SPLITS
        },
    )


def read(root: Path, split: str) -> list[int]:
    rows: list[int] = []
    for path in list_committed(f"{root}/{split}", FILES).paths:
        content = Path(path).read_bytes()
        rows += struct.unpack(f"<{len(content) // 8}q", content)
    return rows


def make_pieces(rng: random.Random) -> list[Rows]:
    numbers = iter(range(10_000))
    return [
        {split: [next(numbers) for _ in range(rng.randrange(6))] for split in SPLITS}
        for _ in range(rng.randrange(1, 7))
    ]


def leave_something(rng: random.Random, root: Path, pieces: list[Rows]) -> Staging | None:
    """An earlier attempt at the execution, killed at any point; returns its staging folder."""
    files = Mortal(rng.randrange(40))
    staging = Staging(str(root), files)
    try:
        staging.__enter__()
        results = [(n, attempt(staging, files, piece)) for n, piece in enumerate(pieces)]
        commit(staging, results, len(pieces), root)
    except Killed:
        return staging
    return None


@pytest.mark.slow
@pytest.mark.parametrize("block", range(5))
def test_rows_out_are_rows_in(tmp_path: Path, block: int) -> None:
    for trial in range(TRIALS // 5):
        seed = block * TRIALS + trial
        rng = random.Random(seed)
        root = tmp_path / str(trial)
        pieces = make_pieces(rng)
        before = [leave_something(rng, root, make_pieces(rng)) for _ in range(rng.randrange(3))]

        with Staging(str(root), FILES) as staging:
            results = do_pieces(rng, staging, pieces)
            # While it runs, nothing is where a reader looks.
            assert not list(root.glob("Split-*/*")), seed
            commit(staging, results, len(pieces), root)
        # Workers of this and of dead attempts, that nobody stopped: their folders are gone.
        for zombie in [staging, *filter(None, before)]:
            with pytest.raises(FileNotFoundError):
                attempt(zombie, LocalFiles(), pieces[0])

        for split in SPLITS:
            wanted = [row for piece in pieces for row in piece[split]]
            assert read(root, split) == wanted, seed
            names = [f"part-{n:05d}-of-{len(pieces):05d}" for n in range(len(pieces))]
            assert sorted(p.name for p in (root / split).iterdir()) == names, seed
        assert sorted(p.name for p in root.iterdir()) == sorted([*SPLITS, COMMITTED_FILE]), seed


@pytest.mark.parametrize("operations", range(24))
def test_a_driver_killed_at_any_point_leaves_no_half_list(tmp_path: Path, operations: int) -> None:
    """`committed.json` is there with all its files, or not at all."""
    pieces = [{split: [1, 2, 3] for split in SPLITS}] * 2
    files = Mortal(operations)
    try:
        with Staging(str(tmp_path), files) as staging:
            results = [(n, attempt(staging, FILES, piece)) for n, piece in enumerate(pieces)]
            commit(staging, results, 2, tmp_path)
    except Killed:
        pass
    if (tmp_path / COMMITTED_FILE).exists():
        assert [read(tmp_path, split) for split in SPLITS] == [[1, 2, 3] * 2] * 2


def change_size(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (change_size, r"23 bytes; its writer closed it with 24"),
        (Path.unlink, r"Split-train/a: its staged file .* does not exist"),
    ],
)
def test_what_is_not_as_it_was_written_is_not_committed(
    tmp_path: Path, damage: Callable[[Path], None], problem: str
) -> None:
    with Staging(str(tmp_path), FILES) as staging:
        written = attempt(staging, FILES, {"Split-train": [1, 2, 3]})["Split-train"]
        damage(Path(written.path))
        with pytest.raises(NodeFailedError, match=problem):
            staging.commit(str(tmp_path), {"Split-train": {"a": written}})
    assert not (tmp_path / COMMITTED_FILE).exists()


@pytest.mark.parametrize(
    ("results", "problem"),
    [
        ([], "2 of 2 pieces of work have no result, number 0 first"),
        ([(0, "a"), (0, "b")], "1 of 2 pieces .* number 1"),
    ],
)
def test_a_piece_without_a_result_is_an_error(results: list[Result], problem: str) -> None:
    with pytest.raises(NodeFailedError, match=problem):
        one_each(results, 2)


def test_a_pipeline_that_left_no_results_is_an_error(tmp_path: Path) -> None:
    with Staging(str(tmp_path), FILES) as staging:
        with pytest.raises(NodeFailedError, match="ended without storing its results"):
            staging.results("pieces")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """Three rows, committed."""
    with Staging(str(tmp_path), FILES) as staging:
        written = attempt(staging, FILES, {"Split-train": [1, 2, 3]})
        staging.commit(str(tmp_path), {"Split-train": {"a": written["Split-train"]}})
    return tmp_path


@pytest.mark.parametrize("name", [".staged-0-ab", "part-00000-of-00002.gz", "beam-temp-x", "zz"])
def test_what_lies_beside_committed_files_is_not_read_and_named(artifact: Path, name: str) -> None:
    (artifact / "Split-train" / name).write_bytes(b"12345678")
    listing = list_committed(f"{artifact}/Split-train", FILES)
    assert [Path(path).name for path in listing.paths] == ["a"]
    assert listing.strays == (name,)
    assert read(artifact, "Split-train") == [1, 2, 3]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (change_size, "a: has 23 bytes; committed were 24"),
        (Path.unlink, "a: is missing; committed were 24"),
    ],
)
def test_a_committed_file_that_changed_is_an_error(
    artifact: Path, damage: Callable[[Path], None], problem: str
) -> None:
    damage(artifact / "Split-train" / "a")
    with pytest.raises(InfrastructureError, match=problem):
        list_committed(f"{artifact}/Split-train", FILES)


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["b.gz", "a.gz"], ["a.gz", "b.gz"]),
        (["x-00000-of-00002.gz", "x-00001-of-00002.gz"], None),
        (["x-00000-of-00001", ".staged", "_SUCCESS", "beam-temp-x"], ["x-00000-of-00001"]),
        ([], []),
    ],
)
def test_of_other_components_shards_are_taken(
    tmp_path: Path, names: list[str], taken: list[str] | None
) -> None:
    folder = tmp_path / "Split-train"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    found = [Path(path).name for path in list_committed(str(folder), FILES).paths]
    assert found == (sorted(names) if taken is None else taken)


@pytest.mark.parametrize(
    "names",
    [
        ["x-00000-of-00002.gz"],
        ["x-00000-of-00001.gz", "x-00000-of-00002.gz", "x-00001-of-00002.gz"],
    ],
)
def test_of_other_components_half_a_set_of_shards_is_an_error(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(InfrastructureError, match="are incomplete or mixed: 0 of"):
        list_committed(str(tmp_path), FILES)
