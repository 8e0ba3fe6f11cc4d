"""What our Beam executors have in common.

Before each execution TFX packs its own source into an archive for remote workers, by running
setuptools in a process of its own: two seconds for every node and span, for a package that no
local run reads and that lacks this project's code anyway. Remote workers run the project's image
(`--sdk_container_image` in `beam_args`), which holds both.
`tests/unit/components/test_beam_executor.py` fails when TFX stops packing.

Where Beam would run in this very process, pieces of work are done without it
(`components.helper_process`): its graph costs 0.2 to 0.3 s of processor time for every node and
span, and its one process is a single core.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)
from tfx.dsl.components.base import base_beam_executor

from components import beam_overhead, helper_process
from components.beam_errors import restored

beam_overhead.install()


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

    def _spread(
        self,
        dofn: beam.DoFn,
        elements: Sequence[Any],
        then: Callable[[list[Any]], None] = lambda _: None,
    ) -> None:
        """Takes each element through a DoFn, on Beam's workers if `beam_args` ask for some.

        Args:
            dofn: Leaves what is large in files.
            elements: What is to be done, in any order.
            then: Gets all that was yielded, in any order.

        Raises:
            OrdainError: One that the DoFn raised, as it was.
        """
        if _is_here(self._beam_pipeline_args):
            helper_process.start()
            then(helper_process.run(dofn, elements))
            return
        with restored(), self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Pieces" >> beam.Create(list(elements))
                | "Spread" >> beam.Reshuffle()
                | "Do" >> beam.ParDo(dofn)
                | "Gather" >> beam.combiners.ToList()
                | "Then" >> beam.Map(then)
            )


def _is_here(arguments: Sequence[str]) -> bool:
    """Whether Beam would run everything in this process."""
    options = PipelineOptions(list(arguments))
    runner = (options.view_as(StandardOptions).runner or "DirectRunner").rpartition(".")[2]
    mode = options.view_as(DirectOptions).direct_running_mode
    return runner in ("DirectRunner", "FnApiRunner") and mode == "in_memory"
