"""`pipeline.yaml` to a Project: what is refused, with file and key, and what wins over what."""

import json
import math
from pathlib import Path

import pydantic
import pytest
import yaml

from ordain.config import loading
from ordain.config.base import Section
from ordain.config.loading import (
    load_project,
    load_raw,
    load_to_serve,
    load_unresolved,
)
from ordain.config.metrics import Metric
from ordain.config.model import NoBaseline
from ordain.config.project import Project
from ordain.errors import ConfigError


def refusal(folder: Path, *settings: str, env: str | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_project(folder, env, settings)
    return caught.value


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("setting", "key", "meant"),
        [
            ("dta.path=x", "dta", "data"),
            ("data.pth=x", "data.pth", "path"),
            ("data.split.trian=1", "data.split.trian", "train"),
            ("gate.drift.numerc=0.1", "gate.drift.numerc", "numeric"),
            ("tune.stps=3", "tune.stps", "steps"),
            ("evaluate.treshholds.auc.min=1", "evaluate.treshholds", "thresholds"),
            ("evaluate.thresholds.auc.mn=1", "evaluate.thresholds.auc.mn", "min"),
            (
                "evaluate.thresholds.auc.newest.mxa=1",
                "evaluate.thresholds.auc.newest.mxa",
                "max",
            ),
            (
                "evaluate.thresholds.auc.slices=[{kys: [a], min: 1}]",
                "evaluate.thresholds.auc.slices.0.kys",
                "keys",
            ),
            ("evaluate.baseline={nne: because}", "evaluate.baseline.NoBaseline.nne", "none"),
        ],
    )
    def test_named_with_file_and_the_nearest_there_is(self, make_folder, setting, key, meant):
        folder = make_folder()
        message = refusal(folder, setting).message
        expected = f"{folder / 'pipeline.yaml'}: unknown key {key!r}; did you mean {meant!r}?"
        assert expected in message.splitlines()

    def test_without_a_near_one_the_allowed_ones_are_listed(self, make_folder):
        message = refusal(make_folder(), "data.zzz=1").message
        assert message.endswith(
            "unknown key 'data.zzz'; allowed: format, label, path, pattern, split, unlabelled, "
            "window"
        )

    @pytest.mark.parametrize("key", ["folder", "environment", "effective", "_source"])
    def test_the_source_is_not_a_key_of_the_file(self, make_folder, key):
        assert f"unknown key {key!r}" in refusal(make_folder(), f"{key}=x").message

    def test_all_mistakes_are_told_at_once(self, make_folder):
        lines = refusal(make_folder(), "data.pth=x", "train.steps=0").message.splitlines()
        assert len(lines) == 2
        assert "data.pth" in lines[0]
        assert "train.steps" in lines[1]


@pytest.mark.parametrize("key", ["name", "data", "data.path", "data.label", "evaluate"])
def test_a_missing_key_is_named(make_folder, key):
    folder = make_folder()
    path = folder / "pipeline.yaml"
    config = yaml.safe_load(path.read_text())
    *parents, last = key.split(".")
    here = config
    for part in parents:
        here = here[part]
    del here[last]
    path.write_text(yaml.safe_dump(config))
    assert refusal(folder).message == f"{path}: key {key!r} is required"


