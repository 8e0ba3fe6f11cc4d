"""TFX packs its source before every Beam execution; our executors do not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tfx.components.statistics_gen import executor as stock_executor
from tfx.dsl.components.base import base_beam_executor

from ordain.components import statistics_gen
from ordain.components.examples import example_gen
from ordain.config.project import DEFAULT_BEAM_ARGS


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The packing commands that were started; none of them runs."""
    commands: list[list[str]] = []
    monkeypatch.chdir(Path.cwd())  # packing that is stopped leaves another folder behind

    def call(command: list[str], **_: Any) -> int:
        commands.append(command)
        raise RuntimeError("stopped here")

    monkeypatch.setattr(subprocess, "call", call)
    return commands


def _context() -> Any:
    return base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=list(DEFAULT_BEAM_ARGS))


def test_tfx_still_packs(packed: list[list[str]]) -> None:
    # Fails when TFX does not: then UnpackedBeamExecutor can go.
    with pytest.raises(RuntimeError, match="stopped here"):
        stock_executor.Executor(_context())
    assert packed[0][-1] == "sdist"


@pytest.mark.parametrize("kind", [example_gen.Executor, statistics_gen.Executor])
def test_ours_do_not_pack_and_keep_the_arguments(packed: list[list[str]], kind: Any) -> None:
    executor = kind(_context())
    assert packed == []
    assert executor._beam_pipeline_args == list(DEFAULT_BEAM_ARGS)
    runner = executor._make_beam_pipeline().runner
    assert type(runner).__name__ == "FnApiRunner"


def test_without_a_context_there_are_no_arguments() -> None:
    assert statistics_gen.Executor()._beam_pipeline_args == []
