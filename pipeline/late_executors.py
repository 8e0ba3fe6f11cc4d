"""Executors that are imported when they are run, not when their node is launched.

The trap. TFX 1.21's launcher imports a node's executor before its driver has looked whether the
node is cached, and an executor imports the libraries it works with: a run in which nothing is new
would load TensorFlow, TFDV, TFT and TFMA for nothing.
`tests/unit/pipeline/test_late_executors.py` fails when upstream mends it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from tfx.orchestration.portable import (
    base_executor_operator,
    beam_executor_operator,
    python_executor_operator,
)
from tfx.proto.orchestration import executable_spec_pb2

from pipeline.importing import load_graph


class _Late(base_executor_operator.BaseExecutorOperator):
    """Stands for TFX's operator until there is something to execute."""

    SUPPORTED_EXECUTOR_SPEC_TYPE: ClassVar[list[type]] = []
    SUPPORTED_PLATFORM_CONFIG_TYPE: ClassVar[list[type]] = []
    operator: ClassVar[Any]

    def run_executor(self, execution_info: Any) -> Any:
        """See `BaseExecutorOperator`."""
        load_graph()  # all libraries at once, as quickly as they can be had
        operator = self.operator(self._executor_spec, self._platform_config)
        if self._execution_watcher_address:
            operator.with_execution_watcher(self._execution_watcher_address)
        return operator.run_executor(execution_info)


class LatePythonOperator(_Late):
    """For executors that are classes."""

    SUPPORTED_EXECUTOR_SPEC_TYPE: ClassVar = [executable_spec_pb2.PythonClassExecutableSpec]
    operator: ClassVar[Any] = python_executor_operator.PythonExecutorOperator


class LateBeamOperator(_Late):
    """For executors that run on Beam."""

    SUPPORTED_EXECUTOR_SPEC_TYPE: ClassVar = [executable_spec_pb2.BeamExecutableSpec]
    operator: ClassVar[Any] = beam_executor_operator.BeamExecutorOperator


#: What TFX's `Launcher` takes as `custom_executor_operators`.
OPERATORS = {
    executable_spec_pb2.PythonClassExecutableSpec: LatePythonOperator,
    executable_spec_pb2.BeamExecutableSpec: LateBeamOperator,
}