class TestValues:
    @pytest.mark.parametrize(
        ("setting", "key", "problem"),
        [
            ("train.steps=0", "train.steps", "greater than or equal to 1 (got 0)"),
            ("train.steps=many", "train.steps", "valid integer"),
            ("train.steps=1.5", "train.steps", "(got 1.5)"),
            ("data.window=0", "data.window", "greater than or equal to 1"),
            ("data.window=1001", "data.window", "less than or equal to 1000"),
            ("data=5", "data", "(got 5)"),
            ("data.label=5", "data.label", "valid string (got 5)"),
            ("data.format=json", "data.format", "'csv', 'parquet' or 'tfrecord'"),
            ("data.unlabelled=maybe", "data.unlabelled", "'block' or 'drop'"),
            ("data.split.train=0", "data.split.train", "greater than or equal to 1"),
            ("name=Big Name", "name", "(got 'Big Name')"),
            ("name=../evil", "name", "(got '../evil')"),
            ("gate.drift.numeric=0", "gate.drift.numeric", "greater than 0"),
            ("gate.drift.policy=maybe", "gate.drift.policy", "'pass', 'warn' or 'block'"),
            ("gate.anomalies.type=maybe", "gate.anomalies.type", "'pass', 'warn' or 'block'"),
            ("gate.anomalies.typ=warn", "gate.anomalies.typ", "(got 'typ')"),
            ("train.parameters.x=[1]", "train.parameters.x", "(got [1])"),
            ("evaluate.metrics=AUC", "evaluate.metrics", "(got 'AUC')"),
            ("evaluate.slices=a", "evaluate.slices", "(got 'a')"),
            ("evaluate.baseline=0", "evaluate.baseline", "(got 0)"),
            ("evaluate.baseline={none: x}", "evaluate.baseline", "at least 3 characters"),
            ("evaluate.thresholds=", "evaluate.thresholds", "valid dictionary"),
        ],
    )
    def test_wrong_ones_are_refused_with_key_and_what_it_got(
        self, make_folder, setting, key, problem
    ):
        folder = make_folder()
        message = refusal(folder, setting).message
        assert f"{folder / 'pipeline.yaml'}: {key}" in message
        assert problem in message

    @pytest.mark.parametrize(
        ("pattern", "problem"),
        [
            ("/data/*.csv", "relative"),
            ("a/../../b", "relative"),
            ("{YYYY}/{MM}", "all of {YYYY}, {MM} and {DD}"),
            ("{DD}", "all of {YYYY}, {MM} and {DD}"),
            ("{SPAN}-{YYYY}{MM}{DD}", "one or the other"),
            ("{SPAN:2}-{YYYY}{MM}{DD}", "one or the other"),
            ("{SPAN}{SPAN}", "{SPAN more than once"),
            ("{SPAN}/{SPAN:3}", "{SPAN more than once"),
            ("{YYYY}{MM}{DD}{DD}", "{DD} more than once"),
            ("{SPAN}/{VERSION}/{VERSION:2}", "{VERSION more than once"),
            ("{VERSION}", "{VERSION} needs"),
        ],
    )
    def test_patterns_that_name_no_span_are_refused(self, make_folder, pattern, problem):
        message = refusal(make_folder(data__pattern=pattern)).message
        assert "data.pattern: " in message
        assert problem in message

    @pytest.mark.parametrize(
        ("pattern", "has_spans"),
        [
            ("*", False),
            ("a..b/*.csv", False),
            ("{SPAN}/*", True),
            ("{SPAN:3}/v{VERSION}/*", True),
            ("{YYYY}-{MM}-{DD}/{VERSION:2}/*", True),
        ],
    )
    def test_other_patterns_are_taken(self, make_project, pattern, has_spans):
        assert make_project(data__pattern=pattern).data.has_spans is has_spans

    def test_single_slice_keys_need_no_list_of_their_own(self, make_project):
        project = make_project(evaluate__slices=["a", ["b", "c"]])
        assert project.evaluate.slices == (("a",), ("b", "c"))

    @pytest.mark.parametrize("value", ["text", 3, 0.5, True])
    def test_parameters_keep_their_type(self, make_project, value):
        kept = make_project(train__parameters={"p": value}).train.parameters["p"]
        assert (type(kept), kept) == (type(value), value)


