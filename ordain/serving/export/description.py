"""Description of a model, stored in every exported SavedModel as `assets/ordain.json`.

Servers and clients need names, types, values for missing, classes and the threshold, which a graph
does not contain. Needs no TensorFlow.
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
#: Example request that an export may hold; written by `samples`, never required.
EXAMPLE_FILE = "assets.extra/ordain/example.json"
#: Requests that a server replays before it takes traffic; TensorFlow Serving names the file.
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
#: Format of the file; readers refuse others.
FORMAT = 1
#: A description lists columns, classes and operations; larger files are refused.
MAX_BYTES = 64_000_000

SERVING_DEFAULT = "serving_default"
SERVING_TF_EXAMPLE = "serving_tf_example"
TRANSFORM_FEATURES = "transform_features"
#: The one input of the signatures that take serialized tf.Examples, `[batch] string`.
EXAMPLES_INPUT = "examples"

#: Value for missing in an input of `serving_default`, by dtype. Inputs of a signature cannot be
#: omitted, and TensorFlow Serving accepts neither null nor absent keys in JSON.
MISSING: dict[str, str | float | int] = {
    "string": "",
    "float32": float("nan"),
    "int64": -(2**63),
}

Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class Feature:
    """One raw column, an input of `serving_default`.

    Attributes:
        name: Name of the column and of the input.
        dtype: `string`, `float32` or `int64`.
        shape: The input's shape; None for a dimension of any size. `(None,)` is one value per row.
        is_required: Whether every row needs a value; otherwise `missing` means no value.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] = (None,)
    is_required: bool = True

    @property
    def missing(self) -> str | float | int | None:
        """The value for missing; None for a required feature."""
        return None if self.is_required else MISSING[self.dtype]


@dataclass(frozen=True)
class Description:
    """Description of a model.

    Attributes:
        features: Inputs of `serving_default`, by column, without the label.
        label: The label's column.
        task: Kind of prediction.
        classes: Class vocabulary: the meaning of each output (or of 0 and 1); empty for regression.
        threshold: Outputs from this value on are the second class; None if not binary.
        signatures: Dtype and shape of inputs and outputs, by signature.
        operations: Operations of the graph at its export, sorted.
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
            # JSON has no NaN, so it is written as a string.
            asdict(f) | {"missing": "NaN" if isinstance(f.missing, float) else f.missing}
            for f in self.features
        ]
        return json.dumps(raw, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Description:
        """Parses the text of `to_json`.

        Raises:
            ValueError: The text is not a description, or has an unknown format.
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
    """Reads a model's description; None for a model that was not exported by `export_model`.

    Args:
        model: Folder of the SavedModel.

    Raises:
        InfrastructureError: The description cannot be read.
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
