"""Check of the verdict that a gate left, before its execution is recorded as a success.

What stands behind a gate runs by a property of its artifact. An execution that is recorded is
reused from the cache, so a gate without a sound verdict has to fail.
"""

from __future__ import annotations

from typing import Any

from tfx.dsl.io import fileio

from ordain.components.artifacts.types import OUTCOME_PROPERTY, VERDICT_FILE
from ordain.errors import NodeFailedError
from ordain.pipeline.own_components import DOCS
from ordain.pipeline.own_nodes import OUTPUTS, VERDICT_TYPE
from ordain.verdict import GATES, Outcome, Verdict


def check_verdicts(execution_info: Any, output: Any) -> None:
    """Checks each output of type `GateVerdict`.

    Args:
        execution_info: TFX's `ExecutionInfo` of an execution that succeeded.
        output: Its `ExecutorOutput`.

    Raises:
        NodeFailedError: There is not just one artifact with an outcome and the verdict of it; or,
            of a gate of the project's own, the verdict has no reason or the name of another gate.
    """
    node = execution_info.pipeline_node.node_info.id
    for key, planned in execution_info.output_dict.items():
        if planned and planned[0].type_name == VERDICT_TYPE:
            made = output.output_artifacts[key].artifacts
            problem = _problem(node, made) if len(made) == 1 else f"{len(made)} artifacts"
            if problem:
                raise NodeFailedError(
                    f"the gate {node} left no verdict in its output {key!r}: {problem}",
                    f"end it with keep_verdict(Verdict.of(NAME, REASONS), {key}, JUDGED); "
                    f"see {DOCS}",
                )


def _problem(node: str, made: Any) -> str | None:
    artifact = made[0]
    outcome = artifact.custom_properties[OUTCOME_PROPERTY].string_value
    file = f"{artifact.uri}/{VERDICT_FILE}"
    if not outcome:
        return f"the artifact has no property {OUTCOME_PROPERTY!r}"
    if not fileio.exists(file):
        return f"there is no {file}"
    try:
        with fileio.open(file) as opened:
            verdict = Verdict.from_json(opened.read())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"{file} is not a verdict: {error}"
    if str(verdict.outcome) != outcome:
        return f"{file} says {str(verdict.outcome)!r}, the artifact's property {outcome!r}"
    if Verdict.of(verdict.gate, verdict.reasons).outcome is not verdict.outcome:
        return f"its outcome is {str(verdict.outcome)!r}, which is not that of its reasons"
    if node in OUTPUTS:
        return None
    if all(reason.outcome is Outcome.SKIPPED for reason in verdict.reasons):
        return "it has no reason but skipped ones, so nothing was checked"
    if verdict.gate in GATES:
        return f"{verdict.gate!r} is the name of a gate of the pipeline"
    return None
