"""Checks of `ordain plan`."""

import contextlib
import json
import shutil
import sqlite3
from collections import namedtuple
from importlib import metadata

import pytest

from ordain.errors import ConfigError, InfrastructureError
from ordain.runner import preflight, store_checks
from ordain.runner.preflight import make_plan
from ordain.runner.store_checks import _READ_WHOLE_BYTES, check_metadata
from ordain.serving.registry.directory import publish
from ordain.serving.registry.labels import record_push
from ordain.serving.registry.manifest import Manifest

SCHEMA = """\
feature { name: "x" type: INT }
feature { name: "y" type: INT }
feature { name: "color" type: BYTES }
"""


@pytest.fixture
def make_frozen(make_folder):
    """A project with a frozen schema."""
    from ordain.config.loading import load_project

    def make(**keys):
        folder = make_folder(**keys)
        (folder / "schema.pbtxt").write_text(SCHEMA)
        return load_project(folder)

    return make


class TestModule:
    def test_a_missing_function_is_named_with_the_nearest(self, make_project):
        module = "def preprocessing_fn(i): pass\ndef run_func(a): pass\n"
        project = make_project(module=module)
        with pytest.raises(ConfigError) as caught:
            make_plan(project)
        assert caught.value.message == (
            f"{project.train.module}: defines no run_fn (there is 'run_func')"
        )

    def test_with_nothing_near_it_is_only_named(self, make_project):
        project = make_project(module="def run_fn(a): pass\n")
        with pytest.raises(ConfigError, match=r"model.py: defines no preprocessing_fn\n"):
            make_plan(project)

    def test_a_tuner_is_required_only_where_it_is_used(self, make_project):
        assert make_plan(make_project())
        with pytest.raises(ConfigError, match="defines no tuner_fn"):
            make_plan(make_project(tune={}))


class TestNames:
    @pytest.mark.parametrize(
        ("key", "value", "where"),
        [
            ("data__label", "yy", "data.label"),
            ("data__split", {"by": "yy"}, "data.split.by"),
            ("evaluate__slices", [["x", "yy"]], "evaluate.slices"),
            (
                "evaluate__metrics",
                ["AUC", {"class": "MinLabelPosition", "query_key": "yy"}],
                "evaluate.metrics.1.query_key",
            ),
            (
                "evaluate__thresholds",
                {"auc": {"slices": [{"keys": ["yy"], "min": 0.5}]}},
                "evaluate.thresholds.auc.slices",
            ),
            (
                "evaluate__thresholds",
                {"auc": {"slices": [{"values": {"yy": 1}, "min": 0.5}]}},
                "evaluate.thresholds.auc.slices",
            ),
        ],
    )
    def test_that_the_schema_does_not_have_are_refused(self, make_frozen, key, value, where):
        project = make_frozen(**{key: value})
        with pytest.raises(ConfigError) as caught:
            make_plan(project)
        assert caught.value.message == (
            f"{where}: {project.schema_file} has no feature 'yy'; did you mean 'y'?"
        )

    def test_a_column_named_span_would_hide_the_spans(self, make_frozen):
        project = make_frozen()
        project.schema_file.write_text(SCHEMA + 'feature { name: "span" type: INT }\n')
        with pytest.raises(ConfigError, match=r"schema.pbtxt: the data has a column 'span'"):
            make_plan(project)

    def test_that_it_has_are_fine_and_so_is_the_span(self, make_frozen):
        project = make_frozen(data__split={"by": "color"}, evaluate__slices=["color", "span"])
        assert make_plan(project).newest == 3

    def test_are_not_judged_by_a_schema_that_is_not_frozen(self, make_project):
        assert make_plan(make_project(evaluate__slices=["anything"]))

    def test_a_schema_that_cannot_be_read_is_named_with_the_line(self, make_frozen):
        project = make_frozen()
        project.schema_file.write_text('feature { name: "x" }\nfeatures { }\n')
        with pytest.raises(ConfigError, match=r"schema.pbtxt: not a schema in text form: 2:1"):
            make_plan(project)


def test_a_threshold_on_a_metric_that_is_not_computed_is_refused(make_project):
    project = make_project(evaluate__thresholds={"acu": {"min": 0.5}})
    with pytest.raises(ConfigError) as caught:
        make_plan(project)
    assert caught.value.message == (
        "evaluate.thresholds.acu: no such metric among evaluate.metrics (example_count, auc); "
        "did you mean 'auc'?"
    )


