"""Executors that are imported when they are run, and that find their artifacts' files here.

The trap. TFX 1.21's launcher imports a node's executor before its driver has looked whether the
node is cached, and an executor imports the libraries it works with: a run in which nothing is new
would load TensorFlow, TFDV, TFT and TFMA for nothing.
`tests/unit/pipeline/test_late_executors.py` fails when upstream mends it.

The files of what an executor takes are fetched before it begins, and of what it leaves are kept
before the launcher publishes its execution (`pipeline.shared_files`): what is live in ML
Metadata is where every pod finds it, and a node that is cached or skipped moves nothing.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tfx.orchestration.portable import (
    base_executor_operator,
    beam_executor_operator,
    python_executor_operator,
)
from tfx.proto.orchestration import executable_spec_pb2

from pipeline import shared_files
from pipeline.garbage import REMOVED_PREFIX
from pipeline.importing import load_graph

_LOG = logging.getLogger(__name__)


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
            shared_files.fetch(uri)
        for uri in (a.uri for planned in execution_info.output_dict.values() for a in planned):
            _set_aside(Path(uri))
        output = operator.run_executor(execution_info)
        if output.execution_result.code == 0:
            for uri in _published(execution_info.output_dict, output):
                shared_files.keep(uri)
        return output


def _published(planned: Mapping[str, Sequence[Any]], output: Any) -> Iterator[str]:
    """URIs that the launcher will publish: an executor may make several artifacts of one."""
    for key, artifacts in planned.items():
        told = output.output_artifacts
        yield from (a.uri for a in (told[key].artifacts if key in told else artifacts))


def _set_aside(folder: Path) -> None:
    """Clears what an execution of the same number left, before it writes there.

    Numbers begin anew where ML Metadata was lost, and go back where it was restored, and the files
    of the history that is gone are still there. They are renamed; `ordain gc` removes them.
    """
    if folder.is_dir() and any(folder.iterdir()):
        hidden = folder.with_name(f"{REMOVED_PREFIX}{folder.name}-{secrets.token_hex(4)}")
        folder.rename(hidden)
        folder.mkdir()
        _LOG.warning("%s was there before ML Metadata knew of it: renamed to %s", folder, hidden)


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
