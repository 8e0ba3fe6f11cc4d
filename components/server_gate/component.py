"""ServerGate component: serves a candidate in a sandbox before it is published.

The candidate is scanned, then loaded by a server in its own process, without network and with
limited memory and time, and gets requests of real rows of the eval split over REST and gRPC. The
responses must equal the predictions of the signature that the evaluation used. Output and
properties are those of TFX's InfraValidator, which can be configured instead.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from ordain.components.artifacts.served_model import note_compared, private_inputs, version_of
from ordain.components.artifacts.types import Artifacts, keep_verdict, model_folder
from ordain.components.examples.sample_rows import read_raw_rows
from ordain.components.server_gate.rules import (
    Limits,
    ProtocolResult,
    judge_files,
    judge_network,
    judge_run,
    judge_scan,
    judge_signatures,
    judge_size,
    judge_stop,
    judge_unservable,
    verdict_of,
)
from ordain.serving.export.description import read_description
from ordain.serving.registry.compatibility import find_breaks
from ordain.serving.registry.directory import publish
from ordain.serving.registry.label_file import STABLE, Labels
from ordain.serving.registry.label_writing import write_labels
from ordain.serving.registry.manifest import Manifest
from ordain.serving.sandbox import sandbox
from ordain.serving.sandbox.golden import Golden, distance, make_requests, predict, read_response
from ordain.serving.sandbox.latency import Series
from ordain.serving.scan.scan import scan
from ordain.serving.server.models.checks import find_unservable
from ordain.verdict import Outcome, Reason, Verdict

BLESSED_FILE, NOT_BLESSED_FILE = "INFRA_BLESSED", "INFRA_NOT_BLESSED"
#: Custom property of InfraBlessing, as TFX's executor names it.
BLESSED_PROPERTY = "blessed"
#: Folder of the golden requests in the blessing, to repeat them later.
GOLDEN_FOLDER = "golden"
#: Input: the stable version, whose clients the candidate must be able to serve.
SERVED = "served"
#: File in the blessing with measurements that are not in the verdict.
MEASUREMENTS_FILE = "measurements.json"

log = logging.getLogger(__name__)


class ServerGateSpec(types.ComponentSpec):
    """Inputs: candidate, raw examples, and the stable version if any. Output: InfraBlessing."""

    PARAMETERS: ClassVar[dict[str, Any]] = {"policy": ExecutionParameter(type=str)}
    INPUTS: ClassVar[dict[str, Any]] = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        SERVED: ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS: ClassVar[dict[str, Any]] = {
        "blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)
    }


class Executor(base_executor.BaseExecutor):
    """Serves the candidate in the sandbox and judges the results."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any) -> None:
        """Marks the blessing and writes `verdict.json` into it."""
        policy = json.loads(exec_properties["policy"])
        requests = int(policy.pop("requests"))
        allowed = policy.pop("allow_changes")
        model = artifact_utils.get_single_instance(input_dict["model"])
        folder = Path(model_folder(model))
        (blessing,) = output_dict["blessing"]
        examples = read_raw_rows(input_dict["examples"], "eval", requests)
        verdict = try_model(folder, examples, Limits(**policy), Path(blessing.uri))
        served = input_dict.get(SERVED, [])
        blocked = {r.kind for r in verdict.reasons if r.outcome is Outcome.BLOCKED}
        if not blocked & {"scan", "size"}:  # otherwise the model is not opened at all
            with private_inputs(input_dict, SERVED) as inputs:
                reasons = _compare_signatures(folder, inputs.get(SERVED, []), allowed)
            verdict = verdict_of([*verdict.reasons, *reasons])
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
        if served:
            key = constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY
            blessing.set_int_custom_property(key, served[0].id)
        note_compared(blessing, input_dict, SERVED, STABLE)
        mark(blessing, verdict, model)


