"""Recovery of a killed run, with a real ML Metadata store and files."""

import contextlib
import json

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.common.portable_paths import AS_THEY_ARE
from ordain.history.recovery import CLOSED_PROPERTY, close_dead_runs, mark_pods, unrecorded_version
from ordain.history.runs import History
from ordain.serving.registry.manifest import Manifest

ACTIVE = (pb.Execution.NEW, pb.Execution.RUNNING)
ENDED = (pb.Execution.COMPLETE, pb.Execution.CACHED, pb.Execution.FAILED, pb.Execution.CANCELED)


class Ledger:
    """Writes runs as TFX does."""

    def __init__(self, store):
        self.store = store

    def context(self, kind, name):
        found = self.store.get_context_by_type_and_name(kind, name)
        if found is not None:
            return found.id
        type_id = self.store.put_context_type(pb.ContextType(name=kind))
        return self.store.put_contexts([pb.Context(type_id=type_id, name=name)])[0]

    def write(self, run, node, state, span=None, pipeline="toy", outputs=()):
        names = [("pipeline", pipeline), ("pipeline_run", run), ("node", f"{pipeline}.{node}")]
        names += [("span", f"{pipeline}.span-{span}")] if span is not None else []
        contexts = [self.context(*name) for name in names]
        type_id = self.store.put_execution_type(pb.ExecutionType(name=node))
        (execution,) = self.store.put_executions(
            [pb.Execution(type_id=type_id, last_known_state=state)]
        )
        links = [pb.Association(execution_id=execution, context_id=c) for c in contexts]
        self.store.put_attributions_and_associations([], links)
        for state_of_output, kind, properties in outputs:
            artifact_type = self.store.put_artifact_type(pb.ArtifactType(name="Model"))
            artifact = pb.Artifact(type_id=artifact_type, state=state_of_output)
            for name, value in properties.items():
                artifact.custom_properties[name].string_value = value
            (number,) = self.store.put_artifacts([artifact])
            self.store.put_events([pb.Event(artifact_id=number, execution_id=execution, type=kind)])
        return execution

    def state(self, execution):
        return self.store.get_executions_by_id([execution])[0].last_known_state


@pytest.fixture
def ledger(tmp_path):
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return Ledger(mlmd.MetadataStore(config))


