"""Plans and evaluates TFT's operation graph in passes over the data.

Analyzers that need another analyzer's output (a vocabulary over scaled values) run in a later
phase, with a SavedModel of what is known by then. A phase is one pass: for each span all its
accumulations together. Operations between two passes are small and run in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ordain.components.transform import operations, tft_internals
from ordain.components.transform.data_pass import Accumulated, Accumulation, is_accumulation

_beam_nodes = tft_internals.beam_nodes

#: Runs one pass: the phase's SavedModel, its accumulations by dataset -> results by dataset.
RunPass = Callable[[str, dict[str, list[Accumulation]]], dict[str, Accumulated]]


@dataclass(frozen=True)
class Plan:
    """The accumulations that a graph needs.

    Attributes:
        datasets: Names of all datasets, in order.
        passes: Accumulations by phase, by dataset.
        phases: Phase and datasets of each accumulation, by its label.
        unknown: Operations that are not supported.
    """

    datasets: list[str]
    passes: dict[int, dict[str, list[Accumulation]]] = field(default_factory=dict)
    phases: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    unknown: list[Any] = field(default_factory=list)


def plan(roots: Iterable[Any], datasets: Iterable[str]) -> Plan:
    """Determines what has to be accumulated, before anything runs.

    Args:
        roots: Nodes of TFT's graph to evaluate.
        datasets: Names of all datasets.
    """
    found = Plan(sorted(datasets))
    traverser = tft_internals.nodes.Traverser(_Planner(found))
    for root in roots:
        traverser.visit_value_node(root)
    return found


def evaluator(
    planned: Plan, context: operations.Context, run_pass: RunPass
) -> Callable[[Any], list[Any]]:
    """Makes a function that evaluates nodes of the graph, each once.

    Args:
        planned: The graph's plan, without unknown operations.
        context: What operations need besides their inputs.
        run_pass: Runs a pass.

    Returns:
        Takes a node and returns its elements.
    """
    evaluation = _Evaluation(planned, context, run_pass)
    evaluate: Callable[[Any], list[Any]]
    evaluate = tft_internals.nodes.Traverser(evaluation).visit_value_node
    return evaluate


@dataclass(frozen=True)
class _Stream:
    """Batches that exist only within a pass: raw (-1), or outputs of the graph of a phase."""

    datasets: list[str]
    phase: int = -1
    keys: tuple[str, ...] | None = None


class _Planner(tft_internals.nodes.Visitor):
    """Follows the streams of batches to the accumulations that consume them."""

    def __init__(self, found: Plan) -> None:
        self._found = found

    def visit(self, operation: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        stream = _stream(operation, inputs, self._found.datasets)
        if stream is not None:
            return (stream,)
        nothing = (None,) * operation.num_outputs
        streams = [value for value in inputs if isinstance(value, _Stream)]
        if not streams and operations.is_known(operation):
            return nothing
        if not (streams and is_accumulation(operation)):
            self._found.unknown.append(operation)
            return nothing
        (stream,) = streams
        self._found.phases[operation.label] = (stream.phase, stream.datasets)
        work = self._found.passes.setdefault(stream.phase, defaultdict(list))
        for dataset in stream.datasets:
            work[dataset].append(Accumulation.of(operation, stream.keys))
        return nothing

    def validate_value(self, value: Any) -> None:
        pass


class _Evaluation(tft_internals.nodes.Visitor):
    """Evaluates operations; runs the pass of a phase at its first accumulation."""

    def __init__(self, planned: Plan, context: operations.Context, run_pass: RunPass) -> None:
        self._plan, self._context, self._run_pass = planned, context, run_pass
        self._models: dict[int, str] = {}
        self._results: dict[int, dict[str, Accumulated]] = {}

    def visit(self, operation: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if isinstance(operation, _beam_nodes.ApplySavedModel):
            (self._models[operation.phase],) = inputs[0]
        stream = _stream(operation, inputs, self._plan.datasets)
        if stream is not None:
            return (stream,)
        if operation.label in self._plan.phases:
            return (self._accumulated(operation.label),)
        return operations.evaluate(operation, inputs, self._context)

    def validate_value(self, value: Any) -> None:
        pass

    def _accumulated(self, label: str) -> list[Any]:
        phase, datasets = self._plan.phases[label]
        if phase not in self._results:
            self._results[phase] = self._run_pass(self._models[phase], self._plan.passes[phase])
        results = self._results[phase]
        # Merging takes any number of accumulators, as from Beam's workers.
        return [element for dataset in datasets for element in results[dataset][label]]


def _stream(operation: Any, inputs: tuple[Any, ...], datasets: list[str]) -> _Stream | None:
    """The stream that an operation makes of its inputs, or None."""
    if isinstance(operation, _beam_nodes.ExtractInputForSavedModel):
        key = operation.dataset_key
        return _Stream(datasets if key.is_flattened_dataset_key() else [key.key])
    if isinstance(operation, _beam_nodes.ApplySavedModel):
        return _Stream(inputs[1].datasets, operation.phase)
    if isinstance(operation, _beam_nodes.ExtractFromDict) and isinstance(inputs[0], _Stream):
        keys = operation.keys
        return _Stream(inputs[0].datasets, inputs[0].phase, keys)
    return None
