"""Results of runs: exit code and headline for every rule; the atomic write."""

import dataclasses
import json

import pytest

from ordain.history.results import Failure, NodeResult, RunResult, merge_states
from ordain.verdict import Outcome, Reason, Verdict


def verdict(gate: str, outcome: Outcome = Outcome.BLOCKED) -> Verdict:
    return Verdict.of(gate, [Reason(outcome, "kind", "text")])


BASE = RunResult(
    project="toy",
    run_id="20261121-080000-abcd",
    started="2026-11-21T08:00:00+00:00",
    seconds=1.5,
    window=(1, 2),
    nodes=(NodeResult("ExampleGen", "complete", 1.0, 10, {"complete": 2}, execution_ids=(1, 2)),),
    verdicts=(verdict("data", Outcome.WARNED), verdict("evaluation", Outcome.PASSED)),
    version=3,
    is_new_version=True,
    model="/srv/toy/3",
)
FAILURE = Failure("Trainer", "loss became nan", "lower the rate", 1)
DATA, EVALUATION = verdict("data"), verdict("evaluation")


def test_a_failure_may_quote_what_no_file_can_hold():
    result = dataclasses.replace(BASE, failure=Failure("Trainer", "no \ud800", "", 1))
    assert result.failure.message == "no \\ud800"
    json.dumps(dataclasses.asdict(result.failure), ensure_ascii=False).encode()


RULES = {
    "new version": ({}, 0, "the model passed every gate and is version 3"),
    "same version": (
        {"is_new_version": False},
        0,
        "nothing new: version 3 already holds this model",
    ),
    "a node failed": ({"failure": FAILURE}, 1, "Trainer failed: loss became nan"),
    "a node failed over data": (
        {"failure": dataclasses.replace(FAILURE, exit_code=3)},
        3,
        "Trainer failed: loss became nan",
    ),
    "a node failed over a full disk": (
        {"failure": dataclasses.replace(FAILURE, exit_code=5)},
        5,
        "Trainer failed: loss became nan",
    ),
    "a failure comes before a gate": (
        {"failure": FAILURE, "verdicts": (DATA,), "version": None},
        1,
        "Trainer failed: loss became nan",
    ),
    "data gate": (
        {"verdicts": (DATA,), "version": None},
        3,
        "the data gate blocked this run: nothing was trained, nothing was pushed",
    ),
    "evaluation": (
        {"verdicts": (verdict("data", Outcome.WARNED), EVALUATION), "version": None},
        4,
        "the model was not blessed: nothing was pushed",
    ),
    "data gate before evaluation": (
        {"verdicts": (DATA, EVALUATION), "version": None},
        3,
        "the data gate blocked this run: nothing was trained, nothing was pushed",
    ),
    "server gate blocked": (
        {"verdicts": (verdict("server"),), "version": None},
        5,
        "the server gate refused the model: nothing was pushed",
    ),
    "evaluation before server gate": (
        {"verdicts": (EVALUATION, verdict("server")), "version": None},
        4,
        "the model was not blessed: nothing was pushed",
    ),
    "an own gate before Trainer": (
        {
            "verdicts": (verdict("own"),),
            "version": None,
            "nodes": (NodeResult("Trainer", "skipped"),),
        },
        3,
        "the own gate blocked this run: nothing was pushed",
    ),
    "an own gate behind Trainer": (
        {
            "verdicts": (verdict("own"),),
            "version": None,
            "nodes": (NodeResult("Trainer", "cached"),),
        },
        4,
        "the own gate blocked this run: nothing was pushed",
    ),
    "blessed and not pushed": (
        {"version": None},
        5,
        "the model was blessed but is not in the serving directory (removed since?); "
        "push it again with --from Pusher",
    ),
    "no gate answered and nothing was pushed": ({"verdicts": (), "version": None}, 5, None),
    "part of the chain": (
        {"version": None, "is_partial": True},
        0,
        "the requested nodes are done; nothing was pushed",
    ),
    "part of the chain, blocked": (
        {"verdicts": (DATA,), "version": None, "is_partial": True},
        3,
        "the data gate blocked this run: nothing was trained, nothing was pushed",
    ),
    "part of the chain, failed": (
        {"failure": FAILURE, "version": None, "is_partial": True},
        1,
        "Trainer failed: loss became nan",
    ),
}


@pytest.mark.parametrize(("changes", "code", "headline"), RULES.values(), ids=RULES)
def test_exit_code_and_headline_follow_the_rules(changes, code, headline):
    result = dataclasses.replace(BASE, **changes)
    assert result.exit_code == code
    if headline is not None:
        assert result.headline == headline
    assert (result.to_dict()["exit_code"], result.to_dict()["headline"]) == (code, result.headline)


def test_a_warning_blocks_nothing():
    for gate in ("data", "evaluation", "server"):
        result = dataclasses.replace(BASE, verdicts=(verdict(gate, Outcome.WARNED),))
        assert result.exit_code == 0


class TestWrite:
    def test_it_reads_back_whole(self, tmp_path):
        result = dataclasses.replace(BASE, failure=FAILURE)
        result.write(tmp_path / "runs" / "1")
        raw = json.loads((tmp_path / "runs" / "1" / "result.json").read_text())
        assert raw == json.loads(json.dumps(result.to_dict()))
        assert raw["nodes"][0]["spans"] == {"complete": 2}
        assert raw["failure"] == dataclasses.asdict(FAILURE)
        assert tuple(map(Verdict.from_dict, raw["verdicts"])) == BASE.verdicts

    def test_nothing_else_is_left_in_the_folder(self, tmp_path):
        BASE.write(tmp_path)
        BASE.write(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["result.json"]

    def test_a_full_disk_keeps_the_old_result(self, tmp_path):
        BASE.write(tmp_path)
        before = (tmp_path / "result.json").read_bytes()
        (tmp_path / ".result.json").symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left"):
            dataclasses.replace(BASE, run_id="other").write(tmp_path)
        assert (tmp_path / "result.json").read_bytes() == before


@pytest.mark.parametrize(
    ("states", "merged"),
    [
        (["complete", "cached", "cached"], "complete"),
        (["cached", "cached"], "cached"),
        (["cached", "reused"], "cached"),
        (["reused"], "reused"),
        (["complete", "failed"], "failed"),
        (["skipped"], "skipped"),
        ([], "skipped"),
    ],
)
def test_a_nodes_state_is_the_first_in_order(states, merged):
    assert merge_states(states) == merged
    assert merge_states(states[::-1]) == merged
