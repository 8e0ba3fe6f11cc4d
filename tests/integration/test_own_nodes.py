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

from ordain.errors import ExitCode

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


def nodes(module: str, least: int = 1, is_approved: int = 1) -> list[dict[str, Any]]:
    return [
        {"after": "StatisticsGen", "component": f"{module}:CountSpans", "with": {"least": least}},
        {
            "after": "Transform",
            "component": "tfx.components:StatisticsGen",
            "id": "TransformedStatistics",
            "with": {"examples": "Transform.transformed_examples"},
        },
        {
            "after": "Transform",
            "component": f"{module}:Approve",
            "with": {"is_approved": is_approved},
        },
    ]


def project(make: Callable[..., Sandbox], module: str, **settings: Any) -> Sandbox:
    """A project with those nodes; each test has a module name of its own in this process."""
    sandbox = make(nodes=nodes(module), **settings)
    (sandbox.folder / f"{module}.py").write_text(CHECKS)
    return sandbox


def test_they_run_are_cached_and_block(small: Callable[..., Sandbox]) -> None:
    sandbox = project(small, "checks_here")
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

    source = sandbox.folder / "checks_here.py"
    source.write_text(source.read_text() + "\n# edited\n")
    edited = states(sandbox.run("train.steps=30"))
    assert edited["CountSpans"] == edited["Approve"] == "complete"
    assert edited["StatisticsGen"] == edited["DataGate"] == "cached"

    # The first gate keeps the data gate and the second one from running, too.
    sandbox.set(nodes=nodes("checks_here", least=5))
    blocked = sandbox.run()
    assert blocked.failure is None and blocked.exit_code is ExitCode.DATA_BLOCKED
    assert blocked.headline == "the span-count gate blocked this run: nothing was pushed"
    found = states(blocked)
    behind = list(found)[list(found).index("CountSpans") + 1 :]
    assert {found[node] for node in behind} == {"skipped"} and "Pusher" in behind
    reasons = {node.node: node.reason for node in blocked.nodes}
    assert reasons["Pusher"] == "the span-count gate blocked"

    sandbox.set(nodes=nodes("checks_here", is_approved=0))
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
    sandbox = project(small, "checks_planned")
    drawn = call("plan", sandbox.folder)
    assert drawn.index("StatisticsGen") < drawn.index("CountSpans") < drawn.index("SchemaGen")
    assert "checks_planned:CountSpans, a gate" in drawn

    sandbox.set(nodes=[{"after": "ExampleGen", "component": "checks_planned:Approve"}])
    refused = call("plan", sandbox.folder, code=2)
    assert "needs the input 'schema' of type Schema" in refused


def test_they_run_and_block_in_pods(small: Callable[..., Sandbox], tmp_path: Path) -> None:
    folder = tmp_path / "simulations"
    sandbox = project(small, "checks_there")
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

    sandbox.set(nodes=nodes("checks_there"))
    first = simulate()
    assert first["exit_code"] == ExitCode.DONE, first["headline"]
    found = {node["node"]: node["state"] for node in first["nodes"]}
    assert found["CountSpans"] == found["TransformedStatistics"] == found["Approve"] == "complete"
    assert {v["gate"] for v in first["verdicts"]} >= {"span-count", "approval"}

    sandbox.set(nodes=nodes("checks_there", least=5))
    blocked = simulate()
    assert blocked["exit_code"] == ExitCode.DATA_BLOCKED, blocked["headline"]
    found = {node["node"]: node["state"] for node in blocked["nodes"]}
    assert found["CountSpans"] == "complete"
    assert {found[node] for node in ("DataGate", "Approve", "Trainer", "Pusher")} == {"skipped"}
