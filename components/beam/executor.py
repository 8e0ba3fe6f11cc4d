"""What our Beam executors have in common.

Before each execution TFX packs its own source into an archive for remote workers, by running
setuptools in a process of its own: two seconds for every node and span, for a package that no
local run reads and that lacks this project's code anyway. Remote workers run the project's image
(`--sdk_container_image` in `beam_args`), which holds both.
`tests/unit/components/beam/test_executor.py` fails when TFX stops packing.

Where Beam would run in this very process, pieces of work are done without it
(`ordain.components.beam.worker_process`): its graph costs 0.2 to 0.3 s of processor time for every
node and span, and its one process is a single core.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)
from tfx.dsl.components.base import base_beam_executor

from ordain.common.commit import Staging, one_each
from ordain.components.beam import patches, worker_process
from ordain.components.beam.errors import restored

patches.install()


class BeamExecutor(base_beam_executor.BaseBeamExecutor):
    """TFX's base of Beam executors without the packing."""

    def __init__(self, context: base_beam_executor.BaseBeamExecutor.Context | None = None) -> None:
        """Takes TFX's context; its Beam arguments are used as they are."""
        if context is None:
            super().__init__()
            return
        without_arguments = copy.copy(context)
        without_arguments.beam_pipeline_args = []
        super().__init__(without_arguments)
        self._beam_pipeline_args = list(context.beam_pipeline_args or [])

    def _spread(self, dofn: beam.DoFn, elements: Sequence[Any], staging: Staging) -> list[Any]:
        """Takes each element through a DoFn, on Beam's workers if `beam_args` ask for some.

        Args:
            dofn: Yields one result for each element. What is large it leaves in files, and what it
                writes it writes into `staging`: an element may be done more than once.
            elements: What is to be done, in any order.
            staging: The execution's temporary folder, through which results come back.

        Returns:
            The result of one attempt at each element, in the order of the elements.

        Raises:
            OrdainError: One that the DoFn raised, as it was.
        """
        if _is_here(self._beam_pipeline_args):
            worker_process.start()
            return worker_process.run(dofn, elements)
        name = uuid.uuid4().hex
        with restored(), self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Pieces" >> beam.Create(list(enumerate(elements)))
                | "Spread" >> beam.Reshuffle()
                | "Do" >> beam.ParDo(_Numbered(dofn))
                | "Gather" >> beam.combiners.ToList()
                | "Keep" >> beam.Map(staging.keep_results, name)
            )
        return one_each(staging.results(name), len(elements))


class _Numbered(beam.DoFn):
    """A DoFn whose elements and results carry the number of their piece."""

    def __init__(self, dofn: beam.DoFn) -> None:
        self._dofn = dofn

    def setup(self) -> None:
        """Sets the DoFn up."""
        self._dofn.setup()

    def process(self, element: tuple[int, Any]) -> Iterator[tuple[int, Any]]:
        """Passes the element on, and the result back."""
        number, piece = element
        for result in self._dofn.process(piece):
            yield number, result

    def teardown(self) -> None:
        """Tears the DoFn down."""
        self._dofn.teardown()


def _is_here(arguments: Sequence[str]) -> bool:
    """Whether Beam would run everything in this process."""
    options = PipelineOptions(list(arguments))
    runner = (options.view_as(StandardOptions).runner or "DirectRunner").rpartition(".")[2]
    mode = options.view_as(DirectOptions).direct_running_mode
    return runner in ("DirectRunner", "FnApiRunner") and mode == "in_memory"
