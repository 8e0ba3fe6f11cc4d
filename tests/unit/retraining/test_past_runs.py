"""Past runs and their results, read from a real ML Metadata store."""

import json

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.common.portable_paths import AS_THEY_ARE
from ordain.history.results import Failure, RunResult
from ordain.history.runs import History
from ordain.pipeline.own_nodes import SOURCE_PROPERTY
from ordain.retraining.past_runs import read_attempts
from ordain.retraining.types import Distance, State
from ordain.verdict import Outcome, Reason, Verdict

BLOCKED = Verdict.of(
    "data",
    [
        Reason(Outcome.BLOCKED, "missing_column", "no c", where="c", span=3),
        Reason(Outcome.BLOCKED, "drift", "x: 0.5 to span 2", where="x", span=3, measured=0.5),
        Reason(Outcome.WARNED, "new_value", "a new one", where="d", span=2),
    ],
)
PASSED = Verdict.of(
    "data", [Reason(Outcome.PASSED, "drift", "0.1 to span 2", where="x", span=3, measured=0.1)]
)
#: Component of a node, where its class has another name.
COMPONENTS = {"ExampleGen": "ArrowExampleGen", "Pusher": "Publisher"}


@pytest.fixture
def store(tmp_path):
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return mlmd.MetadataStore(config)


@pytest.fixture
def write(store):
    """Writes a node of a run, as TFX's launcher leaves it."""

    def context(kind: str, name: str, parent: int | None = None) -> int:
        found = store.get_context_by_type_and_name(kind, name)
        if found is not None:
            return found.id
        type_id = store.put_context_type(pb.ContextType(name=kind))
        (new,) = store.put_contexts([pb.Context(type_id=type_id, name=name)])
        if parent is not None:
            store.put_parent_contexts([pb.ParentContext(child_id=new, parent_id=parent)])
        return new

    def put(
        node,
        told=None,
        kind="Thing",
        left=None,
        state=pb.Execution.COMPLETE,
        run="run-1",
        uri="/a",
        component=None,
    ):
        root = context("pipeline", "toy")
        contexts = [root, context("pipeline_run", run, root), context("node", f"toy.{node}")]
        name = f"components.x.{component or COMPONENTS.get(node, node)}"
        type_id = store.put_execution_type(pb.ExecutionType(name=name))
        execution = pb.Execution(type_id=type_id, last_known_state=state)
        for name, value in (told or {}).items():
            execution.custom_properties[name].string_value = value
        (execution_id,) = store.put_executions([execution])
        links = [pb.Association(execution_id=execution_id, context_id=c) for c in contexts]
        store.put_attributions_and_associations([], links)
        if left is not None:
            artifact_type = store.put_artifact_type(pb.ArtifactType(name=kind))
            artifact = pb.Artifact(type_id=artifact_type, uri=uri)
            for name, value in left.items():
                field = "int_value" if isinstance(value, int) else "string_value"
                setattr(artifact.custom_properties[name], field, value)
            (artifact_id,) = store.put_artifacts([artifact])
            event = pb.Event(
                artifact_id=artifact_id, execution_id=execution_id, type=pb.Event.OUTPUT
            )
            event.path.steps.add().key = kind
            event.path.steps.add().index = 0
            store.put_events([event])
        return execution_id

    return put


@pytest.fixture
def ingest(write):
    def spans(*numbers: int, run="run-1") -> None:
        for number in numbers:
            left = {"span": number, "input_fingerprint": f"{number}-v1"}
            write("ExampleGen", kind="Examples", left=left, run=run)

    return spans


@pytest.fixture
def judge(write):
    def gate(verdict: Verdict, run="run-1", node="DataGate") -> None:
        left = {"outcome": str(verdict.outcome), "verdict": verdict.to_json()}
        write(node, {"policy": '{"label": "y"}'}, "GateVerdict", left, run=run)

    return gate


@pytest.fixture
def read(tmp_path):
    def look():
        history = History(tmp_path / "metadata.sqlite", "toy", AS_THEY_ARE)
        return list(read_attempts(history, tmp_path / "runs"))

    return look


@pytest.fixture
def fail(tmp_path):
    def end(node: str, code: int, run="run-1") -> None:
        failure = Failure(node, "it failed", "", code)
        result = RunResult("toy", run, "2026", 1.0, (1,), (), (), failure=failure)
        result.write(tmp_path / "runs" / run)

    return end


def test_of_no_run_there_is_none(store, read):
    assert read() == []


def test_a_published_run(write, ingest, judge, read):
    ingest(2, 3)
    write("SchemaGen", {"schema_fingerprint": "s"}, component="CuratedSchema")
    judge(PASSED)
    write("Transform", {"custom_config": json.dumps({"source_fingerprint": "f"})})
    write("Evaluator", kind="ModelBlessing", left={"blessed": 1})
    write("Pusher", kind="PushedModel", left={"pushed": 1, "pushed_version": "1"})
    (found,) = read()
    assert found.state is State.PUBLISHED
    assert found.is_concluded
    assert found.spans == {2: "2-v1", 3: "3-v1"}
    assert (found.schema, found.source, found.gate) == ("s", "f", {"label": "y"})
    assert found.distances == (Distance(3, "x", "0.1 to span 2", 0.1),)
    assert found.bad == ()
    assert found.started <= found.ended < found.started + 60