class TestThresholds:
    @pytest.mark.parametrize(
        "thresholds",
        [
            {},
            {"auc": {}},
            {"auc": {"min": None}},
            {"auc": {"newest": {}}},
            {"auc": {"slices": [{"keys": ["a"]}]}},
        ],
    )
    def test_that_limit_nothing_are_refused(self, make_folder, thresholds):
        message = refusal(make_folder(evaluate__thresholds=thresholds)).message
        assert "evaluate: thresholds limits nothing" in message

    @pytest.mark.parametrize(
        "thresholds",
        [
            {"auc": {"min": 0.5}, "loss": {}},
            {"auc": {"max": 0}},
            {"auc": {"max_drop": 0}},
            {"auc": {"newest": {"max_rise": 0.1}}},
            {"auc": {"slices": [{"values": {"a": 1}, "min": 0.1}]}},
        ],
    )
    def test_one_limit_anywhere_is_enough(self, make_project, thresholds):
        assert make_project(evaluate__thresholds=thresholds).evaluate.thresholds

    @pytest.mark.parametrize("key", ["min", "max", "max_drop", "max_rise"])
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_that_no_value_could_fail_are_refused(self, make_folder, key, value):
        message = refusal(make_folder(evaluate__thresholds={"auc": {key: value}})).message
        assert f"evaluate.thresholds.auc.{key}: Input should be a finite number" in message

    @pytest.mark.parametrize(
        ("limit", "problem"),
        [
            ({"max_drop": 0.1, "max_rise": 0.1}, "both max_drop and max_rise"),
            ({"min": 0.9, "max": 0.1}, "min 0.9 is above max 0.1"),
            ({"max_drop": -0.1}, "greater than or equal to 0"),
            ({"min": True}, "min: must be a number, not true"),
            ({"min": 0.1, "min_rows": True}, "min_rows: must be a number, not true"),
            ({"min_rows": 5}, "has min_rows without a limit beside it"),
            ({"undefined": "warn"}, "has undefined without a limit beside it"),
            ({"min": 0.1, "undefined": "ignore"}, "Input should be 'block', 'warn' or 'skip'"),
            ({"min": 0.1, "min_rows": 0}, "greater than or equal to 1"),
        ],
    )
    @pytest.mark.parametrize("place", ["whole", "newest", "slice"])
    def test_that_contradict_themselves_are_refused(self, make_folder, limit, problem, place):
        threshold = {
            "whole": limit,
            "newest": {"newest": limit},
            "slice": {"slices": [{"keys": ["a"], **limit}]},
        }[place]
        assert problem in refusal(make_folder(evaluate__thresholds={"auc": threshold})).message

    @pytest.mark.parametrize("named", [{}, {"keys": ["a"], "values": {"a": 1}}])
    def test_of_slices_name_keys_or_values(self, make_folder, named):
        thresholds = {"auc": {"slices": [{**named, "min": 0.5}]}}
        message = refusal(make_folder(evaluate__thresholds=thresholds)).message
        assert "evaluate.thresholds.auc.slices.0: needs either keys or values" in message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("stable", "stable"),
        ("latest", "latest"),
        (3, 3),
        ({"none": "first release"}, NoBaseline(none="first release")),
    ],
)
def test_a_baseline_is_a_label_a_version_or_none_with_a_reason(make_project, value, expected):
    assert make_project(evaluate__baseline=value).evaluate.baseline == expected


