"""Cache keys: as stated, as documented, and as TFX computes them."""

from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import cache_utils
from tfx.types import standard_artifacts

from ordain.common.node_id import NodeId
from ordain.config.loading import load_project
from ordain.pipeline import graph
from ordain.pipeline.cache_key import KEYS, table
from ordain.upstream.tfx_cache import is_condition, portable_keys

DOCS = Path(__file__).resolve().parents[3] / "docs" / "running.md"
ALL = ("tune={}", "train.base_model=served", "evaluate.baseline=latest")
LOOKED_UP = {NodeId.ANALYZER_CACHE, NodeId.BASE_MODEL, NodeId.BASELINE, NodeId.STABLE}
FEATURE = 'feature {{ name: "x" type: {} }}'


@pytest.fixture(scope="module")
def handle():
    config = pb.ConnectionConfig(fake_database=pb.FakeDatabaseConfig())
    with metadata.Metadata(config) as opened:
        yield opened


@pytest.fixture
def keys(handle, make_folder):
    """Computes all nodes' keys, by the function that TFX's launcher calls."""
    folder = make_folder()

    def compute(*settings, newest=3, inputs=(), **files):
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        project = load_project(folder, None, (*ALL, *settings))
        ir = graph.compile_ir(project, newest)
        deployment = runner_utils.extract_local_deployment_config(ir)
        found = {}
        for node in (n.pipeline_node for n in ir.nodes):
            name = node.node_info.id
            if name in LOOKED_UP:
                continue
            artifacts = {}
            for key, spec in node.inputs.inputs.items():
                sources = {f"{c.producer_node_query.id}.{c.output_key}" for c in spec.channels}
                artifact = standard_artifacts.Examples()
                is_new = not is_condition(key) and sources & set(inputs)
                artifact.uri = "/new" if is_new else "/old"
                artifacts[key] = [artifact]
            fields = node.parameters.parameters.items()
            values = {k: v.field_value for k, v in fields}
            with portable_keys(project.paths):
                found[name] = cache_utils.get_cache_context(
                    handle,
                    node,
                    ir.pipeline_info,
                    runner_utils.extract_executor_spec(deployment, name),
                    artifacts,
                    {},
                    {k: getattr(v, v.WhichOneof("value")) for k, v in values.items()},
                ).name
        return found

    return compute


def changed(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def stated(setting):
    """Nodes whose key a setting is part of, as `KEYS` states it."""
    parts = setting.partition("=")[0].split(".")
    names = {".".join(parts[: i + 1]) for i in range(len(parts))}
    return {node for node, key in KEYS.items() if names & set(key.settings)}


SETTINGS = [
    "data.path=elsewhere",
    "data.pattern='{SPAN}/*.parquet'",
    "data.format=csv",
    "data.label=x",
    "data.unlabelled=drop",
    "data.split.train=9",
    "data.split.by=x",
    "schema_file=schema2.pbtxt",
    "gate.anomalies={new_column: block}",
    "gate.drift.numeric=0.1",
    "gate.skew_policy=block",
    "train.steps=7",
    "train.eval_steps=7",
    "train.parameters.rate=0.5",
    "train.parameters.batch_size=9",
    "tune.steps=7",
    "tune.eval_steps=7",
    "evaluate.metrics=[ExampleCount, AUC, MeanLabel]",
    "evaluate.slices=[x]",
    "evaluate.thresholds.auc.min=0.6",
    "gate.server.max_p99_ms=3",
    "push.promote=manual",
    "beam_args=[--direct_num_workers=1]",
]
#: A change of one of these gives no node another key.
OF_NO_KEY = [
    "data.window=1",
    "retrain={}",
    "schedule.settle_s=9",
    "workspace=elsewhere",
    "gate.server.image_tag=x",
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_changes_the_keys_that_are_stated_and_no_other(keys, setting):
    expected = stated(setting)
    if setting.startswith("schema_file"):
        expected = set()  # without a frozen schema nothing reads it
    assert changed(keys(), keys(setting)) == expected


def test_every_stated_setting_is_tried():
    tried = {setting.partition("=")[0] for setting in SETTINGS}
    for key in KEYS.values():
        for name in set(key.settings) - {"executors", "train.module"}:
            assert any(f"{t}.".startswith(f"{name}.") for t in tried), name


@pytest.mark.parametrize("node", ["ExampleGen", "StatisticsGen", "Transform", "Evaluator"])
def test_another_executor_changes_its_nodes_key(keys, node):
    before = keys("data.format=csv")
    assert changed(before, keys("data.format=csv", f"executors={{{node}: tfx}}")) >= {node}


@pytest.mark.parametrize("setting", OF_NO_KEY)
def test_a_setting_that_is_not_stated_changes_no_key(keys, setting):
    assert changed(keys(), keys(setting)) == set()


@pytest.mark.parametrize(
    "source", sorted({source for key in KEYS.values() for source in key.inputs})
)
def test_an_artifact_changes_the_keys_that_are_stated_and_no_other(keys, source):
    expected = {node for node, key in KEYS.items() if source in key.inputs}
    assert changed(keys(), keys(inputs={source})) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"helper_dot_py": "a = 1"}, {node for node, key in KEYS.items() if key.has_source}),
        ({"notes_dot_txt": "a"}, set()),
        ({"tests__test_a_dot_py": "a = 1"}, set()),
    ],
    ids=["a module beside", "no Python", "a test"],
)
def test_the_source_is_the_python_files_of_the_project(keys, files, expected):
    assert changed(keys(), keys(**files)) == expected


def test_a_frozen_schema_is_part_of_it_by_its_content(keys):
    frozen = keys(schema_dot_pbtxt=FEATURE.format("INT"))
    again = keys(schema_dot_pbtxt=FEATURE.format("FLOAT"))
    assert changed(frozen, again) == {NodeId.EXAMPLE_GEN, NodeId.SCHEMA_GEN}
    other = keys("schema_file=b.pbtxt", b_dot_pbtxt=FEATURE.format("FLOAT"))
    assert changed(again, other) == stated("schema_file")


def test_the_newest_span_is_part_of_the_evaluators(keys):
    limit = "evaluate.thresholds.auc.newest={min: 0.4}"
    assert changed(keys(limit), keys(limit, newest=4)) == {NodeId.EVALUATOR}


def test_every_node_with_a_key_is_stated(keys):
    assert keys().keys() == KEYS.keys()


def test_the_documentation_has_the_table():
    """If this fails: put the output of `python -m ordain.pipeline.cache_key` there."""
    assert table() in DOCS.read_text(encoding="utf-8")
