"""The wheel: one import name with everything that it reads, licence and metadata."""

import re
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from wheel_file import build_wheel

ROOT = Path(__file__).resolve().parents[2]
VERSION = re.search(r'version="(.+?)"', (ROOT / "setup.py").read_text())[1]
DIST_INFO = f"ordain-{VERSION}.dist-info"
ROOMS = ("ordain", "ordain/pipeline", "ordain/components", "ordain/kubeflow")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel"))) as opened:
        yield opened


def test_one_name_is_installed_with_all_that_belongs_to_it(wheel):
    names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names} == {"ordain", DIST_INFO}
    wanted = {
        str(path.relative_to(ROOT))
        for folder in ROOMS
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in {".py", ".json", ".html", ".css", ".js", ".typed"}
    }
    assert wanted - names == set()


def test_its_metadata_name_licence_readme_and_pythons(wheel):
    text = wheel.read(f"{DIST_INFO}/METADATA").decode()
    told = Parser().parsestr(text)
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Author"] == "The ordain authors"
    assert told["Requires-Python"] == ">=3.11,<3.14"
    assert told["Description-Content-Type"] == "text/markdown"
    assert told.get_payload().startswith("# ordain\n")
    assert told["Keywords"]
    assert "Operating System :: POSIX :: Linux" in told.get_all("Classifier")
    assert wheel.read(f"{DIST_INFO}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_pages_and_manifests_name_this_version():
    """`0.1.0` as an image or a wheel in a page would be one that nobody can build."""
    named = {
        (str(path.relative_to(ROOT)), found)
        for folder in ("docs", "kubeflow", "README.md")
        for path in [ROOT / folder, *(ROOT / folder).rglob("*")]
        if path.suffix in {".md", ".yaml"} and "serve-tensorflow" not in path.parts
        for found in re.findall(r"(?:ordain[\w-]*[:-]|newTag: )(\d+\.\d+\.\d+)", path.read_text())
    }
    assert len(named) >= 4
    assert {found for _, found in named} == {VERSION}, named
