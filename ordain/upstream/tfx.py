"""TFX 1.21: the base of Beam executors, without packing TFX for remote workers.

Before each execution TFX packs its own source into an archive for remote workers, by running
setuptools in a process of its own: two seconds for every node and span, for a package that no local
run reads and that lacks this project's code anyway. Remote workers run the project's image
(`--sdk_container_image` in `beam_args`), which has both.

A subclass sets a private attribute; nothing of TFX's is replaced. `tests/unit/upstream/test_tfx.py`
fails when TFX stops packing.
"""

from __future__ import annotations

import copy

from tfx.dsl.components.base import base_beam_executor


class UnpackedBeamExecutor(base_beam_executor.BaseBeamExecutor):
    """TFX's `BaseBeamExecutor`; Beam arguments are used as they are."""

    def __init__(self, context: base_beam_executor.BaseBeamExecutor.Context | None = None) -> None:
        """Takes TFX's context."""
        if context is None:
            super().__init__()
            return
        without_arguments = copy.copy(context)
        without_arguments.beam_pipeline_args = []  # with arguments the base class packs
        super().__init__(without_arguments)
        self._beam_pipeline_args = list(context.beam_pipeline_args or [])