class TestBaseline:
    def test_a_version_that_was_never_published_is_refused(self, make_project):
        project = make_project(evaluate__baseline=3)
        for have, listed in ((), "none"), (("1", "2", ".staging-x"), "1, 2"):
            for name in have:
                (project.serving / name).mkdir(parents=True)
            with pytest.raises(ConfigError) as caught:
                make_plan(project)
            assert caught.value.message == (
                f"evaluate.baseline: there is no version 3 in {project.serving}"
            )
            assert caught.value.hint == f"versions there: {listed}"

    @pytest.mark.parametrize("baseline", ["stable", "latest", 1])
    def test_a_damaged_version_is_refused_by_name(self, make_project, baseline):
        project = make_project(evaluate__baseline=baseline)
        model = project.folder / "model"
        model.mkdir()
        (model / "saved_model.pb").write_bytes(b"graph")
        folder = publish(model, project.serving, Manifest("toy", 0, ""))
        record_push(project.serving, 1, "run r", "auto")
        assert make_plan(project)
        (folder / "saved_model.pb").write_bytes(b"grapH")
        with pytest.raises(InfrastructureError) as caught:
            make_plan(project)
        assert caught.value.message == (
            f"version 1 cannot be used as a baseline: {folder}: "
            "saved_model.pb was changed after it was published"
        )
        # Its clients are the server gate's to look after.
        none = {"none": "it is damaged"}
        with pytest.raises(InfrastructureError, match="version 1 cannot be"):
            make_plan(make_project(evaluate__baseline=none))
        assert make_plan(make_project(evaluate__baseline=none, gate__server=none))
        # The push will need the labels, whatever it is compared with.
        for text in ("{", None):
            (project.serving / "labels.json").unlink()
            if text:
                (project.serving / "labels.json").write_text(text)
            for rule in (baseline, none):
                with pytest.raises(InfrastructureError, match="labels.json is (damaged|missing)"):
                    make_plan(make_project(evaluate__baseline=rule, gate__server=none))


class TestWindow:
    def test_it_is_the_newest_spans(self, make_project):
        plan = make_plan(make_project(data__window=2))
        assert [s.number for s in plan.window] == [2, 3]
        assert plan.newest == 3

    def test_it_ends_with_the_requested_span(self, make_project):
        assert [s.number for s in make_plan(make_project(data__window=2), 2).window] == [1, 2]

    def test_a_span_that_is_not_there_is_refused(self, make_project):
        with pytest.raises(ConfigError, match="--span 7: there is no such span"):
            make_plan(make_project(), 7)

    def test_a_span_means_nothing_to_a_pattern_without_one(self, make_project):
        with pytest.raises(ConfigError, match=r"--span 1: data.pattern '\*/\*.csv' has no spans"):
            make_plan(make_project(data__pattern="*/*.csv"), 1)

    @pytest.mark.parametrize(("window", "is_noted"), [(3, False), (4, True)])
    def test_one_that_is_not_full_is_noted(self, make_project, window, is_noted):
        notes = make_plan(make_project(data__window=window)).notes
        assert ("data.window is 4; only 3 spans exist so far" in notes) is is_noted


class TestNotes:
    def test_an_inferred_schema_is_noted_until_it_is_frozen(self, make_project, make_frozen):
        def has_note(project):
            return any("no frozen schema" in note for note in make_plan(project).notes)

        assert has_note(make_project())
        assert not has_note(make_frozen())

    @pytest.mark.parametrize(
        ("content", "is_noted"),
        [
            ('{"versions": {"ordain": "0.0.1"}}', True),
            (json.dumps({"versions": {"ordain": metadata.version("ordain")}}), False),
            ("{}", False),
            ("no JSON", False),
            (None, False),
        ],
    )
    def test_a_last_run_of_another_version_is_noted(self, make_project, content, is_noted):
        project = make_project()
        for run, text in (
            ("20260101-000000-aaaa", '{"versions": {"ordain": "0"}}'),
            ("2027", content),
        ):
            if text is not None and content is not None:
                (project.runs / run).mkdir(parents=True)
                (project.runs / run / "result.json").write_text(text)
        found = [note for note in make_plan(project).notes if "was made by ordain" in note]
        assert bool(found) == is_noted
        assert all(note.startswith("run 2027 was made by ordain 0.0.1, this is ") for note in found)

    def test_no_baseline_is_noted_with_its_reason(self, make_project):
        notes = make_plan(make_project(evaluate__baseline={"none": "first release"})).notes
        assert "no baseline: first release" in notes
        assert not any("no baseline" in note for note in make_plan(make_project()).notes)


