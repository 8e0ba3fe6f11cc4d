"""A project's own nodes: wiring, errors, and their source in the cache key."""

import pytest

from ordain.config.loading import load_project
from ordain.errors import ConfigError
from ordain.pipeline import graph
from ordain.pipeline.own_components import component_fingerprint
from ordain.pipeline.own_nodes import OUTPUTS, SOURCE_PROPERTY
from ordain.pipeline.topology import topology_of

CHECKS = """
from tfx import v1 as tfx
from tfx.dsl.component.experimental.container_component import create_container_component
from ordain.components.artifacts.types import GateVerdict

Examples = tfx.types.standard_artifacts.Examples
Model = tfx.types.standard_artifacts.Model


@tfx.dsl.components.component
def CountRows(
    examples: tfx.dsl.components.InputArtifact[Examples],
    verdict: tfx.dsl.components.OutputArtifact[GateVerdict],
    least: tfx.dsl.components.Parameter[int] = 1,
):
    pass


@tfx.dsl.components.component
def Weigh(
    candidate: tfx.dsl.components.InputArtifact[Model],
    report: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.String],
):
    pass


@tfx.dsl.components.component
def Compare(data: tfx.dsl.components.InputArtifact[Examples]):
    pass


def no_component(examples):
    pass


Shell = create_container_component(name="Shell", image="x", command=["true"])
"""
TFX_STATISTICS = "tfx.components:StatisticsGen"
OF_TRANSFORMED = {
    "after": "Transform",
    "component": TFX_STATISTICS,
    "id": "Measured",
    "with": {"examples": "Transform.transformed_examples"},
}


@pytest.fixture
def load(make_folder, request):
    """Loads a project with nodes of its own, of a module that no other test's project has."""

    def make(*nodes, text=CHECKS, module=None, settings=()):
        module = module or f"checks_{abs(hash(request.node.nodeid))}"
        nodes = [
            {**node, "component": node["component"].replace("checks:", f"{module}:")}
            for node in nodes
        ]
        folder = make_folder(nodes=nodes)
        (folder / f"{module}.py").write_text(text)
        return load_project(folder, None, settings)

    return make


def count(after, **more):
    return {"after": after, "component": "checks:CountRows", **more}


class TestShape:
    @pytest.mark.parametrize(
        "nodes",
        [
            [count("ExampleGen")],
            [count("StatisticsGen"), count("CountRows", id="Second")],
            [count("DataGate")],
            [OF_TRANSFORMED],
            [OF_TRANSFORMED, {"after": "Measured", "component": "tfx.components:SchemaGen",
                              "with": {"statistics": "Measured.statistics"}, "id": "Learned"}],
            [{"after": "Trainer", "component": "checks:Weigh"}],
            [count("Evaluator", **{"with": {"examples": "ExampleGen.examples", "least": 3}})],
            [{"after": "Pusher", "component": "checks:Weigh"}],
        ],
        ids=["first", "two gates", "data gate", "TFX's", "behind an own", "model", "late", "last"],
    )  # fmt: skip
    def test_the_shape_is_that_of_the_graph(self, load, nodes):
        project = load(*nodes)
        ir = graph.compile_ir(project, 3)
        built = [entry.pipeline_node for entry in ir.nodes]
        expected = {node.node_info.id: sorted(node.upstream_nodes) for node in built}
        assert {name: sorted(others) for name, others in topology_of(project).items()} == expected

    def test_what_stands_behind_a_gate_waits_for_it(self, load):
        chain = topology_of(load(count("StatisticsGen")))
        assert [name for name, others in chain.items() if "CountRows" in others] == [
            name for name in chain if name not in {"ExampleGen", "StatisticsGen", "CountRows"}
        ]

    def test_without_a_verdict_nothing_waits(self, load):
        chain = topology_of(load({"after": "Trainer", "component": "checks:Weigh"}))
        assert not [name for name, others in chain.items() if "Weigh" in others]

    def test_the_stated_outputs_are_those_of_the_components(self, load):
        project = load(settings=("tune={}",))
        built = [entry.pipeline_node for entry in graph.compile_ir(project, 3).nodes]
        found = {
            node.node_info.id: {
                key: spec.artifact_spec.type.name for key, spec in node.outputs.outputs.items()
            }
            for node in built
            if node.outputs.outputs
        }
        assert found == OUTPUTS


