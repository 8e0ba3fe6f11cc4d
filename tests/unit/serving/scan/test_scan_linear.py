"""The scan's work grows with the size of a model and not with its square, whatever its shape.

Work is the number of lines of the scan's own code that run, so no clock is asked.
"""

import sys
from pathlib import Path

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from ordain.serving.scan import scan as module
from ordain.serving.scan.scan import scan

STRING = 7
ROOM = str(Path(module.__file__).parent)


def function(meta, name, *arguments):
    added = meta.graph_def.library.function.add()
    added.signature.name = name
    for argument in arguments:
        added.signature.input_arg.add(name=argument, type=STRING)
    return added


def call(nodes, name, target, *inputs):
    node = nodes.add(name=name, op="PartitionedCall", input=inputs)
    node.attr["f"].func.name = target


def handing_on(meta, n):
    """Many restores behind one long row of nodes that hand a path on."""
    nodes = function(meta, "f", "path").node_def
    nodes.add(name="i0", op="Identity", input=["path"])
    for i in range(1, n):
        nodes.add(name=f"i{i}", op="Identity", input=[f"i{i - 1}:output:0"])
        nodes.add(name=f"r{i}", op="RestoreV2", input=[f"i{i}:output:0"])
    call(meta.graph_def.node, "call", "f", "file")


def many_callers(meta, n):
    nodes = function(meta, "f", "path").node_def
    for i in range(n):
        nodes.add(name=f"r{i}", op="RestoreV2", input=["path"])
        call(meta.graph_def.node, f"call{i}", "f", "file")


def many_functions_with_many_callers(meta, n):
    """Each of sixteen functions calls the next several times, each with another argument."""
    for i in range(16):
        nodes = function(meta, f"f{i}", "path", "other").node_def
        for j in range(n // 16):
            nodes.add(name=f"i{j}", op="Identity", input=["path"])
            if i < 15:
                call(nodes, f"c{j}", f"f{i + 1}", f"i{j}:output:0", "other")
            else:
                nodes.add(name=f"t{j}", op="InitializeTableFromTextFileV2", input=["other", "path"])
    call(meta.graph_def.node, "call", "f0", "file", "file")


def wide(meta, n):
    nodes = function(meta, "f", "path").node_def
    for i in range(n):
        nodes.add(name=f"s{i}", op="ShardedFilename", input=["path"])
    pack = nodes.add(name="pack", op="Pack", input=[f"s{i}:filename:0" for i in range(n)])
    for i in range(n):
        nodes.add(name=f"m{i}", op="MergeV2Checkpoints", input=[f"{pack.name}:output:0", "path"])
    call(meta.graph_def.node, "call", "f", "file")


def asset_variable(meta, n):
    """A variable that is assigned an asset's path, and read, very often."""
    graph = meta.graph_def.node
    graph.add(name="asset", op="Placeholder")
    meta.asset_file_def.add(filename="words").tensor_info.name = "asset:0"
    graph.add(name="v", op="VarHandleOp")
    for i in range(n):
        graph.add(name=f"a{i}", op="AssignVariableOp", input=["v", "asset"])
        graph.add(name=f"r{i}", op="ReadVariableOp", input=["v"])
        graph.add(name=f"t{i}", op="InitializeTableFromTextFileV2", input=["t", f"r{i}"])


def handing_on_an_asset(meta, n):
    nodes = function(meta, "f", "path").node_def
    nodes.add(name="i0", op="Identity", input=["path"])
    for i in range(1, n):
        nodes.add(name=f"i{i}", op="Identity", input=[f"i{i - 1}:output:0"])
        inputs = ["path", f"i{i}:output:0"]
        nodes.add(name=f"t{i}", op="InitializeTableFromTextFileV2", input=inputs)
    meta.graph_def.node.add(name="asset", op="Placeholder")
    meta.asset_file_def.add(filename="words").tensor_info.name = "asset:0"
    call(meta.graph_def.node, "call", "f", "asset")


def many_arguments(meta, n):
    names = [f"x{i}" for i in range(n)]
    nodes = function(meta, "f", *names).node_def
    for name in names:
        nodes.add(name=f"r_{name}", op="RestoreV2", input=[name])
    call(meta.graph_def.node, "call", "f", *("file" for _ in names))
    for i in range(n):
        call(meta.graph_def.node, f"call{i}", "f", "file")


def many_signatures(meta, n):
    """As many signatures as nodes, each of which runs them all."""
    graph = meta.graph_def.node
    graph.add(name="i0", op="NoOp")
    for i in range(1, n):
        graph.add(name=f"i{i}", op="NoOp", input=[f"^i{i - 1}"])
        meta.signature_def[f"s{i}"].outputs["y"].name = f"i{n - 1}"


def many_objects(meta, n):
    """Objects that all name one function, and functions that all name one object."""
    for i in range(n):
        function(meta, f"f{i}", "path").node_def.add(name="r", op="RestoreV2", input=["path"])
        meta.object_graph_def.concrete_functions[f"f{i}"].bound_inputs.append(0)
        node = meta.object_graph_def.nodes.add()
        node.bare_concrete_function.concrete_function_name = "f0"
        node.children.add(node_id=0, local_name="x")


def named_by_attributes(meta, n):
    names = [f"x{i}" for i in range(n)]
    function(meta, "f", *names).node_def.add(name="r", op="RestoreV2", input=["x0"])
    for i in range(n):
        meta.graph_def.node.add(name=f"n{i}", op="NoOp").attr["a"].s = b"f"


def handing_back(meta, n):
    """A function that returns the saver's file name often, to many that call it."""
    added = function(meta, "f", "path")
    for i in range(n):
        added.node_def.add(name=f"i{i}", op="Identity", input=["path"])
        added.ret[f"r{i}"] = f"i{i}:output:0"
        call(meta.graph_def.node, f"call{i}", "f", "file")


def handles(meta, n):
    inner = meta.graph_def.node.add(name="c", op="NoOp").attr["a"]
    for _ in range(10):
        inner = inner.func.attr["a"]
    for _ in range(n):
        inner.list.tensor.add(dtype=20)


def texts(meta, n):
    values = meta.graph_def.node.add(name="c", op="Const").attr["value"].tensor.string_val
    values.extend([b'node { name: "a" op: "Add" }'] * n)


SHAPES = (
    handing_on,
    many_callers,
    many_functions_with_many_callers,
    wide,
    asset_variable,
    handing_on_an_asset,
    many_arguments,
    many_signatures,
    many_objects,
    named_by_attributes,
    handing_back,
    handles,
    texts,
)


def work(folder: Path, build, n: int) -> int:
    """Lines of the scan's own modules that run for a model of a shape."""
    saved = saved_model_pb2.SavedModel()
    meta = saved.meta_graphs.add()
    if build is many_objects:
        meta.object_graph_def.nodes.add()
    meta.graph_def.node.add(name="file", op="Placeholder")
    meta.saver_def.filename_tensor_name = "file:0"
    build(meta, n)
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "words").touch()
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    lines = 0

    def count(frame, event, _):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(ROOM):
            return None
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        scan(folder)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("build", SHAPES)
def test_twice_the_model_is_twice_the_work(tmp_path, monkeypatch, build):
    # Otherwise the scan ends at its hundredth problem, and there is little to count.
    monkeypatch.setattr(module, "MAX_PROBLEMS", 10**9)
    small, large = (work(tmp_path / str(n), build, n) for n in (400, 800))
    assert small > 400
    assert large < 2.1 * small
