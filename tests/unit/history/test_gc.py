"""Garbage collection with a real ML Metadata store, and its order."""

import shutil
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.errors import InfrastructureError
from ordain.history import gc as garbage
from ordain.history.gc import REMOVED_PREFIX, carry_out, hide, plan_sweep
from ordain.metadata.store import open_store

DAY_MS = 86_400_000
FAR = 10**15


class Ledger:
    """Writes runs of a project as TFX does, with a file of ten bytes in each artifact."""

    def __init__(self, project):
        self.project = project
        self.store = open_store(project.metadata, project.paths, is_new=True)

    def context(self, kind, name, parent=None):
        found = self.store.get_context_by_type_and_name(kind, name)
        if found is not None:
            return found.id
        type_id = self.store.put_context_type(pb.ContextType(name=kind))
        (new,) = self.store.put_contexts([pb.Context(type_id=type_id, name=name)])
        if parent is not None:
            self.store.put_parent_contexts([pb.ParentContext(child_id=new, parent_id=parent)])
        return new

    def artifact(self, node, kind, **properties):
        type_id = self.store.put_artifact_type(pb.ArtifactType(name=kind))
        number = len(self.store.get_artifacts()) + 1
        folder = self.project.artifacts / node / kind.lower() / str(number)
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(b"0123456789")
        artifact = pb.Artifact(type_id=type_id, uri=str(folder), state=pb.Artifact.LIVE)
        for name, value in properties.items():
            field = "int_value" if isinstance(value, int) else "string_value"
            setattr(artifact.custom_properties[name], field, value)
        return self.store.put_artifacts([artifact])[0]

    def step(self, run, node, took=(), left=(), kind=pb.Event.OUTPUT):
        """An execution; `took` are pairs of input key and artifact."""
        root = self.context("pipeline", self.project.name)
        run_context = self.context("pipeline_run", run, root)
        (self.project.runs / run).mkdir(parents=True, exist_ok=True)
        (self.project.runs / run / "result.json").write_text("{}")
        type_id = self.store.put_execution_type(pb.ExecutionType(name=node))
        state = pb.Execution.COMPLETE
        (execution,) = self.store.put_executions(
            [pb.Execution(type_id=type_id, last_known_state=state)]
        )
        links = [pb.Association(execution_id=execution, context_id=c) for c in (root, run_context)]
        self.store.put_attributions_and_associations([], links)
        events = [(key, i, pb.Event.INPUT) for key, i in took]
        for key, artifact, of in [*events, *((node, i, kind) for i in left)]:
            event = pb.Event(artifact_id=artifact, execution_id=execution, type=of)
            event.path.steps.add().key = key
            event.path.steps.add().index = 0
            self.store.put_events([event])

    def run(self, run, version=None, baseline=None, is_blessed=True):
        """A run that trains; returns its artifacts by name."""
        ids = {"data": self.artifact("ExampleGen", "Examples")}
        self.step(run, "ExampleGen", left=[ids["data"]])
        ids["cache"] = self.artifact("Transform", "TransformCache")
        self.step(run, "Transform", [("examples", ids["data"])], [ids["cache"]])
        ids["model"] = self.artifact("Trainer", "Model")
        self.step(run, "Trainer", [("examples", ids["data"])], [ids["model"]])
        ids["blessing"] = self.artifact(
            "Evaluator", "ModelBlessing", blessed=int(is_blessed), current_model_id=ids["model"]
        )
        took = [("model", ids["model"])] + ([("baseline_model", baseline)] if baseline else [])
        self.step(run, "Evaluator", took, [ids["blessing"]])
        told = {"pushed_version": str(version)} if version else {}
        ids["pushed"] = self.artifact("Pusher", "PushedModel", **told)
        self.step(
            run, "Pusher", [("model", ids["model"]), ("blessing", ids["blessing"])], [ids["pushed"]]
        )
        if version:
            (self.project.serving / str(version)).mkdir(parents=True)
        return ids

    def states(self):
        return {a.id: a.state for a in self.store.get_artifacts()}

    def folder(self, artifact):
        return Path(self.store.get_artifacts_by_id([artifact])[0].uri)


