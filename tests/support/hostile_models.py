"""SavedModels that do harm, each an honest one with one thing changed, by what is changed.

Every entry of `HOSTILE` is a real model on disk. Those of `ATTACKS` do what they are for when they
are loaded or asked: they write a file, or give away one that is not theirs.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import variable_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from ordain.serving.scan.meta_graph import functions_of_object

SAVE, RESTORE, INIT = "SaveV2", "RestoreV2", "InitializeTableFromTextFileV2"
WHOLE, NUMBER = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER


#: In place of these a path below the folder of the bases is written.
WRITTEN, SECRET = "@written@", "@secret.txt@"


@dataclass(frozen=True)
class Hostile:
    """A change, and the problem that has to be found for it.

    Attributes:
        root: The letter of the issue's root.
        base: The honest model that is changed.
        change: Changes its `MetaGraphDef`.
        op: The problem's operation.
        where: Part of the problem's place.
        why: Part of its reason.
    """

    root: str
    base: str
    change: Callable[[Any], None]
    op: str
    where: str
    why: str


HOSTILE: dict[str, Hostile] = {}


def hostile(root: str, base: str, op: str, where: str, why: str) -> Callable[[Any], Any]:
    """Enters a change into the table under its function's name."""

    def enter(change: Callable[[Any], None]) -> Callable[[Any], None]:
        HOSTILE[change.__name__] = Hostile(root, base, change, op, where, why)
        return change

    return enter


def build_bases(folder: Path) -> None:
    """Writes the models that are changed: `tables`, `plain` and `tf1`, and files to steal."""
    folder.mkdir(exist_ok=True)
    (folder / "words.txt").write_text("red\ngreen\nblue\n")
    (folder / "secret.txt").write_text("the secret\n")
    _build_tables(folder)
    _build_plain(folder)
    _build_tf1(folder)


def _build_tables(folder: Path) -> None:
    """A variable, a table of an asset, a table in the checkpoint."""
    module = tf.Module()
    module.scale = tf.Variable(2.0)
    words = tf.lookup.TextFileInitializer(
        str(folder / "words.txt"), tf.string, WHOLE, tf.int64, NUMBER
    )
    module.words = tf.lookup.StaticVocabularyTable(words, 1)
    module.counts = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        found = module.words.lookup(x) + module.counts.lookup(x)
        return {"y": module.scale * tf.cast(found, tf.float32)}

    module.serve = serve
    tf.saved_model.save(module, str(folder / "tables"), signatures=serve)


def _build_plain(folder: Path) -> None:
    """A model that is harmless, beside functions on files that its changes make use of."""
    module = tf.Module()
    module.resource = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    text = tf.TensorSpec([None], tf.string, name="x")

    @tf.function(input_signature=[text])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.strings.length(x)}

    @tf.function(input_signature=[])
    def writes() -> tf.Tensor:
        with tf.control_dependencies([_save(tf.constant(str(folder / "written")))]):
            return tf.constant(1)

    @tf.function(input_signature=[text])
    def writes_to(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([_save(x[0])]):
            return {"y": tf.strings.length(x)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="x")])
    def reads(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": _first_line(x)}

    module.serve, module.writes, module.writes_to, module.reads = serve, writes, writes_to, reads
    module.asset = tf.saved_model.Asset(str(folder / "words.txt"))
    tf.saved_model.save(module, str(folder / "plain"), signatures=serve)


def _save(path: tf.Tensor) -> Any:
    return tf.raw_ops.SaveV2(
        prefix=path, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
    )


def _first_line(path: tf.Tensor) -> tf.Tensor:
    table = tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string)
    filled = tf.raw_ops.InitializeTableFromTextFileV2(
        table_handle=table, filename=path, key_index=-1, value_index=-2
    )
    with tf.control_dependencies([filled]):
        return tf.raw_ops.LookupTableFindV2(
            table_handle=table, keys=tf.constant([0], tf.int64), default_value=""
        )


