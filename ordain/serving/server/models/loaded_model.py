"""A loaded SavedModel and calls of its signatures."""

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
        signatures: Signatures that can be called, by name.
        signature_defs: All signatures as TensorFlow's messages, for metadata.
    """

    def __init__(self, folder: Path, version: int) -> None:
        """Loads a version that passed `checks.find_problems`.

        Raises:
            LoadError: TensorFlow cannot load it, or none of its signatures can be called.
        """
        self.version = version
        try:
            self.signature_defs, self.signatures = read_servable(folder)
            self._loaded = tf.saved_model.load(str(folder), tags=[SERVE_TAG])
            self._functions = {name: self._loaded.signatures[name] for name in self.signatures}
        except LoadError:
            raise
        except Exception as error:
            # The model is untrusted input: loading it may raise anything.
            text = brief_message(error) if isinstance(error, tf.errors.OpError) else str(error)
            raise LoadError(f"{type(error).__name__}: {text}") from error

    def signature(self, name: str) -> Signature:
        """A signature by name.

        Raises:
            RequestError: There is no such signature.
        """
        if name not in self.signatures:
            raise invalid(
                f'Serving signature name: "{name}" not found in signature def; '
                f"there are {', '.join(sorted(self.signatures))}"
            )
        return self.signatures[name]

    def run(self, signature: str, inputs: Mapping[str, Array]) -> Arrays:
        """Calls a signature; thread-safe.

        Args:
            signature: A name in `signatures`.
            inputs: Complete and checked, see `Signature.complete`.

        Raises:
            RequestError: TensorFlow raised an error; has TensorFlow's code.
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
            raise RequestError(Code.of_number(error.error_code), brief_message(error)) from error
        except (TypeError, ValueError, UnicodeError) as error:
            raise invalid(str(error).partition("\n")[0]) from error


def brief_message(error: tf.errors.OpError) -> str:
    """The message of a TensorFlow error without its graph and file traces."""
    before = str(error.message).partition("[[")[0]
    lines = [line.strip() for line in before.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _for_tf(array: Array) -> Any:
    # TensorFlow converts an empty object array to floats.
    if array.dtype == object and array.size == 0:
        return np.empty(array.shape, dtype="S1")
    return array


def _from_tf(tensor: Any) -> Array:
    array = np.asarray(tensor.numpy())
    if array.dtype.kind in "SU":
        return array.astype(object)
    return array
