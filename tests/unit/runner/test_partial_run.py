"""Reuse by `--from NODE`, from a real ML Metadata store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tfx.orchestration import metadata
from tfx.orchestration.portable import execution_publish_utils as publishing
from tfx.orchestration.portable import inputs_utils
from tfx.orchestration.portable.mlmd import context_lib
from tfx.types import artifact_utils

from ordain.common.portable_paths import AS_THEY_ARE
from ordain.config.project import Project
from ordain.errors import ConfigError
from ordain.history.runs import History
from ordain.pipeline import graph, span_binding
from ordain.runner import partial_run

SPANS = (2, 3)
RESOLVERS = ("AnalyzerCache", "Baseline", "Stable")


class Chain:
    """A compiled chain whose nodes are launched without their executors."""

    def __init__(self, project: Project, folder: Path) -> None:
        self._ir = graph.compile_ir(project, SPANS[-1])
        self._name = project.name
        self._folder = folder
        self._made = 0
        self._versions: dict[str, Any] = {}
        self._newest: dict[partial_run.Launch, Any] = {}
        config = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
        self.handle = metadata.Metadata(config)

    def launches(self, run_id: str, before: str = "") -> Iterator[tuple[int | None, Any]]:
        """The launches of a run, as `ordain.runner.node_launcher` binds them."""
        for node in span_binding.bind_run(self._ir, run_id).nodes:
            bound = node.pipeline_node
            if bound.node_info.id == before:
                return
            spans = SPANS if bound.node_info.id in span_binding.PER_SPAN else (None,)
            for span in spans:
                yield (
                    span,
                    bound
                    if span is None
                    else span_binding.bind_span(bound, self._name, span, True),
                )

    def run(
        self, run_id: str, to: str, new: tuple[str, ...] = (), fails: str = "", version: str = "1"
    ) -> None:
        """A run up to a node, in which all but the `new` nodes are cached.

        Args:
            run_id: The run.
            to: The last node.
            new: Nodes that are executed; others are if they never were.
            fails: A node that fails.
            version: What Baseline and Stable find.
        """
        with self.handle as opened:
            for span, node in self.launches(run_id):
                self._launch(opened, span, node, new, fails, version)
                if node.node_info.id == to and span in (None, SPANS[-1]):
                    return

    def _launch(
        self, opened: Any, span: Any, node: Any, new: tuple[str, ...], fails: str, version: str
    ) -> None:
        name = node.node_info.id
        contexts = context_lib.prepare_contexts(opened, node.contexts)
        given: Any = None
        if name not in RESOLVERS:
            (given,) = inputs_utils.resolve_input_artifacts(
                pipeline_node=node, metadata_handle=opened
            )
        execution = publishing.register_execution(
            opened, node.node_info.type, contexts, input_artifacts=given
        )
        if name == fails:
            publishing.publish_failed_execution(opened, contexts, execution.id)
        elif name in RESOLVERS:
            found = {} if name == "AnalyzerCache" else {"model": [self._published(opened, version)]}
            publishing.publish_internal_execution(
                opened, contexts, execution.id, output_artifacts=found
            )
        elif name in new or (name, span) not in self._newest:
            self._newest[name, span] = publishing.publish_succeeded_execution(
                opened, execution.id, contexts, output_artifacts=self._outputs(node)
            )[0]
        else:
            publishing.publish_cached_executions(
                opened, contexts, [execution], [self._newest[name, span]]
            )

    def _outputs(self, node: Any) -> dict[str, list[Any]]:
        self._made += 1
        left = {}
        for key, spec in node.outputs.outputs.items():
            artifact = artifact_utils.deserialize_artifact(spec.artifact_spec.type)
            artifact.uri = str(self._folder / node.node_info.id / key / str(self._made))
            Path(artifact.uri).mkdir(parents=True)
            if key == "verdict":
                artifact.set_string_custom_property("outcome", "passed")
            left[key] = [artifact]
        return left

    def _published(self, opened: Any, version: str) -> Any:
        if version not in self._versions:
            (node,) = [n for _, n in self.launches("any") if n.node_info.id == "Trainer"]
            kind = node.outputs.outputs["model"].artifact_spec.type
            artifact = artifact_utils.deserialize_artifact(kind)
            artifact.uri = str(self._folder / "serving" / version)
            Path(artifact.uri).mkdir(parents=True)
            artifact.mlmd_artifact.type_id = opened.store.put_artifact_type(kind)
            artifact.mlmd_artifact.state = 2  # LIVE
            (artifact.id,) = opened.store.put_artifacts([artifact.mlmd_artifact])
            self._versions[version] = artifact
        return self._versions[version]

    def find(self, before: str) -> dict[partial_run.Launch, partial_run.Reused]:
        return partial_run.find(self.handle, self.launches("next", before), before)

    def reuse(self, run_id: str, before: str) -> None:
        found = partial_run.find(self.handle, self.launches(run_id, before), before)
        for span, node in self.launches(run_id, before):
            if (node.node_info.id, span) in found:
                partial_run.publish(self.handle, node, found[node.node_info.id, span])


@pytest.fixture
def chain(make_project: Callable[..., Project], tmp_path: Path) -> Callable[..., Chain]:
    """Compiles a project's chain; its keys as `make_project` takes them."""

    def make(**keys: Any) -> Chain:
        folder = tmp_path / "played"
        folder.mkdir()
        return Chain(make_project(**keys), folder)

    return make


