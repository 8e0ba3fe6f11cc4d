"""Comparison of two runs, from their folders and a real ML Metadata store."""

import json

import ml_metadata as mlmd
import pytest
import yaml
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.cli.main import cli
from ordain.history.diff import Change, RunFacts, compare_runs, read_facts
from ordain.history.runs import History

FIRST, SECOND = "20260101-000000-aaaa", "20260102-000000-bbbb"


class Past:
    """Writes runs as a run leaves them."""

    def __init__(self, project):
        self.project = project
        project.workspace.mkdir(parents=True, exist_ok=True)
        config = pb.ConnectionConfig()
        config.sqlite.filename_uri = str(project.metadata)
        config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = mlmd.MetadataStore(config)

    def _context(self, kind, name):
        found = self.store.get_context_by_type_and_name(kind, name)
        if found is not None:
            return found.id
        type_id = self.store.put_context_type(pb.ContextType(name=kind))
        return self.store.put_contexts([pb.Context(type_id=type_id, name=name)])[0]

    def write(
        self,
        run_id,
        settings=None,
        result=None,
        auc=None,
        state=pb.Execution.COMPLETE,
        evaluated="f" * 64,
        undefined="",
    ):
        name = self.project.name
        run = self._context("pipeline_run", run_id)
        pipeline = self._context("pipeline", name)
        self.store.put_parent_contexts([pb.ParentContext(parent_id=pipeline, child_id=run)])
        type_id = self.store.put_execution_type(pb.ExecutionType(name="Evaluator"))
        (execution,) = self.store.put_executions(
            [pb.Execution(type_id=type_id, last_known_state=state)]
        )
        contexts = [run, pipeline, self._context("node", f"{name}.Evaluator")]
        links = [pb.Association(execution_id=execution, context_id=c) for c in contexts]
        self.store.put_attributions_and_associations([], links)
        if auc is not None:
            folder = self.project.artifacts / "Evaluator" / "evaluation" / str(execution)
            folder.mkdir(parents=True)
            metrics = [{"slice": "", "name": "auc", "value": auc, "baseline": 0.1}]
            metrics += [{"slice": "span=1", "name": "auc", "value": auc / 2}]
            metrics += (
                [{"slice": "c=a", "name": "auc", "undefined": undefined}] if undefined else []
            )
            readout = {"metrics": metrics, "fingerprint": evaluated}
            (folder / "readout.json").write_text(json.dumps(readout))
            kind = self.store.put_artifact_type(pb.ArtifactType(name="ModelEvaluation"))
            (artifact,) = self.store.put_artifacts([pb.Artifact(type_id=kind, uri=str(folder))])
            event = pb.Event(artifact_id=artifact, execution_id=execution, type=pb.Event.OUTPUT)
            event.path.steps.add().key = "evaluation"
            self.store.put_events([event])
        folder = self.project.runs / run_id
        folder.mkdir(parents=True)
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(settings or {}))
        if result is not None:
            (folder / "result.json").write_text(json.dumps(result))


def result(seconds, peak, state="complete", tfx="1.21", outcome="passed"):
    node = {"node": "Trainer", "state": state, "seconds": seconds, "cpu_s": seconds / 2}
    return {
        "headline": f"took {seconds}",
        "window": [1, 2],
        "seconds": seconds,
        "peak_rss_bytes": peak,
        "version": None,
        "versions": {"tfx": tfx, "keras": "3"},
        "verdicts": [{"gate": "evaluation", "outcome": outcome, "reasons": []}],
        "nodes": [node | {"peak_rss_bytes": peak, "rows": None}],
    }


@pytest.fixture
def past(make_project):
    return Past(make_project())


@pytest.fixture
def two(past):
    past.write(FIRST, {"train": {"steps": 5, "module": "model.py"}}, result(8.0, 10**9), 0.75)
    past.write(
        SECOND,
        {"train": {"steps": 9, "module": "model.py"}, "beam_args": ["--a"]},
        result(2.0, 2 * 10**9, "cached", "1.22", "blocked"),
        0.5,
    )
    return past.project


def compare(project, *runs):
    history = History(project.metadata, project.name, project.paths)
    return compare_runs(*(read_facts(project, history, run) for run in runs))


def test_everything_that_differs_is_found(two):
    found = compare(two, FIRST, SECOND)
    assert found.settings == (
        Change("beam_args", None, ["--a"]),
        Change("train.steps", 5, 9),
    )
    assert found.versions == (Change("tfx", "1.21", "1.22"),)
    assert found.verdicts == (Change("evaluation", "passed", "blocked"),)
    assert dict(found.nodes) == {
        "Trainer": (
            Change("state", "complete", "cached"),
            Change("seconds", 8.0, 2.0),
            Change("cpu_s", 4.0, 1.0),
            Change("peak_rss_bytes", 10**9, 2 * 10**9),
            Change("rows", None, None),
        )
    }
    assert found.metrics == (
        Change("auc", 0.75, 0.5),
        Change("auc", 0.375, 0.25, "span=1"),
    )
    assert found.metrics[0].difference == -0.25


def test_the_other_way_round_it_is_the_other_way_round(two):
    found = compare(two, SECOND, FIRST)
    assert found.settings[1] == Change("train.steps", 9, 5)
    assert found.metrics[0].difference == 0.25


