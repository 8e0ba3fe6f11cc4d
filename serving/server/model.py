"""A loaded SavedModel: its signatures, and one call of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from contracts.errors import InfrastructureError
from serving.description import SERVING_DEFAULT, read_description
from serving.server.status import Code, RequestError, invalid
from serving.server.tensors import BY_TF, Array, Arrays, Signature, TensorSpec

SERVE_TAG = "serve"


class LoadError(Exception):
    """A version that cannot be served, with the reason."""


class LoadedModel:
    """One version in memory.

    Attributes:
        version: Its number.
        signatures: What it can be asked, by name.
        signature_defs: The same as TensorFlow's messages, for metadata.
    """

    def __init__(self, folder: Path, version: int) -> None:
        """Reads and loads a version; the checks come before, in `checks.find_problems`.

        Raises:
            LoadError: TensorFlow cannot load it, or no signature of it can be called.
        """
        self.version = version
        try:
            self._read(folder)
        except LoadError:
            raise
        except Exception as error:
            # What a damaged or hostile model raises is not to be foreseen; the server lives on.
            text = essence(error) if isinstance(error, tf.errors.OpError) else str(error)
            raise LoadError(f"{type(error).__name__}: {text}") from error

    def _read(self, folder: Path) -> None:
        self.signature_defs = read_signature_defs(folder)
        self.signatures = _offered(folder, self.signature_defs)
        if not self.signatures:
            raise LoadError("it has no signature that can be called")
        self._loaded = tf.saved_model.load(str(folder), tags=[SERVE_TAG])
        self._functions = {name: self._loaded.signatures[name] for name in self.signatures}

    def signature(self, name: str) -> Signature:
        """A signature by name.

        Raises:
            RequestError: There is none.
        """
        if name not in self.signatures:
            raise invalid(
                f'Serving signature name: "{name}" not found in signature def; '
                f"there are {', '.join(sorted(self.signatures))}"
            )
        return self.signatures[name]

    def run(self, signature: str, inputs: Mapping[str, Array]) -> Arrays:
        """Calls a signature; may be called from several threads.

        Args:
            signature: A name in `signatures`.
            inputs: Complete and checked, see `Signature.complete`.

        Raises:
            RequestError: TensorFlow refused or failed, with the code it gave.
        """
        specs = self.signatures[signature].inputs
        try:
            tensors = {
                name: tf.constant(_for_tf(array), dtype=specs[name].type.tf[3:].lower())
                for name, array in inputs.items()
            }
            outputs = self._functions[signature](**tensors)
            return {name: _from_tf(tensor) for name, tensor in outputs.items()}
        except tf.errors.OpError as error:
            raise RequestError(Code.of_number(error.error_code), essence(error)) from error
        except (TypeError, ValueError, UnicodeError) as error:
            raise invalid(str(error).partition("\n")[0]) from error


def read_signature_defs(folder: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures of a SavedModel's serving graph, without loading it.

    Raises:
        LoadError: There is no such file, or it is no SavedModel, or it has no serving graph.
    """
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise LoadError(f"{folder.name}/saved_model.pb: {error}") from error
    for graph in saved.meta_graphs:
        if SERVE_TAG in graph.meta_info_def.tags:
            return {
                name: definition
                for name, definition in graph.signature_def.items()
                if not name.startswith("__saved_model")
            }
    raise LoadError(f"{folder.name}/saved_model.pb holds no graph for serving")


def read_signatures(folder: Path) -> dict[str, Signature]:
    """The signatures that a server offers of a SavedModel, without loading it.

    Raises:
        LoadError: It is no SavedModel with a serving graph, or its description cannot be read.
    """
    return _offered(folder, read_signature_defs(folder))


def _offered(
    folder: Path, definitions: Mapping[str, meta_graph_pb2.SignatureDef]
) -> dict[str, Signature]:
    """The signatures whose types a request can carry."""
    missing = _missing_values(folder)
    found = {name: _read_signature(name, raw, missing) for name, raw in definitions.items()}
    return {name: signature for name, signature in found.items() if signature is not None}


def _missing_values(folder: Path) -> dict[str, Any]:
    """What stands for "no value" in the inputs of `serving_default` that may have none.

    Raises:
        LoadError: The model's description cannot be read.
    """
    try:
        description = read_description(folder)
    except InfrastructureError as error:
        raise LoadError(str(error)) from error
    features = description.features if description is not None else ()
    return {f.name: f.missing for f in features if not f.is_required}


def _read_signature(
    name: str, raw: meta_graph_pb2.SignatureDef, missing: Mapping[str, Any]
) -> Signature | None:
    """What a signature takes and gives; None if it has a type that no request can carry.

    An input may be left out of a request if TensorFlow's signature has a default for it, or, in
    `serving_default`, if the model's description says what stands for a missing value.
    """
    defaults = {alias: tf.make_ndarray(proto) for alias, proto in raw.defaults.items()}
    if name == SERVING_DEFAULT:
        defaults |= {alias: _scalar(value) for alias, value in missing.items()}
    sides: list[dict[str, TensorSpec]] = []
    for infos in (raw.inputs, raw.outputs):
        specs = {}
        for alias, info in infos.items():
            kind = BY_TF.get(types_pb2.DataType.Name(info.dtype))
            if kind is None or info.WhichOneof("encoding") != "name":
                return None
            unknown = info.tensor_shape.unknown_rank
            shape = None if unknown else tuple(dim.size for dim in info.tensor_shape.dim)
            specs[alias] = TensorSpec(alias, kind, shape, defaults.get(alias))
        sides.append(specs)
    return Signature(name, raw.method_name, *sides)


def essence(error: tf.errors.OpError) -> str:
    """What was wrong, without the trace of the graph and of the files it was made from."""
    before = str(error.message).partition("[[")[0]
    lines = [line.strip() for line in before.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _scalar(value: Any) -> Array:
    return np.array(value.encode() if isinstance(value, str) else value, dtype=object)


def _for_tf(array: Array) -> Any:
    # TensorFlow takes an empty array of objects for one of floats.
    if array.dtype == object and array.size == 0:
        return np.empty(array.shape, dtype="S1")
    return array


def _from_tf(tensor: Any) -> Array:
    array = np.asarray(tensor.numpy())
    if array.dtype.kind in "SU":
        return array.astype(object)
    return array