def uri(
    found: dict[partial_run.Launch, partial_run.Reused], node: str, key: str, span: Any = None
) -> str:
    (artifact,) = found[node, span].outputs[key]
    return str(artifact.uri)


@pytest.mark.parametrize(
    ("last", "before", "message"),
    [
        (
            {"to": "Trainer", "new": ("Trainer",)},
            "Pusher",
            "Evaluator has not run on the last output of Trainer (run new)",
        ),
        (
            {"to": "Evaluator", "new": ("Trainer", "Evaluator")},
            "Pusher",
            "ServerGate has not run on the last output of Trainer (run new)",
        ),
        (
            {"to": "ExampleGen", "new": ("ExampleGen",)},
            "Transform",
            "StatisticsGen, span 2, has not run on the last output of ExampleGen (run new)",
        ),
        (
            {"to": "ExampleValidator", "new": ("ExampleValidator",)},
            "ServerGate",
            "DataGate has not run on the last output of ExampleValidator (run new)",
        ),
        (
            {"to": "Evaluator", "new": ("Evaluator",), "version": "2"},
            "Pusher",
            "ServerGate has not run on the last output of Baseline (run new)",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(
    chain: Callable[..., Chain], last: dict[str, Any], before: str, message: str
) -> None:
    played = chain()
    played.run("old", to="Pusher")
    played.run("new", **last)
    with pytest.raises(ConfigError) as error:
        played.find(before)
    assert error.value.message == f"--from {before}: {message}"
    assert (
        error.value.hint == f"ordain run PROJECT --from {message.split(maxsplit=1)[0].rstrip(',')}"
    )


def test_the_newest_consistent_results_are_reused_and_again(
    chain: Callable[..., Chain],
) -> None:
    played = chain()
    played.run("first", to="Pusher")
    played.run("second", to="Pusher", new=("Trainer", "Evaluator", "ServerGate"))
    played.run("cached", to="Pusher")
    played.run("failed", to="Trainer", new=("Trainer",), fails="Trainer")
    found = played.find("Pusher")
    wanted = {key: uri(found, *key) for key in (("Trainer", "model"), ("Evaluator", "blessing"))}
    assert [Path(path).name for path in wanted.values()] == ["14", "15"]
    assert uri(found, "ExampleGen", "examples", 2) != uri(found, "ExampleGen", "examples", 3)
    played.reuse("third", "Pusher")
    found = played.find("Pusher")
    assert {key: uri(found, *key) for key in wanted} == wanted
    assert {taken.run_id for taken in found.values()} == {"third"}


def test_a_resolvers_reused_output_is_the_input_of_the_node_behind_it(
    chain: Callable[..., Chain],
) -> None:
    played = chain(evaluate__baseline="latest")
    played.run("first", to="Pusher", version="1")
    played.run("looked", to="Baseline", version="2")
    found = played.find("Pusher")
    assert uri(found, "Baseline", "model").endswith("serving/1")
    assert uri(found, "Stable", "model").endswith("serving/1")
    # Asked by the rest of the chain alone, it looks anew.
    assert {name for name, _ in played.find("ServerGate")} & {"Baseline", "Stable"} == {"Baseline"}
    assert ("Baseline", None) not in played.find("Evaluator")
    assert ("AnalyzerCache", None) not in played.find("Transform")


def test_the_same_artifacts_are_handed_on_with_their_spans(
    chain: Callable[..., Chain], tmp_path: Path
) -> None:
    played = chain()
    played.run("first", to="StatisticsGen")
    played.reuse("second", "SchemaGen")
    history = History(tmp_path / "played" / "metadata.sqlite", "toy", AS_THEY_ARE)
    first, second = (
        [(node.node, node.span, node.outputs) for node in history.read_run(run).nodes]
        for run in ("first", "second")
    )
    assert first == second
    assert {node.state for node in history.read_run("second").nodes} == {"cached"}


def test_a_node_that_never_succeeded_cannot_be_reused(chain: Callable[..., Chain]) -> None:
    played = chain()
    with pytest.raises(ConfigError, match="--from Trainer: ExampleGen, span 2, has not succeeded"):
        played.find("Trainer")
    played.run("first", to="Trainer", fails="Trainer")
    with pytest.raises(ConfigError, match="--from Evaluator: Trainer has not succeeded before"):
        played.find("Evaluator")
