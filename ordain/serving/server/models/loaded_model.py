"""A loaded SavedModel: its signatures, and one call of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ordain.serving.server.codec.tensors import Array, Arrays, Signature
from ordain.serving.server.errors import Code, RequestError, invalid
from ordain.serving.server.models.signature_defs import SERVE_TAG, LoadError, read_servable


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
        self.signature_defs, self.signatures = read_servable(folder)
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


def essence(error: tf.errors.OpError) -> str:
    """What was wrong, without the trace of the graph and of the files it was made from."""
    before = str(error.message).partition("[[")[0]
    lines = [line.strip() for line in before.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


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
