"""The whole chain on tiny data: every component real."""

from __future__ import annotations

import json
import random
from pathlib import Path

import ml_metadata as mlmd
import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from sandbox import Sandbox, good_rows, states, write_csv

from ordain.errors import ConfigError, ExitCode
from ordain.serving.scan.scan import scan

ALL_NODES = [
    "ExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "DataGate",
    "AnalyzerCache",
    "Transform",
    "Trainer",
    "Baseline",
    "Evaluator",
    "ServerGate",
    "Pusher",
]


def test_a_multi_class_csv_project_goes_through_the_same_chain(digits: Sandbox) -> None:
    result = digits.run()

    assert result.failure is None
    assert result.exit_code is ExitCode.DONE
    assert [node.node for node in result.nodes] == ALL_NODES
    assert (result.version, result.is_new_version) == (1, True)
    rows = {node.node: node.rows for node in result.nodes}
    assert rows["ExampleGen"] == rows["Transform"] == 1797
    # Both spans, each on its own, through the three nodes that work span by span.
    for node in ("ExampleGen", "StatisticsGen", "ExampleValidator"):
        assert [e for e in digits.events if e[0] == node] == [(node, 1), (node, 2)]
    evaluation = next(v for v in result.verdicts if v.gate == "evaluation")
    accuracy = next(r for r in evaluation.reasons if r.kind == "sparse_categorical_accuracy.min")
    assert accuracy.measured is not None and accuracy.measured >= 0.7

    model = tf.saved_model.load(result.model)
    assert set(model.signatures) == {"serving_default", "serving_tf_example", "transform_features"}
    assert scan(result.model) == []
    example = json.loads(Path(result.model, "assets.extra/ordain/example.json").read_text())
    rows = {
        name: tf.constant([row[name] for row in example["instances"]], tf.int64)
        for name in (example["instances"][0])
    }
    assert model.signatures["serving_default"](**rows)["outputs"].shape == (2, 10)
    assert Path(result.model, "assets.extra/tf_serving_warmup_requests").stat().st_size > 0

    again = digits.run()
    assert again.exit_code is ExitCode.DONE
    unexpected = {
        node: state
        for node, state in states(again).items()
        if state != "cached" and node not in ("AnalyzerCache", "Baseline")  # they look up
    }
    assert unexpected == {}
    assert (again.version, again.is_new_version) == (1, False)
    assert digits.versions == ["1"]


def test_tuner_finds_the_better_width_and_the_trainer_takes_it(digits: Sandbox) -> None:
    digits.set(tune={"steps": 40, "eval_steps": 4}, data={"window": 1})

    result = digits.run("train.parameters.units=4", to_node="Trainer")

    assert result.failure is None, result.failure
    assert states(result)["Tuner"] == "complete"
    (best,) = digits.folder.glob("var/digits/artifacts/Tuner/best_hyperparameters/*/*")
    assert json.loads(best.read_text())["values"]["units"] == 32
    (model,) = digits.folder.glob("var/digits/artifacts/Trainer/model/*/Format-Serving")
    shapes = [shape for _, shape in tf.train.list_variables(f"{model}/variables/variables")]
    assert [64, 32] in shapes and [64, 4] not in shapes


def test_a_new_span_moves_the_window_and_only_it_is_ingested(small) -> None:
    project = small({1: good_rows(), 2: good_rows(300)})
    assert project.run().exit_code is ExitCode.DONE
    project.events.clear()
    write_csv(project.data / "3" / "rows.csv", good_rows(350), ["x", "c", "y"])

    result = project.run()

    assert result.exit_code is ExitCode.DONE, result.headline
    assert result.window == (2, 3)
    by_node = {node.node: node for node in result.nodes}
    for node in ("ExampleGen", "StatisticsGen", "ExampleValidator"):
        assert by_node[node].spans in ({"cached": 1, "complete": 1}, {"complete": 2}), node
    assert by_node["ExampleGen"].spans == {"cached": 1, "complete": 1}
    assert by_node["ExampleGen"].rows == 650
    # The second model was compared with the first, not with itself.
    assert result.baseline is not None
    assert result.version == 2
    newest = [r for r in result.verdicts[-1].reasons if r.where == "span=3"]
    assert newest == []  # no threshold on it, yet it is evaluated as a slice
    assert _metric_slices(project) >= {(), (("span", "2"),), (("span", "3"),)}


