"""`ordain run --profile`: what each node took, and a flame graph of all threads."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sandbox import Sandbox

from ordain.common import profiler
from ordain.errors import ExitCode


@pytest.fixture
def served(small: Callable[..., Sandbox]) -> Sandbox:
    """A project whose server gate starts processes of its own."""
    project = small()
    project.set(gate={"server": {"requests": 2}}, evaluate={"thresholds": {"auc": {"min": 0.01}}})
    return project


def test_a_profiled_run_says_what_each_node_took(served: Sandbox) -> None:
    result = served.run(profile=True)

    assert result.exit_code is ExitCode.DONE, result.failure
    run = served.folder / "var/small/runs" / result.run_id
    document = json.loads((run / "result.json").read_text())
    nodes = {node["node"]: node for node in document["nodes"]}
    for name, node in nodes.items():
        assert node["cpu_s"] >= 0, name
        assert 100e6 < node["peak_rss_bytes"] <= document["peak_rss_bytes"], name
    for name in ("ExampleGen", "StatisticsGen", "Transform", "Trainer", "Evaluator"):
        assert nodes[name]["bytes_written"] > 0, name
    # Resolvers hand on what others wrote.
    assert nodes["Baseline"]["bytes_written"] == 0
    examples = nodes["ExampleGen"]
    assert examples["rows_per_s"] == pytest.approx(400 / examples["seconds"], rel=0.01)
    assert nodes["Trainer"]["rows_per_s"] is None
    # The server on trial is a child, and imported TensorFlow while earlier nodes ran.
    assert nodes["ServerGate"]["cpu_s"] > 0.2
    assert not (run / "memory").exists()

    profile = document["profile"]
    assert profile["note"] == ""
    assert profile["file"] == str(run / profiler.FILE)
    picture = (run / profiler.FILE).read_text()
    # The chain itself, a component's executor, and the project's own module.
    for frame in (
        "launch (ordain/runner/node_launcher.py",
        "Do (ordain/components/transform/executor.py",
        "run_fn (",
    ):
        assert frame in picture
    assert profile["samples"] > 50
    assert profile["errors"] < profile["samples"] / 5


def test_a_cached_node_has_written_nothing(small: Callable[..., Sandbox]) -> None:
    project = small()
    project.run(to_node="StatisticsGen")
    again = project.run(to_node="StatisticsGen")
    for node in again.nodes:
        assert (node.state, node.bytes_written, node.rows_per_s) == ("cached", 0, None)
        assert node.peak_rss_bytes is not None and node.peak_rss_bytes > 100e6
    assert again.profile is None


def test_a_run_goes_on_where_nothing_can_be_sampled(
    small: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiler.sysconfig, "get_path", lambda _: "/nonexistent")
    result = small().run(to_node="ExampleGen", profile=True)
    assert result.failure is None
    assert result.profile is not None
    assert result.profile.file is None
    assert result.profile.text.startswith("no flame graph: py-spy is not installed")


def test_a_node_that_gets_no_memory_says_so(small: Callable[..., Sandbox]) -> None:
    project = small()
    module = project.folder / "model.py"
    text = module.read_text()
    assert text.count("def run_fn(fn_args):\n") == 1
    refused = "def run_fn(fn_args):\n    bytearray(1 << 60)\n"
    module.write_text(text.replace("def run_fn(fn_args):\n", refused))

    result = project.run(to_node="Trainer")

    assert result.exit_code is ExitCode.INFRASTRUCTURE
    assert result.failure is not None
    assert result.failure.message.startswith("out of memory: MemoryError")
    assert "ordain plan" in result.failure.hint
    trainer = result.nodes[-1]
    assert (trainer.node, trainer.state) == ("Trainer", "failed")
    assert trainer.cpu_s is not None and trainer.peak_rss_bytes is not None
