"""What a model says about itself: `assets/ordain.json`, a part of every exported SavedModel.

Whoever serves a model or asks it something needs names, types, what stands for a missing value,
the classes and the threshold; none of it can be read off a graph. Needs no TensorFlow.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from contracts.errors import InfrastructureError

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
    def from_json(cls, text: str) -> Description:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: The text is no description, or one of another format.
        """
        try:
            raw = json.loads(text)
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']!r}, this reader knows {FORMAT}")
            features = tuple(
                Feature(f["name"], f["dtype"], tuple(f["shape"]), f["is_required"])
                for f in raw["features"]
            )
            unknown = {f.dtype for f in features} - set(MISSING)
            if unknown:
                raise ValueError(f"dtype {min(unknown)!r}, known are {', '.join(MISSING)}")
            return cls(
                features=features,
                label=str(raw["label"]),
                task=raw["task"],
                classes=tuple(raw["classes"]),
                threshold=raw["threshold"],
                signatures=raw["signatures"],
                operations=tuple(map(str, raw["operations"])),
            )
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not a model's description: {error!r}") from error


def read_description(model: str | Path) -> Description | None:
    """A model's description, or None for a model that was not exported by `export_model`.

    Args:
        model: Folder of the SavedModel.

    Raises:
        InfrastructureError: There is a description that cannot be read.
    """
    path = Path(model) / DESCRIPTION_FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes")
        return Description.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InfrastructureError(
            f"{path}: {error}", "the model was changed after its export; publish it again"
        ) from error
