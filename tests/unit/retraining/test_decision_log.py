"""Log of decisions."""

import json
import threading

import pytest

from ordain.errors import InfrastructureError
from ordain.retraining import decision_log
from ordain.retraining.decision_log import LOG_FILE, log_decision, read_decisions
from ordain.retraining.types import Action, Decision, Effect, Reason

NOTHING = Decision(Action.NOTHING, (Reason(Effect.NOTE, "nothing_new", "nothing new"),))
RESULT = {"run_id": "run-1", "headline": "done", "exit_code": 0, "nodes": ["left out"]}


def wait(minutes: int) -> Decision:
    text = f"run run-1 ended {minutes} minutes ago"
    return Decision(Action.WAIT, (Reason(Effect.BLOCKER, "cool_down", text),))


def test_newest_first_with_what_came_of_them(tmp_path):
    log_decision(tmp_path, NOTHING, 0, [], 0)
    decided = Decision(
        Action.RUN, (Reason(Effect.TRIGGER, "new_span", "span 3 is new", 3),), ((2, 3),)
    )
    log_decision(tmp_path, decided, 60, [RESULT], 0)
    newest, oldest = read_decisions(tmp_path)
    assert newest == {
        "at": "1970-01-01T00:01:00+00:00",
        "until": "1970-01-01T00:01:00+00:00",
        "times": 1,
        **decided.to_dict(),
        "runs": [{"run_id": "run-1", "headline": "done", "exit_code": 0}],
        "exit_code": 0,
        "mark": "",
    }
    assert oldest["action"] == "nothing"
    assert read_decisions(tmp_path, limit=1) == [newest]


def test_a_decision_to_run_is_there_before_its_run_and_once_after_it(tmp_path):
    decided = Decision(
        Action.RUN, (Reason(Effect.TRIGGER, "new_span", "span 3 is new", 3),), ((2, 3),)
    )
    log_decision(tmp_path, decided, 60, [], None, "a1")
    (begun,) = read_decisions(tmp_path)
    assert (begun["runs"], begun["exit_code"], begun["reasons"][0]["span"]) == ([], None, 3)
    log_decision(tmp_path, decided, 60, [RESULT], 0, "a1")
    (over,) = read_decisions(tmp_path)
    assert (over["runs"][0]["run_id"], over["exit_code"]) == ("run-1", 0)


def test_one_that_was_killed_keeps_its_line(tmp_path):
    decided = Decision(
        Action.RUN, (Reason(Effect.TRIGGER, "new_span", "span 3 is new", 3),), ((2, 3),)
    )
    for mark in ("killed", "killed too", "third"):
        log_decision(tmp_path, decided, 60, [], None, mark)
    log_decision(tmp_path, decided, 60, [], 5, "third")
    log_decision(tmp_path, decided, 60, [], None, "fourth")
    log_decision(tmp_path, decided, 60, [], 5, "fourth")
    found = [(line["exit_code"], line["times"]) for line in read_decisions(tmp_path)]
    assert found == [(5, 2), (None, 1), (None, 1)]


def test_before_the_first_there_are_none(tmp_path):
    assert read_decisions(tmp_path / "toy") == []


def test_the_same_again_is_counted(tmp_path):
    for minute in range(5):
        log_decision(tmp_path, wait(minute), 60.0 * minute, [], 0)
    (only,) = read_decisions(tmp_path)
    assert (only["times"], only["at"][11:16], only["until"][11:16]) == (5, "00:00", "00:04")
    assert only["reasons"][0]["text"] == "run run-1 ended 4 minutes ago"


def test_another_is_a_line_of_its_own_and_so_is_each_that_ran(tmp_path):
    log_decision(tmp_path, NOTHING, 0, [], 0)
    log_decision(tmp_path, wait(1), 1, [], 0)
    log_decision(tmp_path, NOTHING, 2, [], 0)
    log_decision(tmp_path, NOTHING, 3, [], 5)
    log_decision(tmp_path, NOTHING, 4, [RESULT], 5)
    log_decision(tmp_path, NOTHING, 5, [], 5)
    assert [line["times"] for line in read_decisions(tmp_path)] == [1] * 6


def test_it_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(decision_log, "MAX_BYTES", 4000)
    for number in range(100):
        log_decision(tmp_path, NOTHING, number, [], number)
        assert (tmp_path / LOG_FILE).stat().st_size <= 4000
    found = read_decisions(tmp_path, limit=1000)
    assert [line["exit_code"] for line in found] == list(range(99, 99 - len(found), -1))
    assert len(found) > 3


def test_a_damaged_line_is_passed_over(tmp_path):
    log_decision(tmp_path, NOTHING, 0, [], 0)
    with (tmp_path / LOG_FILE).open("a") as file:
        file.write('{"half": \n')
    log_decision(tmp_path, NOTHING, 1, [], 0)
    assert len(read_decisions(tmp_path)) == 2


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    def write(number: int) -> None:
        for step in range(10):
            log_decision(tmp_path, NOTHING, step, [], number * 100 + step)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / LOG_FILE).read_text().splitlines()
    assert sorted(json.loads(line)["exit_code"] for line in lines) == sorted(
        n * 100 + s for n in range(4) for s in range(10)
    )


def test_a_damaged_line_does_not_count_for_the_limit(tmp_path):
    log_decision(tmp_path, NOTHING, 0, [], 0)
    with (tmp_path / LOG_FILE).open("a") as file:
        file.write('{"half": \n')
    assert len(read_decisions(tmp_path, limit=1)) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / LOG_FILE).mkdir()
    with pytest.raises(InfrastructureError, match=r"decisions\.jsonl cannot be read"):
        read_decisions(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "toy").write_text("a file")
    with pytest.raises(InfrastructureError, match="toy"):
        log_decision(tmp_path / "toy", NOTHING, 0, [], 0)
