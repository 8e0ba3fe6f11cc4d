"""The topology, compared with the compiled pipeline."""

import pytest

from ordain.config.loading import load_project
from ordain.pipeline.topology import topology_of


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("tune={}",),
        ("train.base_model=served",),
        ("tune={}", "train.base_model=served"),
        ("evaluate.baseline={none: because}",),
        ("gate.server.none=because",),
        ("evaluate.baseline={none: because}", "gate.server.none=because"),
        ("gate.server.runner=kubernetes",),
        ("schema_file=frozen.pbtxt",),
        ("push.directory=gs://bucket/served",),
        ("executors={Transform: tfx, Evaluator: tfx}",),
    ],
    ids=" ".join,
)
def test_is_that_of_the_graph(make_folder, settings):
    from ordain.pipeline import graph

    folder = make_folder()
    (folder / "frozen.pbtxt").write_text('feature { name: "x" type: FLOAT }')
    project = load_project(folder, None, settings)
    ir = graph.compile_ir(project, 3)
    nodes = [node.pipeline_node for node in ir.nodes]
    expected = {node.node_info.id: sorted(node.upstream_nodes) for node in nodes}
    assert {name: sorted(others) for name, others in topology_of(project).items()} == expected


def test_a_node_stands_behind_what_it_waits_for(make_folder):
    project = load_project(make_folder(), None, ("tune={}", "train.base_model=served"))
    seen = set()
    for name, others in topology_of(project).items():
        assert set(others) <= seen
        seen.add(name)