class TestCloseDeadRuns:
    def close(self, ledger, tmp_path, run="run-9"):
        return close_dead_runs(ledger.store, tmp_path, run)

    def test_an_empty_store(self, ledger, tmp_path):
        assert self.close(ledger, tmp_path) == []

    @pytest.mark.parametrize("state", ACTIVE)
    def test_active_executions_become_failed_with_a_reason(self, ledger, tmp_path, state):
        done = ledger.write("run-1", "ExampleGen", pb.Execution.COMPLETE)
        dead = ledger.write("run-1", "Trainer", state)
        (found,) = self.close(ledger, tmp_path)
        assert (found.run_id, found.nodes, found.execution_ids) == ("run-1", ("Trainer",), (dead,))
        assert found.text == "closed run run-1, which ended without closing Trainer"
        (execution,) = ledger.store.get_executions_by_id([dead])
        assert execution.last_known_state == pb.Execution.FAILED
        assert execution.custom_properties[CLOSED_PROPERTY].string_value == (
            "run run-1 ended without closing it; closed by run run-9"
        )
        assert ledger.state(done) == pb.Execution.COMPLETE

    @pytest.mark.parametrize(("left", "is_scarce"), [(50_000_000, True), (9_000_000_000, False)])
    def test_a_run_that_ran_out_of_memory_says_so(self, ledger, tmp_path, left, is_scarce):
        ledger.write("run-1", "Trainer", pb.Execution.RUNNING)
        record = tmp_path / "toy" / "runs" / "run-1" / "memory" / "Trainer.json"
        record.parent.mkdir(parents=True)
        document = {"rss_bytes": 7 * 10**9, "available_bytes": left, "total_bytes": 10**10}
        record.write_text(json.dumps(document))
        (found,) = self.close(ledger, tmp_path)
        told = (
            ": the machine had run out of memory (50 of 10000 MB were left, the run held 7000 MB); "
            "ordain plan estimates what a run needs"
        )
        assert found.text.endswith(f"closing Trainer{told if is_scarce else ''}")

    @pytest.mark.parametrize("state", ENDED)
    def test_what_ended_is_left_alone(self, ledger, tmp_path, state):
        execution = ledger.write("run-1", "Trainer", state)
        assert self.close(ledger, tmp_path) == []
        assert ledger.state(execution) == state

    def test_the_span_is_reported(self, ledger, tmp_path):
        ledger.write("run-1", "ExampleGen", pb.Execution.RUNNING, span=201301)
        assert self.close(ledger, tmp_path)[0].nodes == ("ExampleGen span 201301",)

    def test_every_run_and_every_project_since_the_last_check(self, ledger, tmp_path):
        for run, pipeline in (("run-1", "toy"), ("run-2", "other"), ("run-3", "toy")):
            ledger.write(run, "Trainer", pb.Execution.RUNNING, pipeline=pipeline)
        assert [found.run_id for found in self.close(ledger, tmp_path)] == [
            "run-3",
            "run-2",
            "run-1",
        ]
        assert self.close(ledger, tmp_path) == []

    def test_older_runs_are_not_read_again(self, ledger, tmp_path):
        ledger.write("run-1", "Trainer", pb.Execution.COMPLETE)
        self.close(ledger, tmp_path)
        # Nobody can leave this behind the mark; here it shows that the mark is believed.
        hidden = ledger.write("run-1", "Evaluator", pb.Execution.RUNNING)
        ledger.write("run-2", "Trainer", pb.Execution.RUNNING)
        assert [found.run_id for found in self.close(ledger, tmp_path)] == ["run-2"]
        assert ledger.state(hidden) == pb.Execution.RUNNING

    def test_one_deep_in_a_store_from_before_is_found(self, ledger, tmp_path):
        dead = ledger.write("run-0", "Trainer", pb.Execution.RUNNING)
        for number in range(120):
            ledger.context("pipeline_run", f"later-{number}")
        assert [found.run_id for found in self.close(ledger, tmp_path)] == ["run-0"]
        assert ledger.state(dead) == pb.Execution.FAILED

    def test_outputs_that_were_only_announced_are_abandoned(self, ledger, tmp_path):
        pending = (pb.Artifact.PENDING, pb.Event.PENDING_OUTPUT, {})
        live = (pb.Artifact.LIVE, pb.Event.OUTPUT, {})
        taken = (pb.Artifact.PENDING, pb.Event.INPUT, {})
        ledger.write("run-1", "Trainer", pb.Execution.RUNNING, outputs=[pending, live, taken])
        self.close(ledger, tmp_path)
        assert [a.state for a in ledger.store.get_artifacts()] == [
            pb.Artifact.ABANDONED,
            pb.Artifact.LIVE,
            pb.Artifact.PENDING,
        ]

    def test_half_written_folders_go_and_whole_ones_stay(self, ledger, tmp_path):
        done = ledger.write("run-1", "Trainer", pb.Execution.COMPLETE)
        dead = ledger.write("run-1", "Trainer", pb.Execution.RUNNING)
        node = tmp_path / "toy" / "artifacts" / "Trainer"
        whole = [node / "model" / str(done), node / ".system" / "executor_execution" / str(done)]
        half = [
            node / "model" / str(dead),
            node / "model_run" / str(dead),
            node / ".system" / "executor_execution" / str(dead),
            node / ".system" / "stateful_working_dir" / "some-uuid",
        ]
        other = node.parent / "Evaluator" / "evaluation" / str(dead)
        for folder in (*whole, *half, other):
            folder.mkdir(parents=True)
            (folder / "file").write_text("x")
        (found,) = self.close(ledger, tmp_path)
        assert found.removed == 4
        assert all(folder.exists() for folder in (*whole, other))
        assert not any(folder.exists() for folder in half)


