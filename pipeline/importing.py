"""What a process has to import before it walks the chain: TFX, and the project's own module."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def load_tfx() -> tuple[Any, Any]:
    """Imports what builds and binds the graph, which takes TFX some twenty seconds.

    A fifth of it would go to the garbage collector, which walks the growing heap again and
    again for next to nothing.

    Returns:
        The modules `pipeline.graph` and `pipeline.street`.
    """
    is_first = "pipeline.graph" not in sys.modules
    gc.disable()
    try:
        from pipeline import graph, street  # noqa: PLC0415  only a run needs them
    finally:
        gc.enable()
    if is_first:
        gc.freeze()
    return graph, street


@contextlib.contextmanager
def project_on_path(folder: Path) -> Iterator[None]:
    """Lets the project's module import its neighbours.

    Args:
        folder: The project's folder.
    """
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
