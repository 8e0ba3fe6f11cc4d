"""The compiled pipeline, and its binding to a run and to spans."""

import json

import pytest
from google.protobuf import json_format

from ordain.config.loading import load_project
from ordain.pipeline import graph, span_binding

NODES = [
    "ExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "DataGate",
    "AnalyzerCache",
    "Transform",
    "Trainer",
    "Baseline",
    "Evaluator",
    "ServerGate",
    "Pusher",
]


@pytest.fixture(scope="module")
def ir(tmp_path_factory, write_project):
    return graph.compile_ir(load_project(write_project(tmp_path_factory.mktemp("ir") / "toy")), 3)


def node_of(ir, name):
    (found,) = [n.pipeline_node for n in ir.nodes if n.pipeline_node.node_info.id == name]
    return found


def names(ir) -> list[str]:
    return [n.pipeline_node.node_info.id for n in ir.nodes]


def contexts(node) -> dict[str, str]:
    return {c.type.name: c.name.field_value.string_value for c in node.contexts.contexts}


def queries(node, key: str) -> dict[str, str]:
    (channel,) = node.inputs.inputs[key].channels
    return {q.type.name: q.name.field_value.string_value for q in channel.context_queries}


class TestGraph:
    def test_nodes_are_in_pipeline_order(self, ir):
        assert names(ir) == NODES

    @pytest.mark.parametrize("name", NODES[5:])
    def test_everything_behind_the_data_gate_hangs_on_its_verdict(self, ir, name):
        assert "_DataGate.verdict" in node_of(ir, name).inputs.inputs

    @pytest.mark.parametrize("name", NODES[:5])
    def test_nothing_before_the_gate_does(self, ir, name):
        assert "_DataGate.verdict" not in node_of(ir, name).inputs.inputs

    def test_a_tuner_stands_before_the_trainer_which_takes_what_it_found(self, make_project):
        ir = graph.compile_ir(make_project(tune={}), 3)
        assert names(ir) == [*NODES[:7], "Tuner", *NODES[7:]]
        (channel,) = node_of(ir, "Trainer").inputs.inputs["hyperparameters"].channels
        assert channel.producer_node_query.id == "Tuner"

    def test_without_a_baseline_there_is_no_resolver(self, make_project):
        ir = graph.compile_ir(make_project(evaluate__baseline={"none": "first one"}), 3)
        # The server gate still asks for the version whose clients there are.
        gate = NODES.index("ServerGate")
        wanted = [*NODES[:gate], "Stable", *NODES[gate:]]
        assert names(ir) == [n for n in wanted if n != "Baseline"]
        assert "baseline_model" not in node_of(ir, "Evaluator").inputs.inputs
        none = {"none": "first one"}
        ir = graph.compile_ir(make_project(evaluate__baseline=none, gate__server=none), 3)
        assert not {"Baseline", "Stable", "ServerGate"} & set(names(ir))

    def test_the_server_gate_follows_the_evaluation_and_the_pusher_reads_it(self, ir):
        assert "Evaluator" in node_of(ir, "ServerGate").upstream_nodes
        (channel,) = node_of(ir, "Pusher").inputs.inputs["infra_blessing"].channels
        assert channel.producer_node_query.id == "ServerGate"

    def test_without_a_server_gate_the_pusher_reads_none(self, make_project):
        ir = graph.compile_ir(make_project(gate__server={"none": "nobody serves it"}), 3)
        assert names(ir) == [n for n in NODES if n != "ServerGate"]
        assert "infra_blessing" not in node_of(ir, "Pusher").inputs.inputs

    @pytest.mark.parametrize(
        ("runner", "platform"),
        [("tensorflow_serving_docker", "localDocker"), ("kubernetes", "kubernetes")],
    )
    def test_tfx_own_infra_validator_can_be_chosen(self, make_project, runner, platform):
        settings = {"runner": runner, "max_load_s": 12.5, "image_tag": "2.19.1"}
        node = node_of(graph.compile_ir(make_project(gate__server=settings), 3), "ServerGate")
        assert node.node_info.type.name.startswith("tfx.components.infra_validator")
        told = node.parameters.parameters
        spec = json.loads(told["serving_spec"].field_value.string_value)
        key = next(k for k in spec if k.replace("_", "").lower() == platform.lower())
        assert spec[key] == {}
        assert "2.19.1" in json.dumps(spec)
        assert "13" in told["validation_spec"].field_value.string_value

    def test_a_limit_of_the_server_gate_is_no_setting_of_the_data_gate(self, make_project):
        one, other = (
            graph.compile_ir(make_project(gate__server={"max_size_mb": size}), 3)
            for size in (10, 20)
        )
        assert settings(one, "DataGate") == settings(other, "DataGate")
        assert settings(one, "ServerGate") != settings(other, "ServerGate")

    @pytest.mark.parametrize(
        ("keys", "rule"),
        [
            ({}, "stable"),
            ({"evaluate__baseline": "latest"}, "latest"),
            ({"evaluate__baseline": 4}, "4"),
        ],
    )
    def test_the_baseline_comes_from_the_serving_directory(self, make_project, keys, rule):
        project = make_project(**keys)
        node = node_of(graph.compile_ir(project, 3), "Baseline")
        asked = {g.nodes[g.result_node].op_node.op_type for g in node.inputs.input_graphs.values()}
        assert asked == {"ordain.components.resolvers.BaselineModel"}
        for resolution in node.inputs.input_graphs.values():
            told = resolution.nodes[resolution.result_node].op_node.kwargs
            words = {key: value.value.field_value.string_value for key, value in told.items()}
            assert words == {"directory": str(project.serving), "rule": rule}

    def test_a_curated_schema_takes_the_place_of_the_inferred_one(self, make_folder):
        folder = make_folder()
        (folder / "schema.pbtxt").write_text('feature { name: "y" type: INT }\n')
        node = node_of(graph.compile_ir(load_project(folder), 3), "SchemaGen")
        assert not node.inputs.inputs
        assert node.parameters.parameters["schema_file"].field_value.string_value == str(
            folder / "schema.pbtxt"
        )