class TestBesidePods:
    """Others live: a node that somebody holds is not dead, and a run rests between its nodes."""

    def close(self, ledger, tmp_path, *held):
        @contextlib.contextmanager
        def attempt(*place):
            yield place not in held

        return close_dead_runs(ledger.store, tmp_path, "run-9", attempt)

    def test_only_unlocked_nodes_are_closed(self, ledger, tmp_path):
        alive = ledger.write("run-1", "Trainer", pb.Execution.RUNNING)
        dead = ledger.write("run-1", "Baseline", pb.Execution.RUNNING)
        other = ledger.write("run-1", "Trainer", pb.Execution.RUNNING, pipeline="another")
        (found,) = self.close(ledger, tmp_path, ("toy", "run-1", "Trainer"))
        assert sorted(found.execution_ids) == sorted((dead, other))
        assert ledger.state(alive) == pb.Execution.RUNNING

    def test_where_all_are_alive_nothing_is_reported(self, ledger, tmp_path):
        ledger.write("run-1", "Trainer", pb.Execution.RUNNING)
        assert self.close(ledger, tmp_path, ("toy", "run-1", "Trainer")) == []

    def test_a_run_in_pods_is_checked_until_it_is_over(self, ledger, tmp_path):
        ledger.write("run-1", "ExampleGen", pb.Execution.COMPLETE)
        mark_pods(ledger.store, "run-1")
        ledger.write("run-2", "ExampleGen", pb.Execution.COMPLETE)
        assert self.close(ledger, tmp_path) == []
        # It rested then; its next pod is killed.
        dead = ledger.write("run-1", "Trainer", pb.Execution.RUNNING)
        (found,) = self.close(ledger, tmp_path)
        assert found.execution_ids == (dead,)
        mark_pods(ledger.store, "run-1", is_over=True)
        assert self.close(ledger, tmp_path) == []
        # Over: nothing of it is looked at any more, nor of what is older than it.
        late = ledger.write("run-1", "Pusher", pb.Execution.RUNNING)
        assert self.close(ledger, tmp_path) == []
        assert ledger.state(late) == pb.Execution.RUNNING

    def test_the_working_folders_of_those_who_live_stay(self, ledger, tmp_path):
        dead = ledger.write("run-1", "Trainer", pb.Execution.RUNNING)
        root = tmp_path / "toy" / "artifacts" / "Trainer"
        (root / "model" / str(dead)).mkdir(parents=True)
        (root / ".system" / "stateful_working_dir" / "abc").mkdir(parents=True)
        (found,) = self.close(ledger, tmp_path)
        assert found.removed == 1
        assert not (root / "model" / str(dead)).exists()
        assert (root / ".system" / "stateful_working_dir" / "abc").is_dir()


class TestUnrecordedVersion:
    @pytest.fixture
    def serving(self, tmp_path):
        def publish(version, run):
            folder = tmp_path / "serving" / str(version)
            folder.mkdir(parents=True)
            (folder / "saved_model.pb").write_text("x")
            text = Manifest("toy", version, "", run_id=run).to_json()
            (folder / "manifest.json").write_text(text)
            return tmp_path / "serving"

        return publish

    def find(self, tmp_path, ledger):
        del ledger
        history = History(tmp_path / "metadata.sqlite", "toy", AS_THEY_ARE)
        return unrecorded_version(history, tmp_path / "serving")

    def test_none_where_nothing_is_published(self, ledger, tmp_path):
        assert self.find(tmp_path, ledger) is None

    def test_one_whose_publisher_did_not_end(self, ledger, tmp_path, serving):
        ledger.write("run-1", "Pusher", pb.Execution.FAILED)
        serving(1, "run-1")
        assert self.find(tmp_path, ledger) == 1

    def test_none_where_ml_metadata_knows_it(self, ledger, tmp_path, serving):
        pushed = (pb.Artifact.LIVE, pb.Event.OUTPUT, {"pushed_version": "1"})
        ledger.write("run-1", "Pusher", pb.Execution.COMPLETE, outputs=[pushed])
        serving(1, "run-1")
        assert self.find(tmp_path, ledger) is None

    def test_only_the_newest_counts(self, ledger, tmp_path, serving):
        ledger.write("run-1", "Pusher", pb.Execution.FAILED)
        pushed = (pb.Artifact.LIVE, pb.Event.OUTPUT, {"pushed_version": "2"})
        ledger.write("run-2", "Pusher", pb.Execution.COMPLETE, outputs=[pushed])
        serving(1, "run-1")
        serving(2, "run-2")
        assert self.find(tmp_path, ledger) is None

    def test_none_of_a_run_that_is_not_of_this_store(self, ledger, tmp_path, serving):
        serving(1, "elsewhere")
        assert self.find(tmp_path, ledger) is None
        serving(2, "")
        assert self.find(tmp_path, ledger) is None

    def test_none_that_somebody_else_put_there(self, ledger, tmp_path, serving):
        ledger.write("run-1", "Pusher", pb.Execution.FAILED)
        folder = serving(1, "run-1") / "1"
        (folder / "manifest.json").write_text(json.dumps({"format": 99}))
        assert self.find(tmp_path, ledger) is None