def test_a_changed_helper_is_never_served_from_the_cache(digits: Sandbox) -> None:
    digits.run("data.window=1", to_node="Transform")
    helper = digits.folder / "features.py"
    helper.write_text(helper.read_text() + "\nUNUSED = 1\n")

    result = digits.run("data.window=1", to_node="Transform")

    assert states(result)["StatisticsGen"] == "cached"
    assert states(result)["Transform"] == "complete"


def test_source_that_changes_during_a_run_is_not_cached_under_the_old_one(
    small, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = small()
    model = project.folder / "model.py"

    def edit(node: str, span: int | None) -> None:
        if node == "Transform":  # it has imported the module; Trainer would run the new code
            model.write_text(model.read_text() + "\n# edited\n")

    monkeypatch.setattr(project, "started", edit)
    with pytest.raises(ConfigError, match="changed while the run was executing, so Trainer"):
        project.run()
    monkeypatch.undo()
    again = project.run()
    assert (states(again)["StatisticsGen"], states(again)["Trainer"]) == ("cached", "complete")
    assert again.version == 1


def test_from_takes_over_what_was_before(small) -> None:
    project = small()
    assert project.run().exit_code is ExitCode.DONE

    result = project.run(from_node="Trainer")

    by_node = states(result)
    assert {by_node[n] for n in ALL_NODES[: ALL_NODES.index("Trainer")]} == {"reused"}
    assert by_node["Trainer"] == "complete"
    assert result.exit_code is ExitCode.DONE
    assert result.version == 2


def test_a_worse_model_is_not_blessed_and_the_better_one_is_in_both_orders(small) -> None:
    """Two real models: one that learned, one that was hardly trained on shuffled labels."""
    noise = random.Random(0)
    good, bad = good_rows(), [[x, c, noise.randint(0, 1)] for x, c, _ in good_rows()]
    first = small({1: good}, data={"window": 1})
    assert first.run().exit_code is ExitCode.DONE
    write_csv(first.data / "2" / "rows.csv", bad, ["x", "c", "y"])
    rejected = first.run()
    assert rejected.exit_code is ExitCode.NOT_BLESSED
    assert first.versions == ["1"]
    (reason,) = [r for r in rejected.verdicts[-1].reasons if r.outcome == "blocked"]
    assert reason.kind == "auc.min" and reason.measured < reason.limit == 0.8

    second = small({1: bad}, data={"window": 1})
    assert second.run().exit_code is ExitCode.NOT_BLESSED
    assert second.versions == []
    write_csv(second.data / "2" / "rows.csv", good, ["x", "c", "y"])
    accepted = second.run()
    assert accepted.exit_code is ExitCode.DONE
    assert accepted.baseline is None  # a model that was never blessed is nobody's baseline


def test_the_verdict_in_ml_metadata_is_the_one_in_result_json(small) -> None:
    project = small()
    result = project.run()
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(project.folder / "var" / "metadata.sqlite")
    store = mlmd.MetadataStore(config)
    kept = store.get_artifacts_by_type("GateVerdict") + store.get_artifacts_by_type(
        "ModelEvaluation"
    )
    in_metadata = [json.loads(a.custom_properties["verdict"].string_value) for a in kept]
    (folder,) = (project.folder / "var" / "small" / "runs").iterdir()
    in_result = json.loads((folder / "result.json").read_text())["verdicts"]
    assert in_metadata == in_result == [v.to_dict() for v in result.verdicts]
    assert {e.last_known_state for e in store.get_executions()} == {
        metadata_store_pb2.Execution.COMPLETE
    }


def _metric_slices(project: Sandbox) -> set:
    import tensorflow_model_analysis as tfma

    evaluations = (project.folder / "var/small/artifacts/Evaluator/evaluation").iterdir()
    newest = max(evaluations, key=lambda p: int(p.name))
    return {
        tuple(
            (k.column, str(k.int64_value or k.bytes_value.decode()))
            for k in m.slice_key.single_slice_keys
        )
        for m in tfma.load_metrics(str(newest))
    }
