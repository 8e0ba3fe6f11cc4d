"""What a model says about itself: `assets/ordain.json`, a part of every exported SavedModel.

Whoever serves a model or asks it something needs names, types, what stands for a missing value,
the classes and the threshold; none of it can be read off a graph. Needs no TensorFlow.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ordain.common.atomic_files import read_plain
from ordain.common.strict_json import (
    list_of,
    number,
    object_of,
    parse_json,
    text_of,
    whole_number,
)
from ordain.errors import InfrastructureError

#: The asset's path in the model's folder.
DESCRIPTION_FILE = "assets/ordain.json"
#: The form that is written here; a reader of another one says so instead of guessing.
FORMAT = 1
#: A description lists columns, classes and operations; a larger file is none.
MAX_BYTES = 64_000_000

SERVING_DEFAULT = "serving_default"
SERVING_TF_EXAMPLE = "serving_tf_example"
TRANSFORM_FEATURES = "transform_features"
#: The one input of the signatures that take serialized tf.Examples, `[batch] string`.
EXAMPLES_INPUT = "examples"

#: What stands for "no value" in an input of `serving_default`, by dtype. A signature cannot leave
#: an input out, and JSON has neither null nor absent keys in TensorFlow Serving.
MISSING: dict[str, str | float | int] = {
    "string": "",
    "float32": float("nan"),
    "int64": -(2**63),
}

Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class Feature:
    """One raw column, which is one input of `serving_default`.

    Attributes:
        name: The column's name, and the input's.
        dtype: `string`, `float32` or `int64`.
        shape: The input's shape; None for a dimension of any size. `(None,)` takes one value for
            a row.
        is_required: Whether every row has a value; otherwise `missing` stands for none.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] = (None,)
    is_required: bool = True

    @property
    def missing(self) -> str | float | int | None:
        """What stands for a missing value; None for a required feature, which knows none."""
        return None if self.is_required else MISSING[self.dtype]


@dataclass(frozen=True)
class Description:
    """What a model says about itself.

    Attributes:
        features: Inputs of `serving_default`, by column; the label is not among them.
        label: The label's column.
        task: What kind of prediction the model makes.
        classes: The class vocabulary: what each output (or 0 and 1) stands for; empty for a
            number.
        threshold: At least this much is the second class; None if not binary.
        signatures: Dtype and shape of inputs and outputs, by signature.
        operations: Operations that the graph held when it was exported, sorted.
    """

    features: tuple[Feature, ...]
    label: str
    task: Task
    classes: tuple[str | int, ...] = ()
    threshold: float | None = None
    signatures: dict[str, Any] = field(default_factory=dict)
    operations: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The asset's text."""
        raw = {"format": FORMAT, **asdict(self)}
        raw["features"] = [
            # NaN is no JSON: the text stands for it.
            asdict(f) | {"missing": "NaN" if isinstance(f.missing, float) else f.missing}
            for f in self.features
        ]
        return json.dumps(raw, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Description:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: The text is no description, or one of another format.
        """
        try:
            raw = object_of(parse_json(text), "the description")
            if type(raw["format"]) is not int or raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']!r:.60}, this reader knows {FORMAT}")
            task, threshold = text_of(raw["task"], "task"), raw["threshold"]
            if task not in get_args(Task):
                raise ValueError(f"task is {task!r:.60}, known are {', '.join(get_args(Task))}")
            return cls(
                features=tuple(map(_feature, list_of(raw["features"], "features"))),
                label=text_of(raw["label"], "label"),
                task=cast(Task, task),
                classes=tuple(map(_class, list_of(raw["classes"], "classes"))),
                threshold=None if threshold is None else number(threshold, "threshold"),
                signatures=object_of(raw["signatures"], "signatures"),
                operations=tuple(
                    text_of(name, "an operation")
                    for name in list_of(raw["operations"], "operations")
                ),
            )
        except KeyError as error:
            raise ValueError(f"not a model's description: it has no {error}") from error


def _feature(raw: Any) -> Feature:
    raw = object_of(raw, "a feature")
    name = text_of(raw["name"], "a feature's name")
    dtype, is_required = text_of(raw["dtype"], f"the dtype of {name!r:.60}"), raw["is_required"]
    if dtype not in MISSING:
        raise ValueError(f"dtype {dtype!r:.60}, known are {', '.join(MISSING)}")
    if not isinstance(is_required, bool):
        raise ValueError(f"is_required of {name!r:.60} is neither true nor false")
    shape = list_of(raw["shape"], f"the shape of {name!r:.60}")
    sizes = (n if n is None else whole_number(n, f"a size of {name!r:.60}") for n in shape)
    return Feature(name, dtype, tuple(sizes), is_required)


def _class(raw: Any) -> str | int:
    return raw if isinstance(raw, str) else whole_number(raw, "a class", -(2**63))


def read_description(model: str | Path) -> Description | None:
    """A model's description, or None for a model that was not exported by `export_model`.

    Args:
        model: Folder of the SavedModel.

    Raises:
        InfrastructureError: There is a description that cannot be read.
    """
    hint = "the model was changed after its export; publish it again"
    try:
        text = read_plain(Path(model), DESCRIPTION_FILE, MAX_BYTES)
        return Description.from_json(text)
    except FileNotFoundError:
        return None
    except InfrastructureError as error:
        raise InfrastructureError(error.message, hint) from error
    except ValueError as error:
        raise InfrastructureError(f"{Path(model) / DESCRIPTION_FILE}: {error}", hint) from error
