"""Set-up: whose archive is used, what counts as a finished environment, and what the locks hold."""

import ast
import fcntl
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bootstrap
import host
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
OWN_LOCKS = ["tools/bootstrap.lock", "tools/compiler.lock"]
LOCKS = ["requirements.lock", "requirements-dev.lock", *OWN_LOCKS]

BOOKWORM = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
JAMMY = {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_CODENAME": "jammy"}
MINT = {
    "ID": "linuxmint",
    "ID_LIKE": "ubuntu debian",
    "VERSION_CODENAME": "vera",
    "UBUNTU_CODENAME": "jammy",
}

DEBIAN_DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm-updates bookworm
# in between
Components: main contrib
Signed-By: {keyring}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
UBUNTU_DEB822 = """\
Types: deb
URIs: http://mirror.example/ubuntu/
Suites: noble noble-updates
Components: main
  universe
"""


@pytest.fixture
def apt_file(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


class TestPrivateSources:
    def test_debian_deb822_keeps_mirror_and_keyring(self, apt_file, tmp_path):
        keyring = apt_file("corporate.gpg", "")
        path = apt_file("debian.sources", DEBIAN_DEB822.format(keyring=keyring))
        line = host.private_sources([path], BOOKWORM, "trixie")
        assert line == f"deb [signed-by={keyring}] http://mirror.example/debian trixie main\n"

    def test_debian_one_line_with_options(self, apt_file):
        path = apt_file(
            "sources.list",
            "deb cdrom:[Debian 12]/ bookworm main\n"
            "# deb http://commented.example/debian bookworm main\n"
            "deb-src http://source.example/debian bookworm main\n"
            "deb [arch=amd64 trusted=yes] http://mirror.example/debian bookworm contrib main\n",
        )
        line = host.private_sources([path], BOOKWORM, None)
        assert line.endswith("http://mirror.example/debian bookworm main\n")

    def test_ubuntu_needs_universe_where_its_pip_wheel_is(self, apt_file):
        path = apt_file("sources.list", "deb http://mirror.example/ubuntu jammy main restricted\n")
        line = host.private_sources([path], JAMMY, "noble")
        assert line.endswith("http://mirror.example/ubuntu noble main universe\n")

    def test_ubuntu_deb822(self, apt_file):
        path = apt_file("ubuntu.sources", UBUNTU_DEB822)
        line = host.private_sources([path], {**JAMMY, "VERSION_CODENAME": "noble"}, None)
        assert line.endswith("http://mirror.example/ubuntu/ noble main universe\n")

    def test_a_derivative_uses_the_archive_of_what_it_derives_from(self, apt_file):
        path = apt_file(
            "official.list",
            "deb http://mint.example vera main upstream\n"
            "deb http://mirror.example/ubuntu jammy main universe\n",
        )
        assert "mirror.example/ubuntu noble" in host.private_sources([path], MINT, "noble")

    def test_a_sources_file_that_says_stable(self, apt_file):
        path = apt_file("sources.list", "deb http://mirror.example/debian stable main\n")
        assert "mirror.example/debian trixie" in host.private_sources([path], BOOKWORM, "trixie")

    @pytest.mark.parametrize(
        "text",
        [
            "Types: deb\nEnabled: no\nURIs: http://a.example\nSuites: bookworm\nComponents: main\n",
            "Types: deb-src\nURIs: http://a.example\nSuites: bookworm\nComponents: main\n",
            "Types: deb\nURIs: http://a.example\nSuites: bookworm\nComponents: contrib\n",
            "Types: deb\nURIs: http://a.example\nSuites: bookworm-security\nComponents: main\n",
        ],
        ids=["disabled", "sources only", "not main", "another suite"],
    )
    def test_no_usable_archive_is_an_error_that_says_what_to_do(self, apt_file, text):
        path = apt_file("other.sources", text)
        with pytest.raises(host.BootstrapError, match=r"bookworm.*docs/install.md"):
            host.private_sources([path, path.with_name("absent.list")], BOOKWORM, "trixie")


class TestIndex:
    def test_no_configuration_leaves_the_default_index(self):
        variables = bootstrap.index_environment("global.timeout='60'\n")
        assert variables == {"UV_INDEX_STRATEGY": "unsafe-best-match"}

    def test_pip_settings_are_passed_on_and_the_environment_wins(self):
        config = (
            ":env:.index-url='https://env.example/simple'\n"
            "global.cert='/etc/ca.pem'\n"
            "global.extra-index-url='\\nhttps://a.example\\nhttps://b.example'\n"
            "global.find-links='/wheels /more'\n"
            "global.index-url='https://global.example/simple'\n"
            "install.no-index='true'\n"
        )
        assert bootstrap.index_environment(config) == {
            "UV_INDEX_STRATEGY": "unsafe-best-match",
            "UV_DEFAULT_INDEX": "https://env.example/simple",
            "UV_INDEX": "https://a.example https://b.example",
            "UV_FIND_LINKS": "/wheels,/more",
            "SSL_CERT_FILE": "/etc/ca.pem",
            "UV_OFFLINE": "1",
        }

    @pytest.mark.process
    def test_what_the_user_sets_for_uv_wins_over_pip(self, monkeypatch):
        monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mine.example")
        code = "import os; print(os.environ['UV_DEFAULT_INDEX'])"
        variables = {"UV_DEFAULT_INDEX": "https://pip.example"}
        printed = host.run(sys.executable, "-c", code, variables=variables)
        assert printed.strip() == "https://mine.example"


@pytest.mark.process
class TestRun:
    def test_a_failure_shows_the_end_of_the_output_and_no_secret_argument(self):
        code = "print('the reason'); raise SystemExit(3)"
        with pytest.raises(host.BootstrapError) as caught:
            host.run(sys.executable, "-c", code, "--index", "https://user:secret@mirror.example")
        assert "the reason" in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_python_settings_of_the_caller_do_not_reach_the_command(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
        code = "import sys; print('/somewhere/else' in sys.path)"
        assert host.run(sys.executable, "-c", code).strip() == "False"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of its own for bootstrap's paths."""
    root = tmp_path / "a repository"
    root.mkdir()
    monkeypatch.setattr(bootstrap, "ROOT", root)
    monkeypatch.setattr(bootstrap, "VENV", root / ".venv")
    monkeypatch.setattr(bootstrap, "READY", root / ".venv" / ".ready")
    monkeypatch.setattr(bootstrap, "PRIVATE", root / ".venv" / "bootstrap")
    monkeypatch.setattr(bootstrap, "PYTHON", root / ".venv" / "bin" / "python")
    return root


@pytest.mark.process
class TestCreate:
    def test_all_names_are_one_interpreter(self, folder):
        bootstrap.create()
        names = sorted((folder / ".venv" / "bin").glob("python*"))
        assert len(names) >= 3
        assert {name.resolve() for name in names} == {folder / ".venv" / "bin" / "python"}
        assert bootstrap.glibc_of(names[-1])

    def test_finished_environment_is_kept(self, folder):
        bootstrap.create()
        bootstrap.READY.write_text(f"{folder}\n")
        mark = folder / ".venv" / "mark"
        mark.touch()
        bootstrap.create()
        assert mark.exists()

    @pytest.mark.parametrize("damage", ["no stamp", "moved", "interpreter gone"])
    def test_anything_else_is_built_anew(self, folder, damage):
        bootstrap.create()
        mark = folder / ".venv" / "mark"
        mark.touch()
        if damage != "no stamp":
            text = "/another/folder" if damage == "moved" else f"{folder}"
            bootstrap.READY.write_text(f"{text}\n")
        if damage == "interpreter gone":
            bootstrap.PYTHON.write_bytes(b"half a copy")
        bootstrap.create()
        assert not mark.exists()
        assert bootstrap.glibc_of(bootstrap.PYTHON)


@pytest.mark.process
class TestInstall:
    """State of a finished environment after a failed update."""

    def fail_after(self, folder: Path, action: str) -> None:
        packages = folder / ".venv" / "lib" / "python3.12" / "site-packages"
        (packages / "tfx").mkdir(parents=True)
        bootstrap.READY.write_text(f"{folder}\n")
        os.utime(bootstrap.READY, (1, 1))
        uv = folder / "uv"
        uv.write_text(f"#!/bin/sh\n{action}\nexit 1\n")
        uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
        with pytest.raises(host.BootstrapError) as caught:
            bootstrap.install(uv, {})
        self.message = str(caught.value)

    def test_it_stays_finished_if_no_package_was_touched(self, folder):
        self.fail_after(folder, "echo no network")
        assert bootstrap.READY.stat().st_mtime == 1, "make would take the old packages for new"

    def test_it_is_not_finished_if_a_package_was(self, folder):
        self.fail_after(folder, f'rmdir "{folder}"/.venv/lib/python3.12/site-packages/tfx')
        assert not bootstrap.READY.exists()

    def test_a_package_that_cannot_be_built_is_named(self, folder):
        noise = "seq 100"
        self.fail_after(folder, f"echo 'Failed to build `pyfarmhash==0.3.2`'; {noise}")
        assert self.message.startswith("pyfarmhash==0.3.2 comes as source")
        assert "apt-get install g++ python3-dev" in self.message


def test_the_lock_is_held_by_what_a_killed_set_up_left_running(folder):
    other = os.open(folder, os.O_RDONLY)
    with bootstrap.alone():
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.kill()
        child.wait()
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_a_cache_inside_the_environment_where_there_is_no_home(folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    assert bootstrap.cache_environment() == {}
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    expected = folder / ".venv" / "bootstrap" / "cache"
    assert bootstrap.cache_environment() == {"UV_CACHE_DIR": str(expected)}


@pytest.mark.process
@pytest.mark.skipif(
    not (ROOT / ".venv" / "bootstrap" / "glibc").exists(),
    reason="this host's glibc is new enough",
)
def test_every_c_library_comes_from_the_environment():
    """TensorFlow's libraries would load the host's older ones, and data validation then fails."""
    code = "print(open('/proc/self/maps').read())"
    maps = host.run(ROOT / ".venv" / "bin" / "python3", "-c", code)
    loaded = set(re.findall(r"(/\S+\.so[.\d]*)$", maps, re.MULTILINE))
    for name in (*bootstrap.C_LIBRARIES, "libc.so.6"):
        paths = [path for path in loaded if Path(path).name.startswith(name.split(".so")[0] + ".")]
        assert paths, f"{name} is not loaded with the interpreter"
        assert all("/.venv/bootstrap/glibc/" in path for path in paths), paths


class TestLocks:
    @pytest.mark.parametrize("name", LOCKS)
    def test_no_registry_and_every_entry_hashed(self, name):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert not re.search(r"^\s*-", re.sub(r"^ +--hash=", "", text, flags=re.MULTILINE), re.M)
        entries = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
        assert entries
        for entry in entries:
            assert re.match(r"[\w.-]+==\S+", entry), entry
            assert re.search(r"^ +--hash=sha256:[0-9a-f]{64}", entry, re.MULTILINE), entry[:80]

    @pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
    @pytest.mark.parametrize(
        ("name", "wanted"), [(LOCKS[0], ["RUNTIME"]), (LOCKS[1], ["RUNTIME", "DEV"])]
    )
    def test_setup_is_satisfied_on_every_python(self, name, wanted, python):
        locked = pins(name, python)
        for text in (text for group in wanted for text in declared(group)):
            requirement = Requirement(text)
            version = locked.get(canonical(requirement.name))
            assert version, f"{requirement.name} is not in {name} for Python {python}"
            assert requirement.specifier.contains(version), f"{text}: {name} has {version}"

    @pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
    def test_development_adds_to_the_runtime_and_changes_nothing(self, python):
        runtime, dev = pins(LOCKS[0], python), pins(LOCKS[1], python)
        assert runtime.items() <= dev.items()
        assert "pytest" in dev.keys() - runtime.keys()

    def test_every_dependency_has_its_reason_in_writing(self):
        text = (ROOT / "CONTRIBUTING.md").read_text()
        inputs = [(ROOT / name).with_suffix(".in") for name in OWN_LOCKS]
        tools = [requirement for path in inputs for requirement in path.read_text().split()]
        for requirement in [*declared("RUNTIME"), *declared("DEV"), *tools]:
            name = Requirement(requirement).name
            assert re.search(rf"^\|(?:.*, )?{name}(?:,.*)? \|", text.replace("| ", "|"), re.M), name


def declared(name: str) -> list[str]:
    """A list of requirements in setup.py, read without running it."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"setup.py declares no {name}")


def pins(name: str, python: str) -> dict[str, str]:
    """Name and version of what a lock installs on one Python; a name twice is an error."""
    environment = {"python_version": python, "python_full_version": f"{python}.5"}
    found: dict[str, str] = {}
    for line in (ROOT / name).read_text().splitlines():
        if not line[:1].isalnum():
            continue
        requirement = Requirement(line.rstrip(" \\"))
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in found, f"{requirement.name} twice on Python {python}"
            found[canonical(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class TestMake:
    """The Makefile in a folder of its own, with a set-up that only says which Python ran it."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        shutil.copy2(ROOT / "Makefile", tmp_path)
        (tmp_path / "tools").mkdir()
        (tmp_path / "tools" / "bootstrap.py").write_text(
            "import pathlib, sys\n"
            "print('by', sys.executable)\n"
            "pathlib.Path('.venv').mkdir(exist_ok=True)\n"
            "pathlib.Path('.venv/.ready').write_text(f'{pathlib.Path.cwd()}\\n')\n"
        )
        inputs = ["tools/host.py", "tools/bootstrap.lock", "setup.py"]
        for name in [*inputs, "requirements.lock", "requirements-dev.lock"]:
            (tmp_path / name).touch()
        (tmp_path / "bin").mkdir()
        return tmp_path

    def make(self, tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{tree}/bin:/usr/bin:/bin", "LC_ALL": "C"}
        command = ["make", *arguments]
        return subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False
        )

    def test_a_python_that_exists_and_does_not_start_is_passed_over(self, tree):
        shim = tree / "bin" / "python3"
        shim.write_text("#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n")
        shim.chmod(0o755)
        (tree / "bin" / "python3.13").symlink_to(sys.executable)
        shutil.copy2(shim, tree / "bin" / "python3.12")
        done = self.make(tree, ".venv/.ready")
        assert done.returncode == 0, done.stderr
        assert f"by {tree}/bin/python3.13" in done.stdout

    def test_without_any_python_one_line_says_what_is_needed(self, tree):
        done = self.make(tree, "PYTHON=python9", ".venv/.ready")
        assert done.returncode != 0
        assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr
        assert "python9" in done.stderr

    def test_it_runs_again_only_if_an_input_changed_or_the_folder_moved(self, tree):
        python = f"PYTHON={sys.executable}"
        assert "by " in self.make(tree, python, ".venv/.ready").stdout
        assert "by " not in self.make(tree, python, ".venv/.ready").stdout
        later = (tree / ".venv" / ".ready").stat().st_mtime + 10
        os.utime(tree / "requirements.lock", (later, later))
        assert "by " in self.make(tree, python, ".venv/.ready").stdout
        os.utime(tree / "requirements.lock", (1, 1))
        (tree / ".venv" / ".ready").write_text("/another/folder\n")
        assert "by " in self.make(tree, python, ".venv/.ready").stdout

    def test_help_is_the_default_and_names_every_target(self, tree):
        printed = self.make(tree).stdout
        for target in ("run", "check", "test", "lint", "lock", "bench", "clean", "help"):
            assert f"make {target} " in printed
