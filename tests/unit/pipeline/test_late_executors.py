"""Executors are imported when they run."""

from __future__ import annotations

import pytest
from tfx.orchestration.portable import (
    beam_executor_operator,
    launcher,
    python_executor_operator,
)
from tfx.proto.orchestration import executable_spec_pb2

from pipeline.late_executors import OPERATORS

PYTHON = executable_spec_pb2.PythonClassExecutableSpec(class_path="no_such_module.Executor")
BEAM = executable_spec_pb2.BeamExecutableSpec(python_executor_spec=PYTHON)


@pytest.mark.parametrize(
    ("operator", "spec"),
    [
        (python_executor_operator.PythonExecutorOperator, PYTHON),
        (beam_executor_operator.BeamExecutorOperator, BEAM),
    ],
)
def test_upstream_still_imports_at_once(operator: type, spec: object) -> None:
    """When this fails, TFX waits by itself: pipeline/late_executors.py can go."""
    with pytest.raises(ImportError, match="no_such_module"):
        operator(spec)


@pytest.mark.parametrize("spec", [PYTHON, BEAM])
def test_ours_imports_when_it_runs(spec: object) -> None:
    operator = OPERATORS[type(spec)](executor_spec=spec, platform_config=None)
    with pytest.raises(ImportError, match="no_such_module"):
        operator.run_executor(None)


def test_every_kind_that_imports_is_replaced() -> None:
    kinds = set(launcher.DEFAULT_EXECUTOR_OPERATORS)
    assert kinds - set(OPERATORS) == {executable_spec_pb2.ContainerExecutableSpec}
