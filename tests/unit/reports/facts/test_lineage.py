"""The graph from the spans to the version."""

from pathlib import Path

from ordain.history.runs import NodeRun, Output, Run
from ordain.reports.facts.lineage import SOURCE, artifacts, graph
from ordain.reports.facts.run_record import Record


def run_of(tmp_path, chain):
    """A record of nodes: `(node, span, ids it left, ids it took)` each."""
    nodes, inputs = [], {}
    for number, (name, span, left, taken) in enumerate(chain):
        outputs = tuple(
            Output(i, "out", "Model", str(tmp_path / f"artifacts/{name}/{i}"), {}) for i in left
        )
        # What TFX adds for a condition belongs to another node.
        outputs += (Output(1, "_DataGate.verdict", "GateVerdict", "", {}),)
        nodes.append(NodeRun(number, name, span, "complete", number, number + 1, outputs))
        inputs[number] = taken
        for i in left:
            (tmp_path / f"artifacts/{name}/{i}").mkdir(parents=True)
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    return Record(None, Run("r", 0, tuple(nodes)), folder, None, inputs)


CHAIN = [
    ("ExampleGen", 1, (10,), ()),
    ("ExampleGen", 2, (11,), ()),
    ("SchemaGen", None, (20,), ()),
    ("StatisticsGen", 1, (30,), (10,)),
    ("StatisticsGen", 2, (31,), (11,)),
    ("AnalyzerCache", None, (), ()),
    ("Trainer", None, (40,), (10, 11, 20, 30)),
    ("Baseline", None, (50,), ()),
    ("Pusher", None, (60,), (40, 50, 20, 10)),
]


def test_lines_go_down_and_those_that_follow_are_left_out(tmp_path):
    found = graph(run_of(tmp_path, CHAIN), 7)
    boxes = {box.title: box for box in found.boxes}
    assert set(boxes) == {
        "2 spans",
        "ExampleGen",
        "SchemaGen",
        "StatisticsGen",
        "Baseline",
        "Trainer",
        "Pusher",
        "version 7",
    }
    assert {edge.text for edge in found.edges} == {
        "2 spans to ExampleGen",
        "ExampleGen to StatisticsGen",
        "SchemaGen to Trainer",
        "StatisticsGen to Trainer",
        "Trainer to Pusher",
        "Baseline to Pusher",
        "Pusher to version 7",
    }
    for edge in found.edges:
        above, below = edge.text.split(" to ")
        assert boxes[above].y < boxes[below].y, edge.text
    assert boxes["SchemaGen"].y == boxes["StatisticsGen"].y
    places = {(box.x, box.y) for box in found.boxes}
    assert len(places) == len(found.boxes), "no box hides another"
    assert all(0 <= box.x < found.width and 0 <= box.y < found.height for box in found.boxes)
    assert SOURCE not in {box.id for box in found.boxes}


def test_without_a_version_there_is_no_last_box(tmp_path):
    found = graph(run_of(tmp_path, CHAIN[:3]), None)
    assert [box.title for box in found.boxes][-1] != "version None"


def test_nothing_ran(tmp_path):
    assert graph(run_of(tmp_path, []), None) is None


def test_artifacts_have_links_that_survive_a_move(tmp_path):
    record = run_of(tmp_path, CHAIN)
    found = artifacts(record)
    assert [a.id for a in found["ExampleGen"]] == [10, 11]
    assert [a.span for a in found["ExampleGen"]] == [1, 2]
    assert found["AnalyzerCache"] == []
    link = found["Trainer"][0].link
    assert link == "../../artifacts/Trainer/40"
    assert (record.folder / link).resolve() == Path(found["Trainer"][0].uri).resolve()
