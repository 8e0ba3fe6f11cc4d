"""SIGTERM ends a run between two nodes, and nothing else changes."""

import contextlib
import os
import signal

import pytest

from ordain.cli.sigterm import ended_between_nodes
from ordain.history.results import NodeResult


class Recorder:
    def __init__(self) -> None:
        self.events: list[str] = []

    def started(self, node: str, span: int | None) -> None:
        self.events.append(f"started {node} {span}")

    def finished(self, result: NodeResult) -> None:
        self.events.append(f"finished {result.node}")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_without_a_signal_everything_is_handed_on(recorder):
    before = signal.getsignal(signal.SIGTERM)
    with ended_between_nodes(contextlib.nullcontext(recorder)) as listener:
        listener.started("ExampleGen", 3)
        listener.finished(NodeResult("ExampleGen", "complete"))
        assert signal.getsignal(signal.SIGTERM) is not before
    assert recorder.events == ["started ExampleGen 3", "finished ExampleGen"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_node_that_runs_may_end_and_the_next_one_does_not_start(recorder):
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(KeyboardInterrupt),
        ended_between_nodes(contextlib.nullcontext(recorder)) as listener,
    ):
        listener.started("Transform", None)
        os.kill(os.getpid(), signal.SIGTERM)
        listener.finished(NodeResult("Transform", "complete"))
        listener.started("Trainer", None)
    assert recorder.events == ["started Transform None", "finished Transform"]
    assert signal.getsignal(signal.SIGTERM) is before