def test_an_inferred_schema_is_none(write, read):
    write("SchemaGen", component="WindowSchemaGen")
    assert read()[0].schema == ""


def test_a_blocked_run_names_the_spans_that_are_bad_by_themselves(ingest, judge, read):
    ingest(2, 3)
    judge(BLOCKED)
    (found,) = read()
    assert found.state is State.BLOCKED
    assert not found.is_concluded
    assert found.bad == (3,)
    assert found.source is None
    drifted = Verdict.of("data", BLOCKED.reasons[1:])
    judge(drifted, run="run-2")
    assert read()[0].bad == ()


def test_a_verdict_whose_file_was_removed_keeps_its_outcome(write, read):
    write("DataGate", kind="GateVerdict", left={"outcome": "blocked"}, uri="/nowhere")
    (found,) = read()
    assert (found.state, found.bad) == (State.BLOCKED, ())


def test_not_blessed_and_refused(write, ingest, judge, read):
    ingest(1)
    write("Evaluator", kind="ModelBlessing", left={"blessed": 0})
    write("Pusher", kind="PushedModel", left={"pushed": 0})
    ingest(1, run="run-2")
    write("Evaluator", kind="ModelBlessing", left={"blessed": 1}, run="run-2")
    refused = Verdict.of("server", [Reason(Outcome.BLOCKED, "p99", "too slow")])
    judge(refused, run="run-2", node="ServerGate")
    assert {a.run_id: a.state for a in read()} == {
        "run-1": State.NOT_BLESSED,
        "run-2": State.REFUSED,
    }
    assert all(a.is_concluded for a in read())


@pytest.mark.parametrize(
    ("outcome", "pushed", "state"),
    [
        (Outcome.BLOCKED, 0, State.NOT_BLESSED),
        (Outcome.WARNED, 1, State.PUBLISHED),
        (Outcome.PASSED, 1, State.PUBLISHED),
        (Outcome.PASSED, 0, State.UNFINISHED),
    ],
)
def test_the_verdict_of_an_own_gate_counts(write, ingest, judge, read, outcome, pushed, state):
    ingest(1)
    judge(PASSED)
    judge(Verdict.of("span-count", [Reason(outcome, "spans", "1 span")]), node="CountSpans")
    if pushed:
        write("Pusher", kind="PushedModel", left={"pushed": 1})
    (found,) = read()
    assert found.state is state
    assert found.is_concluded == (state is not State.UNFINISHED)
    assert found.bad == ()


def test_a_blocking_data_gate_counts_before_an_own_gate(ingest, judge, read):
    ingest(3)
    judge(BLOCKED)
    judge(Verdict.of("span-count", [Reason(Outcome.BLOCKED, "spans", "1")]), node="CountSpans")
    (found,) = read()
    assert (found.state, found.bad) == (State.BLOCKED, (3,))


def test_a_span_that_could_not_be_read(write, ingest, read, fail):
    options = {"custom_config": {"@type": "x", "value": '{"label": "y"}'}}
    told = {
        "range_config": '{"static_range": {"start_span_number": 3, "end_span_number": 3}}',
        "custom_config": json.dumps(options),
    }
    ingest(2)
    write("ExampleGen", told, state=pb.Execution.FAILED)
    fail("ExampleGen, span 3", 3)
    (found,) = read()
    assert found.state is State.UNREADABLE
    assert found.unreadable is not None
    span, began, settings = found.unreadable
    assert (span, settings) == (3, {"label": "y"})
    assert found.started <= began <= found.ended
    assert found.spans == {2: "2-v1"}


def test_a_failed_run_and_one_that_was_killed(write, ingest, read, fail):
    ingest(1)
    write("Trainer", state=pb.Execution.FAILED)
    assert read()[0].state is State.UNFINISHED
    fail("Trainer", 1)
    assert read()[0].state is State.FAILED
    # A full disk while reading is no fault of the data.
    fail("ExampleGen, span 1", 5)
    assert read()[0].state is State.FAILED


def test_newest_first_and_no_more_than_is_asked_for(ingest, tmp_path, store, monkeypatch):
    import time

    for number in (1, 2, 3):
        ingest(number, run=f"run-{number}")
        time.sleep(0.005)  # the store counts milliseconds
    history = History(tmp_path / "metadata.sqlite", "toy", AS_THEY_ARE)
    attempts = read_attempts(history, tmp_path / "runs")
    assert next(attempts).run_id == "run-3"
    asked = []
    read = history.outputs_of
    monkeypatch.setattr(history, "outputs_of", lambda ids: asked.append(ids) or read(ids))
    assert next(attempts).run_id == "run-2"
    assert len(asked) == 1


def test_an_own_node_of_a_component_that_the_pipeline_has_is_another_node(write, read):
    """As `tfx.components:Evaluator` under an id of its own, or a function called Publisher."""
    own = {SOURCE_PROPERTY: "digest"}
    write("Evaluator", kind="ModelBlessing", left={"blessed": 1})
    write("OnTrain", own, kind="ModelBlessing", left={"blessed": 0}, component="Evaluator")
    write("Elsewhere", own, kind="PushedModel", left={"pushed": 1}, component="Publisher")
    write("MySchema", own | {"schema_fingerprint": "s"}, component="CuratedSchema")
    (attempt,) = read()
    assert attempt.state is State.UNFINISHED
    assert attempt.schema is None
