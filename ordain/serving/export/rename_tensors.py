"""Post-processes an exported SavedModel: input names, defaults of inputs, the description.

TensorFlow makes a signature's input names Python parameters: it refuses or mangles `wind dir`,
`größe`, and two columns that differ in case only. So a model is traced with generated names, which
are replaced here by the columns', in the signature and in the objects that `tf.saved_model.load`
reads. Optional inputs get defaults, so that a server with support for defaults accepts requests
without them. Signatures and operations of the saved model are added to the description.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

from ordain.serving.export.description import DESCRIPTION_FILE, Description
from ordain.serving.export.saved_model_graph import operations_of, signatures_of


def finish_export(
    folder: str, description: Description, columns: Mapping[str, str], signatures: set[str]
) -> None:
    """Renames the inputs, and completes the description.

    Args:
        folder: The SavedModel.
        description: Its description so far.
        columns: Column by traced input name.
        signatures: Signatures whose inputs are columns.
    """
    path = Path(folder, "saved_model.pb")
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (graph,) = saved.meta_graphs
    for name in signatures:
        _rename_keys(graph.signature_def[name].inputs, columns)
        for feature in description.features:
            if not feature.is_required:
                default = tf.make_tensor_proto(
                    feature.missing, tf.as_dtype(feature.dtype), [1] * len(feature.shape)
                )
                graph.signature_def[name].defaults[feature.name].CopyFrom(default)
    _rename_arguments(graph.object_graph_def, columns, signatures)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    # The fingerprint is a hash of the changed file.
    fingerprinting_utils.write_fingerprint(folder)

    complete = dataclasses.replace(
        description,
        signatures=signatures_of(graph),
        operations=tuple(sorted(operations_of(saved))),
    )
    Path(folder, DESCRIPTION_FILE).write_text(complete.to_json(), encoding="utf-8")


def _rename_arguments(objects: Any, columns: Mapping[str, str], signatures: set[str]) -> None:
    """Renames the arguments of the functions behind signatures, for `tf.saved_model.load`."""
    # From the root: the model of the transform layer has signatures of its own.
    (top,) = (c.node_id for c in objects.nodes[0].children if c.local_name == "signatures")
    behind = {child.local_name: child.node_id for child in objects.nodes[top].children}
    for name in signatures:
        function = objects.nodes[behind[name]].bare_concrete_function
        keywords = [columns.get(word, word) for word in function.argument_keywords]
        del function.argument_keywords[:]
        function.argument_keywords.extend(keywords)
        # It repeats the names as Python parameters, and is not needed for calls by keyword.
        function.ClearField("function_spec")
        concrete = objects.concrete_functions[function.concrete_function_name]
        _, by_name = concrete.canonicalized_input_signature.tuple_value.values
        _rename_keys(by_name.dict_value.fields, columns)
        for key, value in by_name.dict_value.fields.items():
            value.tensor_spec_value.name = key


def _rename_keys(fields: Any, columns: Mapping[str, str]) -> None:
    """Renames all keys of a protobuf map at once: a column may have another's traced name."""
    renamed = {
        columns.get(key, key): type(value).FromString(value.SerializeToString())
        for key, value in fields.items()
    }
    fields.clear()
    for key, value in renamed.items():
        fields[key].CopyFrom(value)
