"""Executor operators that import executors when they run, and transfer files of artifacts.

TFX 1.21's launcher imports a node's executor before its driver has checked the cache, and an
executor imports its libraries: a run in which every node is cached would load TensorFlow, TFDV, TFT
and TFMA for nothing. `tests/unit/runner/test_lazy_executors.py` fails when upstream mends it.

Input files are fetched before an executor starts, and output files are kept before the launcher
publishes its execution (`ordain.storage.artifact_store`). So every pod finds the files of every
live artifact, and a node that is cached or skipped transfers nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tfx.orchestration.portable import (
    base_executor_operator,
    beam_executor_operator,
    python_executor_operator,
)
from tfx.proto.orchestration import executable_spec_pb2

from ordain.errors import NodeFailedError
from ordain.history.gc import hide
from ordain.pipeline.ir_cache import load_graph
from ordain.runner.gate_checks import check_verdicts
from ordain.storage import artifact_store

log = logging.getLogger(__name__)


class _Late(base_executor_operator.BaseExecutorOperator):
    """Makes TFX's operator when there is something to execute."""

    SUPPORTED_EXECUTOR_SPEC_TYPE: ClassVar[list[type]] = []
    SUPPORTED_PLATFORM_CONFIG_TYPE: ClassVar[list[type]] = []
    operator: ClassVar[Any]

    def run_executor(self, execution_info: Any) -> Any:
        """See `BaseExecutorOperator`."""
        load_graph()  # imports all libraries at once, which is fastest
        operator = self.operator(self._executor_spec, self._platform_config)
        if self._execution_watcher_address:
            operator.with_execution_watcher(self._execution_watcher_address)
        # Each once: an artifact may be the input of two keys.
        for uri in dict.fromkeys(
            a.uri for found in execution_info.input_dict.values() for a in found
        ):
            artifact_store.current().fetch(uri)
        _make_room(a.uri for made in execution_info.output_dict.values() for a in made)
        try:
            output = operator.run_executor(execution_info)
        except SystemExit as stop:  # it would end the run as a success
            raise NodeFailedError(
                f"the code of the node called sys.exit({stop.code!r})",
                "raise an error instead; a gate blocks by its verdict",
            ) from stop
        if output.execution_result.code == 0:
            check_verdicts(execution_info, output)
            for uri in _published(execution_info.output_dict, output):
                artifact_store.current().keep(uri)
        return output


def _make_room(uris: Iterable[str]) -> None:
    """Renames non-empty folders into which an execution will write.

    TFX names the folders by execution ids, which start again in a new database; an executor would
    add its files to those of another execution. `ordain gc` removes the renamed folders.
    """
    for folder in map(Path, dict.fromkeys(uris)):
        if folder.is_dir() and any(folder.iterdir()):
            log.warning("%s holds files that are not in this database: renamed", folder)
            hide([folder])
            folder.mkdir()


def _published(planned: Mapping[str, Sequence[Any]], output: Any) -> Iterator[str]:
    """Yields the URIs that will be published; an executor may split an artifact into several."""
    for key, artifacts in planned.items():
        made = output.output_artifacts
        yield from (a.uri for a in (made[key].artifacts if key in made else artifacts))


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
