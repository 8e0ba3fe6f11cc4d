"""Nodes of a project's own: one of TFX's and two of the project's, here and in simulated pods."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sandbox import Sandbox, states

from ordain.errors import ConfigError, ExitCode

pytestmark = pytest.mark.timeout(1800)
CHECKS = '''
from tfx import v1 as tfx

from ordain.components.artifacts.types import GateVerdict, keep_verdict
from ordain.verdict import Outcome, Reason, Verdict

Examples = tfx.types.standard_artifacts.Examples
Schema = tfx.types.standard_artifacts.Schema


@tfx.dsl.components.component
def CountSpans(
    examples: tfx.dsl.components.InputArtifact[list[Examples]],
    verdict: tfx.dsl.components.OutputArtifact[GateVerdict],
    least: tfx.dsl.components.Parameter[int] = 1,
):
    """Blocks a window of fewer spans than `least`."""
    outcome = Outcome.PASSED if len(examples) >= least else Outcome.BLOCKED
    reason = Reason(outcome, "spans", f"{len(examples)} span(s), at least {least} wanted")
    keep_verdict(Verdict.of("span-count", [reason]), verdict, examples)


@tfx.dsl.components.component
def Approve(
    schema: tfx.dsl.components.InputArtifact[Schema],
    verdict: tfx.dsl.components.OutputArtifact[GateVerdict],
    is_approved: tfx.dsl.components.Parameter[int] = 1,
):
    outcome = Outcome.PASSED if is_approved else Outcome.BLOCKED
    reason = Reason(outcome, "approval", "approved" if is_approved else "not approved")
    keep_verdict(Verdict.of("approval", [reason]), verdict, [schema])
'''


def nodes(least: int = 1, is_approved: int = 1) -> list[dict[str, Any]]:
    return [
        {"after": "StatisticsGen", "component": "checks:CountSpans", "with": {"least": least}},
        {
            "after": "Transform",
            "component": "tfx.components:StatisticsGen",
            "id": "TransformedStatistics",
            "with": {"examples": "Transform.transformed_examples"},
        },
        {
            "after": "Transform",
            "component": "checks:Approve",
            "with": {"is_approved": is_approved},
        },
    ]


def project(make: Callable[..., Sandbox], **settings: Any) -> Sandbox:
    """A project with those nodes. The modules of all tests have one name, in this process."""
    sandbox = make(nodes=nodes(), **settings)
    (sandbox.folder / "checks.py").write_text(CHECKS)
    return sandbox


def test_they_run_are_cached_and_block(small: Callable[..., Sandbox]) -> None:
    sandbox = project(small)
    first = sandbox.run()
    assert first.failure is None and first.exit_code is ExitCode.DONE
    ran = states(first)
    own = ("CountSpans", "TransformedStatistics", "Approve")
    assert [ran[node] for node in own] == ["complete"] * 3
    order = list(ran)
    assert order.index("StatisticsGen") < order.index("CountSpans") < order.index("SchemaGen")
    outcomes = {v.gate: str(v.outcome) for v in first.verdicts}
    assert (outcomes["span-count"], outcomes["approval"]) == ("passed", "passed")
    statistics = list(sandbox.folder.glob("var/small/artifacts/TransformedStatistics/statistics/*"))
    assert list(statistics[0].rglob("FeatureStats.pb"))

    cached = states(sandbox.run())
    assert [cached[node] for node in (*own, "Trainer")] == ["cached"] * 4

    source = sandbox.folder / "checks.py"
    source.write_text(source.read_text() + "\n# edited\n")
    edited = states(sandbox.run("train.steps=30"))
    assert edited["CountSpans"] == edited["Approve"] == "complete"
    assert edited["StatisticsGen"] == edited["DataGate"] == "cached"

    # The first gate keeps the data gate and the second one from running, too.
    sandbox.set(nodes=nodes(least=5))
    blocked = sandbox.run()
    assert blocked.failure is None and blocked.exit_code is ExitCode.DATA_BLOCKED
    assert blocked.headline == "the span-count gate blocked this run: nothing was pushed"
    found = states(blocked)
    behind = list(found)[list(found).index("CountSpans") + 1 :]
    assert {found[node] for node in behind} == {"skipped"} and "Pusher" in behind
    reasons = {node.node: node.reason for node in blocked.nodes}
    assert reasons["Pusher"] == "the span-count gate blocked"

    sandbox.set(nodes=nodes(is_approved=0))
    late = sandbox.run()
    assert late.failure is None and late.exit_code is ExitCode.DATA_BLOCKED
    found = states(late)
    assert found["Approve"] == "complete"
    assert found["Trainer"] == found["Pusher"] == "skipped"


def call(*words: Any, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ordain.cli.main", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout + done.stderr


def test_plan_draws_them_and_refuses_what_cannot_be_wired(small: Callable[..., Sandbox]) -> None:
    sandbox = project(small)
    drawn = call("plan", sandbox.folder)
    assert drawn.index("StatisticsGen") < drawn.index("CountSpans") < drawn.index("SchemaGen")
    assert "checks:CountSpans, a gate" in drawn

    sandbox.set(nodes=[{"after": "ExampleGen", "component": "checks:Approve"}])
    refused = call("plan", sandbox.folder, code=2)
    assert "needs the input 'schema' of type Schema" in refused


GATES = '''
import sys

from tfx import v1 as tfx

from ordain.components.artifacts.types import GateVerdict, keep_verdict
from ordain.verdict import Outcome, Reason, Verdict

Examples = tfx.types.standard_artifacts.Examples


class Alike(tfx.dsl.Artifact):
    """A class of one's own under the name of ours."""

    TYPE_NAME = "GateVerdict"


