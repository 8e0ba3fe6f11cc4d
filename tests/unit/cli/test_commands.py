"""`ordain plan`, `ordain runs` and the errors of them all; `ordain run` is in tests/integration."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

from ordain.api.runs import runs as list_runs
from ordain.cli.main import main
from ordain.config.loading import load_project
from ordain.history.results import NodeResult, RunResult
from ordain.verdict import Outcome, Reason, Verdict

ROOT = Path(__file__).resolve().parents[3]
#: None of these is needed to look at a project or at its past; each takes seconds to import.
HEAVY = ("tensorflow", "tfx", "apache_beam", "keras", "tfx_bsl", "tensorflow_data_validation")


WITH_TUNER = "def preprocessing_fn(i): ...\ndef run_fn(a): ...\ndef tuner_fn(a): ...\n"


@pytest.fixture
def ordain(monkeypatch, capsys):
    """Runs the command line as its entry point does; returns exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ordain", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def write_runs(project, *runs: str) -> None:
    """A store as TFX leaves it, with runs and a node each."""
    project.metadata.parent.mkdir(parents=True, exist_ok=True)
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(project.metadata)
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = mlmd.MetadataStore(config)
    kinds = {
        kind: store.put_context_type(pb.ContextType(name=kind))
        for kind in ("pipeline", "pipeline_run", "node", "span")
    }

    def context(kind: str, name: str) -> int:
        (new,) = store.put_contexts([pb.Context(type_id=kinds[kind], name=name)])
        return new

    root = context("pipeline", project.name)
    node = context("node", f"{project.name}.ExampleGen")
    span = context("span", f"{project.name}.span-3")
    execution_type = store.put_execution_type(pb.ExecutionType(name="ExampleGen"))
    for run in runs:
        run_context = context("pipeline_run", run)
        store.put_parent_contexts([pb.ParentContext(child_id=run_context, parent_id=root)])
        (execution,) = store.put_executions(
            [pb.Execution(type_id=execution_type, last_known_state=pb.Execution.COMPLETE)]
        )
        store.put_attributions_and_associations(
            [],
            [
                pb.Association(execution_id=execution, context_id=c)
                for c in (root, run_context, node, span)
            ],
        )


def write_result(project, run: str) -> RunResult:
    verdict = Verdict.of("data", [Reason(Outcome.WARNED, "drift", "too far", where="x", span=3)])
    nodes = (NodeResult("ExampleGen", "complete", 1.0),)
    result = RunResult("toy", run, "2026", 1.0, (3,), nodes, (verdict,), 7, True, model="/srv/7")
    result.write(project.runs / run)
    return result


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["plan"], ["Missing argument 'PROJECT'"]),
            (["plan", "FOLDER", "--nope"], ["No such option", "--nope"]),
            (["pln", "FOLDER"], ["No such command", "pln"]),
            (["plan", "FOLDER", "--span", "x"], ["'x' is not a valid integer"]),
            (
                ["plan", "FOLDER", "--span", "9"],
                ["error: --span 9: there is no such span", "next: "],
            ),
            (["plan", "FOLDER/nowhere"], ["is not a project", "next: name a folder"]),
            (
                ["plan", "FOLDER", "--env", "prod"],
                ["--env prod: there is no", "next: environments"],
            ),
            (["plan", "FOLDER", "--set", "data.lable=x"], ["data.lable", "did you mean 'label'"]),
            (["plan", "FOLDER", "--set", "x"], ["expected key.path=value"]),
            (
                ["plan", "FOLDER", "--set", "train.module=none.py"],
                ["train.module: ", "cannot be read"],
            ),
            (["run", "FOLDER", "--set", "evaluate.thresholds={}"], ["limits nothing"]),
            (["runs", "show", "FOLDER", "../../etc"], ["toy has no run '../../etc'"]),
            (["runs", "logs", "FOLDER", "no-run"], ["toy has no run 'no-run'"]),
            (["runs", "list", "FOLDER", "--limit", "0"], ["0 is not in the range"]),
            (["schema", "diff", "FOLDER"], ["the schema is not frozen", "ordain schema freeze"]),
        ],
    )
    def test_of_configuration_and_usage_exit_2_and_say_why(
        self, ordain, make_folder, arguments, words
    ):
        folder = make_folder()
        code, out, err = ordain(*[a.replace("FOLDER", str(folder)) for a in arguments])
        assert (code, out) == (2, "")
        for word in words:
            assert word in err

    def test_of_the_workspace_exit_5(self, ordain, make_project, make_folder):
        project = make_project()
        project.metadata.parent.mkdir()
        project.metadata.write_bytes(b"no database" * 1000)
        for command in (["plan"], ["runs", "list"]):
            code, _, err = ordain(*command, make_folder())
            assert code == 5
            assert f"error: {project.metadata}: ML Metadata" in err
            assert "next: " in err

    def test_a_secret_in_the_configuration_is_not_printed(self, ordain, make_folder, monkeypatch):
        monkeypatch.setenv("ORDAIN_TEST_TOKEN", "open-sesame")
        folder = make_folder(train__parameters={"token": "${env:ORDAIN_TEST_TOKEN}"})
        for arguments in (["plan", folder], ["plan", folder, "--json"]):
            code, out, err = ordain(*arguments)
            assert code == 0
            assert "open-sesame" not in out + err


