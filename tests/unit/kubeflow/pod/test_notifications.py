"""Notifications of a run in pods that is concluded more than once."""

import pytest

from ordain.kubeflow.pod.notifications import new_notices
from ordain.notifications.events import Notice


def notice(event, headline):
    mark = f"run-{event}"
    return Notice(mark, event, {"id": mark, "event": event, "headline": headline, "run": {"a": 1}})


def ids(notices):
    assert all(one.id == one.body["id"] for one in notices)
    return [one.id for one in notices]


def test_a_new_notice_keeps_its_id():
    assert ids(new_notices([notice("blessed", "x"), notice("failed", "x")], [])) == [
        "run-blessed",
        "run-failed",
    ]


@pytest.mark.parametrize("event", ["failed", "blocked", "blessed", "published"])
def test_the_same_notice_is_sent_once(event):
    assert new_notices([notice(event, "x")], [(event, "x")]) == []


@pytest.mark.parametrize(("event", "again"), [("failed", ["run-failed-2"]), ("blessed", [])])
def test_another_outcome_gets_a_new_id_and_single_events_stay_sent(event, again):
    assert ids(new_notices([notice(event, "y")], [(event, "x"), ("other", "y")])) == again


def test_a_third_outcome_is_the_third():
    before = [("failed", "x"), ("failed", "y")]
    assert ids(new_notices([notice("failed", "z")], before)) == ["run-failed-3"]
    # Back to the first one: nothing new.
    assert new_notices([notice("failed", "x")], before) == []
