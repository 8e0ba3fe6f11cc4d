"""The cache of the IR."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ordain.config.loading import load_project
from ordain.pipeline import graph, ir_cache
from ordain.pipeline.ir_cache import FOLDER, compiled_ir


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The newest span of each graph that was really built."""
    built: list[int] = []
    original = graph.compile_ir

    def build(project: Any, newest: int) -> Any:
        built.append(newest)
        return original(project, newest)

    monkeypatch.setattr(graph, "compile_ir", build)
    yield built


@pytest.fixture
def folder(tmp_path: Path, write_project: Callable[..., Path]) -> Path:
    return write_project(tmp_path / "toy")


def kept(folder: Path) -> list[Path]:
    return sorted((load_project(folder).home / FOLDER).iterdir())


def test_the_second_time_it_is_read(folder: Path, builds: list[int]) -> None:
    first = compiled_ir(load_project(folder), 3)
    again = compiled_ir(load_project(folder), 3)
    assert first == again == graph.compile_ir(load_project(folder), 3)
    assert builds == [3, 3]  # one of them is the line above


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "helper.py").write_text("A = 1\n"),
        lambda folder: (folder / "schema.pbtxt").write_text('feature { name: "x" type: INT }\n'),
        lambda folder: (folder / "pipeline.yaml").open("a").write("\nbeam_args: [--a=b]\n"),
    ],
    ids=["source", "schema", "configuration"],
)
def test_what_changes_the_pipeline_has_it_built_again(
    folder: Path, builds: list[int], change: Callable[[Path], Any]
) -> None:
    compiled_ir(load_project(folder), 3)
    change(folder)
    compiled_ir(load_project(folder), 3)
    assert builds == [3, 3]


def test_the_newest_span_and_our_own_code_do_as_well(
    folder: Path, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_ir(load_project(folder), 3)
    compiled_ir(load_project(folder), 2)
    monkeypatch.setattr(ir_cache, "_code", lambda: "other code")
    compiled_ir(load_project(folder), 3)
    assert builds == [3, 2, 3]


@pytest.mark.parametrize("content", [b"", b"\xff\xff not a protobuf"])
def test_an_unreadable_one_is_built_again(folder: Path, builds: list[int], content: bytes) -> None:
    expected = compiled_ir(load_project(folder), 3)
    (path,) = kept(folder)
    path.write_bytes(content)
    assert compiled_ir(load_project(folder), 3) == expected
    assert builds == [3, 3]
    assert path.read_bytes() != content


def test_the_oldest_go(folder: Path) -> None:
    compiled_ir(load_project(folder), 3)
    (newest,) = kept(folder)
    for number in range(30):
        old = newest.with_name(f"{number}.binpb")
        old.write_bytes(b"")
        os.utime(old, (number, number))
    compiled_ir(load_project(folder), 2)
    left = kept(folder)
    assert len(left) == 20
    assert newest in left and newest.with_name("0.binpb") not in left


def test_a_workspace_that_cannot_be_written_costs_time_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (load_project(folder).home).mkdir(parents=True)
    (load_project(folder).home / FOLDER).write_text("in the way")
    assert compiled_ir(load_project(folder), 3).nodes
    assert "cannot be written" in caplog.text
