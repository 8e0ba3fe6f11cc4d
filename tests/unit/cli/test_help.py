"""Help texts and the flights plan, held against golden files.

After a change that is meant: ORDAIN_RENEW_GOLDEN=1 .venv/bin/python -m pytest tests/unit/cli
and look at the difference in git before it is committed.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ordain.cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = Path(__file__).parent / "golden"
RENEW = bool(os.environ.get("ORDAIN_RENEW_GOLDEN"))


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group below one, and that itself."""
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.fixture
def check() -> Callable[[str, str], None]:
    def compare(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if RENEW:
            GOLDEN.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text == expected, f"differs from {path}; {__doc__.splitlines()[2]}"

    return compare


def invoke(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments, prog_name="ordain", terminal_width=100)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help(path, check):
    text = invoke(*path, "--help")
    check("-".join(("help", *path)), text)
    assert invoke(*path, "-h") == text


def examples() -> Iterator[tuple[str, list[str]]]:
    """Every call that a help text shows, as words."""
    for path in commands():
        for line in invoke(*path, "--help").splitlines():
            words = line.partition("#")[0].partition("|")[0].split()
            if words[:1] == ["ordain"]:
                yield " ".join(path), words[1:]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_of_each_command(name):
    shown = [words for path, words in examples() if path == name]
    assert shown
    assert {words[0] for words in shown} == {name}


#: Groups whose own page shows how their commands are called.
SHOWN_BY_GROUP = ("models", "cluster")


@pytest.mark.parametrize(
    "path",
    [path for path in commands() if len(path) > 1 and path[0] not in SHOWN_BY_GROUP],
    ids=" ".join,
)
def test_help_shows_examples_of_each_command_of_a_group(path):
    shown = [words for name, words in examples() if name == " ".join(path)]
    assert shown
    assert {words[0] for words in shown} == {path[0]}


def test_examples_name_commands_and_options_that_exist():
    tried = 0
    for _, words in examples():
        command, rest = cli, list(words)
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), rest.pop(0))
            assert command is not None, words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known
        tried += 1
    assert tried > 15


def test_the_first_page_lists_each_command_with_the_first_line_of_its_own():
    page = invoke("--help")
    width = max(map(len, COMMANDS)) + 2
    for name, line in COMMANDS.items():
        assert f"  {name:<{width}}{line}\n" in page
        first = invoke(name, "--help").split("\n\n")[1].strip().splitlines()[0]
        assert first.replace("PROJECT's", "a project's").replace("PROJECT", "a project") == line


def test_the_version_is_the_packages():
    from importlib import metadata

    assert metadata.version("ordain") in invoke("--version")


def test_the_flights_plan(check, tmp_path):
    text = invoke("plan", str(ROOT / "examples" / "flights"), "--set", f"workspace={tmp_path}")
    text = re.sub(r"[\d.]+ of [\d.]+ GB are free", "N of N GB are free", text)
    check("plan-flights", text.replace(str(tmp_path), "WORKSPACE").replace(str(ROOT), "ROOT"))


def test_no_golden_text_is_left_behind():
    wanted = {"-".join(("help", *path)) for path in commands()} | {"plan-flights"}
    assert {path.stem for path in GOLDEN.iterdir()} == wanted