def settings(ir, name) -> str:
    """All that keys a node's cache beside its inputs, as text."""
    return json_format.MessageToJson(node_of(ir, name).parameters, sort_keys=True)


class TestCacheKey:
    @pytest.fixture
    def changed(self, make_folder):
        """Nodes whose settings a change of the project changes."""

        def compare(change, **keys):
            folder = make_folder(**keys)
            (folder / "helper.py").write_text("X = 1\n")
            before = graph.compile_ir(load_project(folder), 3)
            change(folder)
            after = graph.compile_ir(load_project(folder), 3)
            return {n for n in names(after) if settings(before, n) != settings(after, n)}

        return compare

    def test_a_helper_of_the_module_is_part_of_it(self, changed):
        assert changed(lambda f: (f / "helper.py").write_text("X = 2\n")) == {
            "Transform",
            "Trainer",
            "Pusher",  # whose manifest names the source; the model is a new one anyway
        }

    def test_the_content_of_the_curated_schema_is_part_of_it(self, make_folder):
        folder = make_folder()
        compiled = []
        for top in (1, 2):
            text = f'feature {{ name: "y" type: INT int_domain {{ max: {top} }} }}\n'
            (folder / "schema.pbtxt").write_text(text)
            compiled.append(graph.compile_ir(load_project(folder), 3))
        before, after = compiled
        assert [n for n in names(after) if settings(before, n) != settings(after, n)] == [
            "SchemaGen"
        ]

    def test_a_cache_folder_is_not(self, changed):
        def change(folder):
            (folder / "__pycache__").mkdir()
            (folder / "__pycache__" / "helper.py").write_text("X = 3\n")

        assert changed(change) == set()

    def test_a_secret_is_not_in_it(self, make_project, monkeypatch):
        monkeypatch.setenv("ORDAIN_TEST_TOKEN", "open-sesame")
        project = make_project(train__parameters={"token": "${env:ORDAIN_TEST_TOKEN}"})
        text = json_format.MessageToJson(graph.compile_ir(project, 3))
        assert "open-sesame" not in text
        assert "${env:ORDAIN_TEST_TOKEN}" in text

    def test_a_pass_phrase_is_not_in_it(self, make_project, monkeypatch):
        monkeypatch.setenv("ORDAIN_TEST_PHRASE", "open-sesame")
        keys = {"public_key": "a.pub", "private_key": "a", "password": "${env:ORDAIN_TEST_PHRASE}"}
        text = json_format.MessageToJson(graph.compile_ir(make_project(push={"signing": keys}), 3))
        assert "open-sesame" not in text
        assert "${env:ORDAIN_TEST_PHRASE}" in text


