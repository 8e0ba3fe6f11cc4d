"""TFX 1.21: packing of sources that our nodes do not need.

- `UnpackedBeamExecutor`: before each execution on Beam, TFX packs its own source into an archive
  for remote workers, by running setuptools in a process of its own: two seconds for every node and
  span, for a package that no local run reads and that lacks this project's code anyway. Remote
  workers run the project's image (`--sdk_container_image` in `beam_args`), which has both.
- `modules_in_place`: TFX packs the module file into a wheel and pip-installs it for every node. The
  module is imported from where it is instead, so that it may import its neighbours.

`tests/unit/upstream/test_tfx.py` fails when TFX stops packing.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator

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


@contextlib.contextmanager
def modules_in_place() -> Iterator[None]:
    """Makes components that are created in the block take a module file as it is."""
    name = "UNSUPPORTED_DO_NOT_PACKAGE_USER_MODULES"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