class TestLimits:
    @pytest.mark.parametrize(
        "limit", [{"max_rise": 0.1}, {"min": 0.5, "newest": {"max_rise": 0.1}}]
    )
    def test_on_getting_better_are_refused(self, make_project, limit):
        with pytest.raises(ConfigError, match="max_rise limits how much better a model may be"):
            make_plan(make_project(evaluate__thresholds={"auc": limit}))

    def test_of_errors_go_the_other_way(self, make_project):
        metrics = ["MeanAbsoluteError"]
        for limit, is_right in (({"max_rise": 0.1}, True), ({"max_drop": 0.1}, False)):
            project = make_project(
                evaluate__metrics=metrics, evaluate__thresholds={"mean_absolute_error": limit}
            )
            with contextlib.nullcontext() if is_right else pytest.raises(ConfigError):
                make_plan(project)

    @pytest.mark.parametrize(
        ("limit", "said"),
        [
            ({"min": -5}, "auc min -5 limits nothing: auc is from 0 to 1"),
            ({"min": 0.5, "newest": {"max": 5}}, "auc max 5 limits nothing"),
            ({"max_drop": 2}, "auc max_drop 2 limits nothing"),
            ({"min": 0.5, "max": 0.99, "max_drop": 0.2}, None),
        ],
    )
    def test_that_nothing_can_fail_are_noted(self, make_project, limit, said):
        notes = make_plan(make_project(evaluate__thresholds={"auc": limit})).notes
        found = [note for note in notes if "limits nothing" in note]
        assert [note[: len(said)] for note in found] == [said] if said else not found


class TestWeakThresholds:
    """A limit that a predictor without features passed in the last evaluation."""

    MAJORITY = "always answering '0'"

    def notes(self, make_project, thresholds, readouts):
        project = make_project(evaluate__thresholds=thresholds)
        for execution, readout in readouts.items():
            folder = project.artifacts / "Evaluator" / "evaluation" / str(execution)
            folder.mkdir(parents=True)
            (folder / "readout.json").write_text(json.dumps(readout))
        return [note for note in make_plan(project).notes if "would be passed" in note]

    def readout(self, **values):
        metrics = [
            {"slice": where.replace("_", "="), "name": "auc", "trivial": {self.MAJORITY: value}}
            for where, value in {"": 0.82, **values}.items()
        ]
        return {"metrics": metrics, "rows": {m["slice"]: 9 for m in metrics}}

    @pytest.mark.parametrize(
        ("limit", "said"),
        [
            (
                {"min": 0.7},
                "auc min 0.7 would be passed by always answering '0' (0.8200 in the last "
                "evaluation): it asks nothing of a model",
            ),
            ({"min": 0.83}, None),
            ({"max": 0.9}, "auc max 0.9 would be passed by"),
            ({"max_drop": 0.1}, None),
            (
                {"min": 0.9, "slices": [{"keys": ["c"], "min": 0.6}]},
                "auc on c min 0.6 would be passed on 2 of 3 slices by",
            ),
            ({"min": 0.9, "slices": [{"values": {"c": "b"}, "min": 0.6}]}, "auc on c=b min 0.6"),
            (
                {"min": 0.9, "newest": {"min": 0.6}},
                "auc on span=10, then the newest, min 0.6 would be passed by",
            ),
        ],
    )
    def test_is_noted(self, make_project, limit, said):
        last = self.readout(c_a=0.5, c_b=0.7, c_d=0.9, span_9=0.1, span_10=0.75)
        earlier = self.readout(**{"": 0.99})
        notes = self.notes(make_project, {"auc": limit}, {9: earlier, 10: last})
        assert [note[: len(said)] for note in notes] == [said] if said else not notes

    def test_nothing_is_known_before_the_first_evaluation_or_of_a_damaged_one(self, make_project):
        assert self.notes(make_project, {"auc": {"min": 0.1}}, {}) == []
        project = make_project(evaluate__thresholds={"auc": {"min": 0.1}})
        folder = project.artifacts / "Evaluator" / "evaluation" / "3"
        folder.mkdir(parents=True)
        (folder / "readout.json").write_text('{"metrics": [')
        assert not any("would be passed" in note for note in make_plan(project).notes)


