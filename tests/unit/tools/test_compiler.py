"""Set-up: the machine's compiler and headers if they are there, else private ones."""

import shlex
from pathlib import Path

import compiler
import host
import pytest

pytestmark = pytest.mark.process


class Machine:
    """An interpreter that says where its headers belong and which compiler it was built with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.private = folder / "a repository" / ".venv" / "bootstrap"
        self.include = folder / "usr" / "include" / "python3.12"
        self.include.mkdir(parents=True)
        (self.include / "Python.h").touch()
        self.compiler = self.script("g++", "exit 0")
        said = f"echo {self.include}; echo {self.compiler} -pthread"
        self.python = self.script("python", said)
        self.uv = self.script("uv", f'echo "$@" >> {folder}/uv.log')

    def script(self, name: str, action: str) -> Path:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{action}\n")
        path.chmod(0o755)
        return path

    def build_variables(self) -> dict[str, str]:
        return compiler.build_variables(self.uv, self.python, self.private, {})

    def installed(self) -> str:
        log = self.folder / "uv.log"
        return log.read_text() if log.exists() else ""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.delenv("CXX", raising=False)
    return Machine(tmp_path)


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Headers of Python in an apt archive."""
    taken = []

    def download(packages: list[str], suite: str | None, into: Path) -> Path:
        assert suite is None, "the headers are those of the host's own release"
        taken.append(packages)
        headers = into / "root" / "usr" / "include" / "python3.12"
        headers.mkdir(parents=True)
        (headers / "Python.h").touch()
        return into / "root"

    monkeypatch.setattr(compiler, "apt_download", download)
    return taken


def test_what_the_machine_has_is_used(machine, archive):
    assert machine.build_variables() == {}
    assert machine.installed() == ""
    assert archive == []


@pytest.mark.parametrize("damage", ["absent", "without its library"])
def test_without_a_compiler_the_pinned_one_is_installed(machine, archive, damage):
    if damage == "absent":
        machine.compiler.unlink()
    else:
        machine.script("g++", "echo 'fatal error: string: No such file or directory'; exit 1")
    found = machine.build_variables()
    assert f"--target {machine.private}/compiler --require-hashes" in machine.installed()
    assert shlex.split(found["CXX"])[:2] == [f"{machine.private}/compiler/ziglang/zig", "c++"]
    assert found["LDCXXSHARED"].startswith(f"{found['CXX']} -shared")
    assert "CPPFLAGS" not in found
    assert archive == []


def test_the_compiler_is_for_every_x86_64_and_not_for_this_processor(machine):
    machine.compiler.unlink()
    assert machine.build_variables()["CXX"].endswith(" -target x86_64-linux-gnu")


def test_a_compiler_that_the_user_names_is_left_to_them(machine, monkeypatch):
    machine.compiler.unlink()
    monkeypatch.setenv("CXX", "clang++")
    assert machine.build_variables() == {}


def test_without_headers_the_distributions_are_fetched_once(machine, archive):
    (machine.include / "Python.h").unlink()
    found = machine.build_variables()
    assert found.keys() == {"CPPFLAGS"}
    folder = f"{machine.private}/headers/root/usr/include"
    assert shlex.split(found["CPPFLAGS"]) == ["-I", f"{folder}/python3.12", "-idirafter", folder]
    assert machine.build_variables() == found
    assert archive == [["libpython3.12-dev"]]


def test_headers_that_no_archive_has_are_named(machine, monkeypatch):
    def download(packages: list[str], suite: str | None, into: Path) -> Path:
        raise host.BootstrapError("E: Unable to locate package libpython3.12-dev")

    monkeypatch.setattr(compiler, "apt_download", download)
    (machine.include / "Python.h").unlink()
    with pytest.raises(host.BootstrapError, match=r"apt-get install python3\.12-dev") as caught:
        machine.build_variables()
    assert f"{machine.include}/Python.h is missing" in str(caught.value)
    assert "Unable to locate" in str(caught.value)
