"""Breaking changes of a model's signatures for clients of the previous version.

A client sends the inputs that it knows, in their types and shapes, and reads the outputs that it
knows. Compared are the signatures that a server offers, and whether each input is required.
`transform_features`, which serves the evaluation, is not compared: its outputs are a model's
features, which change with every model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ordain.serving.export.description import TRANSFORM_FEATURES, shape_text
from ordain.serving.server.codec.tensors import Signature, TensorSpec


@dataclass(frozen=True)
class Break:
    """One breaking change.

    Attributes:
        name: What changed, such as `serving_default.inputs.age`; the configuration allows a change
            by this name.
        text: The change, before and after.
    """

    name: str
    text: str


def find_breaks(before: Mapping[str, Signature], after: Mapping[str, Signature]) -> list[Break]:
    """Compares the signatures of two versions.

    Args:
        before: Signatures that clients use, by name.
        after: Signatures that would replace them.
    """
    found: list[Break] = []
    for name in sorted(before.keys() - {TRANSFORM_FEATURES}):
        if name not in after:
            found.append(Break(name, "the signature is gone"))
            continue
        found += _inputs(f"{name}.inputs", before[name].inputs, after[name].inputs)
        found += _outputs(f"{name}.outputs", before[name].outputs, after[name].outputs)
    return found


def _inputs(
    where: str, before: Mapping[str, TensorSpec], after: Mapping[str, TensorSpec]
) -> Iterator[Break]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if new is None:
            yield Break(f"{where}.{name}", "the input is gone")
        elif old is None:
            if new.default is None:
                yield Break(f"{where}.{name}", f"is a new input that is required ({_text(new)})")
        elif new.type != old.type or not _accepts(new.shape, old.shape):
            yield Break(f"{where}.{name}", f"was {_text(old)}, is {_text(new)}")
        elif old.default is not None and new.default is None:
            yield Break(f"{where}.{name}", "could be left out, is required")
    if len(before) == 1 < len(after):
        # REST takes bare values for a single input.
        yield Break(where, f"was one input, is {len(after)}")


def _outputs(
    where: str, before: Mapping[str, TensorSpec], after: Mapping[str, TensorSpec]
) -> Iterator[Break]:
    for name in sorted(before):
        old, new = before[name], after.get(name)
        if new is None:
            yield Break(f"{where}.{name}", "the output is gone")
        elif (new.type, new.shape) != (old.type, old.shape):
            yield Break(f"{where}.{name}", f"was {_text(old)}, is {_text(new)}")
    if len(before) == 1 < len(after):
        # REST answers a single output with bare values, several with objects.
        yield Break(where, f"was one output, is {len(after)}")


def _accepts(new: tuple[int, ...] | None, old: tuple[int, ...] | None) -> bool:
    """True if each tensor of the old shape also has the new shape."""
    if new is None or old is None:
        return new is None
    return len(new) == len(old) and all(n in (-1, o) for n, o in zip(new, old, strict=True))


def _text(spec: TensorSpec) -> str:
    return f"{spec.type.tf} {shape_text(spec.shape)}"
