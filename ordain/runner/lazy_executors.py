"""Executors that are imported when they are run, and that find their artifacts' files here.

The trap. TFX 1.21's launcher imports a node's executor before its driver has looked whether the
node is cached, and an executor imports the libraries it works with: a run in which nothing is new
would load TensorFlow, TFDV, TFT and TFMA for nothing.
`tests/unit/runner/test_lazy_executors.py` fails when upstream mends it.

The files of what an executor takes are fetched before it begins, and of what it leaves are kept
before the launcher publishes its execution (`ordain.storage.artifact_store`): what is live in ML
Metadata is where every pod finds it, and a node that is cached or skipped moves nothing.
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

from ordain.history.gc import hide
from ordain.pipeline.ir_cache import load_graph
from ordain.storage import artifact_store

log = logging.getLogger(__name__)


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
        # Each once: an artifact may be the input of two keys.
        for uri in dict.fromkeys(
            a.uri for found in execution_info.input_dict.values() for a in found
        ):
            artifact_store.fetch(uri)
        _make_room(a.uri for made in execution_info.output_dict.values() for a in made)
        output = operator.run_executor(execution_info)
        if output.execution_result.code == 0:
            for uri in _published(execution_info.output_dict, output):
                artifact_store.keep(uri)
        return output


def _make_room(uris: Iterable[str]) -> None:
    """Puts aside what lies where an execution will write.

    TFX names the folders by numbers of ML Metadata, which begin anew where the database was lost
    or exchanged; an executor would add its files to those of another execution. `ordain gc`
    removes them.
    """
    for folder in map(Path, dict.fromkeys(uris)):
        if folder.is_dir() and any(folder.iterdir()):
            log.warning("%s holds files that this database does not know: put aside", folder)
            hide([folder])
            folder.mkdir()


def _published(planned: Mapping[str, Sequence[Any]], output: Any) -> Iterator[str]:
    """URIs that the launcher will publish: an executor may make several artifacts of one."""
    for key, artifacts in planned.items():
        told = output.output_artifacts
        yield from (a.uri for a in (told[key].artifacts if key in told else artifacts))


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
