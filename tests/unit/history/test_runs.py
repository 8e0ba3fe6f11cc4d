"""Past runs, read from a real ML Metadata store."""

import time

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.common.portable_paths import AS_THEY_ARE
from ordain.errors import InfrastructureError
from ordain.history.runs import History, Output, verdict_of
from ordain.verdict import Outcome, Reason, Verdict

VERDICT = Verdict.of("data", [Reason(Outcome.BLOCKED, "drift", "too far", measured=0.5)])


@pytest.fixture
def store(tmp_path):
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return mlmd.MetadataStore(config)


@pytest.fixture
def history(tmp_path, store):
    return History(tmp_path / "metadata.sqlite", "toy", AS_THEY_ARE)


@pytest.fixture
def record(store):
    """Writes one execution as TFX's launcher does, and returns its id."""

    def context(kind: str, name: str, parent: int | None = None) -> int:
        found = store.get_context_by_type_and_name(kind, name)
        if found is not None:
            return found.id
        type_id = store.put_context_type(pb.ContextType(name=kind))
        (new,) = store.put_contexts([pb.Context(type_id=type_id, name=name)])
        if parent is not None:
            store.put_parent_contexts([pb.ParentContext(child_id=new, parent_id=parent)])
        return new

    def write(run, node, span=None, state=pb.Execution.COMPLETE, outputs=(), pipeline="toy"):
        root = context("pipeline", pipeline)
        contexts = [root, context("pipeline_run", run, root)]
        contexts.append(context("node", f"{pipeline}.{node}", root))
        if span is not None:
            contexts.append(context("span", f"{pipeline}.span-{span}"))
        type_id = store.put_execution_type(pb.ExecutionType(name=node))
        (execution,) = store.put_executions([pb.Execution(type_id=type_id, last_known_state=state)])
        associations = [pb.Association(execution_id=execution, context_id=c) for c in contexts]
        store.put_attributions_and_associations([], associations)
        for key, kind, properties in outputs:
            artifact_type = store.put_artifact_type(pb.ArtifactType(name=kind))
            artifact = pb.Artifact(type_id=artifact_type, uri=f"/a/{node}/{key}/{execution}")
            for name, value in properties.items():
                field = "int_value" if isinstance(value, int) else "string_value"
                setattr(artifact.custom_properties[name], field, value)
            (artifact_id,) = store.put_artifacts([artifact])
            event = pb.Event(artifact_id=artifact_id, execution_id=execution, type=pb.Event.OUTPUT)
            event.path.steps.add().key = key
            event.path.steps.add().index = 0
            store.put_events([event])
        return execution

    return write


class TestListRuns:
    def test_newest_first(self, history, record):
        for run in ("run-b", "run-a", "run-c"):
            record(run, "ExampleGen")
            time.sleep(0.005)  # the store counts milliseconds
        found = history.list_runs()
        assert [r.id for r in found] == ["run-c", "run-a", "run-b"]
        assert found[0].started_ms > found[1].started_ms > found[2].started_ms > 1.7e12

    def test_of_this_project_only(self, history, record):
        record("mine", "ExampleGen")
        record("other", "ExampleGen", pipeline="other")
        assert [r.id for r in history.list_runs()] == ["mine"]

    def test_none_yet_in_a_workspace_that_others_use(self, history, record):
        record("other", "ExampleGen", pipeline="other")
        assert history.list_runs() == []

    def test_no_workspace_yet(self, tmp_path):
        history = History(tmp_path / "none" / "metadata.sqlite", "toy", AS_THEY_ARE)
        with pytest.raises(InfrastructureError, match="no run of 'toy' yet"):
            history.list_runs()
        assert not (tmp_path / "none").exists()

    def test_a_corrupt_store_is_named(self, tmp_path):
        path = tmp_path / "bad.sqlite"
        path.write_bytes(b"no database" * 1000)
        with pytest.raises(InfrastructureError, match=f"{path}: ML Metadata cannot be opened"):
            History(path, "toy", AS_THEY_ARE).list_runs()


