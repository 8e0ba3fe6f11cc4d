"""TFX's executors: the allowed choices, and the refusal of others."""

import pytest

from ordain.config.loading import load_project
from ordain.errors import ConfigError

ALL = "{ExampleGen: tfx, StatisticsGen: tfx, Transform: tfx, Evaluator: tfx}"


def load(folder, *settings):
    return load_project(folder, None, settings)


def test_ours_unless_told(make_folder):
    folder = make_folder()
    assert not any(load(folder).is_stock(node) for node in ("ExampleGen", "Transform"))
    project = load(folder, "executors.Transform=tfx", "executors.Evaluator=ordain")
    assert project.is_stock("Transform")
    assert not project.is_stock("Evaluator")


def test_all_of_them(make_folder):
    assert len(load(make_folder(), "data.format=csv", f"executors={ALL}").executors) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("executors.ExampleGen=tfx",), "set data.format"),
        (
            ("executors.ExampleGen=tfx", "data.format=csv", "data.unlabelled=drop"),
            "cannot leave rows out",
        ),
        (
            ("executors.Evaluator=tfx", "evaluate.thresholds.auc.newest={min: 0.5}"),
            r"remove newest and 'span' from evaluate \(auc\)",
        ),
        (
            ("executors.Evaluator=tfx", "evaluate.slices=[span]"),
            r"from evaluate \(slices\)",
        ),
        (("executors.Trainer=tfx",), "executors.Trainer"),
        (("executors.Transform=beam",), "executors.Transform"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(make_folder, settings, message):
    with pytest.raises(ConfigError, match=message):
        load(make_folder(), *settings)
