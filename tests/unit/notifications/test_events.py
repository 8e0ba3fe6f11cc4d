"""Notifications: their events and targets, and that they arrive despite failures and crashes."""

import base64
import datetime as dt
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from webhook import Hook, hooked

from ordain.config.loading import load_project
from ordain.config.schedule import Notify
from ordain.errors import ConfigError
from ordain.notifications.delivery import check_target, describe
from ordain.notifications.events import Notice, is_repeated, notices_of
from ordain.notifications.outbox import Backoff, DeliveryThread, Outbox, describe_waiting
from ordain.retraining.report import Report

SECRET = "s3cr3t-t0k3n"
STARTED = dt.datetime(2026, 6, 1, 3, tzinfo=dt.UTC)
NOTICE = Notice("run-1-failed", "failed", {"id": "run-1-failed", "event": "failed", "n": 1})


def run_of(
    *, data: str = "passed", evaluation: str | None = "passed", **rest: Any
) -> dict[str, Any]:
    verdicts = [{"gate": "data", "outcome": data, "reasons": []}]
    if evaluation is not None:
        verdicts.append({"gate": "evaluation", "outcome": evaluation, "reasons": []})
    nodes = [{"node": "Evaluator", "state": "complete"}]
    base = {"run_id": "run-1", "headline": "a headline", "exit_code": 0, "failure": None}
    return {**base, "verdicts": verdicts, "nodes": nodes, "is_new_version": False, **rest}


FAILURE = {"node": "Trainer", "message": "nan", "hint": "", "exit_code": 1}


@pytest.mark.parametrize(
    ("run", "events"),
    [
        (run_of(is_new_version=True, version=3), ["blessed", "published"]),
        (run_of(), ["blessed"]),
        (run_of(nodes=[{"node": "Evaluator", "state": "cached"}]), []),
        (run_of(data="warned"), ["blessed"]),
        (run_of(data="blocked", evaluation=None, exit_code=3), ["blocked"]),
        (run_of(evaluation="blocked", exit_code=4), ["blocked"]),
        (run_of(evaluation=None, failure=FAILURE, exit_code=1), ["failed"]),
        (run_of(exit_code=5), ["blessed", "failed"]),
        (
            run_of(
                verdicts=[
                    {"gate": "evaluation", "outcome": "passed"},
                    {"gate": "server", "outcome": "blocked"},
                ],
                exit_code=5,
            ),
            ["blessed", "blocked"],
        ),
    ],
)
def test_the_events_of_a_run(run, events):
    report = Report(run["exit_code"], {"action": "run"}, (run,))
    notices = notices_of("toy", report, STARTED)
    assert [notice.event for notice in notices] == events
    for notice in notices:
        assert notice.id == notice.body["id"] == f"run-1-{notice.event}"
        assert notice.body["project"] == "toy"
        assert notice.body["headline"] == "a headline"
        assert notice.body["decision"] == {"action": "run"}
        assert "nodes" not in notice.body["run"]


@pytest.mark.parametrize(
    ("report", "events"),
    [
        (Report(0, {"action": "nothing"}), []),
        (Report(0, {"action": "wait"}), []),
        (Report(2, {}), ["failed"]),
        (Report(137, {}), ["failed"]),
        (Report(5, {"action": "run"}, (), "the workspace is in use"), ["failed"]),
        (Report(5, {"action": "run"}, (run_of(),), "the disk is full"), ["blessed", "failed"]),
    ],
)
def test_the_events_of_a_check_that_ends_with_an_error(report, events):
    notices = notices_of("toy", report, STARTED)
    assert [notice.event for notice in notices] == events
    if report.error:
        assert report.error in notices[-1].body["headline"]


def test_the_same_error_without_a_run_is_a_repetition_and_a_failed_run_is_not():
    refused = Report(2, {})
    assert not is_repeated(refused, 0, "nothing")
    assert is_repeated(refused, 2, refused.headline)
    failed = Report(1, {}, (run_of(failure=FAILURE, exit_code=1),))
    assert not is_repeated(failed, 1, failed.headline)


# --- the configuration ----------------------------------------------------------------------


def test_an_unquoted_on_is_a_name(make_folder):
    folder = make_folder()
    with (folder / "pipeline.yaml").open("a") as file:
        file.write("notify:\n  - on: [failed, blocked]\n    command: [mail, ada]\n")
    (entry,) = load_project(folder).notify
    assert entry.on == ("failed", "blocked")
    assert entry.command == ("mail", "ada")