class TestReadRun:
    def test_nodes_stand_in_the_order_they_started(self, history, record):
        for node in ("ExampleGen", "StatisticsGen", "DataGate"):
            record("run-1", node)
        nodes = history.read_run("run-1").nodes
        assert [n.node for n in nodes] == ["ExampleGen", "StatisticsGen", "DataGate"]
        assert all(n.seconds >= 0 for n in nodes)

    def test_spans_are_distinguished(self, history, record):
        for span in (201311, 201312, -1):
            record("run-1", "ExampleGen", span=span)
        record("run-1", "DataGate")
        found = [(n.node, n.span) for n in history.read_run("run-1").nodes]
        assert found == [
            ("ExampleGen", 201311),
            ("ExampleGen", 201312),
            ("ExampleGen", -1),
            ("DataGate", None),
        ]

    @pytest.mark.parametrize(
        ("state", "word"),
        [
            (pb.Execution.COMPLETE, "complete"),
            (pb.Execution.CACHED, "cached"),
            (pb.Execution.FAILED, "failed"),
            (pb.Execution.RUNNING, "running"),
            (pb.Execution.NEW, "running"),
            (pb.Execution.CANCELED, "canceled"),
            (pb.Execution.UNKNOWN, "unknown"),
        ],
    )
    def test_states_are_words(self, history, record, state, word):
        record("run-1", "Trainer", state=state)
        (node,) = history.read_run("run-1").nodes
        assert node.state == word

    def test_outputs_have_their_key_type_and_properties(self, history, record):
        outputs = [("model", "Model", {}), ("model_run", "ModelRun", {"pushed": 1, "note": "x"})]
        execution = record("run-1", "Trainer", outputs=outputs)
        (node,) = history.read_run("run-1").nodes
        assert [(o.key, o.type, o.uri) for o in node.outputs] == [
            ("model", "Model", f"/a/Trainer/model/{execution}"),
            ("model_run", "ModelRun", f"/a/Trainer/model_run/{execution}"),
        ]
        assert [o.properties for o in node.outputs] == [{}, {"pushed": 1, "note": "x"}]

    def test_inputs_are_no_outputs(self, history, record, store):
        producer = record("run-1", "Trainer", outputs=[("model", "Model", {})])
        consumer = record("run-1", "Evaluator")
        (event,) = store.get_events_by_execution_ids([producer])
        event.execution_id, event.type = consumer, pb.Event.INPUT
        store.put_events([event])
        assert history.outputs_of([consumer]) == {}

    def test_a_run_that_is_not_there_is_named(self, history, record):
        record("run-1", "Trainer")
        with pytest.raises(InfrastructureError, match="there is no run 'run-2'"):
            history.read_run("run-2")


class TestVerdictOf:
    def output(self, uri="", **properties) -> Output:
        return Output(1, "verdict", "GateVerdict", uri, properties)

    def test_is_read_from_the_property(self):
        outputs = [self.output(), self.output(outcome="blocked", verdict=VERDICT.to_json())]
        assert verdict_of(outputs) == VERDICT

    def test_is_read_from_the_file_when_too_long_for_one(self, tmp_path):
        (tmp_path / "verdict.json").write_text(VERDICT.to_json())
        assert verdict_of([self.output(str(tmp_path), outcome="blocked")]) == VERDICT

    def test_is_none_where_no_gate_answered(self):
        assert verdict_of([self.output(note="x")]) is None
        assert verdict_of([]) is None

    def test_survives_ml_metadata(self, history, record):
        kept = {"outcome": str(VERDICT.outcome), "verdict": VERDICT.to_json()}
        record("run-1", "DataGate", outputs=[("verdict", "GateVerdict", kept)])
        (node,) = history.read_run("run-1").nodes
        assert verdict_of(node.outputs) == VERDICT