class TestPlan:
    def test_it_draws_the_chain_of_the_project(self, ordain, make_folder):
        folder = make_folder(
            data__window=2,
            data__split={"by": "x", "train": 3, "eval": 1},
            tune={},
            module=WITH_TUNER,
            evaluate__thresholds={"auc": {"min": 0.5, "max_drop": 0.1}},
            evaluate__baseline={"none": "first release"},
        )
        code, out, _ = ordain("plan", folder)
        assert code == 0
        for words in (
            "toy: all pre-run checks passed",
            "2 span(s), 2 to 3",
            "split 3:1 by hash of x",
            "tuner_fn of model.py",
            "auc.min 0.5, auc.max_drop 0.1",
            "note: no baseline: first release",
        ):
            assert words in out

    def test_dates_are_named_as_dates(self, ordain, make_folder):
        folder = make_folder(spans=(), data__pattern="{YYYY}-{MM}-{DD}/*.csv", data__window=2)
        for day in ("2013-01-30", "2013-01-31"):
            (folder / "data" / day).mkdir()
            (folder / "data" / day / "a.csv").write_text("x,y\n1,0\n")
        assert "2 span(s), 2013-01-30 to 2013-01-31" in ordain("plan", folder)[1]

    def test_json_is_one_document(self, ordain, make_folder):
        code, out, _ = ordain("plan", make_folder(data__window=5), "--json")
        document = json.loads(out)
        assert code == 0
        assert document["project"] == "toy"
        assert document["window"] == [1, 2, 3]
        assert document["nodes"][0] == "ExampleGen"
        assert document["nodes"][-1] == "Pusher"
        assert "data.window is 5; only 3 spans exist so far" in document["notes"]

    def test_the_chain_it_draws_is_the_chain_that_runs(self, make_project):
        from ordain.pipeline import graph
        from ordain.runner.planned_nodes import planned_nodes
        from ordain.runner.preflight import make_plan

        for keys in (
            {},
            {"tune": {}},
            {"train__base_model": "served"},
            {"evaluate__baseline": {"none": "first release"}},
        ):
            project = make_project(module=WITH_TUNER, **keys)
            ir = graph.compile_ir(project, 3)
            nodes = [n.pipeline_node.node_info.id for n in ir.nodes]
            drawn = [name for name, _ in planned_nodes(project, make_plan(project))]
            # The resolver of the analyzer cache is part of Transform to who reads the plan.
            assert [n for n in drawn if n != "Baseline" or n in nodes] == [
                n for n in nodes if n != "AnalyzerCache"
            ]

    def test_nothing_is_written(self, ordain, make_folder, tmp_path):
        folder = make_folder()
        before = sorted(tmp_path.rglob("*"))
        ordain("plan", folder)
        assert sorted(tmp_path.rglob("*")) == before