def test_references_are_kept_and_need_no_variable_to_load(make_project, monkeypatch):
    monkeypatch.delenv("HOOK", raising=False)
    project = make_project(notify=[{"on": ["failed"], "webhook": "${env:HOOK}"}])
    assert project.notify[0].webhook == "${env:HOOK}"
    with pytest.raises(ConfigError, match="HOOK is not set"):
        check_target(project.notify[0])
    monkeypatch.setenv("HOOK", f"ftp://{SECRET}")
    with pytest.raises(ConfigError, match="must begin with http") as caught:
        check_target(project.notify[0])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"on": ["failed"]}, "needs either command or webhook"),
        ({"on": ["failed"], "command": ["a"], "webhook": "http://x"}, "needs either"),
        ({"on": [], "command": ["a"]}, "notify.0.on"),
        ({"on": ["done"], "command": ["a"]}, "'blocked', 'failed', 'blessed' or 'published'"),
        ({"on": ["failed"], "webhook": f"ftp://{SECRET}"}, "must begin with http"),
        ({"on": ["failed"], "webhook": f"https://ada:{SECRET}@host/x"}, "holds credentials"),
        ({"on": ["failed"], "webook": f"https://host/{SECRET}"}, "did you mean 'webhook'"),
    ],
)
def test_what_is_wrong_in_it_is_refused_without_repeating_it(make_project, entry, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        make_project(notify=[entry])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (f"https://hooks.example:8443/services/{SECRET}?k={SECRET}", "https://hooks.example:8443"),
        (f"https://${{env:USER}}:{SECRET}@hooks.example/", "webhook https://hooks.example"),
        ("${env:HOOK}", "webhook ${env:HOOK}"),
        (f"${{env:HOOK}}/{SECRET}", "webhook ${env:HOOK}"),
    ],
)
def test_the_name_of_a_webhook_holds_no_secret(address, told):
    name = describe(Notify(on=("failed",), webhook=address))
    assert name.endswith(told)
    assert SECRET not in name


# --- a real server --------------------------------------------------------------------------


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hooked() as server:
        yield server


