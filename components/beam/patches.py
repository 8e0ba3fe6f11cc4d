"""What Beam does over and over while it builds and runs a graph, done once or not at all.

Three traps of Beam 2.77, each with a test in `tests/unit/components/beam/test_patches.py` that
fails when upstream mends it:

- While a graph is built, the signatures of the same DoFns are inspected thousands of times
  (`get_dofn_specs`): a fifth of the wall time of the flights project's Transform. They do not
  change, so the answers are remembered.
- While it runs, the first elements of every step are encoded only to count their bytes. With few
  and large elements that is all of them, at each step: a fifth of the Evaluator's processor time,
  for a counter nobody reads. What Python objects would take is not measured any more.
- Around every bundle a thread is started that looks every 200 ms at which step is running, and the
  bundle's end waits until that thread has slept its time: for milliseconds by step, a counter that
  nobody reads either. No such thread is started any more; what Beam would then say of a step that
  hangs for minutes, the console says of its node.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from apache_beam.coders import coder_impl, coders
from apache_beam.runners.worker import statesampler
from apache_beam.transforms import userstate

_original_specs = userstate.get_dofn_specs
_specs_by_class: dict[type, Any] = {}
_specs_by_dofn: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def install() -> None:
    """Makes Beam remember and not measure; calling it again changes nothing."""
    userstate.get_dofn_specs = _specs
    coders.FastPrimitivesCoder._create_impl = _unmeasured
    statesampler.StateSampler.start = _start_unsampled
    statesampler.StateSampler.stop = _stop_unsampled


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


class _Unmeasured(coder_impl.FastPrimitivesCoderImpl):
    """Encodes as Beam does, and says nothing of sizes."""

    def get_estimated_size_and_observables(
        self, value: Any, nested: bool = False
    ) -> tuple[int, list[Any]]:
        """See `coder_impl.CoderImpl`."""
        del value, nested
        return 0, []


def _unmeasured(coder: coders.FastPrimitivesCoder) -> _Unmeasured:
    return _Unmeasured(coder._fallback_coder.get_impl())


def _start_unsampled(sampler: statesampler.StateSampler) -> None:
    """`StateSampler.start` without its thread; metrics find their step through the tracker."""
    sampler.tracked_thread = threading.current_thread()
    statesampler.set_current_tracker(sampler)
    sampler.started = True


def _stop_unsampled(sampler: statesampler.StateSampler) -> None:
    """`StateSampler.stop` without a thread to wait for."""
    statesampler.set_current_tracker(None)
    sampler.finished = True
