"""Executors are imported when they run, between fetching their files and keeping them."""

from __future__ import annotations

from typing import ClassVar

import pytest
from tfx.dsl.components.base import base_executor
from tfx.orchestration.portable import (
    beam_executor_operator,
    data_types,
    launcher,
    python_executor_operator,
)
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2
from tfx.types import standard_artifacts

from ordain.history.gc import REMOVED_PREFIX
from ordain.runner.lazy_executors import OPERATORS
from ordain.storage import artifact_store

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
    """When this fails, TFX waits by itself: ordain/runner/lazy_executors.py can go."""
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


class Noting(base_executor.BaseExecutor):
    """Notes that it ran; fails, and makes two artifacts of one, where it is told to."""

    ran: ClassVar[list[tuple[str, str]]] = []
    problem: ClassVar[Exception | None] = None

    def Do(self, input_dict, output_dict, exec_properties):
        self.ran.append(("do", ""))
        if self.problem is not None:
            raise self.problem
        split = output_dict["split"]
        whole = split.pop()
        for number in range(2):
            part = standard_artifacts.Examples()
            part.uri = f"{whole.uri}/{number}"
            split.append(part)


class Store:
    """Notes what is fetched and kept, in the order of the executor's own work."""

    def fetch(self, uri):
        Noting.ran.append(("fetch", uri))

    def keep(self, uri):
        Noting.ran.append(("keep", uri))


def execution(folder):
    def artifact(name):
        made = standard_artifacts.Examples()
        made.uri = str(folder / name)
        return made

    one = artifact("in")
    return data_types.ExecutionInfo(
        execution_id=1,
        input_dict={"examples": [one], "again": [one, artifact("other")]},
        output_dict={"whole": [artifact("whole")], "split": [artifact("split")]},
        exec_properties={},
        execution_output_uri=str(folder / "executor" / "output"),
        stateful_working_dir=str(folder / "state"),
        tmp_dir=str(folder / "tmp"),
        pipeline_node=pipeline_pb2.PipelineNode(),
        pipeline_info=pipeline_pb2.PipelineInfo(id="toy"),
        pipeline_run_id="run-1",
    )


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """Runs the executor with a store; returns what happened, in its order."""

    def launch(problem=None):
        monkeypatch.setattr(Noting, "ran", [])
        monkeypatch.setattr(Noting, "problem", problem)
        spec = executable_spec_pb2.PythonClassExecutableSpec(
            class_path=f"{Noting.__module__}.{Noting.__name__}"
        )
        operator = OPERATORS[type(spec)](executor_spec=spec, platform_config=None)
        try:
            with artifact_store.use_store(Store()):
                operator.run_executor(execution(tmp_path))
        finally:
            ran = [(what, uri.removeprefix(f"{tmp_path}/")) for what, uri in Noting.ran]
        return ran

    return launch


def test_files_are_fetched_before_and_what_is_published_is_kept_after(launched):
    assert launched() == [
        ("fetch", "in"),
        ("fetch", "other"),
        ("do", ""),
        ("keep", "whole"),
        ("keep", "split/0"),
        ("keep", "split/1"),
    ]


def test_of_an_executor_that_fails_nothing_is_kept(launched):
    with pytest.raises(ValueError, match="no rows"):
        launched(ValueError("no rows"))
    assert Noting.ran[-1] == ("do", "")


def test_what_a_lost_history_left_under_the_same_number_is_set_aside(launched, tmp_path):
    stale = tmp_path / "whole"
    (stale / "Split-train").mkdir(parents=True)
    (stale / "Split-train" / "rows").write_bytes(b"of the history before")
    launched()
    assert list(stale.iterdir()) == []
    (aside,) = tmp_path.glob(f"{REMOVED_PREFIX}whole-*")
    assert (aside / "Split-train" / "rows").read_bytes() == b"of the history before"
