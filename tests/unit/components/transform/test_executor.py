"""The `custom_config` that a project's `preprocessing_fn` gets, from the graph to the function."""

from pathlib import Path

import pytest

from ordain.components.transform.executor import _preprocessing_fn

MODULE = """
def preprocessing_fn(inputs, custom_config):
    return custom_config


def run_fn(fn_args):
    pass
"""


@pytest.fixture
def given(make_folder):
    """Calls a project's `preprocessing_fn` with what the graph gives Transform."""

    def give(**keys):
        from ordain.config.loading import load_project
        from ordain.pipeline import graph

        folder = make_folder(module=MODULE, **keys)
        chain = graph.build(load_project(folder), 3)
        (node,) = (node for node in chain.components if node.id == "Transform")
        return _preprocessing_fn(node.exec_properties)({})

    return give


def test_config_has_label_and_source_fingerprint(given):
    config = given(train__parameters={"learning_rate": 0.1})
    assert config["label"] == "y"
    assert sorted(config) == ["label", "source_fingerprint"]


def test_config_does_not_depend_on_training_parameters(given):
    """Otherwise Transform would run again for another learning rate."""
    assert given(train__parameters={"rate": 1}) == given(train__parameters={"rate": 2})


def test_a_function_of_one_parameter_gets_none(tmp_path: Path):
    module = tmp_path / "model.py"
    module.write_text("def preprocessing_fn(inputs):\n    return inputs\n")
    properties = {"module_file": str(module), "custom_config": '{"label": "y"}'}
    assert _preprocessing_fn(properties)({"x": 1}) == {"x": 1}
