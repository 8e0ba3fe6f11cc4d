"""Description of a model, stored in every exported SavedModel as `assets/ordain.json`.

Servers and clients need names, types, values for missing, classes and the threshold, which a graph
does not contain. Needs no TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from ordain.common.atomic_files import read_plain
from ordain.common.strict_json import WholeNumber, parse_json, parse_record, require_keys
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
MISSING: dict[Dtype, str | float | int] = {
    "string": "",
    "float32": float("nan"),
    "int64": -(2**63),
}

Dtype = Literal["string", "float32", "int64"]
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
    dtype: Dtype
    shape: tuple[WholeNumber | None, ...] = (None,)
    is_required: bool = True

    @property
    def missing(self) -> str | float | int | None:
        """The value for missing; None for a required feature."""
        return None if self.is_required else MISSING[self.dtype]


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    Attributes:
        dtype: TensorFlow's name of the type, such as `float32` or `string`.
        shape: Dimensions, None for any size; None as a whole for an unknown rank.
    """

    dtype: str
    shape: tuple[WholeNumber | None, ...] | None

    def __str__(self) -> str:
        """Dtype and shape, such as `float32 [?, 2]`."""
        return f"{self.dtype} {shape_text(self.shape)}"


@dataclass(frozen=True)
class Signature:
    """One signature of the SavedModel, inputs and outputs by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


@dataclass(frozen=True)
class Description:
    """Description of a model.

    Attributes:
        features: Inputs of `serving_default`, by column, without the label.
        label: The label's column.
        task: Kind of prediction.
        classes: Class vocabulary: the meaning of each output (or of 0 and 1); empty for regression.
        threshold: Outputs from this value on are the second class; None if not binary.
        signatures: Signatures of the graph by name.
        operations: Operations of the graph at its export, sorted.
    """

    features: tuple[Feature, ...]
    label: str
    task: Task
    classes: tuple[str | Annotated[int, Field(ge=-(2**63), lt=2**63)], ...] = ()
    threshold: FiniteFloat | None = None
    signatures: dict[str, Signature] = field(default_factory=dict)
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
        raw = parse_json(text)
        found = raw.get("format") if isinstance(raw, dict) else None
        if type(found) is not int or found != FORMAT:
            raise ValueError(f"format {found!r:.60}, this reader knows {FORMAT}")
        description = parse_record(text, cls)
        for feature in raw["features"]:
            require_keys(feature, Feature)
        return description


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


def shape_text(shape: Sequence[int | None] | None) -> str:
    """A shape such as `[?, 2]`; dimensions of any size are None or negative."""
    if shape is None:
        return "of any shape"
    return "[" + ", ".join("?" if n is None or n < 0 else str(n) for n in shape) + "]"
