"""Two cores for one stream: the next batch is made while the caller works on this one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def read_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches, each made in a thread of its own while the caller has the one before.

    It pays where both sides spend their time in C++ without the GIL, as TensorFlow and tfx_bsl do.

    Args:
        batches: Yields anything but None. An error it raises reaches the caller in its place.
    """
    with ThreadPoolExecutor(1) as maker:
        upcoming = maker.submit(next, batches, None)
        while (batch := upcoming.result()) is not None:
            upcoming = maker.submit(next, batches, None)
            yield batch