@tfx.dsl.components.component
def Gate(
    examples: tfx.dsl.components.InputArtifact[list[Examples]],
    verdict: tfx.dsl.components.OutputArtifact[GateVerdict],
    how: tfx.dsl.components.Parameter[str] = "",
):
    passed = Reason(Outcome.PASSED, "kind", "text")
    blocked = Reason(Outcome.BLOCKED, "kind", "text")
    if how == "exits":
        sys.exit(0)
    if how == "other case":
        keep_verdict(Verdict("own", "BLOCKED", (blocked,)), verdict, examples)
    if how == "file only":
        keep_verdict(Verdict.of("own", [blocked]), verdict, examples)
        del verdict.mlmd_artifact.custom_properties["outcome"]
    if how == "no reason":
        keep_verdict(Verdict.of("own", []), verdict, examples)
    if how == "our name":
        keep_verdict(Verdict.of("evaluation", [passed]), verdict, examples)
    if how == "passes":
        keep_verdict(Verdict.of("own", [passed]), verdict, examples)
    if how == "blocks":
        keep_verdict(Verdict.of("own", [blocked]), verdict, examples)


@tfx.dsl.components.component
def AlikeGate(
    examples: tfx.dsl.components.InputArtifact[list[Examples]],
    verdict: tfx.dsl.components.OutputArtifact[Alike],
):
    keep_verdict(
        Verdict.of("own", [Reason(Outcome.BLOCKED, "kind", "text")]), verdict, examples
    )


@tfx.dsl.components.component
def NoInput(verdict: tfx.dsl.components.OutputArtifact[GateVerdict]):
    pass


@tfx.dsl.components.component
def TwoVerdicts(
    examples: tfx.dsl.components.InputArtifact[list[Examples]],
    verdict: tfx.dsl.components.OutputArtifact[GateVerdict],
    second: tfx.dsl.components.OutputArtifact[GateVerdict],
):
    pass


@tfx.dsl.components.component
def Hidden(
    _examples: tfx.dsl.components.InputArtifact[list[Examples]],
    verdict: tfx.dsl.components.OutputArtifact[GateVerdict],
):
    pass
