"""Real SavedModels, each with one bad thing in it: refused by name, before anything runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from google.protobuf import text_format
from models import export, write_transform
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import saved_model_pb2

from ordain.serving.scan.allowed_ops import ALLOWED, ASSET_ONLY, SAVER_ONLY, denied_because
from ordain.serving.scan.scan import MAX_PROBLEMS, Problem, scan

ROOT = Path(__file__).resolve().parents[4]
SPEC = [tf.TensorSpec([None], tf.float32, name="x")]


def save(folder: Path, function, **tracked) -> Path:
    """Saves a function of one number as `serving_default`."""
    module = tf.Module()
    for name, value in tracked.items():
        setattr(module, name, value)
    module.function = tf.function(function, input_signature=SPEC)
    tf.saved_model.save(module, str(folder), signatures=module.function)
    return folder


def edit(folder: Path, change, name: str = "saved_model.pb") -> Path:
    """Changes a model's protobuf."""
    path = folder / name
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(saved.meta_graphs[0])
    path.write_bytes(saved.SerializeToString())
    return folder


def refused(folder: Path) -> dict[str, Problem]:
    """The problems by what is at fault; one of each."""
    return {problem.op: problem for problem in scan(folder)}


@pytest.fixture
def plain(tmp_path) -> Path:
    return save(tmp_path / "plain", lambda x: {"y": x * 2.0}, scale=tf.Variable(3.0))


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A model like that of the flights: vocabulary, buckets, variables, all three signatures."""
    transform = write_transform(tmp_path_factory.mktemp("transform"))
    return export(transform, tmp_path_factory.mktemp("exported") / "m")


@pytest.fixture
def copy(exported, tmp_path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


class TestWhatIsFine:
    def test_a_model_of_ours(self, exported):
        assert scan(exported) == []

    def test_with_sample_requests_manifest_and_card(self, copy):
        for name in (
            "assets.extra/tf_serving_warmup_requests",
            "assets.extra/ordain/example.json",
            "manifest.json",
            "manifest.json.sig",
            "MODEL_CARD.md",
        ):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_text("{}")
        assert scan(copy) == []

    def test_a_plain_one(self, plain):
        assert scan(plain) == []

    def test_text(self, tmp_path):
        texts = ["a late plane", "an early bird"]
        vectorize = keras.layers.TextVectorization(max_tokens=50, output_sequence_length=4)
        vectorize.adapt(texts)
        inputs = keras.Input((), dtype="string")
        embedded = keras.layers.Embedding(50, 4)(vectorize(inputs))
        pooled = keras.layers.GlobalAveragePooling1D()(embedded)
        model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(pooled))
        model.export(str(tmp_path / "m"), verbose=False)
        assert scan(tmp_path / "m") == []

    def test_an_lstm(self, tmp_path):
        inputs = keras.Input((5, 2))
        hidden = keras.layers.Bidirectional(keras.layers.LSTM(3, dropout=0.1))(inputs)
        model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden))
        model.export(str(tmp_path / "m"), verbose=False)
        assert scan(tmp_path / "m") == []

    def test_digits(self, tmp_path):
        inputs = keras.Input((8, 8, 1))
        hidden = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
        hidden = keras.layers.Flatten()(keras.layers.MaxPooling2D()(hidden))
        hidden = keras.layers.Dropout(0.1)(keras.layers.BatchNormalization()(hidden))
        model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(hidden))
        model.export(str(tmp_path / "m"), verbose=False)
        assert scan(tmp_path / "m") == []

    def test_checks_inside_a_graph(self, tmp_path):
        def checked(x):
            with tf.control_dependencies([tf.debugging.assert_non_negative(x)]):
                return {"y": tf.identity(x)}

        assert scan(save(tmp_path / "m", checked)) == []

    def test_words_that_are_names_of_operations(self, tmp_path):
        # A vocabulary is data, whatever words it holds.
        words = tf.constant(["PyFunc", "ReadFile", "node { op: 1 }", "Print", "__lambda__"])
        assert scan(save(tmp_path / "m", lambda x: {"y": x, "words": words})) == []


def py_function(x):
    return {"y": tf.py_function(lambda v: v, [x], tf.float32)}


def numpy_function(x):
    return {"y": tf.numpy_function(lambda v: v, [x], tf.float32)}


def stateless_function(x):
    return {"y": tf.numpy_function(lambda v: v, [x], tf.float32, stateful=False)}


def read_file(x):
    return {"y": x, "secret": tf.io.read_file("/etc/hostname")}


def write_file(x):
    with tf.control_dependencies([tf.io.write_file("/tmp/ordain-never", "x")]):
        return {"y": tf.identity(x)}


def prints(x):
    tf.print("seen", x)
    return {"y": x}


def matching_files(x):
    return {"y": x, "files": tf.io.matching_files("/etc/*")}


def saves(x):
    with tf.control_dependencies(
        [
            tf.raw_ops.SaveV2(
                prefix="/tmp/ordain-never", tensor_names=["a"], shape_and_slices=[""], tensors=[x]
            )
        ]
    ):
        return {"y": tf.identity(x)}


def restores(x):
    (found,) = tf.raw_ops.RestoreV2(
        prefix="/tmp/other", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    )
    return {"y": x + found}


def reads_lines(x):
    lines = tf.data.TextLineDataset("/etc/hostname")
    return {"y": x, "n": lines.reduce(tf.constant(0), lambda n, _: n + 1)}


def in_a_branch(x):
    return {"y": tf.cond(tf.reduce_sum(x) > 0, lambda: x, lambda: py_function(x)["y"])}


def in_a_loop(x):
    def body(i, value):
        with tf.control_dependencies([tf.io.write_file("/tmp/ordain-never", "x")]):
            return i + 1, value + 1.0

    return {"y": tf.while_loop(lambda i, _: i < 3, body, (0, x))[1]}


@pytest.mark.parametrize(
    ("function", "operation", "why"),
    [
        (py_function, "EagerPyFunc", "runs Python code"),
        (numpy_function, "PyFunc", "runs Python code"),
        (stateless_function, "PyFuncStateless", "runs Python code"),
        (read_file, "ReadFile", "reads files"),
        (write_file, "WriteFile", "writes files"),
        (prints, "PrintV2", "prints"),
        (matching_files, "MatchingFiles", "reads files"),
        (saves, "SaveV2", "writes files"),
        (restores, "RestoreV2", "reads files"),
        (reads_lines, "TextLineDataset", "input pipeline"),
        (in_a_branch, "EagerPyFunc", "runs Python code"),
        (in_a_loop, "WriteFile", "writes files"),
    ],
)
def test_a_bad_operation_is_named(tmp_path, function, operation, why):
    found = refused(save(tmp_path / "m", function))
    assert operation in found
    assert why in found[operation].why
    assert ", function " in found[operation].where
    assert str(found[operation]).startswith(f"{operation} (saved_model.pb, function ")


def test_nothing_of_a_model_is_run(tmp_path):
    marker = tmp_path / "ran"

    def leaves_a_mark(x):
        with tf.control_dependencies([tf.io.write_file(str(marker), "ran")]):
            return {"y": tf.identity(x)}

    folder = save(tmp_path / "m", leaves_a_mark)
    assert "WriteFile" in refused(folder)
    assert not marker.exists()
    # The mark is real: a call leaves it.
    tf.saved_model.load(str(folder)).signatures["serving_default"](x=tf.constant([1.0]))
    assert marker.exists()


def test_a_scan_loads_no_more_than_messages(plain):
    script = (
        "import sys\nfrom ordain.serving.scan import scan\nassert 'tensorflow' not in sys.modules\n"
        "import tensorflow as tf\n"
        "def never(*_, **__): raise SystemExit('loaded')\n"
        "tf.saved_model.load = tf.Graph.__init__ = tf.import_graph_def = never\n"
        f"print(scan.scan({str(plain)!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr[-500:]


class TestHidden:
    def test_an_unknown_operation(self, plain):
        def change(meta):
            meta.graph_def.library.function[0].node_def.add(name="evil", op="SuperCustomOp")

        problem = refused(edit(plain, change))["SuperCustomOp"]
        assert "custom operation" in problem.why and "node evil" in problem.where

    def test_a_known_one_that_no_model_needs(self, plain):
        def change(meta):
            meta.graph_def.node.add(name="late", op="Timestamp")

        assert "not among the operations" in refused(edit(plain, change))["Timestamp"].why

    def test_a_function_that_nothing_calls(self, plain):
        def change(meta):
            function = meta.graph_def.library.function.add()
            function.signature.name = "unused"
            function.node_def.add(name="read", op="ReadFile")

        assert "function unused" in refused(edit(plain, change))["ReadFile"].where

    def test_a_function_named_as_an_operation(self, plain):
        def change(meta):
            function = meta.graph_def.library.function.add()
            function.signature.name = "ReadFile"
            meta.graph_def.node.add(name="n", op="ReadFile")

        found = [problem.why for problem in scan(edit(plain, change)) if problem.op == "ReadFile"]
        assert found == ["has the name of an operation", "reads files"]

    def test_a_second_meta_graph(self, plain):
        path = plain / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        other = saved.meta_graphs.add()
        other.meta_info_def.tags.append("other")
        other.graph_def.node.add(name="n", op="WriteFile")
        path.write_bytes(saved.SerializeToString())
        assert "WriteFile" in refused(plain)

    @pytest.mark.parametrize("as_text", [False, True])
    @pytest.mark.parametrize("where", ["attribute", "constant", "list", "function reference"])
    def test_a_graph_in_an_attribute(self, plain, where, as_text):
        inner = graph_pb2.GraphDef()
        inner.node.add(name="deep", op="ReadFile")
        text = text_format.MessageToString(inner).encode() if as_text else b""
        hidden = text or inner.SerializeToString()

        def change(meta):
            node = meta.graph_def.node.add(name="holder", op="Const")
            if where == "attribute":
                node.attr["graph"].s = hidden
            elif where == "list":
                node.attr["graphs"].list.s.append(hidden)
            elif where == "constant":
                node.attr["value"].tensor.string_val.append(hidden)
            else:
                name = meta.graph_def.library.function[0].signature.name
                node.attr["f"].func.name = name
                node.attr["f"].func.attr["graph"].s = hidden

        problem = refused(edit(plain, change))["ReadFile"]
        assert "graph inside node holder, node deep" in problem.where

    def test_graphs_in_graphs_end_somewhere(self, plain):
        hidden = b""
        for _ in range(10):
            inner = graph_pb2.GraphDef()
            inner.node.add(name="n", op="NoOp").attr["graph"].s = hidden
            hidden = inner.SerializeToString()

        def change(meta):
            meta.graph_def.node.add(name="n", op="NoOp").attr["graph"].s = hidden

        assert "nested more than" in refused(edit(plain, change))["saved_model.pb"].why

    def test_a_call_of_a_function_that_is_not_there(self, plain):
        def change(meta):
            node = meta.graph_def.node.add(name="n", op="PartitionedCall")
            node.attr["f"].func.name = "elsewhere"

        assert "calls elsewhere" in refused(edit(plain, change))["PartitionedCall"].why

    def test_another_machine(self, plain):
        def change(meta):
            meta.graph_def.node.add(name="n", op="NoOp", device="/job:worker/task:0")

        assert "another machine" in refused(edit(plain, change))["NoOp"].why

    def test_an_input_in_place_of_a_value_inside(self, plain):
        def change(meta):
            inside = next(n.name for n in meta.graph_def.node if n.op == "Const")
            meta.signature_def["serving_default"].inputs["path"].name = f"{inside}:0"

        assert any("no placeholder" in p.why for p in scan(edit(plain, change)))


class TestTextForm:
    def as_text(self, folder: Path) -> Path:
        path = folder / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        (folder / "saved_model.pbtxt").write_text(text_format.MessageToString(saved))
        path.unlink()
        return folder

    def test_is_read_as_well(self, tmp_path, plain):
        assert scan(self.as_text(plain)) == []
        problem = refused(self.as_text(save(tmp_path / "m", read_file)))["ReadFile"]
        assert problem.where.startswith("saved_model.pbtxt")

    def test_beside_a_good_binary_one(self, tmp_path, plain):
        bad = self.as_text(save(tmp_path / "m", write_file))
        shutil.copy(bad / "saved_model.pbtxt", plain)
        assert "WriteFile" in refused(plain)


class TestSaver:
    """Its operations stand in every model, and are allowed only where they save that model."""

    def saver(self, meta, kind: str):
        word = "save" if kind == "save" else "restore"
        return next(
            f
            for f in meta.graph_def.library.function
            if f.signature.name.startswith(f"__inference__traced_{word}")
        )

    def test_a_restore_of_another_file(self, plain):
        def change(meta):
            function = self.saver(meta, "restore")
            function.node_def.add(name="other", op="Const")
            node = next(n for n in function.node_def if n.op == "RestoreV2")
            node.input[0] = "other:output:0"

        assert refused(edit(plain, change))["RestoreV2"].why.startswith("reads files")

    def test_a_save_while_restoring(self, plain):
        def change(meta):
            self.saver(meta, "restore").node_def.add(name="s", op="SaveV2", input=["file_prefix"])

        assert refused(edit(plain, change))["SaveV2"].why.startswith("writes files")

    def test_a_save_that_a_signature_asks_for(self, plain):
        def change(meta):
            outputs = meta.signature_def["serving_default"].outputs
            outputs["y2"].name = meta.saver_def.save_tensor_name

        assert refused(edit(plain, change))["SaveV2"].why.startswith("writes files")

    def test_a_save_that_another_function_calls(self, plain):
        def change(meta):
            name = self.saver(meta, "save").signature.name
            serve = next(
                f for f in meta.graph_def.library.function if "signature" in f.signature.name
            )
            node = serve.node_def.add(name="again", op="StatefulPartitionedCall")
            node.attr["f"].func.name = name

        assert refused(edit(plain, change))["SaveV2"].why.startswith("writes files")

    def test_a_save_on_start(self, plain):
        def change(meta):
            saver = meta.saver_def.save_tensor_name.partition(":")[0]
            (start,) = meta.collection_def["saved_model_main_op"].node_list.value
            next(n for n in meta.graph_def.node if n.name == start).input.append(f"^{saver}")

        assert refused(edit(plain, change))["SaveV2"].why.startswith("writes files")


class TestAssets:
    def table(self, meta):
        return next(
            (f, n)
            for f in meta.graph_def.library.function
            for n in f.node_def
            if n.op == "InitializeTableFromTextFileV2"
        )

    def test_a_table_of_another_file(self, copy):
        def change(meta):
            function, node = self.table(meta)
            other = function.node_def.add(name="other", op="Const")
            other.attr["value"].tensor.string_val.append(b"/etc/passwd")
            node.input[1] = "other:output:0"

        assert refused(edit(copy, change))["InitializeTableFromTextFileV2"].why.startswith(
            "reads files"
        )

    def test_a_table_of_a_file_that_a_request_names(self, copy):
        def change(meta):
            asset = meta.asset_file_def[0].tensor_info.name
            meta.signature_def["serving_default"].inputs["path"].name = asset

        assert refused(edit(copy, change))["InitializeTableFromTextFileV2"].why.startswith(
            "reads files"
        )

    def test_a_variable_that_holds_another_path_meanwhile(self, copy):
        def change(meta):
            variable = next(
                n.input[0]
                for n in meta.graph_def.node
                if n.op == "AssignVariableOp" and n.input[1] == "asset_path_initializer"
            )
            meta.graph_def.node.add(name="other", op="Const")
            meta.graph_def.node.add(name="a", op="AssignVariableOp", input=[variable, "other"])

        assert refused(edit(copy, change))["InitializeTableFromTextFileV2"].why.startswith(
            "reads files"
        )

    @pytest.mark.parametrize("name", ["../saved_model.pb", "/etc/hostname", "none", ""])
    def test_an_asset_that_is_not_one(self, copy, name):
        def change(meta):
            meta.asset_file_def[0].filename = name

        found = scan(edit(copy, change))
        assert any(p.op == name and "not in assets/" in p.why for p in found)
        assert any(p.op == "InitializeTableFromTextFileV2" for p in found)

    def test_an_asset_that_leads_away(self, copy):
        vocabulary = next((copy / "assets").glob("*carriers*"))
        vocabulary.unlink()
        vocabulary.symlink_to("/etc/hostname")
        assert "is a link" in refused(copy)[f"assets/{vocabulary.name}"].why


class TestRecord:
    """The operations noted at export detect what came later, and allow nothing."""

    def test_an_allowed_operation_that_came_later(self, copy):
        def change(meta):
            meta.graph_def.node.add(name="n", op="Cholesky")

        assert "was not in the model when it was exported" in (
            refused(edit(copy, change))["Cholesky"].why
        )

    def test_cannot_allow_a_dangerous_one(self, copy):
        path = copy / "assets" / "ordain.json"
        raw = json.loads(path.read_text())
        raw["operations"] += ["ReadFile", "SuperCustomOp", "Timestamp"]
        path.write_text(json.dumps(raw))

        def change(meta):
            for name in ("ReadFile", "SuperCustomOp", "Timestamp"):
                meta.graph_def.node.add(name=name, op=name)

        assert set(refused(edit(copy, change))) == {"ReadFile", "SuperCustomOp", "Timestamp"}

    def test_a_signature_that_came_later(self, copy):
        def change(meta):
            meta.signature_def["later"].CopyFrom(meta.signature_def["serving_default"])

        found = [p.why for p in scan(edit(copy, change)) if p.op == "later"]
        assert "was not in the model when it was exported" in found

    def test_that_is_damaged_is_a_problem_itself(self, copy):
        (copy / "assets" / "ordain.json").write_text("{")
        assert "cannot be read" in refused(copy)["assets/ordain.json"].why


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("libevil.so", "is code"),
            ("assets/libevil.so.1", "is code"),
            ("model.py", "is code"),
            ("assets/model.pkl", "is code"),
            ("assets.extra/run.sh", "is code"),
            ("assets/notes.txt", "not part of a SavedModel"),
            ("variables/other", "not part of a SavedModel"),
            ("saved_model.cpb", "in pieces"),
        ],
    )
    def test_that_no_savedmodel_has(self, plain, name, why):
        (plain / name).parent.mkdir(exist_ok=True)
        (plain / name).write_text("x")
        assert why in refused(plain)[name].why

    def test_code_under_another_name(self, copy):
        vocabulary = next((copy / "assets").glob("*carriers*"))
        vocabulary.write_bytes(b"\x7fELF" + bytes(100))
        assert "is code" in refused(copy)[f"assets/{vocabulary.name}"].why

    def test_a_link(self, plain):
        (plain / "variables" / "variables.index").unlink()
        (plain / "variables" / "variables.index").symlink_to("/etc/hostname")
        assert "is a link" in refused(plain)["variables/variables.index"].why

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("name", ["assets/ordain.json", "saved_model.pbtxt", "pipe"])
    def test_a_pipe_is_not_opened(self, plain, name):
        os.mkfifo(plain / name)
        assert refused(plain)[name].why == "is no plain file"

    @pytest.mark.parametrize("content", [b"", b"not a model", b"\x0a\xff\xff\xff\xff\x0f" * 9])
    def test_a_graph_that_is_none(self, plain, content):
        (plain / "saved_model.pb").write_bytes(content)
        assert "cannot be read" in refused(plain)["saved_model.pb"].why

    def test_a_graph_that_is_too_large_is_not_read(self, plain):
        with (plain / "saved_model.pb").open("r+b") as file:
            file.truncate(10**10)
        assert "larger than" in refused(plain)["saved_model.pb"].why

    def test_no_graph_at_all(self, tmp_path):
        assert refused(tmp_path)["saved_model.pb"].why == "is missing"

    def test_a_graph_of_too_many_nodes_is_not_looked_at(self, plain, monkeypatch):
        monkeypatch.setattr("ordain.serving.scan.scan.MAX_PARTS", 50)
        assert [str(p) for p in scan(plain)] == ["saved_model.pb has more than 50 nodes and links"]

    def test_thousands_of_problems_end_somewhere(self, plain):
        for i in range(MAX_PROBLEMS * 2):
            (plain / f"{i}.py").touch()
        assert len(scan(plain)) == MAX_PROBLEMS


class TestLambda:
    def test_in_what_keras_two_writes(self, tmp_path):
        tf_keras = pytest.importorskip("tf_keras")
        model = tf_keras.Sequential([tf_keras.Input((1,)), tf_keras.layers.Lambda(lambda v: v * 2)])
        model.save(str(tmp_path / "m"), save_format="tf")
        problem = refused(tmp_path / "m")["Lambda"]
        assert problem.where == "keras_metadata.pb" and "Python bytecode" in problem.why

    def test_a_model_of_keras_two_without_one_is_fine(self, tmp_path):
        tf_keras = pytest.importorskip("tf_keras")
        model = tf_keras.Sequential([tf_keras.Input((1,)), tf_keras.layers.Dense(2)])
        model.save(str(tmp_path / "m"), save_format="tf")
        assert scan(tmp_path / "m") == []

    def test_in_the_object_graph(self, plain):
        layer = {"class_name": "\\u004cambda", "config": {"function": ["4wEAAA=="]}}

        def change(meta):
            meta.object_graph_def.nodes[0].user_object.metadata = json.dumps(layer).replace(
                "\\\\", "\\"
            )

        assert "object graph" in refused(edit(plain, change))["Lambda"].where

    def test_in_a_part_of_the_notes_that_is_not_read(self, plain):
        """A group, which Keras never writes, makes a message unreadable; JSON may escape an L."""
        escaped = b'{"class_name": "\\u004cambda"}'
        inner = b"\x0b\x0c\x12" + bytes([len(escaped)]) + escaped
        (plain / "keras_metadata.pb").write_bytes(b"\x0a" + bytes([len(inner)]) + inner)
        assert "Lambda" in refused(plain)

    def test_notes_that_are_no_protobuf(self, plain):
        (plain / "keras_metadata.pb").write_bytes(b"\xff" * 100)
        assert "cannot be read" in refused(plain)["keras_metadata.pb"].why


def test_no_operation_is_both_allowed_and_dangerous():
    assert {name for name in ALLOWED if denied_because(name)} == set()
    assert not ALLOWED & (SAVER_ONLY | ASSET_ONLY)
    assert all(denied_because(name) for name in SAVER_ONLY | ASSET_ONLY)
