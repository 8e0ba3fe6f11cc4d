"""The serving directory: complete versions or none, despite failures and concurrent publishers."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ordain.errors import InfrastructureError
from ordain.serving.registry import directory
from ordain.serving.registry.label_file import Change, Labels
from ordain.serving.registry.labels import record_push
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.verification import read_manifest, verify
from ordain.serving.registry.versions import list_versions

ABOUT = Manifest(project="toy", version=0, created="")
#: What publishing adds to a model, and what it leaves beside the versions.
ADDED = {"manifest.json", "MODEL_CARD.md"}
#: What stands beside versions, and is no leftover.
BESIDE = {".publish.lock", ".labels.lock", "labels.json", "tensorflow_serving"}
ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model", b"weights")


@pytest.fixture
def base(tmp_path) -> Path:
    return tmp_path / "serving" / "toy"


def write_model(folder: Path, content: bytes, files: int = 3) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "saved_model.pb").write_bytes(content)
    for i in range(files):
        (folder / "variables" / f"variables.data-{i:05d}").write_bytes(content * 100)
    return folder


def publish(model: Path, base: Path) -> Path:
    return directory.publish(model, base, ABOUT)


def content(folder: Path) -> dict[str, bytes]:
    """The model's own files."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in ADDED
    }


def left(base: Path) -> set[str]:
    """Versions and leftovers."""
    return {p.name for p in base.iterdir()} - BESIDE


class TestVersions:
    def test_increase_from_one(self, model, base):
        assert [publish(model, base).name for _ in range(3)] == ["1", "2", "3"]
        assert list_versions(base) == [1, 2, 3]

    def test_are_complete_copies(self, model, base):
        version = publish(model, base)
        assert content(version) == content(model)
        assert (version / "assets").is_dir()
        (model / "saved_model.pb").write_bytes(b"changed")
        assert (version / "saved_model.pb").read_bytes() == b"weights"

    def test_follow_the_highest_that_is_there(self, model, base):
        for name in ("2", "9", "10"):
            (base / name).mkdir(parents=True)
            (base / name / "saved_model.pb").touch()
        assert publish(model, base).name == "11"

    def test_a_gap_is_not_filled(self, model, base):
        publish(model, base)
        publish(model, base)
        shutil.rmtree(base / "1")
        assert publish(model, base).name == "3"

    def test_sort_as_numbers_and_are_folders_of_digits_only(self, base):
        for name in ("10", "9", "1a", ".staging-x", "-1", "1.5", "stable", "007", "\u0663"):
            (base / name).mkdir(parents=True)
        (base / "11").write_text("a file")
        assert list_versions(base) == [9, 10]

    def test_there_are_none_without_a_directory(self, base):
        assert list_versions(base) == []

    def test_file_with_the_next_number_is_not_replaced(self, model, base):
        base.mkdir(parents=True)
        (base / "1").write_text("a file")
        assert publish(model, base).name == "2"
        assert (base / "1").read_text() == "a file"


class TestManifest:
    def test_contains_the_provenance_and_every_file(self, model, base):
        first = publish(model, base)
        record_push(base, 1, "a test", "auto")
        second = publish(model, base)
        manifest = read_manifest(second)
        assert (manifest.project, manifest.version, manifest.parent) == ("toy", 2, 1)
        assert manifest.created.endswith("+00:00")
        on_disk = {str(p.relative_to(second)) for p in second.rglob("*") if p.is_file()}
        assert {f.path for f in manifest.files} == on_disk - {"manifest.json"}
        assert read_manifest(first).parent is None
        assert verify(first) == verify(second) == []

    def test_a_number_that_was_used_is_not_used_again(self, model, base):
        publish(model, base)
        told = Change("2026-01-01T00:00:00+00:00", "ada", "", "publish", None, 7, version=7)
        (base / "labels.json").write_text(Labels(stable=7, changes=(told,)).to_json())
        assert publish(model, base).name == "8"

    def test_a_model_with_a_file_of_that_name_is_refused(self, model, base):
        (model / "manifest.json").write_text("{}")
        with pytest.raises(InfrastructureError, match=r"manifest\.json, a name"):
            publish(model, base)
        assert left(base) == set()

    def test_a_copy_that_reads_back_differently_is_refused(self, model, base, monkeypatch):
        # The disk's fault, played by what is written between the sync and the reading back.
        def spoil(folder: Path) -> None:
            (folder / "saved_model.pb").write_bytes(b"weighty")

        monkeypatch.setattr(directory, "sync_tree", spoil)
        with pytest.raises(InfrastructureError, match=r"saved_model\.pb differs from its source"):
            publish(model, base)
        assert left(base) == set()