def _build_tf1(folder: Path) -> None:
    """A graph of TensorFlow 1 with a variable and a table of an asset."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.int64, [None], name="x")
        words = v1.lookup.StaticHashTable(
            v1.lookup.TextFileInitializer(
                str(folder / "words.txt"), tf.int64, NUMBER, tf.string, WHOLE
            ),
            "none",
        )
        v = v1.get_variable("v", initializer=tf.constant(3, tf.int64), use_resource=True)
        y = tf.identity(words.lookup(x), name="y")
        z = tf.identity(x + v, name="z")
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        v1.saved_model.simple_save(
            session,
            str(folder / "tf1"),
            {"x": x},
            {"y": y, "z": z},
            legacy_init_op=v1.tables_initializer(),
        )


def write_hostile(name: str, bases: Path, folder: Path) -> Path:
    """Writes a hostile model by its name in the table."""
    entry = HOSTILE[name]
    shutil.copytree(bases / entry.base, folder)
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    if entry.root == "e" and name.startswith("two_meta_graphs"):
        saved.meta_graphs.add().CopyFrom(saved.meta_graphs[0])
    entry.change(saved.meta_graphs[-1])
    for meta in saved.meta_graphs:
        for scope in (meta.graph_def.node, *(f.node_def for f in meta.graph_def.library.function)):
            for node in scope:
                values = node.attr["value"].tensor.string_val if node.op == "Const" else []
                for index, value in enumerate(values):
                    if value in (WRITTEN.encode(), SECRET.encode()):
                        values[index] = str(bases / value.decode().strip("@")).encode()
    path.write_bytes(saved.SerializeToString())
    return folder


# Parts of a model, and ways to change them.


def function_of(meta: Any, part: str) -> Any:
    """The one function of the library whose name holds a text."""
    (found,) = (f for f in meta.graph_def.library.function if part in f.signature.name)
    return found


def node_of(scope: Any, name: str) -> Any:
    nodes = scope.node_def if hasattr(scope, "node_def") else scope.graph_def.node
    return next(node for node in nodes if name in (node.name, node.op))


def constant(scope: Any, name: str, value: str | list[str]) -> str:
    """Adds a string constant; its name as an input."""
    nodes = scope.node_def if hasattr(scope, "node_def") else scope.graph_def.node
    node = nodes.add(name=name, op="Const")
    node.attr["dtype"].type = tf.string.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return f"{name}:output:0" if hasattr(scope, "node_def") else name


def call(scope: Any, function: str, inputs: tuple[str, ...] = (), name: str = "evil_call") -> Any:
    """Adds a call of a function."""
    nodes = scope.node_def if hasattr(scope, "node_def") else scope.graph_def.node
    node = nodes.add(name=name, op="StatefulPartitionedCall", input=inputs)
    node.attr["f"].func.name = function
    for key in ("Tin", "Tout"):
        node.attr[key].list.SetInParent()
    return node


def caller(meta: Any, kind: str) -> Any:
    saver = meta.saver_def
    name = saver.save_tensor_name if kind == "save" else saver.restore_op_name
    return node_of(meta, name.partition(":")[0])


def objects_of(meta: Any, kind: str) -> list[Any]:
    return [n for n in meta.object_graph_def.nodes if n.WhichOneof("kind") == kind]


def signature_object(meta: Any, name: str = "serving_default") -> Any:
    nodes = meta.object_graph_def.nodes
    (top,) = (c.node_id for c in nodes[0].children if c.local_name == "signatures")
    (number,) = (c.node_id for c in nodes[top].children if c.local_name == name)
    return nodes[number]


def forget(meta: Any, *parts: str) -> None:
    """Takes functions out of a model, by parts of their names, and all that names them."""
    library, graph = meta.graph_def.library, meta.graph_def
    gone = {f.signature.name for f in library.function if any(p in f.signature.name for p in parts)}
    for name in gone:
        forget_objects_name(meta, name)
    keep(library.function, lambda f: f.signature.name not in gone)
    keep(graph.node, lambda n: "f" not in n.attr or n.attr["f"].func.name not in gone)


def forget_objects_name(meta: Any, function: str) -> None:
    """Lets the objects of a model name another function instead of this one."""
    meta.object_graph_def.concrete_functions.pop(function, None)
    harmless = signature_object(meta).bare_concrete_function
    for node in objects_of(meta, "function"):
        names = [n for n in node.function.concrete_functions if n != function]
        node.function.concrete_functions[:] = names
    for node in objects_of(meta, "bare_concrete_function"):
        if node.bare_concrete_function.concrete_function_name == function:
            node.bare_concrete_function.CopyFrom(harmless)


def keep(messages: Any, is_kept: Callable[[Any], bool]) -> None:
    """Takes messages out of a repeated field."""
    kept = [message for message in messages if is_kept(message)]
    del messages[:]
    messages.extend(kept)


def only(meta: Any, part: str) -> str:
    """Leaves one of the functions on files in the model `plain`; its name."""
    found = {}
    for name in ("writes_to", "writes", "reads"):
        for function in meta.graph_def.library.function:
            if re.fullmatch(f"__inference_{name}_[0-9]+", function.signature.name):
                found[name] = function.signature.name
    forget(meta, *(function for name, function in found.items() if name != part))
    return found[part]


def name_in_object(node: Any, function: str) -> None:
    """Lets an object name a function, without saying anything else of it."""
    node.ClearField("function")
    words = list(node.bare_concrete_function.argument_keywords)
    node.bare_concrete_function.Clear()
    node.bare_concrete_function.concrete_function_name = function
    node.bare_concrete_function.argument_keywords.extend(words)
    node.bare_concrete_function.allowed_positional_arguments = len(words)


def pose_as_saver(meta: Any, function: str, *inputs: str) -> None:
    """Makes a function what the saver seems to run, for both of its roles."""
    forget(meta, "__traced_save", "__traced_restore")
    node = call(meta, function, inputs)
    saver = meta.saver_def
    saver.save_tensor_name, saver.restore_op_name = f"{node.name}:0", node.name
    saver.filename_tensor_name = f"{inputs[0]}:0" if inputs else ""


# (a) Save and restore: one role each, and no path but the file name that the saver is given.


@hostile("a", "tables", SAVE, "function __inference__traced_restore", "comes from Const path")
def restore_function_that_saves_too(meta: Any) -> None:
    restore = function_of(meta, "__traced_restore")
    evil = restore.node_def.add(name="evil", op=SAVE)
    names, slices = constant(restore, "names", ["a"]), constant(restore, "slices", [""])
    evil.input.extend([constant(restore, "path", WRITTEN), names, slices, "file_prefix"])
    evil.attr["dtypes"].list.type.append(tf.string.as_datatype_enum)
    node_of(restore, "Identity_2").input.append("^evil")
    restore.control_ret["evil"] = "evil"
    restore.signature.control_output.append("evil")
    forget(meta, "__traced_save")
    meta.saver_def.save_tensor_name = f"{meta.saver_def.restore_op_name}:0"


@hostile("a", "tables", SAVE, "node StatefulPartitionedCall", "the restore op reaches it")
def restore_function_that_saves_to_its_own_file(meta: Any) -> None:
    evil = function_of(meta, "__traced_restore").node_def.add(name="evil", op=SAVE)
    evil.input.extend(["file_prefix", "file_prefix", "file_prefix"])
    forget(meta, "__traced_save")
    meta.saver_def.save_tensor_name = f"{meta.saver_def.restore_op_name}:0"


@hostile("a", "tables", SAVE, "function __inference__traced_save", "comes from Const path")
def save_function_with_a_path_of_its_own(meta: Any) -> None:
    save = function_of(meta, "__traced_save")
    node_of(save, SAVE).input[0] = constant(save, "path", WRITTEN)


@hostile("a", "tables", RESTORE, "function __inference__traced_save", "comes from Const path")
def save_function_that_reads(meta: Any) -> None:
    save = function_of(meta, "__traced_save")
    save.node_def.add(name="evil", op=RESTORE, input=[constant(save, "path", "/tmp/x")])


@hostile("a", "tables", RESTORE, "node StatefulPartitionedCall", "the save tensor reaches it")
def save_op_behind_which_is_the_restore_op(meta: Any) -> None:
    caller(meta, "save").input.append(f"^{meta.saver_def.restore_op_name}")


@hostile("a", "tables", SAVE, "function __inference__traced_save", "comes from StringJoin")
def save_function_with_an_ending_that_climbs(meta: Any) -> None:
    save = function_of(meta, "__traced_save")
    ending = next(n for n in save.node_def if n.op == "Const" and n.name == "Const_1")
    ending.attr["value"].tensor.string_val[0] = b"/../../../evil"


@hostile("a", "tables", "ShardedFilename", "__traced_save", "comes from StringJoin")
def save_function_with_a_separator_that_climbs(meta: Any) -> None:
    save = function_of(meta, "__traced_save")
    node_of(save, "StringJoin").attr["separator"].s = b"/../../../evil"


@hostile("a", "tables", "MergeV2Checkpoints", "__traced_save", "comes from Const path")
def merge_into_a_file_of_its_own(meta: Any) -> None:
    save = function_of(meta, "__traced_save")
    node_of(save, "MergeV2Checkpoints").input[1] = constant(save, "path", WRITTEN)


@hostile("a", "tables", "MergeV2Checkpoints", "__traced_save", "comes from Const path")
def merge_that_deletes_files_of_its_own(meta: Any) -> None:
    save = function_of(meta, "__traced_save")
    node_of(save, "Pack").input[0] = constant(save, "path", WRITTEN)


@hostile("a", "tables", RESTORE, "__traced_restore", "comes from Const saver_filename")
def saver_file_name_that_is_a_constant(meta: Any) -> None:
    node = node_of(meta, "saver_filename")
    node.op = "Const"
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))


@hostile("a", "tables", RESTORE, "__traced_restore", "PlaceholderWithDefault saver_filename")
def saver_file_name_with_a_default(meta: Any) -> None:
    node = node_of(meta, "saver_filename")
    node.op = "PlaceholderWithDefault"
    node.input.append(constant(meta, "path", "/etc/passwd"))


@hostile("a", "tables", SAVE, "__traced_save", "comes from Placeholder saver_filename")
def saver_file_name_that_a_request_gives(meta: Any) -> None:
    meta.signature_def["serving_default"].inputs["file"].name = "saver_filename:0"


@hostile("a", "tables", RESTORE, "__traced_restore", "comes from Placeholder serving_default_x")
def saver_that_takes_an_input_for_its_file_name(meta: Any) -> None:
    meta.saver_def.filename_tensor_name = "serving_default_x:0"
    for kind in ("save", "restore"):
        caller(meta, kind).input[0] = "serving_default_x"


@hostile("a", "plain", SAVE, "function __inference_writes", "comes from Const")
def function_without_arguments_as_the_saver(meta: Any) -> None:
    pose_as_saver(meta, only(meta, "writes"))


@hostile("a", "tables", RESTORE, "__traced_restore", "comes from ReadVariableOp read")
def restore_of_a_file_that_a_variable_names(meta: Any) -> None:
    restore = function_of(meta, "__traced_restore")
    restore.node_def.add(
        name="read", op="ReadVariableOp", input=[restore.signature.input_arg[1].name]
    )
    node_of(restore, RESTORE).input[0] = "read:value:0"


@hostile("a", "tables", RESTORE, "__traced_restore", "comes from ReadVariableOp")
def restore_of_an_asset(meta: Any) -> None:
    caller(meta, "restore").input[0] = "ReadVariableOp"


# (b) Assets: into a table, when the model is loaded, and nowhere else.


@hostile("b", "tf1", INIT, "node text_file_init", "the signature reaches it")
def request_that_fills_a_table_from_a_constant(meta: Any) -> None:
    node = node_of(meta, "LookupTableFindV2")
    node.input.append("^text_file_init/InitializeTableFromTextFileV2")


@hostile("b", "plain", INIT, "node evil_call", "the signature reaches it")
def request_that_reads_a_constant_posing_as_an_asset(meta: Any) -> None:
    name = only(meta, "reads")
    meta.ClearField("object_graph_def")
    node = call(meta, name, (constant(meta, "path", SECRET),))
    node.attr["Tin"].list.type.append(tf.string.as_datatype_enum)
    node.attr["Tout"].list.type.append(tf.string.as_datatype_enum)
    meta.asset_file_def.add(filename="words.txt").tensor_info.name = "path:0"
    del meta.signature_def["__saved_model_init_op"]
    outputs = meta.signature_def["serving_default"].outputs
    outputs["y"].name, outputs["y"].dtype = "evil_call:0", tf.string.as_datatype_enum


@hostile("b", "tf1", "serving_default", "signature", "returns the path of an asset")
def request_that_gets_the_path(meta: Any) -> None:
    meta.signature_def["serving_default"].outputs["path"].name = "asset_path:0"


@hostile("b", "tables", "StringLength", "function __inference_serve", "uses the path of an asset")
def request_that_computes_with_the_path(meta: Any) -> None:
    serve = function_of(meta, "__inference_serve")
    serve.signature.input_arg.add(name="path", type=tf.string.as_datatype_enum)
    serve.node_def.add(name="evil", op="StringLength", input=["path"])
    bound = meta.object_graph_def.concrete_functions[serve.signature.name].bound_inputs
    bound.append(next(i for i, n in enumerate(meta.object_graph_def.nodes) if n.HasField("asset")))


@hostile("b", "tables", "__inference_serve", "function", "returns the path of an asset")
def function_that_returns_the_path(meta: Any) -> None:
    serve = function_of(meta, "__inference_serve")
    serve.signature.name = "__inference_serve"
    serve.signature.input_arg.add(name="path", type=tf.string.as_datatype_enum)
    serve.ret["path"] = "path"
    asset = next(i for i, n in enumerate(meta.object_graph_def.nodes) if n.HasField("asset"))
    functions = meta.object_graph_def.concrete_functions
    functions["__inference_serve"].bound_inputs.append(asset)


@hostile("b", "tables", INIT, "function __inference__initializer", "comes from Const")
def asset_that_is_a_constant(meta: Any) -> None:
    node = node_of(meta, "asset_path_initializer")
    node.op = "Const"
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))


@hostile("b", "tables", INIT, "function __inference__initializer", "comes from Placeholder asset")
def asset_that_a_request_gives(meta: Any) -> None:
    meta.signature_def["serving_default"].inputs["file"].name = "asset_path_initializer:0"


@hostile("b", "tables", "object", "object graph, asset", "is an asset that is not there")
def asset_by_a_negative_number(meta: Any) -> None:
    (asset,) = objects_of(meta, "asset")
    asset.asset.asset_file_def_index = -1


@hostile("b", "tables", "object", "object graph, asset", "children, which could replace its path")
def asset_with_a_child(meta: Any) -> None:
    (asset,) = objects_of(meta, "asset")
    asset.children.add(node_id=0, local_name="_path")


@hostile("b", "tables", "object", "object graph, asset", "registered class tf.StaticHashTable")
def asset_of_a_registered_class(meta: Any) -> None:
    (asset,) = objects_of(meta, "asset")
    asset.registered_name = "tf.StaticHashTable"


@hostile("b", "tables", "object", "object graph, asset", "is a slot of an optimizer")
def asset_that_an_optimizer_makes(meta: Any) -> None:
    number = next(i for i, n in enumerate(meta.object_graph_def.nodes) if n.HasField("asset"))
    slot = meta.object_graph_def.nodes[0].slot_variables.add(slot_name="m")
    slot.slot_variable_node_id = number


@hostile("b", "tables", INIT, "function __inference__initializer", "comes from Const path")
def asset_variable_that_is_assigned_again(meta: Any) -> None:
    inputs = ["Variable", constant(meta, "path", "/etc/passwd")]
    meta.graph_def.node.add(name="evil", op="AssignVariableOp", input=inputs)


@hostile("b", "tables", INIT, "function __inference__initializer", "which has two handles")
def asset_variable_with_a_second_handle(meta: Any) -> None:
    evil = function_of(meta, "__inference_serve").node_def.add()
    evil.CopyFrom(node_of(meta, "Variable"))


@hostile("b", "tables", INIT, "function __inference__initializer", "StatefulPartitionedCall may")
def asset_variable_that_a_function_gets(meta: Any) -> None:
    caller(meta, "restore").input.append("Variable")


@hostile("b", "tables", INIT, "function __inference__initializer", "comes from Const path")
def table_of_a_constant(meta: Any) -> None:
    initializer = next(
        f for f in meta.graph_def.library.function if any(n.op == INIT for n in f.node_def)
    )
    node_of(initializer, INIT).input[1] = constant(initializer, "path", "/etc/passwd")


# (c) Nothing says where a path comes from.


@hostile("c", "tables", INIT, "function unused", "which nothing calls")
def initializer_that_nothing_calls(meta: Any) -> None:
    function = meta.graph_def.library.function.add()
    function.signature.name = "unused"
    function.signature.input_arg.add(name="path", type=tf.string.as_datatype_enum)
    function.node_def.add(name="evil", op=INIT, input=["table", "path"])


@hostile("c", "tables", RESTORE, "function unused", "which nothing calls")
def restore_that_nothing_calls(meta: Any) -> None:
    function = meta.graph_def.library.function.add()
    function.CopyFrom(function_of(meta, "__traced_restore"))
    function.signature.name = "unused"


@hostile("c", "tables", RESTORE, "function __inference__traced_restore", "without a plain call")
def restore_in_a_branch(meta: Any) -> None:
    node = meta.graph_def.node.add(name="evil", op="If", input=["saver_filename"])
    name = function_of(meta, "__traced_restore").signature.name
    node.attr["then_branch"].func.name = node.attr["else_branch"].func.name = name


@hostile("c", "tables", RESTORE, "function __inference__traced_restore", "round in a circle")
def path_that_comes_from_itself(meta: Any) -> None:
    restore = function_of(meta, "__traced_restore")
    restore.node_def.add(name="one", op="Identity", input=["two:output:0"])
    restore.node_def.add(name="two", op="Identity", input=["one:output:0"])
    node_of(restore, RESTORE).input[0] = "one:output:0"


@hostile("c", "tables", RESTORE, "function __inference__traced_restore", "which is nowhere")
def path_from_nowhere(meta: Any) -> None:
    node_of(function_of(meta, "__traced_restore"), RESTORE).input[0] = "nowhere:output:0"


@hostile("c", "tables", RESTORE, "function __inference__traced_restore", "without a plain call")
def restore_that_a_caller_gives_no_path(meta: Any) -> None:
    call(meta, function_of(meta, "__traced_restore").signature.name)


@hostile("c", "tables", RESTORE, "function __inference__traced_restore", "a list of arguments")
def path_in_a_list_of_arguments(meta: Any) -> None:
    arguments = function_of(meta, "__traced_restore").signature.input_arg
    arguments[1].number_attr = "N"


# (d) Functions that only objects name.


@hostile("d", "plain", INIT, "function __inference_reads", "lets anyone call")
def signature_object_that_reads_the_file_of_the_request(meta: Any) -> None:
    name_in_object(signature_object(meta), only(meta, "reads"))


@hostile("d", "plain", SAVE, "function __inference_writes_to", "names the function")
def signature_object_that_writes_the_file_of_the_request(meta: Any) -> None:
    name_in_object(signature_object(meta), only(meta, "writes_to"))


@hostile("d", "plain", INIT, "function __inference_reads", "lets anyone call")
def function_that_only_an_object_names(meta: Any) -> None:
    name = only(meta, "reads")
    forget_objects_name(meta, name)
    name_in_object(signature_object(meta), name)


@hostile("d", "plain", SAVE, "function __inference_writes_to", "names the function")
def saver_that_an_object_names_too(meta: Any) -> None:
    name = only(meta, "writes_to")
    pose_as_saver(meta, name, "saver_filename")
    forget_objects_name(meta, name)
    name_in_object(signature_object(meta), name)


@hostile("d", "plain", SAVE, "function __inference_writes", "names the function")
def resource_that_writes_when_it_is_initialized(meta: Any) -> None:
    name = only(meta, "writes")
    pose_as_saver(meta, name)
    forget_objects_name(meta, name)
    # A function of which the object graph says nothing returns nothing.
    writes = function_of(meta, name)
    writes.ret.clear()
    del writes.signature.output_arg[:]
    (resource,) = objects_of(meta, "resource")
    (number,) = (c.node_id for c in resource.children if c.local_name == "_initialize")
    name_in_object(meta.object_graph_def.nodes[number], name)


@hostile("d", "tables", SAVE, "function __inference__traced_save", "names the function")
def saver_of_a_table_that_saves(meta: Any) -> None:
    resource = next(n for n in objects_of(meta, "resource") if n.saveable_objects)
    number = resource.saveable_objects["table"].save_function
    name_in_object(
        meta.object_graph_def.nodes[number], function_of(meta, "__traced_save").signature.name
    )


@hostile("d", "tables", RESTORE, "function __inference__traced_restore", "names the function")
def polymorphic_function_that_restores(meta: Any) -> None:
    name = function_of(meta, "__traced_restore").signature.name
    objects_of(meta, "function")[0].function.concrete_functions.append(name)


@hostile("d", "tables", SAVE, "function __inference__traced_save", "names the function")
def captured_tensor_of_the_save_function(meta: Any) -> None:
    node = meta.object_graph_def.nodes.add()
    node.captured_tensor.concrete_function = function_of(meta, "__traced_save").signature.name


@hostile("d", "tables", SAVE, "function __inference__traced_save", "a function alias names")
def alias_of_the_save_function(meta: Any) -> None:
    name = function_of(meta, "__traced_save").signature.name
    meta.meta_info_def.function_aliases[name] = "helpful"


@hostile("d", "tables", RESTORE, "function __inference__traced_restore", "a gradient names")
def gradient_that_restores(meta: Any) -> None:
    gradient = meta.graph_def.library.registered_gradients.add(registered_op_type="evil")
    gradient.gradient_func = function_of(meta, "__traced_restore").signature.name


@hostile("d", "tables", SAVE, "function __inference__traced_save", "attribute api_implements names")
def save_function_that_grappler_may_put_in(meta: Any) -> None:
    function_of(meta, "__traced_save").attr["api_implements"].s = b"lstm"


@hostile("d", "tables", SAVE, "function __inference__traced_save", "attribute forward_function")
def save_function_that_an_attribute_names(meta: Any) -> None:
    name = function_of(meta, "__traced_save").signature.name
    function_of(meta, "__inference_serve").attr["forward_function_name"].s = name.encode()


@hostile("d", "tables", INIT, "function __inference__initializer", "binds to object")
def initializer_that_is_bound_to_a_constant(meta: Any) -> None:
    number = next(i for i, n in enumerate(meta.object_graph_def.nodes) if n.HasField("constant"))
    initializer = next(
        f for f in meta.graph_def.library.function if any(n.op == INIT for n in f.node_def)
    )
    functions = meta.object_graph_def.concrete_functions
    functions[initializer.signature.name].bound_inputs[0] = number


@hostile("d", "tables", "object", "object graph, resource", "registered class evil.Class")
def resource_of_a_class_that_is_registered(meta: Any) -> None:
    objects_of(meta, "resource")[0].registered_name = "evil.Class"


@hostile("d", "tables", "object", "object graph, resource", "saver tf.TPUEmbeddingCallback")
def resource_with_a_registered_saver(meta: Any) -> None:
    objects_of(meta, "resource")[0].registered_saver = "tf.TPUEmbeddingCallback"


@hostile("d", "tables", "serving_default", "signature", "loaded, __inference_signature_wrapper")
def signature_that_runs_another_function_when_loaded(meta: Any) -> None:
    other = next(
        f.signature.name for f in meta.graph_def.library.function if "_creator" in f.signature.name
    )
    signature_object(meta).bare_concrete_function.concrete_function_name = other


@hostile("d", "tables", "hidden", "signature", "is a signature of the graph only")
def signature_that_has_no_object(meta: Any) -> None:
    meta.signature_def["hidden"].CopyFrom(meta.signature_def["serving_default"])


# (e) Models without objects, of TensorFlow 1's form, or several in one.


@hostile("e", "tables", "saved_model.pb", "", "holds 2 meta graphs")
def two_meta_graphs(meta: Any) -> None:
    meta.meta_info_def.tags[:] = ["other"]


@hostile("e", "tables", SAVE, "function __inference__traced_restore", "comes from Const path")
def restore_that_writes_in_a_model_without_objects(meta: Any) -> None:
    restore_function_that_saves_too(meta)
    meta.ClearField("object_graph_def")
    del meta.signature_def["__saved_model_init_op"]


@hostile("e", "tables", RESTORE, "node StatefulPartitionedCall", "the init op reaches it")
def init_op_that_restores(meta: Any) -> None:
    meta.ClearField("object_graph_def")
    del meta.signature_def["__saved_model_init_op"]
    del meta.collection_def["saved_model_main_op"]
    restore = meta.saver_def.restore_op_name
    meta.graph_def.node.add(name="NoOp_evil", op="NoOp", input=[f"^{restore}"])
    meta.collection_def["legacy_init_op"].node_list.value.append("NoOp_evil")


@hostile("e", "tf1", SAVE, "node save/SaveV2", "the init op reaches it")
def main_op_that_saves(meta: Any) -> None:
    meta.collection_def["saved_model_main_op"].node_list.value[:] = ["save/SaveV2"]


@hostile("e", "tf1", RESTORE, "node save/RestoreV2", "the init op reaches it")
def local_variable_whose_initializer_restores(meta: Any) -> None:
    variable = variable_pb2.VariableDef(variable_name="v:0", initializer_name="save/restore_all")
    values = meta.collection_def["local_variables"].bytes_list.value
    values.append(variable.SerializeToString())


@hostile("e", "tf1", "DestroyResourceOp", "node gone", "would have a table filled again")
def request_that_empties_a_table_for_the_init_signature_to_fill(meta: Any) -> None:
    node_of(meta, "asset_path").attr["value"].tensor.string_val[:] = [SECRET.encode()]
    table = node_of(meta, INIT).input[0]
    gone = meta.graph_def.node.add(name="gone", op="DestroyResourceOp", input=[table])
    gone.attr["ignore_lookup_error"].b = True
    node_of(meta, "z").input.append("^gone")


@hostile("e", "tf1", "__saved_model_init_op", "signature", "takes or gives more than the init op")
def init_signature_that_takes_a_request(meta: Any) -> None:
    inputs = meta.signature_def["serving_default"].inputs
    meta.signature_def["__saved_model_init_op"].inputs["x"].CopyFrom(inputs["x"])


@hostile("e", "tf1", SAVE, "node save/SaveV2", "the signature reaches it")
def request_that_saves(meta: Any) -> None:
    node_of(meta, "z").input.append("^save/SaveV2")


@hostile("e", "tf1", RESTORE, "node save/RestoreV2", "the signature reaches it")
def train_op_that_restores(meta: Any) -> None:
    outputs = meta.signature_def["__saved_model_train_op"].outputs
    outputs["__saved_model_train_op"].name = "save/restore_all"


@hostile("e", "tf1", SAVE, "node save/SaveV2", "the signature reaches it")
def request_that_saves_behind_a_sparse_output(meta: Any) -> None:
    sparse = meta.signature_def["serving_default"].outputs["s"].coo_sparse
    sparse.values_tensor_name = sparse.indices_tensor_name = "x:0"
    sparse.dense_shape_tensor_name = "save/Identity:0"


@hostile("e", "tf1", INIT, "node text_file_init", "comes from Const other")
def table_initializer_of_another_file(meta: Any) -> None:
    node_of(meta, INIT).input[1] = constant(meta, "other", "/etc/passwd")


@hostile("e", "tf1", "../../secret.txt", "asset", "is not in assets/")
def asset_in_a_collection_that_climbs(meta: Any) -> None:
    asset = meta_graph_pb2.AssetFileDef(filename="../../secret.txt")
    asset.tensor_info.name = "asset_path:0"
    (value,) = meta.collection_def["saved_model_assets"].any_list.value
    value.Pack(asset)


@hostile("e", "tf1", RESTORE, "node save/RestoreV2", "comes from Const save/filename/input")
def restore_of_what_is_not_fed(meta: Any) -> None:
    node_of(meta, "save/RestoreV2").input[0] = "save/filename/input"


@hostile("e", "tf1", RESTORE, "node save/RestoreV2", "PlaceholderWithDefault save/Const")
def saver_def_that_feeds_something_else(meta: Any) -> None:
    meta.saver_def.filename_tensor_name = "save/RestoreV2/shape_and_slices:0"


@hostile("e", "tf1", SAVE, "node save/SaveV2", "the restore op reaches it")
def restore_op_that_is_the_save_op(meta: Any) -> None:
    meta.saver_def.restore_op_name = "save/SaveV2"


@hostile("e", "tf1", INIT, "node text_file_init", "the restore op reaches it")
def restore_op_that_fills_a_table_unfed(meta: Any) -> None:
    restore = node_of(meta, "save/restore_all")
    restore.input.append("^text_file_init/InitializeTableFromTextFileV2")


# Names and sizes: what two readers could understand differently, or never end to read.


@hostile("bounds", "tables", "__inference__traced_save", "function", "is the name of two functions")
def two_functions_of_one_name(meta: Any) -> None:
    save = function_of(meta, "__traced_save")
    save.signature.name = "__inference__traced_save"
    meta.graph_def.library.function.add().signature.name = save.signature.name


@hostile("bounds", "tables", "Const", "function __inference__traced_restore", "another node or arg")
def node_of_an_arguments_name(meta: Any) -> None:
    constant(function_of(meta, "__traced_restore"), "file_prefix", "/etc/passwd")


@hostile("bounds", "tables", "loop", "function", "calls itself")
def function_that_calls_itself(meta: Any) -> None:
    function = meta.graph_def.library.function.add()
    function.signature.name = "loop"
    call(function, "loop")


@hostile("bounds", "tables", "f200", "function", "calls functions more than 100 deep")
def calls_that_are_too_deep(meta: Any) -> None:
    for i in range(201):
        function = meta.graph_def.library.function.add()
        function.signature.name = f"f{i}"
        if i:
            call(function, f"f{i - 1}")


@hostile("bounds", "tf1", "saved_model.pb", "", "cannot be scanned: ValueError: saved_model_assets")
def assets_that_are_none(meta: Any) -> None:
    meta.collection_def["saved_model_assets"].any_list.value[0].type_url = "type.example/Other"


@hostile("bounds", "tables", "saved_model.pb", "", "cannot be scanned: OSError")
def asset_whose_name_no_system_takes(meta: Any) -> None:
    meta.asset_file_def[0].filename = "a" * 5000


@hostile("bounds", "tables", "saved_model.pb", "", "bytes of graphs as text")
def graphs_as_text_without_end(meta: Any) -> None:
    node = meta.graph_def.node.add(name="texts", op="Const")
    node.attr["value"].tensor.string_val.append(b'node { name: "a" op: ' + b" " * 1_000_000)


# Handles: a model reaches what it made itself, and nothing of another model by its name.

HANDLES = "holds a handle or a variant as data"
RESOURCE, VARIANT = tf.resource.as_datatype_enum, tf.variant.as_datatype_enum


def handle(tensor: Any) -> None:
    """Makes a `TensorProto` a handle to the variable of somebody else."""
    tensor.dtype = RESOURCE
    tensor.tensor_shape.SetInParent()
    made = tensor.resource_handle_val.add(container="localhost", name="counts_load_12")
    made.maybe_type_name = "tensorflow::Var"


def constant_of(scope: Any, dtype: int) -> Any:
    nodes = scope.node_def if hasattr(scope, "node_def") else scope.graph_def.node
    node = nodes.add(name="evil", op="Const")
    node.attr["dtype"].type = dtype
    return node.attr["value"].tensor


@hostile("handles", "tables", "Const", "function __inference_serve", HANDLES)
def constant_that_is_a_handle(meta: Any) -> None:
    handle(constant_of(function_of(meta, "__inference_serve"), RESOURCE))


@hostile("handles", "tf1", "Const", "node evil", HANDLES)
def constant_that_is_a_handle_in_a_graph_of_tensorflow_1(meta: Any) -> None:
    handle(constant_of(meta, RESOURCE))


@hostile("handles", "tf1", "Const", "node evil", HANDLES)
def constant_whose_bytes_are_a_handle(meta: Any) -> None:
    tensor = constant_of(meta, RESOURCE)
    tensor.dtype, tensor.tensor_content = RESOURCE, b"\n\x01d"


@hostile("handles", "tf1", "Const", "node evil", HANDLES)
def constant_that_is_a_variant(meta: Any) -> None:
    tensor = constant_of(meta, VARIANT)
    tensor.dtype = VARIANT
    handle(tensor.variant_val.add(type_name="tensorflow::TensorList").tensors.add())


@hostile("handles", "tf1", "Const", "node evil", HANDLES)
def constant_of_numbers_with_a_handle_beside(meta: Any) -> None:
    tensor = constant_of(meta, tf.int64.as_datatype_enum)
    handle(tensor)
    tensor.dtype = tf.int64.as_datatype_enum


@hostile("handles", "tables", "Const", "node evil", HANDLES)
def constant_of_the_objects_that_is_a_handle(meta: Any) -> None:
    handle(constant_of(meta, RESOURCE))
    meta.object_graph_def.nodes.add().constant.operation = "evil"


@hostile("handles", "tables", "StatefulPartitionedCall", "attribute V", HANDLES)
def handle_that_a_call_brings_along(meta: Any) -> None:
    handle(caller(meta, "restore").attr["f"].func.attr["V"].tensor)


@hostile("handles", "tables", "NoOp", "attribute list", HANDLES)
def handle_in_a_list_of_functions(meta: Any) -> None:
    node = meta.graph_def.node.add(name="evil", op="NoOp")
    handle(node.attr["list"].list.func.add().attr["inner"].list.tensor.add())


@hostile("handles", "tables", "tensor", "function __inference_serve", HANDLES)
def handle_in_an_attribute_of_a_function(meta: Any) -> None:
    handle(function_of(meta, "__inference_serve").attr["V"].tensor)


@hostile("handles", "tables", "tensor", "function __inference_serve", HANDLES)
def handle_in_an_attribute_of_an_argument(meta: Any) -> None:
    handle(function_of(meta, "__inference_serve").arg_attr[0].attr["V"].tensor)


@hostile("handles", "tables", "tensor", "function __inference_serve", HANDLES)
def handle_as_the_default_of_a_function(meta: Any) -> None:
    attribute = function_of(meta, "__inference_serve").signature.attr.add(name="V", type="tensor")
    handle(attribute.default_value.tensor)


@hostile("handles", "tables", "tensor", "signature_def serving_default", HANDLES)
def handle_as_the_default_of_a_signature(meta: Any) -> None:
    handle(meta.signature_def["serving_default"].defaults["x"])


@hostile("handles", "tables", "tensor", "object_graph_def", HANDLES)
def handle_in_the_structure_of_an_object(meta: Any) -> None:
    function = objects_of(meta, "function")[0].function
    handle(function.function_spec.input_signature.tensor_value)


@hostile("handles", "tables", "StringJoin", "__traced_save", "is filled in by whoever calls")
def separator_that_the_caller_of_the_saver_fills_in(meta: Any) -> None:
    node_of(function_of(meta, "__traced_save"), "StringJoin").attr["separator"].placeholder = "S"
    caller(meta, "save").attr["f"].func.attr["S"].s = b"/../../../evil"


@hostile("handles", "tf1", "x", "signature", "takes handles or variants")
def request_that_is_a_handle(meta: Any) -> None:
    node_of(meta, "x").attr["dtype"].type = RESOURCE


@hostile("handles", "tf1", "DeserializeSparse", "node evil", "makes handles or variants of bytes")
def handle_out_of_a_string(meta: Any) -> None:
    node = meta.graph_def.node.add(name="evil", op="DeserializeSparse")
    node.input.append(constant(meta, "bytes", ["indices", "handle", "shape"]))
    node.attr["Tserialized"].type = tf.string.as_datatype_enum
    node.attr["dtype"].type = RESOURCE


@hostile("handles", "tables", RESTORE, "__traced_restore", "makes handles or variants of bytes")
def handle_out_of_the_checkpoint(meta: Any) -> None:
    types = node_of(function_of(meta, "__traced_restore"), RESTORE).attr["dtypes"].list.type
    types[0] = VARIANT


@hostile("handles", "tables", "object", "object graph, variable", "a variable of handles or")
def variable_of_variants(meta: Any) -> None:
    objects_of(meta, "variable")[0].variable.dtype = VARIANT


@hostile("handles", "tables", "object", "object graph, resource", "is restored from handles or")
def table_that_saves_variants(meta: Any) -> None:
    resource = next(n for n in objects_of(meta, "resource") if n.saveable_objects)
    number = resource.saveable_objects["table"].save_function
    (name,) = functions_of_object(meta.object_graph_def.nodes[number])
    function_of(meta, name).signature.output_arg[0].type = VARIANT


@hostile("handles", "tf1", "LookupTableFind", "node evil", "is not among the operations")
def table_of_somebody_else_by_its_name(meta: Any) -> None:
    """A reference to strings is a handle to the tables of TensorFlow 0."""
    nodes = meta.graph_def.node
    variable = nodes.add(name="names", op="VariableV2")
    variable.attr["dtype"].type = tf.string.as_datatype_enum
    variable.attr["shape"].shape.dim.add(size=2)
    nodes.add(name="evil", op="LookupTableFind", input=["names", "x", "x"])


# Values that change, or are not there: what was checked has to be what is used.


@hostile("values", "tf1", "Reshape", "node path", "uses the file name of the saver")
def file_name_of_the_saver_that_is_overwritten(meta: Any) -> None:
    nodes = meta.graph_def.node
    nodes.add(name="path", op="Reshape", input=["save/Const", "one"])
    other = constant(meta, "other", ["/models/other/1/variables/variables"])
    nodes.add(name="evil", op="InplaceUpdate", input=["path", "zero", other])
    node_of(meta, "save/RestoreV2").input.append("^evil")


@hostile("values", "tables", "StringLength", "__traced_restore", "uses the file name of the saver")
def restore_that_computes_with_the_file_name(meta: Any) -> None:
    restore = function_of(meta, "__traced_restore")
    restore.node_def.add(name="evil", op="StringLength", input=["file_prefix"])


@hostile("values", "tables", "AssignVariableOp", "node evil", "uses the file name of the saver")
def file_name_that_a_variable_keeps(meta: Any) -> None:
    meta.graph_def.node.add(
        name="evil", op="AssignVariableOp", input=["Variable", "saver_filename"]
    )


@hostile("values", "tf1", "serving_default", "signature", "returns the file name of the saver")
def request_that_gets_the_file_name_of_the_saver(meta: Any) -> None:
    meta.signature_def["serving_default"].outputs["path"].name = "save/Const:0"


@hostile("values", "tf1", INIT, "node text_file_init", "comes from ReadVariableOp read")
def asset_through_a_variable_in_a_graph_of_tensorflow_1(meta: Any) -> None:
    nodes = meta.graph_def.node
    nodes.add(name="kept", op="VarHandleOp").attr["shared_name"].s = b"kept"
    nodes.add(name="assign", op="AssignVariableOp", input=["kept", "asset_path"])
    nodes.add(name="read", op="ReadVariableOp", input=["kept", "^assign"])
    node_of(meta, INIT).input[1] = "read"


@hostile("values", "tables", INIT, "function __inference__initializer", "which has no name")
def asset_variable_without_a_name(meta: Any) -> None:
    """All of them are one variable, whatever their nodes are called."""
    node_of(meta, "Variable").attr["shared_name"].s = b""


def _add_removed() -> None:
    """Operations that overwrite a value in place, or answer with memory that nobody wrote."""
    for op in ("InplaceUpdate", "InplaceAdd", "InplaceSub", "ParallelConcat", "Empty", "FakeParam"):

        def change(meta: Any, op: str = op) -> None:
            meta.graph_def.node.add(name="evil", op=op)

        name = f"graph_with_{op.lower()}"
        HOSTILE[name] = Hostile("values", "tf1", change, op, "node evil", "is not among the")


_add_removed()