class TestFiles:
    def test_bad_yaml_is_refused_with_its_line(self, make_folder):
        folder = make_folder()
        (folder / "pipeline.yaml").write_text("name: toy\ndata:\n  path: a: b\n")
        message = refusal(folder).message
        assert f"{folder / 'pipeline.yaml'} line 3, column 10: not valid YAML" in message

    def test_yaml_that_would_run_code_is_refused(self, make_folder, tmp_path):
        folder = make_folder()
        made = tmp_path / "made"
        with (folder / "pipeline.yaml").open("a") as file:
            file.write(f"x: !!python/object/apply:os.mkdir ['{made}']\n")
        assert "not valid YAML" in refusal(folder).message
        assert not made.exists()

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"", "must hold keys and values, not NoneType"),
            (b"- a\n", "must hold keys and values, not list"),
            (b"5\n", "must hold keys and values, not int"),
            ("name: Zürich\n".encode("latin-1"), "cannot be read: 'utf-8' codec can't decode"),
            (b"name: a\0\n", "not valid YAML"),
            (b"#" * (loading.MAX_BYTES + 1), f"is larger than {loading.MAX_BYTES} bytes"),
        ],
        ids=["empty", "list", "number", "latin-1", "nul", "oversized"],
    )
    def test_what_is_no_configuration_is_refused_by_name(self, make_folder, content, problem):
        folder = make_folder()
        (folder / "pipeline.yaml").write_bytes(content)
        message = refusal(folder).message
        assert message.startswith(str(folder / "pipeline.yaml"))
        assert problem in message

    def test_a_file_of_the_largest_size_is_read(self, make_folder):
        folder = make_folder()
        path = folder / "pipeline.yaml"
        padding = loading.MAX_BYTES - path.stat().st_size
        with path.open("a") as file:
            file.write("#" * padding)
        assert load_project(folder).name == "toy"

    def test_a_folder_without_a_configuration_is_no_project(self, tmp_path):
        assert (
            refusal(tmp_path).message == f"{tmp_path} is not a project: it holds no pipeline.yaml"
        )

    def test_the_file_itself_names_the_project_too(self, make_folder):
        folder = make_folder()
        assert load_project(folder / "pipeline.yaml") == load_project(folder)

    def test_keys_in_any_script_are_read_as_utf8(self, make_project):
        assert make_project(data__label="größe").data.label == "größe"


class TestOverlays:
    @pytest.fixture
    def folder(self, make_folder):
        folder = make_folder(data__window=3, evaluate__slices=["a", "b"])
        overlay = {
            "data": {"window": 1},
            "evaluate": {"slices": ["c"], "thresholds": {"auc": {"max_drop": 0.1}}},
        }
        (folder / "pipeline.prod.yaml").write_text(yaml.safe_dump(overlay))
        return folder

    def test_mappings_are_merged_and_everything_else_replaced(self, folder):
        plain, project = load_project(folder), load_project(folder, "prod")
        assert (plain.data.window, project.data.window) == (3, 1)
        assert project.data.label == plain.data.label
        assert project.evaluate.slices == (("c",),)
        auc = project.evaluate.thresholds["auc"]
        assert (auc.min, auc.max_drop) == (0.5, 0.1)
        assert (plain.environment, project.environment) == (None, "prod")

    def test_settings_win_over_the_overlay(self, folder):
        assert load_project(folder, "prod", ["data.window=2"]).data.window == 2

    def test_the_last_setting_wins(self, folder):
        assert load_project(folder, None, ["data.window=2", "data.window=5"]).data.window == 5

    def test_a_missing_one_is_refused_and_those_there_are_named(self, folder):
        error = refusal(folder, env="stage")
        assert str(folder / "pipeline.stage.yaml") in error.message
        assert error.hint == "environments here: prod"