class TestRuns:
    def test_before_the_first_run_the_list_is_empty(self, ordain, make_folder):
        folder = make_folder()
        code, out, _ = ordain("runs", "list", folder)
        assert code == 0
        assert f"ordain run {folder}" in out
        assert ordain("runs", "list", folder, "--json")[1].strip() == "[]"

    def test_listed_newest_first_with_what_came_of_them(self, ordain, make_project, make_folder):
        project = make_project()
        write_runs(project, "run-0", "run-1", "run-2")
        result = write_result(project, "run-1")
        (project.runs / "run-2").mkdir()
        code, out, _ = ordain("runs", "list", make_folder())
        assert code == 0
        second, first, removed = out.splitlines()
        assert removed.startswith("run-0") and removed.endswith(
            "its folder was removed (ordain gc)"
        )
        assert second.startswith("run-2") and second.endswith("did not end (running, or killed)")
        assert first.startswith("run-1") and first.endswith(result.headline)
        (only,) = json.loads(ordain("runs", "list", make_folder(), "--limit", "1", "--json")[1])
        assert only["run"] == "run-2"
        listed = json.loads(ordain("runs", "list", make_folder(), "--json")[1])
        assert listed == [one.to_dict() for one in list_runs(project)]
        assert (listed[1]["version"], listed[1]["model"]) == (7, "/srv/7")

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"headline": 1', '{"headline": "x"}'])
    def test_an_unreadable_result_is_a_run_that_did_not_end(
        self, ordain, make_project, make_folder, text
    ):
        project = make_project()
        write_runs(project, "run-1")
        (project.runs / "run-1").mkdir(parents=True)
        (project.runs / "run-1" / "result.json").write_text(text)
        code, out, _ = ordain("runs", "list", make_folder())
        assert code == 0
        assert out.endswith("did not end (running, or killed)\n")

    def test_one_without_its_folder_is_shown_from_the_store(
        self, ordain, make_project, make_folder
    ):
        write_runs(make_project(), "run-1")
        code, out, _ = ordain("runs", "show", make_folder(), "run-1")
        assert code == 0
        assert "its folder was removed (ordain gc)" in out and "ExampleGen span 3" in out
        code, _, err = ordain("runs", "show", make_folder(), "run-2")
        assert code == 2
        assert "toy has no run 'run-2'" in err and "nearest: run-1" in err

    def test_shown_with_nodes_and_verdicts(self, ordain, make_project, make_folder):
        project = make_project()
        write_runs(project, "run-1")
        result = write_result(project, "run-1")
        for run in ([], ["run-1"]):
            code, out, _ = ordain("runs", "show", make_folder(), *run)
            assert code == 0
            for words in (result.headline, "ExampleGen span 3", "data gate: warned", "too far"):
                assert words in out
        shown = json.loads(ordain("runs", "show", make_folder(), "--json")[1])
        assert (shown["version"], shown["exit_code"]) == (7, 0)
        assert [(n["node"], n["span"], n["state"]) for n in shown["nodes"]] == [
            ("ExampleGen", 3, "complete")
        ]

    def test_tensorboard_names_a_run_without_training_logs(self, ordain, make_project, make_folder):
        project = make_project()
        write_runs(project, "run-1")
        (project.runs / "run-2").mkdir(parents=True)
        for run in ("run-1", "run-2"):
            code, _, err = ordain("tensorboard", make_folder(), run)
            assert code == 2
            assert f"run {run} has no training logs" in err

    def test_logs_are_the_end_of_the_node_asked_for_or_the_last(
        self, ordain, make_project, make_folder
    ):
        project = make_project()
        write_runs(project, "run-1")
        logs = project.runs / "run-1" / "logs"
        logs.mkdir(parents=True)
        for number, node in enumerate(("ExampleGen", "Trainer")):
            path = logs / f"{node}.log"
            path.write_text("".join(f"{node} line {i}\n" for i in range(100)))
            os.utime(path, (number, number))
        _, out, _ = ordain("runs", "logs", make_folder(), "--lines", "2")
        assert out == f"{logs / 'Trainer.log'}:\nTrainer line 98\nTrainer line 99\n"
        _, out, _ = ordain("runs", "logs", make_folder(), "--node", "ExampleGen", "--lines", "1")
        assert out.endswith("ExampleGen line 99\n")
        code, _, err = ordain("runs", "logs", make_folder(), "--node", "Evaluator")
        assert code == 2
        assert "logs there: ExampleGen, Trainer" in err


IMPORTED = f"""
import sys
from ordain.cli.main import main
sys.argv = ["ordain", *sys.argv[1:]]
try:
    main()
except SystemExit as stop:
    found = sorted({{m.partition(".")[0] for m in sys.modules}} & set({HEAVY!r}))
    print("EXIT", stop.code, "HEAVY", *found)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["plan", "{}"],
        ["runs", "list", "{}"],
        ["runs", "show", "{}"],
    ],
    ids=lambda a: " ".join(a).replace(" {}", ""),
)
def test_what_only_looks_imports_nothing_heavy(arguments, make_folder):
    folder = make_folder()
    (folder / "schema.pbtxt").write_text('feature { name: "y" type: INT }\n')
    project = load_project(folder)
    write_runs(project, "run-1")
    write_result(project, "run-1")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *[a.format(folder) for a in arguments]],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["EXIT 0 HEAVY"], done.stdout + done.stderr
