"""Beam 2.77: work that it repeats while a graph is built.

- `specs`: while a graph is built, the signatures of the same DoFns are inspected thousands of times
  (`get_dofn_specs`). They do not change, so the results are kept.
  Measured gain: 20 % of the Evaluator's CPU time over a year of flights, 14.4 s without and 11.5 s
  with (`benchmarks/node_gains.py`, piece `beam-specs`).

It acts only inside `without_overhead()`, which `ordain.components.beam.executor` enters while it
builds and runs a pipeline in this process. `tests/unit/upstream/test_beam.py` fails when upstream
mends it.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apache_beam.transforms import userstate

from ordain.upstream.replace import Scope

_original_specs = userstate.get_dofn_specs
_specs_by_class: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()
_specs_by_dofn: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_scope = Scope()


@contextlib.contextmanager
def without_overhead() -> Iterator[None]:
    """Applies `PATCHES` while a pipeline is built and run in this process; restores Beam after."""
    with _scope.entered({(patch.owner, patch.attribute): patch.value for patch in PATCHES}):
        yield


def _specs(dofn: Any) -> Any:
    """A DoFn's state and timer specs: per class, or per object where it wraps a callable."""
    known, key = (
        (_specs_by_dofn, dofn)
        if hasattr(dofn, "_inspect_process")
        else (_specs_by_class, type(dofn))
    )
    if key not in known:
        known[key] = _original_specs(dofn)
    return known[key]


@dataclass(frozen=True)
class Patch:
    """One replacement: its name in `docs/upstream.md`, the attribute, and its value."""

    name: str
    owner: Any
    attribute: str
    value: Any


PATCHES = (Patch("specs", userstate, "get_dofn_specs", _specs),)