class ServerGate(base_component.BaseComponent):
    """The component; `policy` is `ordain.config.gates.ServerGate` as a dict, without the runner."""

    SPEC_CLASS = ServerGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: Any, examples: Any, served: Any, policy: dict[str, Any]) -> None:
        """Takes the channels of candidate, examples and stable version, and the limits."""
        super().__init__(
            ServerGateSpec(
                model=model,
                examples=examples,
                served=served,
                policy=json.dumps(policy, sort_keys=True),
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )


def try_model(model: Path, examples: Sequence[bytes], limits: Limits, keep: Path) -> Verdict:
    """Checks a model in the sandbox.

    Args:
        model: Folder of the SavedModel.
        examples: Serialized tf.Examples of raw columns, to request predictions for.
        limits: The limits.
        keep: Folder for the golden requests and the measured times.

    Returns:
        The verdict. A model that fails the scan or is too large is not loaded.
    """
    reasons = judge_scan(scan(model))
    if not any(reason.outcome is Outcome.BLOCKED for reason in reasons):
        reasons += judge_unservable(find_unservable(model))
    size = judge_size(sum(p.stat().st_size for p in model.rglob("*") if p.is_file()), limits)
    reasons.append(size)
    if any(reason.outcome is Outcome.BLOCKED for reason in reasons):
        return verdict_of(reasons)
    if not examples:
        text = "the eval split has no rows to request predictions for"
        return verdict_of([*reasons, Reason(Outcome.BLOCKED, "golden", text)])
    with contextlib.closing(sandbox.take()) as server:
        return verdict_of([*reasons, *_serve(server, model, examples, limits, keep)])


def _compare_signatures(
    candidate: Path, served: Sequence[Any], allowed: Mapping[str, str]
) -> list[Reason]:
    """Compares the candidate's signatures with those of the stable version.

    Args:
        candidate: Folder of the candidate.
        served: The stable version's artifact, as a private copy; empty if there is none.
        allowed: Reason by name of each intended change.
    """
    from ordain.serving.server.models.signature_defs import LoadError, read_signatures  # noqa: PLC0415  TensorFlow

    if not served:
        return judge_signatures([], "", allowed)
    try:
        before, after = (read_signatures(f) for f in (Path(model_folder(served[0])), candidate))
    except LoadError as error:
        return [Reason(Outcome.BLOCKED, "signatures", f"cannot be compared: {error}")]
    return judge_signatures(find_breaks(before, after), f"version {version_of(served[0])}", allowed)


def mark(blessing: Any, verdict: Verdict, model: Any) -> None:
    """Marks an InfraBlessing as TFX's executor does, and writes the verdict into it."""
    name = NOT_BLESSED_FILE if verdict.is_blocked else BLESSED_FILE
    keep_verdict(verdict, blessing, [model])
    with fileio.open(f"{blessing.uri}/{name}", "w") as file:
        file.write("")
    blessing.set_int_custom_property(BLESSED_PROPERTY, 0 if verdict.is_blocked else 1)


def _serve(
    server: sandbox.Trial, model: Path, examples: Sequence[bytes], limits: Limits, keep: Path
) -> list[Reason]:
    publish(model, server.base, Manifest(project="candidate", version=0, created=""))
    write_labels(server.base, Labels(stable=1), None)
    instances, requests = make_requests(read_description(model), examples)
    bounds = sandbox.Bounds(
        load_s=limits.max_load_s,
        memory_bytes=int(limits.max_memory_mb * 1_000_000),
        p99_ms=limits.max_p99_ms,
    )
    server.ask(requests, bounds)
    expected, failure = None, ""
    try:
        # Meanwhile the server loads the model and responds, which takes longer.
        expected = predict(model, examples)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"[:500]
    outcome = server.finish()
    _log_server(server.folder)
    reasons = [judge_network(outcome.has_network), judge_files(outcome.has_files)]
    if outcome.stopped is not None or outcome.load_s is None:
        return [*reasons, judge_stop(outcome.stopped or "crash", outcome.detail, limits)]
    if expected is None:
        text = f"called directly, the model fails: {failure}"
        return [*reasons, Reason(Outcome.BLOCKED, "golden", text)]
    golden = Golden(tuple(examples), tuple(instances), expected)
    golden.write(keep / GOLDEN_FOLDER)
    results = [
        _compare(protocol, golden, requests, outcome, limits) for protocol in ("rest", "grpc")
    ]
    _write_measurements(keep, outcome, results)
    return [*reasons, *judge_run(outcome.load_s, outcome.peak_bytes, results, limits)]


def _compare(
    protocol: str,
    golden: Golden,
    requests: Sequence[sandbox.Request],
    outcome: sandbox.Outcome,
    limits: Limits,
) -> ProtocolResult:
    """Compares the responses of one protocol with the golden ones."""
    pairs = zip(requests, outcome.answers, strict=True)
    mine = [pair for pair in pairs if pair[0].protocol == protocol]
    distances, errors = [], []
    for request, answer in mine:
        if answer.error:
            errors.append(answer.error)
            continue
        rows = slice(request.first, request.first + request.rows)
        expected = {name: array[rows] for name, array in golden.expected.items()}
        try:
            distances.append(distance(expected, read_response(request, answer.body)))
        except (ValueError, KeyError, TypeError) as error:
            errors.append(f"invalid response: {error}")
    name = "REST" if protocol == "rest" else "gRPC"
    series = [Series(tuple(times), limits.max_p99_ms) for times in outcome.series.get(protocol, [])]
    return ProtocolResult(name, len(mine), tuple(distances), tuple(errors), tuple(series))


def _write_measurements(
    folder: Path, outcome: sandbox.Outcome, results: Sequence[ProtocolResult]
) -> None:
    """Writes the measured times, for the distribution in the report."""
    raw = {
        "load_s": outcome.load_s,
        "peak_bytes": outcome.peak_bytes,
        "single_ms": {r.protocol: r.series[-1].times_ms for r in results if r.series},
    }
    (folder / MEASUREMENTS_FILE).write_text(json.dumps(raw), encoding="utf-8")


def _log_server(folder: Path) -> None:
    for name in (sandbox.LOG_FILE, sandbox.TRIAL_LOG_FILE):
        path = folder / name
        if path.exists() and path.stat().st_size:
            log.info("%s:\n%s", name, path.read_text(errors="replace")[-10_000:])
