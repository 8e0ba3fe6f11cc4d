"""Factories that several unit tests share; every one makes the real thing in a temporary folder."""

import copy
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ordain.config.loading import load_project
from ordain.config.project import Project

# Before any test module imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

CONFIG: dict[str, Any] = {
    "name": "toy",
    "workspace": "../work",
    "data": {"path": "data", "pattern": "{SPAN}/*.csv", "label": "y"},
    "evaluate": {"metrics": ["ExampleCount", "AUC"], "thresholds": {"auc": {"min": 0.5}}},
}
MODEL = """\
def preprocessing_fn(inputs):
    return inputs


def run_fn(fn_args):
    pass
"""


@pytest.fixture(scope="session")
def write_project() -> Callable[..., Path]:
    """Writes a project's files into a folder that is made.

    Keyword arguments replace keys of `pipeline.yaml`, `__` standing for a dot; `spans` names the
    CSV spans there are.
    """

    def write(
        folder: Path, spans: tuple[int, ...] = (1, 2, 3), module: str = MODEL, **keys: Any
    ) -> Path:
        config = copy.deepcopy(CONFIG)
        for key, value in keys.items():
            *parents, last = key.split("__")
            here = config
            for part in parents:
                here = here.setdefault(part, {})
            here[last] = value
        folder.mkdir(exist_ok=True)
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        (folder / "model.py").write_text(module)
        (folder / "data").mkdir(exist_ok=True)
        for span in spans:
            (folder / "data" / str(span)).mkdir(exist_ok=True)
            (folder / "data" / str(span) / "rows.csv").write_text("x,y\n1,0\n2,1\n")
        return folder

    return write


@pytest.fixture
def make_folder(tmp_path: Path, write_project: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a project's files and returns its folder; arguments as for `write_project`."""
    return functools.partial(write_project, tmp_path / "toy")


@pytest.fixture
def make_project(make_folder: Callable[..., Path]) -> Callable[..., Project]:
    """Writes a project's files and loads it; arguments as for `write_project`."""

    def make(**keys: Any) -> Project:
        return load_project(make_folder(**keys))

    return make