@pytest.fixture
def project(make_project):
    return make_project()


@pytest.fixture
def ledger(project):
    return Ledger(project)


def plan(project, keep_runs=1, keep_days=0.0, now_ms=FAR):
    return plan_sweep(project, keep_runs, keep_days, now_ms)


def going(sweep):
    return {removal.id for removal in sweep.artifacts}


class TestPlan:
    def test_what_old_runs_left_goes(self, project, ledger):
        old = ledger.run("run-1", is_blessed=False)
        ledger.run("run-2")
        sweep = plan(project)
        assert going(sweep) == set(old.values())
        assert [folder.name for folder in sweep.runs] == ["run-1"]
        assert sweep.size_bytes == 5 * 10 + 2
        assert (sweep.kept_artifacts, sweep.kept_runs) == (5, 1)

    def test_runs_are_kept_by_number_and_by_age(self, project, ledger):
        for number in (1, 2, 3):
            ledger.run(f"run-{number}", is_blessed=False)
        assert len(plan(project, keep_runs=3).artifacts) == 0
        assert len(plan(project, keep_runs=2).artifacts) == 5
        started = ledger.store.get_contexts_by_type("pipeline_run")[0].create_time_since_epoch
        assert len(plan(project, keep_days=1, now_ms=started + DAY_MS - 1).artifacts) == 0

    def test_a_published_version_stays_with_what_it_was_made_of(self, project, ledger):
        first = ledger.run("run-1", version=1)
        ledger.run("run-2", is_blessed=False)
        sweep = plan(project)
        # The model was not made of the analyzer cache, and there is a newer one.
        assert (going(sweep), sweep.runs) == ({first["cache"]}, ())

    def test_one_whose_version_is_gone_goes(self, project, ledger):
        first = ledger.run("run-1", version=1)
        ledger.run("run-2", version=2)
        shutil.rmtree(project.serving / "1")
        assert going(plan(project)) == set(first.values())

    def test_a_blessed_model_that_was_not_published_goes(self, project, ledger):
        """What a candidate is compared with is in the serving directory."""
        old = ledger.run("run-1")
        ledger.run("run-2", is_blessed=False)
        assert going(plan(project)) == set(old.values())

    def test_a_published_version_that_was_a_baseline_is_neither_counted_nor_removed(
        self, project, ledger
    ):
        kind = ledger.store.put_artifact_type(pb.ArtifactType(name="Model"))
        version = project.serving / "1"
        version.mkdir(parents=True)
        made = pb.Artifact(type_id=kind, uri=str(version), state=pb.Artifact.LIVE)
        (served,) = ledger.store.put_artifacts([made])
        ledger.step("run-1", "Baseline", left=[served], kind=pb.Event.INTERNAL_OUTPUT)
        ledger.run("run-1", baseline=served)
        ledger.run("run-2", is_blessed=False)
        sweep = plan(project)
        carry_out(project, sweep)
        assert (len(sweep.artifacts), sweep.kept_artifacts) == (5, 5)
        assert version.is_dir() and ledger.states()[served] == pb.Artifact.LIVE

    def test_a_baseline_stays_without_what_it_was_made_of(self, project, ledger):
        first = ledger.run("run-1")
        ledger.run("run-2", baseline=first["model"])
        assert going(plan(project)) == set(first.values()) - {first["model"]}

    def test_what_a_resolver_handed_on_stays_alone(self, project, ledger):
        first = ledger.run("run-1", is_blessed=False)
        ledger.run("run-2")
        ledger.step("run-2", "AnalyzerCache", left=[first["cache"]], kind=pb.Event.INTERNAL_OUTPUT)
        assert going(plan(project)) == set(first.values()) - {first["cache"]}

    def test_the_newest_analyzer_cache_stays(self, project, ledger):
        old = ledger.run("run-1", is_blessed=False)
        ledger.step("run-2", "ExampleGen", left=[ledger.artifact("ExampleGen", "Examples")])
        assert going(plan(project)) == set(old.values()) - {old["cache"]}

    def test_what_a_cached_run_took_over_stays(self, project, ledger):
        first = ledger.run("run-1", is_blessed=False)
        ledger.step("run-2", "Trainer", [("examples", first["data"])], [first["model"]])
        kept = {first["data"], first["model"], first["cache"]}
        assert going(plan(project)) == set(first.values()) - kept

    def test_nothing_outside_the_projects_artifacts_goes(self, project, ledger, tmp_path):
        old = ledger.run("run-1", is_blessed=False)
        ledger.run("run-2")
        (artifact,) = ledger.store.get_artifacts_by_id([old["model"]])
        artifact.uri = str(tmp_path / "elsewhere")
        ledger.store.put_artifacts([artifact])
        assert old["model"] not in going(plan(project))

    def test_what_was_pushed_to_an_object_store_stays(self, make_project):
        project = make_project(push__directory="gs://bucket/models")
        ledger = Ledger(project)
        pushed = ledger.run("run-1")
        (artifact,) = ledger.store.get_artifacts_by_id([pushed["pushed"]])
        artifact.custom_properties["pushed_version"].string_value = "7"
        ledger.store.put_artifacts([artifact])
        ledger.run("run-2")
        assert going(plan(project)) == {pushed["cache"]}