class TestSettings:
    @pytest.mark.parametrize(
        ("setting", "read"),
        [
            ("train.steps=7", lambda p: p.train.steps == 7),
            ("train.parameters.rate=0.001", lambda p: p.train.parameters["rate"] == 0.001),
            ("train.parameters.on=true", lambda p: p.train.parameters["on"] is True),
            ("train.parameters.word='7'", lambda p: p.train.parameters["word"] == "7"),
            ("train.parameters.equation=a=b", lambda p: p.train.parameters["equation"] == "a=b"),
            ("gate.drift.numeric=null", lambda p: p.gate.drift.numeric is None),
            ("gate.drift.ignore=[a, b]", lambda p: p.gate.drift.ignore == ("a", "b")),
            ("evaluate.thresholds.loss={max: 1}", lambda p: p.evaluate.thresholds["loss"].max == 1),
            ("evaluate.thresholds.loss.newest.max=1", lambda p: "loss" in p.evaluate.thresholds),
            ("tune={}", lambda p: p.tune.steps == 200),
        ],
    )
    def test_values_are_yaml_and_parents_are_made(self, make_folder, setting, read):
        assert read(load_project(make_folder(), None, [setting]))

    @pytest.mark.parametrize("setting", ["data", "=5", ".a=1", "a..b=1", "a.=1"])
    def test_what_is_no_setting_is_refused(self, make_folder, setting):
        error = refusal(make_folder(), setting)
        assert error.message == f"--set {setting}: expected key.path=value"
        assert "--set train.steps=500" in error.hint

    @pytest.mark.parametrize(
        ("setting", "problem"),
        [
            ("train.steps=[", "the value is not valid YAML"),
            ("name.first=x", "'name' is a value, not a mapping"),
            ("data.path.x=1", "'path' is a value, not a mapping"),
        ],
    )
    def test_a_setting_that_cannot_be_applied_is_quoted(self, make_folder, setting, problem):
        assert refusal(make_folder(), setting).message == f"--set {setting}: {problem}"

    def test_keys_that_share_a_yaml_anchor_are_set_one_by_one(self, make_folder):
        folder = make_folder()
        (folder / "pipeline.yaml").write_text(
            "name: toy\n"
            "data: {path: data, label: y}\n"
            "evaluate:\n"
            "  thresholds: {auc: &limit {min: 0.5}, accuracy: *limit}\n"
        )
        limits = load_project(folder, None, ["evaluate.thresholds.auc.min=0.9"]).evaluate.thresholds
        assert (limits["auc"].min, limits["accuracy"].min) == (0.9, 0.5)


class TestReferences:
    def test_are_resolved_everywhere_but_in_training_parameters(self, make_folder, monkeypatch):
        monkeypatch.setenv("ORDAIN_TEST_LABEL", "price")
        monkeypatch.setenv("ORDAIN_TEST_TOKEN", "hush-hush")
        folder = make_folder(
            data__label="${env:ORDAIN_TEST_LABEL}",
            train__parameters={"token": "${env:ORDAIN_TEST_TOKEN}", "rate": 0.1},
        )
        project = load_project(folder)
        assert project.data.label == "price"
        assert project.train.parameters == {"token": "${env:ORDAIN_TEST_TOKEN}", "rate": 0.1}
        assert "hush-hush" not in project.model_dump_json()

    def test_are_resolved_in_the_path_of_the_metadata_store(self, make_folder, monkeypatch):
        monkeypatch.setenv("ORDAIN_TEST_FOLDER", "/srv")
        folder = make_folder(metadata="${env:ORDAIN_TEST_FOLDER}/metadata.sqlite")
        assert load_project(folder).metadata == Path("/srv/metadata.sqlite")

    @pytest.mark.parametrize("key", ["data.label", "metadata", "train.parameters.token"])
    def test_to_a_missing_variable_are_refused_with_the_key(self, make_folder, key, monkeypatch):
        monkeypatch.delenv("ORDAIN_TEST_MISSING", raising=False)
        message = refusal(make_folder(), f"{key}=${{env:ORDAIN_TEST_MISSING}}").message
        assert f"{key}: environment variable ORDAIN_TEST_MISSING is not set" in message

    def test_stay_references_in_the_written_form(self, make_folder, monkeypatch):
        monkeypatch.setenv("ORDAIN_TEST_LABEL", "secret")
        folder = make_folder(data__label="${env:ORDAIN_TEST_LABEL}")
        project = load_project(folder)
        assert project.data.label == "secret"
        assert "secret" not in json.dumps(project.effective)


