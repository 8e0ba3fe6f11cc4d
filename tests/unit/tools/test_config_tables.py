"""docs/configuration.md shows the keys, types, bounds, defaults and meanings of the models.

After a change of a model: make docs-tables
"""

import config_tables
import pytest


def test_the_page_is_what_the_models_are():
    page = config_tables.PAGE.read_text(encoding="utf-8")
    assert page == config_tables.render(page), "run: make docs-tables"


@pytest.mark.parametrize(
    "row",
    [
        "| `data.window` | integer from 1 to 1,000 | 1 |",
        "| `data.format` | `csv`, `parquet`, `tfrecord` | none |",
        "| `data.label` | text | required |",
        "| `gate.drift.numeric` | number above 0 to 1, or `null` | 0.3 |",
        "| `evaluate.metrics[].class` | class name | required |",
        "| `kubeflow.pull_secrets` | list of names, at most 16 | `[]` |",
        "| `kubeflow.env` | map of variable to text, at most 4,096 characters | `{}` |",
        "| `tolerations[].seconds` | integer from 0 to 31,536,000 | none |",
        "| `train.module` | path | `model.py` |",
    ],
)
def test_a_row_has_what_the_annotation_says(row):
    assert f"\n{row}" in config_tables.render(config_tables.PAGE.read_text(encoding="utf-8"))


def test_a_model_without_a_table_is_named():
    page = config_tables.PAGE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"no table has the keys of Threshold$"):
        config_tables.render(page.replace("<!-- keys: Threshold -->", ""))
