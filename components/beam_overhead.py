"""Beam asks the same question thousands of times while it builds a graph; the answer remembered.

Measured on the flights project's Transform (Beam 2.77): a fifth of the wall time went into
inspecting the signatures of the same DoFns over and over (`get_dofn_specs`). They do not change.
`tests/unit/components/test_beam_overhead.py` fails when Beam remembers by itself.
"""

from __future__ import annotations

import weakref
from typing import Any

from apache_beam.transforms import userstate

_original_specs = userstate.get_dofn_specs
_specs_by_class: dict[type, Any] = {}
_specs_by_dofn: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def install() -> None:
    """Makes Beam remember; calling it again changes nothing."""
    userstate.get_dofn_specs = _specs


def _specs(dofn: Any) -> Any:
    """A DoFn's state and timer specs: per class, or per object where it wraps a callable."""
    if not hasattr(dofn, "_inspect_process"):
        kind = type(dofn)
        if kind not in _specs_by_class:
            _specs_by_class[kind] = _original_specs(dofn)
        return _specs_by_class[kind]
    if dofn not in _specs_by_dofn:
        _specs_by_dofn[dofn] = _original_specs(dofn)
    return _specs_by_dofn[dofn]