class TestRefused:
    @pytest.mark.parametrize(
        ("node", "message"),
        [
            (count("Examplegen"), "nodes.0.after: the pipeline has no node 'Examplegen' that "
             "leaves something; did you mean 'ExampleGen'?"),
            (count("Tuner"), "nodes.0.after: the pipeline has no node 'Tuner'"),
            (count("Baseline"), "nodes.0.after: the pipeline has no node 'Baseline'"),
            (count("ExampleGen", component="nowhere.at_all:X"), "importing nowhere.at_all failed: "
             "ModuleNotFoundError"),
            (count("ExampleGen", component="checks:CountRow"), "has no 'CountRow'; did you mean "
             "'CountRows'?"),
            (count("ExampleGen", component="checks:no_component"), "is no TFX component"),
            (count("ExampleGen", component="checks:Shell"), "runs in a container of its own"),
            ({"after": "StatisticsGen", "component": "checks:Weigh"}, "needs the input 'candidate' "
             "of type Model; of the nodes before it these have one: none"),
            ({"after": "Transform", "component": "checks:Compare"}, "needs the input 'data' of "
             "type Examples; of the nodes before it these have one: ExampleGen.examples, "
             "Transform.transformed_examples"),
            (count("Transform", **{"with": {"examples": "Trainer.model"}}), "nodes.0.with."
             "examples: 'Trainer.model' is no output of type Examples of a node before CountRows"),
            (count("ExampleGen", **{"with": {"most": 3}}), "nodes.0.with: "),
            (count("ExampleGen", **{"with": {"least": "many"}}), "nodes.0.with: "),
            (count("Pusher"), "is a gate and stands behind Pusher"),
        ],
    )  # fmt: skip
    def test_by_the_graph(self, load, node, message):
        with pytest.raises(ConfigError) as refused:
            graph.compile_ir(load(node), 3)
        assert message in refused.value.message

    @pytest.mark.parametrize(
        ("nodes", "message"),
        [
            ([count("ExampleGen", id="Trainer")], "two nodes have the id 'Trainer'"),
            ([count("ExampleGen"), count("DataGate")], "two nodes have the id 'CountRows'"),
            ([count("ExampleGen", **{"with": {"a": ["${env:KEY}"]}})], "a holds a reference"),
            ([count("ExampleGen", component="checks.CountRows")], "nodes.0.component: "),
            ([count("ExampleGen", wth={})], "unknown key 'nodes.0.wth'; did you mean 'with'?"),
        ],
    )
    def test_by_the_configuration(self, load, nodes, message):
        with pytest.raises(ConfigError) as refused:
            load(*nodes)
        assert message in refused.value.message


class TestSource:
    """The source of a component is a property of its execution, and so in its cache key."""

    def source(self, project):
        (node,) = [
            entry.pipeline_node
            for entry in graph.compile_ir(project, 3).nodes
            if entry.pipeline_node.node_info.id == project.nodes[0].id
        ]
        return node.parameters.parameters[SOURCE_PROPERTY].field_value.string_value

    def test_of_the_project(self, load):
        project = load(count("ExampleGen"))
        before = self.source(project)
        assert len(before) == 64
        (project.folder / "helper.py").write_text("a = 1")
        assert self.source(project) != before

    def test_of_a_package_outside(self, load, tmp_path, monkeypatch):
        package = tmp_path / "site" / "company_checks"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "rows.py").write_text(CHECKS)
        monkeypatch.syspath_prepend(str(package.parent))
        project = load(count("ExampleGen", component="company_checks.rows:CountRows"))
        before = self.source(project)
        (project.folder / "helper.py").write_text("a = 1")
        assert self.source(project) == before
        (package / "other.py").write_text("b = 1")
        from ordain.pipeline import own_components

        own_components._first_fingerprint.cache_clear()  # kept for the life of a run's process
        assert self.source(project) != before

    def test_of_tfx(self, load):
        project = load(OF_TRANSFORMED)
        assert self.source(project) == component_fingerprint(project, project.nodes[0])
