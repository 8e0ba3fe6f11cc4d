"""The shape of a project's chain: its nodes, and which waits for which.

`ordain.pipeline.graph` builds the chain itself, for which TFX has to be imported and every value of
the configuration has to be known. Who only wants its shape, such as the compiler for Kubeflow,
finds it here; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping

from ordain.config.model import NoBaseline
from ordain.config.project import Project
from ordain.serving.registry.label_file import STABLE

#: Node id -> the nodes that it waits for; a node stands behind all of those.
Shape = Mapping[str, tuple[str, ...]]


def chain_of(project: Project) -> Shape:
    """A project's nodes in an order in which they can run, each with what it waits for.

    Equal, but for the order, to the `upstream_nodes` of the IR that `graph.compile_ir` makes.

    Args:
        project: The project; its references need not be resolved.
    """
    is_frozen = project.schema_file.exists()
    measured = ("StatisticsGen", "SchemaGen")
    shape: dict[str, tuple[str, ...]] = {
        "ExampleGen": (),
        "StatisticsGen": ("ExampleGen",),
        "SchemaGen": () if is_frozen else ("StatisticsGen",),
        "ExampleValidator": measured,
        "DataGate": ("ExampleGen", *measured, "ExampleValidator"),
    }
    # All that follow stand under the condition on the data gate's verdict, and so wait for it.
    data = ("ExampleGen", "SchemaGen", "DataGate")
    if project.is_stock("Transform"):
        shape["Transform"] = data
    else:
        shape["AnalyzerCache"] = ("ExampleGen", "DataGate")
        shape["Transform"] = (*data, "AnalyzerCache")
    training = [*data, "Transform"]
    if project.tune is not None:
        shape["Tuner"] = ("SchemaGen", "DataGate", "Transform")
        training.append("Tuner")
    if project.train.base_model is not None:
        shape["BaseModel"] = ("DataGate", "Transform")
        training.append("BaseModel")
    shape["Trainer"] = tuple(training)
    judged = [*data, "Trainer"]
    if not isinstance(project.evaluate.baseline, NoBaseline):
        shape["Baseline"] = ("DataGate", "Trainer")
        judged.append("Baseline")
    shape["Evaluator"] = tuple(judged)
    pushed = [*data, "Trainer", "Evaluator"]
    server = project.gate.server
    if server.none is None:
        asked: tuple[str, ...] = ()
        if server.compares_signatures:
            stable = "Baseline" if project.evaluate.baseline == STABLE else "Stable"
            shape.setdefault(stable, ("DataGate", "Trainer"))
            asked = ("ExampleGen", stable)
        shape["ServerGate"] = (*asked, "DataGate", "Trainer", "Evaluator")
        pushed.append("ServerGate")
    shape["Pusher"] = tuple(pushed)
    return shape