class TestCarryOut:
    def test_marked_and_gone(self, project, ledger):
        old = ledger.run("run-1", is_blessed=False)
        new = ledger.run("run-2")
        beside = ledger.folder(old["model"])
        system = project.artifacts / "Trainer" / ".system" / "executor_execution" / beside.name
        system.mkdir(parents=True)
        carry_out(project, plan(project))
        states = ledger.states()
        assert {states[i] for i in old.values()} == {pb.Artifact.DELETED}
        assert {states[i] for i in new.values()} == {pb.Artifact.LIVE}
        assert not any(ledger.folder(i).exists() for i in old.values())
        assert all(ledger.folder(i).exists() for i in new.values())
        assert not system.exists()
        assert [p.name for p in project.runs.iterdir()] == ["run-2"]
        assert list(project.home.rglob(f"{REMOVED_PREFIX}*")) == []
        assert plan(project).artifacts == plan(project).runs == plan(project).unfinished == ()

    @pytest.mark.parametrize("step", ["mark", "hide", "rmtree"])
    def test_interrupted_before_a_step_it_is_finished_by_the_next(
        self, project, ledger, monkeypatch, step
    ):
        old = ledger.run("run-1", is_blessed=False)
        ledger.run("run-2")

        def killed(*args, **options):
            raise KeyboardInterrupt

        where = garbage.shutil if step == "rmtree" else garbage
        with monkeypatch.context() as patch:
            patch.setattr(where, step, killed)
            with pytest.raises(KeyboardInterrupt):
                carry_out(project, plan(project))
        for artifact, state in ledger.states().items():
            assert state == pb.Artifact.DELETED or ledger.folder(artifact).exists()
        carry_out(project, plan(project))
        assert {ledger.states()[i] for i in old.values()} == {pb.Artifact.DELETED}
        assert list(project.home.rglob(f"{REMOVED_PREFIX}*")) == []
        assert not any(ledger.folder(i).exists() for i in old.values())

    def test_a_folder_that_is_gone_already_is_no_error(self, project, ledger):
        old = ledger.run("run-1", is_blessed=False)
        ledger.run("run-2")
        shutil.rmtree(ledger.folder(old["model"]))
        carry_out(project, plan(project))
        assert ledger.states()[old["model"]] == pb.Artifact.DELETED

    def test_one_that_cannot_be_renamed_is_named(self, tmp_path, monkeypatch):
        def refuse(self, target):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "rename", refuse)
        with pytest.raises(InfrastructureError, match="model/7 cannot be removed: Permission"):
            hide([tmp_path / "model" / "7"])
