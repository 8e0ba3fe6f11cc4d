"""What our Beam executors have in common.

Before each execution TFX packs its own source into an archive for remote workers, by running
setuptools in a process of its own: two seconds for every node and span, for a package that no
local run reads and that lacks this project's code anyway. Remote workers run the project's image
(`--sdk_container_image` in `beam_args`), which holds both.
`tests/unit/components/test_beam_executor.py` fails when TFX stops packing.
"""

from __future__ import annotations

import copy

from tfx.dsl.components.base import base_beam_executor

from components import beam_overhead

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