class TestMetadata:
    @pytest.fixture
    def database(self, make_project):
        path = make_project().metadata
        path.parent.mkdir()
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE t (x TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [("a" * 2000,)] * 500)
        connection.commit()
        connection.close()
        return path

    def test_none_yet_is_fine(self, tmp_path):
        check_metadata(tmp_path / "metadata.sqlite")
        assert not (tmp_path / "metadata.sqlite").exists()

    def test_a_whole_one_is_fine_and_left_as_it_is(self, database):
        before = database.read_bytes()
        check_metadata(database)
        assert database.read_bytes() == before

    @pytest.mark.parametrize("damage", ["garbage", "page", "truncated"])
    def test_a_corrupt_one_is_refused_with_what_to_do(self, make_project, database, damage):
        content = bytearray(database.read_bytes())
        if damage == "garbage":
            content = bytearray(b"no database at all " * 1000)
        elif damage == "page":
            content[3 * 4096 : 4 * 4096] = b"\x99" * 4096
        else:
            del content[len(content) // 2 :]
        database.write_bytes(content)
        with pytest.raises(InfrastructureError) as caught:
            make_plan(make_project())
        assert f"{database}: ML Metadata is corrupt" in caught.value.message
        assert f"mv {database} {database}.corrupt" in caught.value.hint

    @pytest.mark.parametrize("damage", ["garbage", "root", "truncated"])
    def test_a_long_history_is_not_read_whole_and_still_refused(self, database, damage):
        connection = sqlite3.connect(database)
        rows = [("b" * 2000,)] * 3000
        connection.executemany("INSERT INTO t VALUES (?)", rows)
        connection.commit()
        connection.close()
        assert database.stat().st_size > _READ_WHOLE_BYTES
        check_metadata(database)
        content = bytearray(database.read_bytes())
        if damage == "garbage":
            content = bytearray(b"no database at all " * 300_000)
        elif damage == "root":
            content[4096:8192] = b"\x99" * 4096
        else:
            del content[len(content) // 2 :]
        database.write_bytes(content)
        with pytest.raises(InfrastructureError, match="ML Metadata is corrupt"):
            check_metadata(database)

    @pytest.mark.parametrize("mode", ["EXCLUSIVE", "IMMEDIATE"])
    def test_a_locked_one_is_refused(self, make_project, database, mode, monkeypatch):
        # The check waits a moment for the other one; the test need not.
        connect = sqlite3.connect
        monkeypatch.setattr(
            store_checks.sqlite3,
            "connect",
            lambda path, **kw: connect(path, **{**kw, "timeout": 0.05}),
        )
        holder = connect(database, isolation_level=None)
        holder.execute(f"BEGIN {mode}")
        try:
            with pytest.raises(InfrastructureError) as caught:
                make_plan(make_project())
        finally:
            holder.close()
        assert f"{database}: ML Metadata cannot be used: database is locked" in caught.value.message
        assert "fuser" in caught.value.hint
        check_metadata(database)

    def test_a_folder_in_its_place_is_refused(self, tmp_path):
        with pytest.raises(InfrastructureError, match="cannot be used"):
            check_metadata(tmp_path)


class TestDisk:
    @pytest.fixture
    def free(self, monkeypatch):
        usage = namedtuple("usage", "total used free")

        def set_free(free_bytes):
            self.asked = []

            def measure(path):
                self.asked.append(path)
                return usage(10**12, 0, free_bytes)

            monkeypatch.setattr(shutil, "disk_usage", measure)

        return set_free

    def test_too_little_is_refused_with_both_figures(self, make_project, free):
        free(preflight.DISK_FLOOR_BYTES - 1)
        with pytest.raises(InfrastructureError) as caught:
            make_plan(make_project())
        assert "0.5 GB free, this run may need 0.5 GB" in caught.value.message

    def test_enough_is_enough(self, make_project, free):
        free(preflight.DISK_FLOOR_BYTES)
        assert make_plan(make_project()).needed_bytes == preflight.DISK_FLOOR_BYTES

    def test_the_disk_of_the_workspace_is_checked(self, make_project, free, tmp_path):
        free(10**12)
        make_plan(make_project(workspace="../deep/er/work"))
        assert self.asked == [tmp_path]

    @pytest.mark.parametrize(
        ("name", "format", "factor"),
        [
            ("a.csv", None, 6),
            ("a.parquet", None, 60),
            ("a.pq", None, 60),
            ("a.tfrecord", None, 6),
            ("a.data", "parquet", 60),
        ],
    )
    def test_the_need_follows_the_windows_size_and_format(
        self, make_project, tmp_path, free, name, format, factor
    ):
        free(10**15)
        project = make_project(
            spans=(), data__pattern="{SPAN}/*", data__window=2, data__format=format
        )
        size = 100_000_000
        for span in (1, 2, 3):
            path = project.data.path / str(span) / name
            path.parent.mkdir()
            with path.open("wb") as file:
                file.truncate(size)  # a hole, which takes no space
        assert make_plan(project).needed_bytes == 2 * size * factor