class TestUnresolved:
    def test_references_stay_whatever_the_key_is(self, make_folder, monkeypatch):
        monkeypatch.setenv("ORDAIN_TEST_LABEL", "price")
        folder = make_folder(
            data__label="${env:ORDAIN_TEST_LABEL}",
            data__window="${env:ORDAIN_TEST_MISSING}",
            schedule__cron="${env:ORDAIN_TEST_MISSING}",
            metadata="postgresql://${env:ORDAIN_TEST_MISSING}@db/ordain",
            evaluate__thresholds={"auc": {"min": "${env:ORDAIN_TEST_MISSING}", "max": 0.9}},
        )
        project = load_unresolved(folder)
        assert project.data.label == "${env:ORDAIN_TEST_LABEL}"
        assert project.data.window == "${env:ORDAIN_TEST_MISSING}"
        assert project.evaluate.thresholds["auc"].min == "${env:ORDAIN_TEST_MISSING}"

    @pytest.mark.parametrize(
        ("setting", "problem"),
        [
            ("train.steps=0", "train.steps"),
            ("train.stpes='${env:X}'", "did you mean 'steps'?"),
            ("metadata=postgresql://u:hush@db/ordain", "holds a password"),
            ("metadata=postgresql://${env:X}:hush@db/ordain", "holds a password"),
            ("notify=[{on: [failed], webhook: 'https://a:hush@b/${env:X}'}]", "credentials"),
            ("push.signing={public_key: a, password: 'hush${env:X}'}", "push.signing.password"),
            ("metadata=mongo://${env:X}@db/ordain", "metadata: must be"),
            ("push.signing={public_key: a, password: hush}", "push.signing.password"),
        ],
    )
    def test_everything_else_is_checked_as_ever(self, make_folder, setting, problem):
        with pytest.raises(ConfigError) as caught:
            load_unresolved(make_folder(), None, [setting])
        assert problem in caught.value.message
        assert "hush" not in caught.value.message


class TestToServe:
    """Serving asks for no secret of training, and for what it needs as ever."""

    KEYS = {
        "metadata": "postgresql://toy:${env:ORDAIN_TEST_MISSING}@db:5432/toy",
        "notify": [{"on": ["failed"], "webhook": "${env:ORDAIN_TEST_MISSING}"}],
        "data__path": "${env:ORDAIN_TEST_MISSING}",
        "train__steps": "${env:ORDAIN_TEST_MISSING}",
        "train__parameters": {"key": "${env:ORDAIN_TEST_MISSING}"},
        "beam_args": ["--key=${env:ORDAIN_TEST_MISSING}"],
        "evaluate__thresholds": {"auc": {"min": "${env:ORDAIN_TEST_MISSING}"}},
        "push__signing": {
            "public_key": "${env:ORDAIN_TEST_KEYS}/a.pub",
            "private_key": "${env:ORDAIN_TEST_MISSING}",
            "password": "${env:ORDAIN_TEST_MISSING}",
        },
        "push__directory": "${env:ORDAIN_TEST_KEYS}/models",
    }

    def test_what_is_not_needed_is_not_looked_up(self, make_folder, monkeypatch):
        monkeypatch.setenv("ORDAIN_TEST_KEYS", "/keys")
        folder = make_folder(**self.KEYS)
        with pytest.raises(ConfigError, match="ORDAIN_TEST_MISSING is not set"):
            load_project(folder)
        project = load_to_serve(folder)
        assert project.serving == Path("/keys/models/toy")
        assert project.trust.public_key == Path("/keys/a.pub")
        with pytest.raises(ConfigError, match=r"private_key: .*ORDAIN_TEST_MISSING is not set"):
            project.trust.key()
        monkeypatch.setenv("ORDAIN_TEST_MISSING", "0.5")
        assert load_to_serve(folder).trust.key().path == folder / "0.5"
        assert load_to_serve(folder, also=("evaluate",)).evaluate.thresholds["auc"].min == 0.5

    def test_what_is_needed_is(self, make_folder, monkeypatch):
        monkeypatch.delenv("ORDAIN_TEST_KEYS", raising=False)
        with pytest.raises(ConfigError, match="ORDAIN_TEST_KEYS is not set"):
            load_to_serve(make_folder(**self.KEYS))