'''


def gate(name: str = "Gate", **arguments: Any) -> list[dict[str, Any]]:
    return [{"after": "ExampleGen", "component": f"gates:{name}", "with": arguments}]


def test_no_gate_opens_by_accident(small: Callable[..., Sandbox]) -> None:
    """A gate that left no sound verdict fails, is not cached, and nothing behind it runs."""
    sandbox = small(nodes=gate())
    (sandbox.folder / "gates.py").write_text(GATES)
    for how, problem in (
        ("", "the gate Gate left no verdict in its output 'verdict': the artifact has no property"),
        ("file only", "the artifact has no property 'outcome'"),
        ("other case", "'BLOCKED' is not a valid Outcome"),
        ("no reason", "it has no reason"),
        ("our name", "'evaluation' is the name of a gate of the pipeline"),
        ("exits", "the code of the node called sys.exit(0)"),
    ):
        sandbox.set(nodes=gate(how=how))
        for _ in range(2 if how == "no reason" else 1):
            result = sandbox.run()
            assert result.failure is not None, how
            assert result.failure.node == "Gate" and problem in result.failure.message
            assert result.exit_code is ExitCode.NODE_FAILED
            assert states(result)["Gate"] == "failed" and "StatisticsGen" not in states(result)

    for name, problem in (
        ("NoInput", "is a gate without inputs"),
        ("TwoVerdicts", "more than one output of type GateVerdict"),
        ("Hidden", "an input '_examples'; TFX leaves inputs that begin with an underscore out"),
    ):
        sandbox.set(nodes=gate(name))
        with pytest.raises(ConfigError, match=problem):
            sandbox.run()

    # A type of the same name is a gate; and one that took its place has not run before.
    sandbox.set(nodes=[{**gate("AlikeGate")[0], "id": "Gate"}])
    assert states(sandbox.run())["StatisticsGen"] == "skipped"
    sandbox.set(nodes=gate(how="passes"))
    with pytest.raises(ConfigError, match="Gate has not succeeded before"):
        sandbox.run(from_node="StatisticsGen")
    assert sandbox.run(to_node="StatisticsGen").failure is None

    # Edited between two runs of one process, as in a notebook.
    source = sandbox.folder / "gates.py"
    source.write_text(GATES.replace("[passed]", "[blocked]"))
    edited = sandbox.run()
    assert edited.exit_code is ExitCode.DATA_BLOCKED
    assert states(edited)["Gate"] == "complete"
    assert not sandbox.versions


def test_they_run_and_block_in_pods(small: Callable[..., Sandbox], tmp_path: Path) -> None:
    folder = tmp_path / "simulations"
    sandbox = project(small)
    raw = sandbox.folder
    volume = {"claim": "project", "path": str(raw)}
    image = "registry.example.org/small:1"
    sandbox.set(kubeflow={"image": image, "project": str(raw), "volumes": [volume]})
    compiled = tmp_path / "compiled.yaml"

    def simulate() -> dict[str, Any]:
        call("compile", sandbox.folder, "-o", compiled)
        words = ("simulate", compiled, "--json", "--no-wait", "--root", folder)
        done = subprocess.run(
            [sys.executable, "-m", "ordain.cli.main", *map(str, words)],
            check=False,
            capture_output=True,
            text=True,
        )
        report = json.loads(done.stdout)
        path = raw / "var" / "small" / "runs" / report["run_id"] / "result.json"
        return dict(json.loads(path.read_text()))

    sandbox.set(nodes=nodes())
    first = simulate()
    assert first["exit_code"] == ExitCode.DONE, first["headline"]
    found = {node["node"]: node["state"] for node in first["nodes"]}
    assert found["CountSpans"] == found["TransformedStatistics"] == found["Approve"] == "complete"
    assert {v["gate"] for v in first["verdicts"]} >= {"span-count", "approval"}

    sandbox.set(nodes=nodes(least=5))
    blocked = simulate()
    assert blocked["exit_code"] == ExitCode.DATA_BLOCKED, blocked["headline"]
    found = {node["node"]: node["state"] for node in blocked["nodes"]}
    assert found["CountSpans"] == "complete"
    assert {found[node] for node in ("DataGate", "Approve", "Trainer", "Pusher")} == {"skipped"}