class TestBindRun:
    def test_every_node_is_in_the_runs_context_and_queries_within_it(self, ir):
        bound = span_binding.bind_run(ir, "run-1")
        for name in NODES:
            assert contexts(node_of(bound, name))["pipeline_run"] == "run-1"
        assert queries(node_of(bound, "StatisticsGen"), "examples")["pipeline_run"] == "run-1"
        assert bound.runtime_spec.pipeline_run_id.field_value.string_value == "run-1"

    def test_the_original_ir_stays_unbound(self, ir):
        before = ir.SerializeToString(deterministic=True)
        span_binding.bind_run(ir, "run-1", enable_cache=False)
        assert ir.SerializeToString(deterministic=True) == before

    @pytest.mark.parametrize("is_enabled", [True, False])
    def test_the_cache_is_used_by_all_nodes_or_none(self, ir, is_enabled):
        bound = span_binding.bind_run(ir, "run-1", enable_cache=is_enabled)
        states = {
            n.pipeline_node.execution_options.caching_options.enable_cache for n in bound.nodes
        }
        assert states == {is_enabled}

    def test_the_cache_can_be_turned_off_for_one_node(self, ir):
        bound = span_binding.bind_run(ir, "run-1")
        span_binding.disable_cache(node_of(bound, "Trainer"))
        cached = [
            n.pipeline_node.node_info.id
            for n in bound.nodes
            if n.pipeline_node.execution_options.caching_options.enable_cache
        ]
        assert cached == [n for n in NODES if n != "Trainer"]


class TestBindSpan:
    @pytest.fixture(scope="class")
    def bound(self, ir):
        return span_binding.bind_run(ir, "run-1")

    @pytest.mark.parametrize("name", span_binding.PER_SPAN)
    def test_a_span_is_a_context_of_its_own(self, bound, name):
        plain = node_of(bound, name)
        node = span_binding.bind_span(plain, "toy", 201312, True)
        assert contexts(node) == {**contexts(plain), "span": "toy.span-201312"}
        assert "span" not in contexts(plain)

    @pytest.mark.parametrize(
        ("name", "key"), [("StatisticsGen", "examples"), ("ExampleValidator", "statistics")]
    )
    def test_outputs_of_a_per_span_node_are_queried_by_span(self, bound, name, key):
        node = span_binding.bind_span(node_of(bound, name), "toy", 2, True)
        assert queries(node, key)["span"] == "toy.span-2"

    def test_what_comes_from_a_node_of_the_whole_window_is_not(self, bound):
        node = span_binding.bind_span(node_of(bound, "ExampleValidator"), "toy", 2, True)
        assert "span" not in queries(node, "schema")

    def test_nodes_of_the_whole_window_ask_for_every_span(self, bound):
        for name, key in (("SchemaGen", "statistics"), ("DataGate", "anomalies")):
            assert "span" not in queries(node_of(bound, name), key)

    def test_example_gen_takes_that_span_only(self, bound):
        node = span_binding.bind_span(node_of(bound, "ExampleGen"), "toy", 2, True)
        text = node.parameters.parameters["range_config"].field_value.string_value
        assert json.loads(text) == {"static_range": {"start_span_number": 2, "end_span_number": 2}}

    def test_span_zero_is_a_span(self, bound):
        from tfx.proto import range_config_pb2
        from tfx.utils import proto_utils

        node = span_binding.bind_span(node_of(bound, "ExampleGen"), "toy", 0, True)
        text = node.parameters.parameters["range_config"].field_value.string_value
        read = proto_utils.json_to_proto(text, range_config_pb2.RangeConfig())
        assert read.HasField("static_range")
        assert read.static_range.start_span_number == 0

    def test_without_spans_in_the_pattern_it_takes_all_files(self, bound):
        node = span_binding.bind_span(node_of(bound, "ExampleGen"), "toy", 0, False)
        assert "range_config" not in node.parameters.parameters

    def test_other_nodes_have_no_range(self, bound):
        node = span_binding.bind_span(node_of(bound, "StatisticsGen"), "toy", 2, True)
        assert "range_config" not in node.parameters.parameters
