"""Private copies: refused files, and removal after the process ends."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ordain.errors import InfrastructureError
from ordain.serving.registry import private_copy
from ordain.serving.registry.private_copy import copy_version

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def version(tmp_path) -> Path:
    folder = tmp_path / "base" / "3"
    (folder / "variables").mkdir(parents=True)
    (folder / "assets" / "empty").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "v").write_bytes(os.urandom(5_000_000))
    return folder


def content(folder: Path) -> dict[str, bytes | None]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
    }


def test_copy_is_equal_private_and_not_linked(version):
    copy = copy_version(version)
    assert copy.folder.name == "3" and content(copy.folder) == content(version)
    assert copy.folder.parents[1].stat().st_mode & 0o777 == 0o700
    for path in copy.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
        assert path.is_dir() or path.stat().st_nlink == 1
    # In place, which a hard link would not survive.
    (version / "saved_model.pb").write_bytes(b"other")
    assert (copy.folder / "saved_model.pb").read_bytes() == b"graph"
    copy.remove()
    assert not copy.folder.exists()


def _touched(path: Path) -> Path:
    path.touch()
    return path


def _deep(folder: Path) -> None:
    for _ in range(40):
        folder = folder / "d"
        folder.mkdir()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: os.mkfifo(f / "assets" / "x"), "assets/x is not a plain file"),
        (lambda f: (f / "x").symlink_to("/etc/passwd"), "x is not a plain file"),
        (lambda f: (f / "x").symlink_to("/etc"), "x is not a plain file"),
        (shutil.rmtree, "3 cannot be copied: No such file"),
        (lambda f: shutil.move(f, f.parent / "4") and f.symlink_to(f.parent / "4"), "3 is a link"),
        (lambda f: os.truncate(_touched(f / "x"), 1 << 43), "bytes more are needed"),
        (_deep, "levels"),
    ],
    ids=["pipe", "link", "folder link", "nothing", "version link", "eight terabytes", "deep"],
)
def test_what_is_no_version_is_not_copied(version, make, words):
    make(version)
    with pytest.raises(InfrastructureError, match=words):
        copy_version(version)
    assert not any(any(f.iterdir()) for f in _own().iterdir() if f.is_dir())


def _own() -> Path:
    return private_copy._own[os.getpid()][0]


def test_a_folder_swapped_for_a_link_is_not_followed(version, tmp_path):
    """A secret beside the version never gets into a copy, however the folders are swapped."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "v").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    inside, away, is_done = version / "variables", tmp_path / "away", threading.Event()

    def swap():
        while not is_done.is_set():
            inside.rename(away)
            (tmp_path / "link").rename(inside)
            inside.rename(tmp_path / "link")
            away.rename(inside)

    swapping = threading.Thread(target=swap)
    swapping.start()
    whole = 0
    try:
        for _ in range(200):
            try:
                copy = copy_version(version)
            except InfrastructureError:
                continue
            whole += 1
            assert b"secret" not in content(copy.folder).values()
            copy.remove()
    finally:
        is_done.set()
        swapping.join()
    assert 0 < whole < 200


MAKES_ONE = """
import os, sys, time
from pathlib import Path
from ordain.common.process_exit import exit_process
from ordain.serving.registry.private_copy import copy_version
print(copy_version(Path(sys.argv[1])).folder, flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
elif sys.argv[2] == "leaves":
    exit_process(0)
elif sys.argv[2] == "stays":
    sys.stdin.read()
"""


def _start(version: Path, temporary: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MAKES_ONE, str(version), how],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_copies_of_killed_processes_are_removed(version, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (temporary / "ordain-versions-link").symlink_to(version.parent)
    living = _start(version, temporary, "stays")
    kept = Path(living.stdout.readline().strip())
    for how, is_left in (("killed", True), ("ends", False), ("leaves", False), ("killed", True)):
        with _start(version, temporary, how) as process:
            folder = Path(process.stdout.readline().strip())
        assert folder.exists() is is_left, how
        # The one that was killed before is gone by now.
        others = [p for p in temporary.iterdir() if p.is_dir() and not p.is_symlink()]
        assert set(others) == {kept.parents[1]} | ({folder.parents[1]} if is_left else set())
    living.communicate("")
    assert not kept.exists() and version.is_dir()