class TestRaw:
    def test_is_what_was_read_in_another_folder(self, make_folder, tmp_path):
        folder = make_folder(train__parameters={"rate": 0.1})
        raw = load_unresolved(folder).effective
        other = tmp_path / "image"
        other.mkdir()
        project = load_raw(json.loads(json.dumps(raw)), other, "prod", ["train.steps=3"])
        assert (project.folder, project.environment, project.train.steps) == (other, "prod", 3)
        assert project.data.path == other / "data"
        assert project.train.parameters == {"rate": 0.1}
        assert "steps" not in raw.get("train", {})

    def test_is_not_changed_by_loading(self, make_folder):
        folder = make_folder(
            push__signing={"public_key": "a", "password": "${env:X}"},
            notify=[{"on": ["failed"], "command": ["cat"]}],
            kubeflow={"image": "toy:1"},
        )
        raw = load_unresolved(folder).effective
        before = json.dumps(raw)
        assert load_raw(raw, folder) == load_project(folder)
        assert json.dumps(raw) == before

    def test_settings_change_a_copy(self, make_folder):
        folder = make_folder()
        raw = load_project(folder).effective
        settings = ("data.window=2", "data.split.train=5")
        changed = load_raw(raw, folder, None, settings)
        assert changed.settings == settings
        assert changed.effective["data"]["window"] == 2
        assert "window" not in raw["data"]
        assert "split" not in raw["data"]


class TestPaths:
    def test_stand_relative_to_the_file_wherever_the_command_runs(
        self, make_folder, monkeypatch, tmp_path
    ):
        folder = make_folder(data__path="../else/data", schema_file="s/x.pbtxt")
        monkeypatch.chdir(tmp_path)
        project = load_project("toy")
        assert project.data.path == tmp_path / "else" / "data"
        assert project.workspace == tmp_path / "work"
        assert project.schema_file == folder / "s" / "x.pbtxt"
        assert project.train.module == folder / "model.py"

    def test_absolute_and_home_ones_stay_what_they_are(self, make_project, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        project = make_project(workspace="~/w", data__path=str(tmp_path / "d"))
        assert project.workspace == tmp_path / "home" / "w"
        assert project.data.path == tmp_path / "d"

    def test_the_workspace_is_var_at_the_root_of_the_repository(self, make_folder, tmp_path):
        folder = make_folder()
        config = yaml.safe_load((folder / "pipeline.yaml").read_text())
        del config["workspace"]
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(config))
        assert load_project(folder).workspace == folder / "var"
        (tmp_path / ".git").mkdir()
        assert load_project(folder).workspace == tmp_path / "var"

    def test_everything_of_a_project_lies_in_its_workspace(self, make_project, tmp_path):
        project, work = make_project(), tmp_path / "work"
        assert project.runs == work / "toy" / "runs"
        assert project.artifacts == work / "toy" / "artifacts"
        assert project.serving == work / "serving" / "toy"
        assert project.metadata == work / "metadata.sqlite"


class TestFrozen:
    def sections(self) -> list[type[Section]]:
        found, queue = [], [Section]
        while queue:
            below = queue.pop().__subclasses__()
            found += below
            queue += below
        return found

    def test_every_section_refuses_unknown_keys_and_changes(self):
        assert len(self.sections()) >= 12
        for section in self.sections():
            assert section.model_config["frozen"], section
            # A metric's further keys are its class's settings (`ordain.config.metric_settings`).
            extra = "allow" if section is Metric else "forbid"
            assert section.model_config["extra"] == extra, section

    def test_a_project_cannot_be_changed(self, make_project):
        project: Project = make_project()
        with pytest.raises(pydantic.ValidationError):
            project.name = "other"
        with pytest.raises(pydantic.ValidationError):
            project.train.steps = 1