def test_a_run_beside_itself_differs_in_nothing(two):
    found = compare(two, FIRST, FIRST)
    assert found.settings == found.versions == ()
    assert all(change.before == change.after for change in found.nodes["Trainer"])
    assert {metric.difference for metric in found.metrics} == {0.0}


@pytest.mark.parametrize(
    ("evaluated", "window", "why"),
    [
        ("f" * 64, [1, 2], ""),
        ("e" * 64, [2, 3], "measured on different rows: 2 spans, 1 to 2, 2 spans, 2 to 3"),
        ("e" * 64, [1, 2], "measured on different rows, or with different labels, of the same"),
        ("", [1, 2], "the rows of one of them are not known"),
    ],
)
def test_metrics_of_other_rows_have_no_difference(past, evaluated, window, why):
    past.write(FIRST, result=result(1.0, 1), auc=0.75)
    past.write(SECOND, result=result(1.0, 1) | {"window": window}, auc=0.5, evaluated=evaluated)
    found = compare(past.project, FIRST, SECOND)
    assert found.not_comparable.startswith(why) and bool(found.not_comparable) is bool(why)
    assert [m.difference for m in found.metrics] == ([None, None] if why else [-0.25, -0.125])
    assert (found.metrics[0].before, found.metrics[0].after) == (0.75, 0.5)
    shown = TestCommand().invoke(past.project, FIRST, SECOND).output
    assert ("-0.25" in shown) is (not why)
    assert f"metrics without a difference: {why}" in shown.replace("\n", " ") or not why


def test_an_undefined_metric_is_shown_as_that(past):
    past.write(FIRST, result=result(1.0, 1), auc=0.75, undefined="26 rows, no positive")
    past.write(SECOND, result=result(1.0, 1), auc=0.75)
    found = compare(past.project, FIRST, SECOND)
    (undefined,) = (metric for metric in found.metrics if metric.slice == "c=a")
    assert (undefined.before, undefined.after) == ("undefined: 26 rows, no positive", None)
    assert undefined.difference is None
    assert "undefined: 26 rows" in TestCommand().invoke(past.project, FIRST, SECOND).output


def test_a_run_that_never_ended_has_the_facts_of_ml_metadata(two, past):
    past.write("20260103-000000-cccc", state=pb.Execution.RUNNING)
    found = compare(two, FIRST, "20260103-000000-cccc")
    assert found.outcome[0].after == "did not end (running, or killed)"
    assert found.nodes["Evaluator"][0] == Change("state", None, "running")
    assert found.metrics[0] == Change("auc", 0.75, None)
    assert found.metrics[0].difference is None


def test_nodes_of_both_are_in_pipeline_order():
    before = RunFacts("a", "", nodes={"ExampleGen": {}, "Tuner": {}, "Trainer": {}})
    after = RunFacts("b", "", nodes={"ExampleGen": {}, "Trainer": {}, "Pusher": {}})
    assert list(compare_runs(before, after).nodes) == ["ExampleGen", "Trainer", "Pusher", "Tuner"]


class TestCommand:
    def invoke(self, project, *arguments):
        return CliRunner().invoke(cli, ["runs", "compare", str(project.folder), *arguments])

    def test_the_table_and_the_document_say_the_same(self, two):
        shown = self.invoke(two, FIRST, SECOND)
        assert shown.exit_code == 0, shown.output
        for text in ("train.steps: 5 -> 9", "tfx:", "complete -> cached", "8.0 -> 2.0", "-0.25"):
            assert text in shown.output
        assert "seconds  8.0 -> 2.0 (x 0.25)" in shown.output
        document = json.loads(self.invoke(two, FIRST, SECOND, "--json").output)
        assert (document["before"], document["after"]) == (FIRST, SECOND)
        assert document["metrics"][0]["difference"] == -0.25

    def test_without_ids_it_is_the_two_newest(self, two):
        document = json.loads(self.invoke(two, "--json").output)
        assert (document["before"], document["after"]) == (FIRST, SECOND)

    def test_with_one_it_is_that_and_the_newest(self, two):
        document = json.loads(self.invoke(two, FIRST, "--json").output)
        assert (document["before"], document["after"]) == (FIRST, SECOND)

    def test_an_unknown_one_is_refused_with_the_nearest(self, two):
        error = self.invoke(two, "20260102-000000-bbbc").exception
        assert error.message == "toy has no run '20260102-000000-bbbc'"
        assert error.hint.startswith(f"nearest: {SECOND}")
        error = self.invoke(two, FIRST, "zzz").exception
        assert error.hint.startswith(f"newest: {SECOND}, {FIRST}")

    def test_one_run_is_too_few(self, past):
        assert "has 0 run(s)" in self.invoke(past.project).exception.message
        past.write(FIRST)
        assert "has 1 run(s)" in self.invoke(past.project).exception.message

    def test_hostile_text_is_shown_as_text(self, past):
        past.write(FIRST, {"name": "[red]x[/red]"})
        past.write(SECOND, {"name": "y\u202e[/bold]"})
        shown = self.invoke(past.project)
        assert shown.exit_code == 0
        assert "[red]x[/red]" in shown.output