class Hand:
    """Moves time by hand, and keeps what was said."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.lines: list[str] = []

    def now(self) -> float:
        return self.time


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def make_outbox(tmp_path, hand):
    def make(*targets: Notify, **backoff: float) -> Outbox:
        waits = Backoff(**{"first_s": 10.0, **backoff})
        return Outbox(tmp_path / "outbox", targets, hand.lines.append, waits, hand.now)

    return make


def test_a_webhook_that_fails_twice_gets_it_the_third_time(hook, hand, make_outbox, monkeypatch):
    monkeypatch.setenv("HOOK", f"{hook.address}/services/{SECRET}")
    hook.answers = [500, 503]
    outbox = make_outbox(Notify(on=("failed",), webhook="${env:HOOK}"))
    outbox.add([NOTICE])
    assert outbox.deliver() == pytest.approx(10.0)
    assert outbox.deliver() == pytest.approx(10.0), "it must not be tried before its time"
    assert len(hook.got) == 1
    hand.time += 10.0
    assert outbox.deliver() == pytest.approx(20.0)
    hand.time += 20.0
    assert outbox.deliver() is None
    assert [got["body"] for got in hook.got] == [NOTICE.body] * 3
    assert hook.got[0]["type"] == "application/json"
    assert hook.got[0]["path"] == f"/services/{SECRET}"
    assert hand.lines == [
        "notification failed (run-1-failed) to webhook ${env:HOOK} not sent: "
        "HTTP 500; attempt 2 in 10 s",
        "notification failed (run-1-failed) to webhook ${env:HOOK} not sent: "
        "HTTP 503; attempt 3 in 20 s",
        "notification failed (run-1-failed) sent to webhook ${env:HOOK}",
    ]


def test_credentials_go_into_a_header_and_into_nothing_that_is_kept(
    hook, hand, make_outbox, tmp_path, monkeypatch
):
    place = hook.address.removeprefix("http://")
    monkeypatch.setenv("HOOK", f"http://ada:{SECRET}%21@{place}/x")
    hook.answers = [500]
    outbox = make_outbox(Notify(on=("failed",), webhook="${env:HOOK}"))
    outbox.add([NOTICE])
    outbox.deliver()
    (kept,) = (tmp_path / "outbox").glob("*.json")
    told = kept.read_text() + kept.name + "".join(hand.lines)
    told += json.dumps([describe_waiting(entry) for entry in outbox.waiting()])
    assert SECRET not in told and "ada" not in told
    assert hook.got[0]["path"] == "/x"
    words = base64.b64decode(hook.got[0]["authorization"].removeprefix("Basic ")).decode()
    assert words == f"ada:{SECRET}!"


def test_nobody_there_is_said_without_the_address(hand, make_outbox, monkeypatch):
    monkeypatch.setenv("HOOK", f"http://ada:{SECRET}@127.0.0.1:1/{SECRET}")
    outbox = make_outbox(Notify(on=("failed",), webhook="${env:HOOK}"))
    outbox.add([NOTICE])
    outbox.deliver()
    assert "no response: Connection refused" in hand.lines[0]
    assert SECRET not in "".join(hand.lines)


def test_a_redirect_is_no_delivery(hook, hand, make_outbox):
    hook.answers = [302]
    outbox = make_outbox(Notify(on=("failed",), webhook=hook.address))
    outbox.add([NOTICE])
    assert outbox.deliver() is not None
    assert "HTTP 302" in hand.lines[0]
    assert len(hook.got) == 1


def test_a_crash_loses_nothing(hook, hand, make_outbox):
    target = Notify(on=("failed",), webhook=hook.address)
    make_outbox(target).add([NOTICE])
    # The process ends here; the next one knows nothing but the disk.
    assert make_outbox(target).deliver() is None
    assert [got["body"]["id"] for got in hook.got] == ["run-1-failed"]
    assert make_outbox(target).deliver() is None
    assert len(hook.got) == 1


def test_the_same_notice_twice_is_one_in_the_outbox(hook, make_outbox):
    outbox = make_outbox(Notify(on=("failed",), webhook=hook.address))
    outbox.add([NOTICE])
    outbox.add([NOTICE])
    outbox.deliver()
    assert len(hook.got) == 1


@pytest.mark.process
def test_each_target_gets_what_it_asks_for_and_one_that_fails_holds_up_no_other(
    hook, make_outbox, tmp_path
):
    file = tmp_path / "got.json"
    program = f"import sys; open({str(file)!r}, 'w').write(sys.stdin.read())"
    targets = (
        Notify(on=("failed",), command=(sys.executable, "-c", "raise SystemExit(7)")),
        Notify(on=("failed", "blocked"), command=(sys.executable, "-c", program)),
        Notify(on=("published",), webhook=hook.address),
    )
    outbox = make_outbox(*targets)
    assert outbox.add([NOTICE]) == 2
    outbox.deliver()
    assert json.loads(file.read_text()) == NOTICE.body
    assert hook.got == []
    (left,) = outbox.waiting()
    assert left["problem"] == "exit code 7"


@pytest.mark.process
def test_a_command_that_hangs_is_ended_with_what_it_started(hand, make_outbox):
    script = "sleep 60 & wait"
    outbox = make_outbox(Notify(on=("failed",), command=("/bin/sh", "-c", script), timeout_s=0.3))
    outbox.add([NOTICE])
    outbox.deliver()
    assert "timed out after 0.3 s" in hand.lines[0]


@pytest.mark.process
def test_it_is_given_up_after_days_and_said(hand, make_outbox):
    outbox = make_outbox(Notify(on=("failed",), command=("/no/such",)), give_up_s=100.0)
    outbox.add([NOTICE])
    outbox.deliver()
    assert "cannot be started: No such file or directory" in hand.lines[0]
    hand.time += 101
    assert outbox.deliver() is None
    assert "given up after 2 attempts" in hand.lines[1]


def test_a_target_that_is_gone_takes_its_notices_with_it(hand, make_outbox):
    make_outbox(Notify(on=("failed",), command=("/no/such",))).add([NOTICE])
    assert make_outbox().deliver() is None
    assert "no longer in notify" in hand.lines[0]


def test_the_pauses_double_up_to_an_hour():
    pauses = [Backoff().after(tries) for tries in (1, 2, 3, 9, 10, 1000)]
    assert pauses == [10, 20, 40, 2560, 3600, 3600]


def test_a_damaged_entry_stops_nobody(hook, hand, make_outbox, tmp_path):
    outbox = make_outbox(Notify(on=("failed",), webhook=hook.address))
    outbox.add([NOTICE])
    (tmp_path / "outbox" / "a.json").write_text("{")
    outbox.deliver()
    assert len(hook.got) == 1
    assert any("a.json is not a notification" in line for line in hand.lines)


def test_the_delivery_thread_sends_in_the_background(hook, hand, tmp_path):
    may_answer = threading.Event()
    hook.answers = [may_answer]
    target = Notify(on=("failed",), webhook=hook.address)
    outbox = Outbox(tmp_path / "outbox", [target], hand.lines.append)
    delivery = DeliveryThread(outbox, hand.lines.append)
    delivery.start()
    outbox.add([NOTICE])
    delivery.wake()
    assert not hand.lines, "it waited for the server, which has not answered yet"
    may_answer.set()
    end = time.monotonic() + 240
    while not hand.lines and time.monotonic() < end:
        time.sleep(0.02)
    assert hand.lines == [f"notification failed (run-1-failed) sent to webhook {hook.address}"]
    delivery.end(60.0)
    assert not delivery.is_alive()


def test_two_deliveries_at_once_send_it_once(hook, hand, tmp_path):
    hook.answers = [0.3]
    target = Notify(on=("failed",), webhook=hook.address)
    boxes = [Outbox(tmp_path / "outbox", [target], hand.lines.append) for _ in range(2)]
    boxes[0].add([NOTICE])
    threads = [threading.Thread(target=box.deliver) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hook.got) == 1
