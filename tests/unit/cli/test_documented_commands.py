"""Every `ordain` command in README and docs is one that exists, with options that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ordain.cli.main import cli

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("benchmarks/*.md")])
_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(ordain [^`\n]+)`")
#: What ends a command in a shell.
_ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "2>&1", "#"}
#: Elisions and alternatives of prose: not to be typed as they stand.
_PROSE = re.compile(r"\.\.\.|…|\[|\]| \| ")


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of a page, after `ordain`."""
    text = page.read_text(encoding="utf-8")
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.strip().removeprefix("$ ")
            if words.startswith("ordain ") and not _PROSE.search(words.split(" | ")[0]):
                yield cut(shlex.split(words.split(" | ")[0], comments=True))
    for inline in _INLINE.findall(_BLOCK.sub("", text)):
        if not _PROSE.search(inline):
            yield cut(shlex.split(inline))


def cut(words: list[str]) -> list[str]:
    """The words up to what ends a command."""
    ends = [place for place, word in enumerate(words) if word in _ENDS]
    return words[1 : ends[0] if ends else None]


def parse(command: click.Command, words: list[str]) -> None:
    """Follows sub-commands and parses options; values are not looked at.

    Raises:
        click.UsageError: Something does not exist.
    """
    # With the group's own settings: click keeps the help option that it first makes.
    context = click.Context(command, info_name=command.name, **command.context_settings)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"no command {words[0]!r}")
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    command.make_parser(context).parse_args(list(words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    wrong = []
    for words in commands(page):
        try:
            parse(cli, words)
        except click.UsageError as error:
            wrong.append(f"ordain {shlex.join(words)}: {error.message}")
    assert not wrong, "\n".join(wrong)


def test_most_pages_have_some() -> None:
    counts = {str(p.relative_to(ROOT)): len(list(commands(p))) for p in PAGES}
    assert sum(counts.values()) > 100
    assert counts["docs/kubeflow.md"] > 5 and counts["README.md"] > 3


@pytest.mark.parametrize("line", ["runn x", "run x --no-such", "cluster schedule make"])
def test_what_does_not_exist_is_seen(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(cli, line.split())
