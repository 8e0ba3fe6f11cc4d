"""The section `executors`: ordain's or TFX's executor in a node.

Some components are TFX's with an executor of ordain's, under the same contract (spec, artifacts,
properties). This section selects TFX's instead, to compare the two or to rule out ordain's as a
cause. Settings that TFX's executor does not support are refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ordain.config.data import Data
from ordain.config.model import SPAN_SLICE, Evaluate

#: Nodes that both ordain and TFX have an executor for.
Exchangeable = Literal["ExampleGen", "StatisticsGen", "Transform", "Evaluator"]
Origin = Literal["ordain", "tfx"]


def conflict(executors: Mapping[Exchangeable, Origin], data: Data, evaluate: Evaluate) -> str:
    """The first setting that a selected executor of TFX's does not support; empty if none.

    Args:
        executors: The section.
        data: The section `data`.
        evaluate: The section `evaluate`.
    """
    if executors.get("ExampleGen") == "tfx":
        if data.format is None:
            return "ExampleGen: TFX has an executor for each format; set data.format"
        if data.unlabelled == "drop":
            return (
                "ExampleGen: TFX's executor cannot leave rows out; use ordain's, or set "
                "data.unlabelled: block"
            )
    if executors.get("Evaluator") == "tfx":
        if any(m.aggregate and m.aggregate.weighted_macro_average for m in evaluate.metrics):
            return (
                "Evaluator: TFX's executor does not find a weighted_macro_average among its own "
                "values and blesses no model; use ordain's, or macro_average"
            )
        named = [name for name, t in evaluate.thresholds.items() if t.newest is not None]
        named += [
            name
            for name, threshold in evaluate.thresholds.items()
            for limit in threshold.slices
            if SPAN_SLICE in limit.keys or SPAN_SLICE in limit.values
        ]
        if named or any(SPAN_SLICE in keys for keys in evaluate.slices):
            return (
                "Evaluator: TFX's executor does not know an example's span; use ordain's, or "
                f"remove newest and {SPAN_SLICE!r} from evaluate ({', '.join(named) or 'slices'})"
            )
    return ""
