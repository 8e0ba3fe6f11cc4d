"""Element types under the names of each protocol, and the inputs and outputs of signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ordain.serving.server.errors import invalid

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]
#: Most dimensions of an array in NumPy.
MAX_RANK = 64


@dataclass(frozen=True)
class ElementType:
    """Type of a tensor's elements.

    Attributes:
        tf: TensorFlow's name, as in `DT_FLOAT`.
        v2: The Open Inference Protocol's name.
        numpy: NumPy's type; `object` for strings, whose elements are bytes.
    """

    tf: str
    v2: str
    numpy: np.dtype[Any]

    @property
    def is_string(self) -> bool:
        """True if the elements are byte strings."""
        return self.v2 == "BYTES"


_TYPES = tuple(
    ElementType(tf, v2, np.dtype(name))
    for tf, v2, name in (
        ("DT_BOOL", "BOOL", "bool"),
        ("DT_UINT8", "UINT8", "uint8"),
        ("DT_UINT16", "UINT16", "uint16"),
        ("DT_UINT32", "UINT32", "uint32"),
        ("DT_UINT64", "UINT64", "uint64"),
        ("DT_INT8", "INT8", "int8"),
        ("DT_INT16", "INT16", "int16"),
        ("DT_INT32", "INT32", "int32"),
        ("DT_INT64", "INT64", "int64"),
        ("DT_HALF", "FP16", "float16"),
        ("DT_FLOAT", "FP32", "float32"),
        ("DT_DOUBLE", "FP64", "float64"),
        ("DT_STRING", "BYTES", "object"),
    )
)
BY_TF = {kind.tf: kind for kind in _TYPES}
BY_V2 = {kind.v2: kind for kind in _TYPES}
BY_NUMPY = {kind.numpy: kind for kind in _TYPES}


def strings(items: Sequence[bytes]) -> Array:
    """Makes a flat array of byte strings."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature.

    Attributes:
        name: Its name in requests and responses.
        type: Type of its elements.
        shape: Sizes, -1 for any size; None if the rank is unknown.
        default: Value if a request omits it, `[1, ...]` or a scalar; None if it is required.
    """

    name: str
    type: ElementType
    shape: tuple[int, ...] | None
    default: Array | None = None

    @property
    def has_batch(self) -> bool:
        """True if its first dimension is of any size."""
        return bool(self.shape) and self.shape[0] == -1  # type: ignore[index]

    @property
    def missing_value(self) -> Any:
        """Value for a row without one; None if each row needs its own.

        Only for inputs with a single value per row: the length of a list is the client's choice.
        """
        if self.default is None or self.shape is None or len(self.shape) != 1:
            return None
        value = np.asarray(self.default).ravel()[0]
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return value.item() if isinstance(value, np.generic) else value

    def check(self, array: Array) -> None:
        """Checks an array's type and shape.

        Raises:
            RequestError: They do not match; names both.
        """
        if array.dtype != self.type.numpy:
            got = BY_NUMPY[array.dtype].tf if array.dtype in BY_NUMPY else str(array.dtype)
            raise invalid(f"input {self.name!r} is {got}, expected {self.type.tf}")
        if self.shape is not None and (
            array.ndim != len(self.shape)
            or any(want not in (-1, got) for want, got in zip(self.shape, array.shape, strict=True))
        ):
            raise invalid(
                f"input {self.name!r} has shape {list(array.shape)}, expected {list(self.shape)}"
            )


@dataclass(frozen=True)
class Signature:
    """Signature of a model.

    Attributes:
        name: Its name, as in `signature_name`.
        method: TensorFlow's method name: predict, classify or regress.
        inputs: Its inputs by name.
        outputs: Its outputs by name.
    """

    name: str
    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    @property
    def is_batchable(self) -> bool:
        """True if rows of several requests can be concatenated."""
        specs = (*self.inputs.values(), *self.outputs.values())
        return bool(self.inputs) and all(spec.has_batch for spec in specs)

    def input(self, name: str) -> TensorSpec:
        """An input by name.

        Raises:
            RequestError: There is none.
        """
        if name not in self.inputs:
            raise invalid(
                f"signature {self.name!r} has no input {name!r}; "
                f"it takes {', '.join(sorted(self.inputs))}"
            )
        return self.inputs[name]

    def complete(self, given: Mapping[str, Array]) -> tuple[Arrays, int]:
        """Checks the inputs of a request, and fills in defaults.

        Returns:
            The inputs, and how many rows they hold (1 if the signature has no batch dimension).

        Raises:
            RequestError: An input is missing or unknown, has another type or shape, or another
                number of rows than the others.
        """
        specs = {name: self.input(name) for name in given}
        missing = [n for n, s in self.inputs.items() if n not in given and s.default is None]
        if missing:
            raise invalid(f"Missing named input: {missing[0]} in 'inputs' object.")
        rows = 1
        first = ""
        for name, array in given.items():
            spec = specs[name]
            spec.check(array)
            if not spec.has_batch:
                continue
            if first and len(array) != rows:
                raise invalid(
                    f"input {name!r} has {len(array)} rows, and input {first!r} has {rows}"
                )
            rows, first = len(array), name
        inputs = dict(given)
        for name, spec in self.inputs.items():
            if name not in inputs:
                inputs[name] = _repeat(spec, rows)
        return inputs, rows


def _repeat(spec: TensorSpec, rows: int) -> Array:
    """Repeats a default for each row."""
    default = np.asarray(spec.default)
    if not spec.has_batch:
        return default
    row_shape = tuple(abs(size) for size in (spec.shape or ())[1:])
    row = default[0] if default.ndim == len(spec.shape or ()) else default
    return np.broadcast_to(row, (rows, *row_shape)).astype(spec.type.numpy)
