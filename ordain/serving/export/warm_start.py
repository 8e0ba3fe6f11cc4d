"""Weights of a published model for a new one to go on from, matched by name.

A SavedModel of `ordain.serving.export.signatures` keeps the path of each Keras variable, such as
`hidden/kernel`. Names that Keras made itself (`dense_7`) count on through a process, so those
layers are matched by their order among layers of the same class.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from ordain.errors import ConfigError

_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
#: Where `ordain.serving.export.signatures` puts the model within the SavedModel, and what training
#: left there.
_MODEL, _OPTIMIZER = "model/", "model/optimizer/"
_NUMBERED = re.compile(r"(?P<base>.*?)(?:_(?P<number>\d+))?")


@dataclass(frozen=True)
class Loaded:
    """What became of the new model's weights.

    Attributes:
        taken: Paths of those that have the published model's values now.
        fresh: Paths of those that keep their own: there is none of that name and shape.
    """

    taken: tuple[str, ...]
    fresh: tuple[str, ...]


def load_weights(model: Any, folder: str) -> Loaded:
    """Gives a model the weights of a published one, as far as names and shapes agree.

    Args:
        model: A built Keras model.
        folder: Folder of the SavedModel, such as `fn_args.base_model`.

    Returns:
        What was taken and what was not.

    Raises:
        ConfigError: The folder holds no SavedModel with Keras weights.
    """
    prefix = Path(folder, "variables", "variables")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
            reader.get_tensor(_GRAPH_KEY)
        )
    except (tf.errors.OpError, ValueError) as error:
        raise ConfigError(
            f"{folder} holds no weights to go on from: {error}",
            "export the model with ordain.serving.export.signatures.export_model",
        ) from error
    saved = _unique(
        (attribute.full_name, attribute.checkpoint_key)
        for node in graph.nodes
        for attribute in node.attributes
        if attribute.checkpoint_key.startswith(_MODEL)
        and not attribute.checkpoint_key.startswith(_OPTIMIZER)
    )
    own = _unique((weight.path, weight) for weight in model.weights)
    made_by_keras = {_snake_case(type(layer).__name__) for layer in _layers(model)}
    before, now = _by_rank(saved, made_by_keras), _by_rank(own, made_by_keras)
    shapes = reader.get_variable_to_shape_map()
    taken = []
    for name, path in now.items():
        key = saved.get(before.get(name, ""))
        weight = own[path]
        if key is not None and list(shapes[key]) == list(weight.shape):
            weight.assign(reader.get_tensor(key))
            taken.append(path)
    fresh = [weight.path for weight in model.weights if weight.path not in taken]
    return Loaded(tuple(taken), tuple(fresh))


def _layers(model: Any) -> list[Any]:
    """The layers of a model and of the models within it."""
    own = list(getattr(model, "layers", ()))
    return [*own, *(below for layer in own for below in _layers(layer))]


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What is named once; of two of the same name nobody can tell which is which."""
    listed = list(pairs)
    counted = Counter(name for name, _ in listed)
    return {name: value for name, value in listed if counted[name] == 1}


def _by_rank(paths: Iterable[str], made_by_keras: set[str]) -> dict[str, str]:
    """Paths by a name that does not depend on how many layers a process made before.

    `dense_7/kernel` and `dense_9/kernel` are `dense#0/kernel` and `dense#1/kernel`, of two; with
    another number of such layers they are others, and match nothing.
    """
    listed = list(paths)
    numbers: dict[str, set[int]] = {}
    for path in listed:
        base, number = _split(path)
        if base in made_by_keras:
            numbers.setdefault(base, set()).add(number)
    named = {}
    for path in listed:
        base, number = _split(path)
        rest = path.partition("/")[2]
        if base in numbers:
            rank = sorted(numbers[base]).index(number)
            named[f"{base}#{rank} of {len(numbers[base])}/{rest}"] = path
        else:
            named[path] = path
    return named


def _split(path: str) -> tuple[str, int]:
    """Name and number of the layer: `dense_7/kernel` is `dense`, 7; `dense/kernel` is 0."""
    match = _NUMBERED.fullmatch(path.partition("/")[0])
    assert match is not None  # noqa: S101  the expression takes any text
    return match["base"], int(match["number"] or 0)


def _snake_case(name: str) -> str:
    """The name that Keras gives a layer of a class."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