class TestSweep:
    def test_keeps_the_folder_of_a_running_publisher(self, model, base):
        with directory._staging(base) as staging:
            publish(model, base)
            assert staging.is_dir()
        assert left(base) == {"1"}

    def test_removes_abandoned_folders(self, model, base):
        for name in (".staging-unmarked", ".staging-marked", ".removed-3-abcd"):
            (base / name).mkdir(parents=True)
        (base / ".staging-marked" / "owner").touch()
        publish(model, base)
        assert left(base) == {"1"}


class TestFailures:
    def refused(self, model: Path, base: Path) -> str:
        with pytest.raises(InfrastructureError) as caught:
            publish(model, base)
        return caught.value.message

    def test_a_missing_model_leaves_nothing(self, tmp_path, base):
        message = self.refused(tmp_path / "none", base)
        assert message.startswith(f"publishing to {base} failed: ")
        assert left(base) == set()

    def test_a_file_that_cannot_be_copied_leaves_nothing(self, model, base):
        # The last file in order: others are copied by then.
        (model / "variables" / "zzz").symlink_to("nowhere")
        assert "zzz" in self.refused(model, base)
        assert left(base) == set()

    def test_a_full_disk_leaves_nothing(self, tmp_path, base):
        # A limit on file sizes fails a copy half-way, as a full disk does, without being root.
        model = write_model(tmp_path / "large", b"w" * 10_000)
        script = (
            "import resource, signal, sys\n"
            "from ordain.serving.registry.manifest import Manifest\n"
            "from ordain.serving.registry.directory import publish\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
            "try:\n"
            "    publish(sys.argv[1], sys.argv[2], Manifest('toy', 0, ''))\n"
            "except Exception as error:\n"
            "    print(type(error).__name__, error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(model), str(base)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        assert done.stdout.startswith(f"InfrastructureError publishing to {base} failed: ")
        assert "File too large" in done.stdout
        assert left(base) == set()

    def test_a_killed_publisher_leaves_nothing_that_a_server_reads(self, model, base):
        # Killed between the copy and the rename, where most of it is on the disk.
        script = (
            "import sys, time\n"
            "from ordain.serving.registry.manifest import Manifest\n"
            "from ordain.serving.registry import directory\n"
            "directory.sync_tree = lambda _: (print('copied', flush=True), time.sleep(600))\n"
            "directory.publish(sys.argv[1], sys.argv[2], Manifest('toy', 0, ''))\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(model), str(base)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stdout.readline() == "copied\n"
        process.kill()
        process.communicate()
        assert list_versions(base) == []
        (staging,) = left(base)
        assert staging.startswith(".staging-")
        assert content(publish(model, base)) == content(model)
        assert left(base) == {"1"}

    def test_served_versions_stay(self, model, base):
        before = content(publish(model, base))
        (model / "broken").symlink_to("nowhere")
        self.refused(model, base)
        assert list_versions(base) == [1]
        assert content(base / "1") == before

    def test_a_base_that_is_a_file_is_named(self, model, base):
        base.parent.mkdir()
        base.write_text("a file")
        assert str(base) in self.refused(model, base)
        assert base.read_text() == "a file"

    def test_the_model_itself_is_never_touched(self, model, base):
        (model / "broken").symlink_to("nowhere")
        before = content(model)
        self.refused(model, base)
        assert content(model) == before


class TestConcurrency:
    SCRIPT = (
        "import sys\n"
        "from ordain.serving.registry.manifest import Manifest\n"
        "from ordain.serving.registry.directory import publish\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for _ in range(5):\n"
        "    done = publish(sys.argv[1], sys.argv[2], Manifest('toy', 0, ''))\n"
        "    print(done.name, flush=True)\n"
    )

    def test_concurrent_publishers_get_a_complete_version_each(self, tmp_path, base):
        models = [write_model(tmp_path / f"model-{c}", c.encode() * 1000, 20) for c in "ab"]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", self.SCRIPT, str(model), str(base)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for model in models
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        given = [process.communicate()[0].split() for process in processes]
        assert sorted(int(v) for names in given for v in names) == [*range(1, 11)]
        for model, names in zip(models, given, strict=True):
            for name in names:
                assert content(base / name) == content(model)
        assert left(base) == set(map(str, range(1, 11)))

    def test_reader_sees_complete_versions_only(self, tmp_path, base):
        model = write_model(tmp_path / "model", b"w" * 1000, 50)
        expected = len(content(model)) + len(ADDED)
        parts, done = [], threading.Event()

        def watch():
            while not done.is_set():
                for version in list_versions(base):
                    files = sum(len(names) for *_, names in os.walk(base / str(version)))
                    if files != expected:
                        parts.append((version, files))

        reader = threading.Thread(target=watch)
        reader.start()
        try:
            for _ in range(10):
                publish(model, base)
        finally:
            done.set()
            reader.join()
        assert parts == []
        assert list_versions(base) == [*range(1, 11)]
