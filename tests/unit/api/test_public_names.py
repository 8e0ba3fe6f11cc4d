"""`import ordain`: the public names, lazily."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

import ordain

ROOT = Path(__file__).parents[3]


@pytest.mark.framework
def test_every_public_name_is_there_documented_and_no_module():
    for name in ordain.__all__:
        found = getattr(ordain, name)
        assert not isinstance(found, types.ModuleType), name
        assert found.__doc__, name
        assert name in dir(ordain)
    assert sorted(ordain._MODULES) == sorted(ordain.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        getattr(ordain, "nothing")  # noqa: B009  mypy knows that there is none


def test_importing_loads_nothing_else():
    """The function of a name wins over the room of the same name, whatever was imported before."""
    code = """
import sys
import ordain
loaded = [m for m in sys.modules if m.partition(".")[0] == "ordain"]
assert loaded == ["ordain"], loaded
heavy = {"tensorflow", "tfx", "apache_beam", "pydantic", "yaml", "pyarrow", "pandas", "ml_metadata"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
ordain.load_project
heavy = {"tensorflow", "tfx", "apache_beam"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import ordain.cli.main, ordain.cli.run
for name in ordain.__all__:
    assert type(getattr(ordain, name)).__name__ != "module", name
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_page_names_every_function_and_class():
    page = (ROOT / "docs" / "python.md").read_text()
    missing = [name for name in ordain.__all__ if name not in page]
    assert missing == ["GateVerdict", "Reason", "Verdict"], missing
