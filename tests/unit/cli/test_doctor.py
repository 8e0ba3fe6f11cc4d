"""`ordain doctor`: what it finds wrong, what it only warns of, and how it exits."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from ordain.cli import doctor as doctor_module
from ordain.cli import health_checks
from ordain.cli.main import main

LOCK = """\
absl-py==1.4.0 \\
    --hash=sha256:{0}
    # via tfx
psutil==7.2.2 \\
    --hash=sha256:{0}
scipy==1.17.1 ; python_full_version < '3.12' \\
    --hash=sha256:{0}
scipy==1.18.1 ; python_full_version >= '3.12' \\
    --hash=sha256:{0}
pywin32==312 ; sys_platform == 'win32' \\
    --hash=sha256:{0}
""".format("0" * 64)
SCIPY = "1.17.1" if sys.version_info < (3, 12) else "1.18.1"
FINE = {"absl-py": "1.4.0", "psutil": "7.2.2", "scipy": SCIPY}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    return path


@pytest.fixture
def database(tmp_path: Path) -> Callable[..., Path]:
    """An SQLite file with several pages in a workspace."""

    def make(folder: str = "workspace") -> Path:
        path = tmp_path / folder / "metadata.sqlite"
        path.parent.mkdir()
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE Artifact (uri TEXT)")
        connection.executemany("INSERT INTO Artifact VALUES (?)", [("a" * 2000,)] * 500)
        connection.commit()
        connection.close()
        return path

    return make


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 4 * 4096] = b"\x99" * 4096
    path.write_bytes(content)


class TestPackages:
    def test_lock_lines_of_other_platforms_and_pythons_do_not_count(self, lock):
        check = health_checks.check_packages(lock, FINE.get)
        assert (check.state, check.found) == ("ok", "all 3 at the locked versions")

    def test_missing_package_fails(self, lock):
        check = health_checks.check_packages(lock, {**FINE, "psutil": None}.get)
        assert (check.state, check.found) == ("fail", "missing: psutil")
        assert "tools/bootstrap.py" in check.fix

    def test_other_version_warns_with_both_versions(self, lock):
        check = health_checks.check_packages(lock, {**FINE, "psutil": "5.9.8"}.get)
        assert (check.state, check.found) == (
            "warn",
            "other versions: psutil 5.9.8 (locked 7.2.2)",
        )

    def test_missing_package_is_not_hidden_by_another_version(self, lock):
        check = health_checks.check_packages(lock, {"psutil": "5.9.8", "scipy": SCIPY}.get)
        assert check.state == "fail"
        assert "absl-py" in check.found

    def test_a_long_list_is_counted(self, tmp_path):
        lock = tmp_path / "requirements.lock"
        lock.write_text("".join(f"package{i}==1.0\n" for i in range(40)))
        check = health_checks.check_packages(lock, lambda name: None)
        assert check.found.endswith("and 35 more")

    @pytest.mark.parametrize(
        ("click", "state", "found"),
        [
            ("8.3.0", "ok", " within the ranges of ordain's wheel"),
            ("7.1.2", "warn", "other versions: click 7.1.2 (needs <9,>=8.1)"),
            (None, "fail", "missing: click"),
        ],
    )
    def test_without_a_lock_the_ranges_of_the_package_count(self, tmp_path, click, state, found):
        def installed(name):
            return click if name == "click" else metadata.version(name)

        check = health_checks.check_packages(tmp_path / "requirements.lock", installed)
        assert check.state == state
        assert found in check.found

    def test_this_installation_reads_its_own_lock(self):
        names = {requirement.name for requirement in health_checks.read_lock(doctor_module.LOCK)}
        assert {"tfx", "ml-metadata", "tensorflow", "click"} <= names


@pytest.mark.parametrize(
    ("check", "state"),
    [
        (health_checks.check_python((3, 10, 14)), "fail"),
        (health_checks.check_python((3, 11, 0)), "ok"),
        (health_checks.check_python((3, 13, 9)), "ok"),
        (health_checks.check_python((3, 14, 0)), "fail"),
        (health_checks.check_glibc((2, 36)), "fail"),
        (health_checks.check_glibc((2, 39)), "ok"),
        (health_checks.check_glibc(()), "fail"),
        (health_checks.check_disk(999_999_999, Path("/w")), "fail"),
        (health_checks.check_disk(1_000_000_000, Path("/w")), "warn"),
        (health_checks.check_disk(4_999_999_999, Path("/w")), "warn"),
        (health_checks.check_disk(5_000_000_000, Path("/w")), "ok"),
        (health_checks.check_memory(3_999_999_999), "warn"),
        (health_checks.check_memory(4_000_000_000), "ok"),
        (health_checks.check_cpus(1), "ok"),
    ],
)
def test_limits(check, state):
    assert check.state == state
    assert bool(check.fix) == (state != "ok"), "what is not fine says what to do, and only that"


class TestDatabase:
    def test_before_the_first_run(self, tmp_path):
        check = health_checks.check_database(tmp_path / "metadata.sqlite")
        assert check.state == "ok"
        assert "created by the first run" in check.found
        assert not (tmp_path / "metadata.sqlite").exists()

    def test_intact(self, database):
        assert health_checks.check_database(database()).state == "ok"

    def test_a_folder_name_with_signs_that_mean_something_in_a_uri(self, database):
        assert health_checks.check_database(database("a?b=c#d %41")).state == "ok"

    def test_a_page_that_was_overwritten(self, database):
        path = database()
        corrupt(path)
        check = health_checks.check_database(path)
        assert check.state == "fail"
        assert f"mv {path}" in check.fix

    def test_not_a_database(self, tmp_path):
        path = tmp_path / "metadata.sqlite"
        path.write_text("hello world " * 100)
        check = health_checks.check_database(path)
        assert (check.state, check.found) == ("fail", f"{path}: file is not a database")

    def test_in_use_is_no_damage(self, database):
        path = database()
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")
        assert health_checks.check_database(path).state == "warn"
        writer.close()

    def test_a_writer_that_was_killed_leaves_no_damage_and_is_not_touched(self, database):
        path = database()
        code = (
            "import os, sqlite3, sys\n"
            "writer = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "writer.execute('PRAGMA cache_size=2')\n"
            "writer.execute('BEGIN')\n"
            "writer.execute(\"UPDATE Artifact SET uri = 'b' || uri\")\n"
            "os.kill(os.getpid(), 9)\n"
        )
        subprocess.run([sys.executable, "-c", code, str(path)], check=False)
        assert path.with_name("metadata.sqlite-journal").exists()
        before = path.read_bytes()
        check = health_checks.check_database(path)
        assert check.state == "warn"
        assert "stopped while writing" in check.found
        assert path.read_bytes() == before


class TestFolders:
    def test_a_workspace_that_is_not_there_yet_is_not_made(self, tmp_path):
        check = health_checks.check_workspace(tmp_path / "var")
        assert check.state == "ok"
        assert not (tmp_path / "var").exists()

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "var").touch()
        check = health_checks.check_workspace(tmp_path / "var" / "deep")
        assert check.state == "fail"
        assert "Not a directory" in check.found

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_of_another_user(self):
        assert health_checks.check_workspace(Path("/var-of-ordain")).state == "fail"

    def test_a_temporary_folder_that_does_not_exist(self, tmp_path):
        check = health_checks.check_scratch(tmp_path / "gone")
        assert check.state == "fail"
        assert "TMPDIR" in check.fix


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(
        "name: small\n"
        "workspace: ../workspace\n"
        "data: {path: data, label: late}\n"
        "evaluate: {thresholds: {auc: {min: 0.5}}}\n"
    )
    return folder


class TestCommand:
    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["ordain", "doctor", *arguments])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    def test_a_failure_exits_with_5_and_names_it(self, monkeypatch, capsys, project, database):
        corrupt(database())
        assert self.run(monkeypatch, str(project)) == 5
        printed = capsys.readouterr()
        assert "fail database" in printed.out
        assert "fix: " in printed.out
        assert "checks failed: database" in printed.err

    def test_warnings_exit_with_0(self, monkeypatch, capsys, project, lock):
        monkeypatch.setattr(doctor_module, "LOCK", lock.with_name("no.lock"))
        monkeypatch.setattr(health_checks, "DISK_WARN_BYTES", 10**18)
        assert self.run(monkeypatch, str(project)) == 0
        assert "warn disk" in capsys.readouterr().out

    def test_without_a_project_it_is_about_the_current_folder(self, monkeypatch, capsys, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(doctor_module, "LOCK", tmp_path / "no.lock")
        self.run(monkeypatch, "--json")
        printed = capsys.readouterr().out
        checks = {check["name"]: check for check in json.loads(printed)}
        assert checks["workspace"]["found"].startswith(f"{tmp_path / 'var'}: ")
        assert str(Path(doctor_module.__file__).parents[2]) not in printed

    def test_json_is_one_document(self, monkeypatch, capsys, project, database):
        corrupt(database())
        assert self.run(monkeypatch, str(project), "--json") == 5
        checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
        assert checks["database"]["state"] == "fail"
        assert checks["workspace"]["state"] == "ok"
        assert set(checks["python"]) == {"name", "state", "found", "fix"}

    def test_a_folder_that_is_no_project_is_a_usage_error(self, monkeypatch, capsys, tmp_path):
        assert self.run(monkeypatch, str(tmp_path)) == 2
        assert "pipeline.yaml" in capsys.readouterr().err

    def test_help_has_examples_one_a_line(self):
        printed = CliRunner().invoke(doctor_module.doctor, ["--help"]).output
        assert "\n    ordain doctor examples/flights\n" in printed

    def test_neither_tensorflow_nor_tfx_is_imported(self):
        code = (
            "import sys, ordain.cli.doctor\n"
            "print({'tensorflow', 'tfx', 'ml_metadata'} & {m.split('.')[0] for m in sys.modules})"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "set()"
