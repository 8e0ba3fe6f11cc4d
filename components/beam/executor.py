"""Base class of our Beam executors.

Where Beam would run in this process (`in_memory`, the default), `_spread` does pieces of work
without Beam (`ordain.components.beam.worker_process`): Beam's graph costs 0.2 to 0.3 s of CPU time
for every node and span, and its one process is a single core. Pipelines that remain run inside
`ordain.upstream.beam.without_overhead`.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)

from ordain.common.commit import Staging, one_each
from ordain.components.beam import worker_process
from ordain.components.beam.errors import restored
from ordain.upstream.beam import without_overhead
from ordain.upstream.tfx import UnpackedBeamExecutor


class BeamExecutor(UnpackedBeamExecutor):
    """A Beam executor that spreads pieces of work and restores our errors."""

    @contextlib.contextmanager
    def _pipeline(self) -> Iterator[beam.Pipeline]:
        """A pipeline with the node's Beam arguments, which runs at the end of the block.

        Raises:
            OrdainError: One that a DoFn raised, as it was.
        """
        is_here = _is_here(self._beam_pipeline_args)
        with (
            restored(),
            without_overhead() if is_here else contextlib.nullcontext(),
            self._make_beam_pipeline() as pipeline,
        ):
            yield pipeline

    def _spread(self, dofn: beam.DoFn, elements: Sequence[Any], staging: Staging) -> list[Any]:
        """Runs a DoFn on each element, on Beam's workers if `beam_args` configure some.

        Args:
            dofn: Yields one result for each element. Large results go to files in `staging`, since
                an element may be processed more than once.
            elements: The pieces of work, in any order.
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
        with self._pipeline() as pipeline:
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
    """True if Beam would run everything in this process, in one thread."""
    options = PipelineOptions(list(arguments))
    runner = (options.view_as(StandardOptions).runner or "DirectRunner").rpartition(".")[2]
    mode = options.view_as(DirectOptions).direct_running_mode
    return runner in ("DirectRunner", "FnApiRunner") and mode == "in_memory"
