"""The scheduler: nights in a moment with a clock of its own, real processes with a fast one."""

import datetime as dt
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fast_clock import BASE

from ordain.common.cron import Cron
from ordain.errors import InfrastructureError
from ordain.scheduling.clock import Clock, InterruptibleWait
from ordain.scheduling.pending import PendingTriggers
from ordain.scheduling.scheduler import STOPPED, Scheduler, Setup
from ordain.scheduling.state import Check, State, StateFile

SUPPORT = Path(__file__).parents[2] / "support"
MINUTE = dt.timedelta(minutes=1)
#: A minute of the fast clock in real seconds.
MINUTE_S = 0.3
NOTHING = {"decision": {"action": "nothing", "reasons": []}, "runs": [], "exit_code": 0}


class StepClock(Clock):
    """Time passes by waiting, and a step each time it is read; stops the scheduler at its end."""

    def __init__(self, start: dt.datetime, end: dt.datetime, step_s: float = 0.0) -> None:
        self.time = start
        self._end = end
        self._step = dt.timedelta(seconds=step_s)
        self.waits = 0
        self.stops: InterruptibleWait | None = None

    def now(self) -> dt.datetime:
        self.time += self._step
        if self.stops is not None and self.time >= self._end:
            self.stops.stop()
        return self.time

    def wait(self, waiter: InterruptibleWait, duration: dt.timedelta) -> None:
        self.time += duration
        self.waits += 1
        if self.time >= self._end:
            waiter.stop()


class Bench:
    """One scheduler in this process; each check writes its document at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = StateFile(folder)
        self.lines: list[str] = []
        self.checks: list[tuple[dt.datetime, str]] = []
        self.reports: list[int] = []
        self.document: dict[str, Any] = NOTHING
        self.command: tuple[str, ...] | None = None
        self.exit_code = 0

    def make(self, clock: Clock, waiter: InterruptibleWait, **setup: Any) -> Scheduler:
        script = f"printf '%s' \"$0\"; exit {self.exit_code}"
        command = self.command or ("/bin/sh", "-c", script, json.dumps(self.document))
        timezone = setup["cron"].timezone if setup.get("cron") else "UTC"
        made = Setup(self.folder, command, timezone=timezone, **setup)

        def on_report(report: Any, check: Check, before: Check | None) -> None:
            self.checks.append((check.started, check.why))
            self.reports.append(report.exit_code)

        return Scheduler(made, clock, waiter, self.lines.append, on_report)

    def run(self, start: str, end: str, check_at_start: bool = False, **setup: Any) -> list[str]:
        """Runs from one moment to another, UTC; returns the triggers of its checks."""
        before = len(self.checks)
        clock, waiter = StepClock(at(start), at(end)), InterruptibleWait()
        self.make(clock, waiter, **setup).run(check_at_start)
        return [why for _, why in self.checks[before:]]


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path / "schedule")


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


NIGHTLY = Cron("30 2 * * *", "Europe/Berlin")


class TestTicks:
    def test_each_tick_is_one_check_at_its_time(self, bench):
        found = bench.run("2026-06-01T12:00", "2026-06-04T12:00", cron=NIGHTLY)
        assert found == [f"tick 2026-06-0{day} 02:30 CEST" for day in (2, 3, 4)]
        assert [when for when, _ in bench.checks] == [at(f"2026-06-0{d}T00:30") for d in (2, 3, 4)]

    @pytest.mark.parametrize(
        ("cron", "start", "end", "checks"),
        [
            (NIGHTLY, "2026-03-28T12:00", "2026-03-29T12:00", ["2026-03-29T01:00"]),
            (NIGHTLY, "2026-10-24T12:00", "2026-10-25T12:00", ["2026-10-25T00:30"]),
            (
                Cron("30 2 * * *", "America/New_York"),
                "2026-03-08T00:00",
                "2026-03-08T23:00",
                ["2026-03-08T07:00"],
            ),
            (
                Cron("30 1 * * *", "America/New_York"),
                "2026-11-01T00:00",
                "2026-11-01T23:00",
                ["2026-11-01T05:30"],
            ),
        ],
        ids=["skipped-berlin", "repeated-berlin", "skipped-new-york", "repeated-new-york"],
    )
    def test_one_check_on_the_night_of_the_change(self, bench, cron, start, end, checks):
        bench.run(start, end, cron=cron)
        assert [when for when, _ in bench.checks] == [at(text) for text in checks]

    def test_a_restart_in_the_repeated_hour_does_not_check_again(self, bench):
        bench.run("2026-10-24T12:00", "2026-10-25T00:40", cron=NIGHTLY)
        assert bench.run("2026-10-25T00:50", "2026-10-25T12:00", cron=NIGHTLY) == []
        assert len(bench.checks) == 1

    def test_a_restart_after_the_skipped_hour_makes_up_for_its_tick(self, bench):
        bench.run("2026-03-28T12:00", "2026-03-29T00:50", cron=NIGHTLY)
        found = bench.run("2026-03-29T04:00", "2026-03-29T12:00", cron=NIGHTLY)
        assert found == ["tick 2026-03-29 03:00 CEST"]

    def test_a_check_covers_the_ticks_during_the_one_before(self, bench):
        clock, waiter = (
            StepClock(at("2026-06-01T00:00:30"), at("2026-06-01T00:12")),
            InterruptibleWait(),
        )
        scheduler = bench.make(clock, waiter, cron=Cron("* * * * *"))
        check = scheduler._check

        def slow(*arguments: Any) -> int:
            code = check(*arguments)
            clock.time += dt.timedelta(minutes=3, seconds=10)
            if len(bench.checks) == 4:
                waiter.stop()
            return code

        scheduler._check = slow  # type: ignore[method-assign]
        scheduler.run()
        assert [why for _, why in bench.checks] == [
            "tick 2026-06-01 00:01 UTC",
            "3 ticks, 2026-06-01 00:02 UTC to 2026-06-01 00:04 UTC",
            "3 ticks, 2026-06-01 00:05 UTC to 2026-06-01 00:07 UTC",
            "3 ticks, 2026-06-01 00:08 UTC to 2026-06-01 00:10 UTC",
        ]

    @pytest.mark.parametrize("step_s", [7.0, 25.0, 40.0])
    def test_every_tick_is_named_by_one_check_however_slow_the_machine_is(self, bench, step_s):
        """Each reading of the clock is later than the one before, so ticks fall between any two."""
        clock = StepClock(at("2026-06-01T00:00:30"), at("2026-06-01T00:40"), step_s)
        clock.stops = waiter = InterruptibleWait()
        bench.make(clock, waiter, cron=Cron("* * * * *")).run()
        checks = ticks_of("\n".join(f" checking: {why}" for _, why in bench.checks))
        ticks = [tick for check in checks for tick in sorted(check)]
        assert ticks == list(range(ticks[0], ticks[-1] + 1))
        assert len(ticks) > 30

    def test_it_wakes_at_least_each_minute_to_notice_that_the_clock_was_set(self, bench):
        clock, waiter = (
            StepClock(at("2026-06-01T12:00"), at("2026-06-01T13:00")),
            InterruptibleWait(),
        )
        bench.make(clock, waiter, cron=NIGHTLY).run()
        assert clock.waits == 60


class TestMissed:
    def test_nothing_was_missed_before_the_first_start(self, bench):
        assert bench.run("2026-06-05T12:00", "2026-06-05T13:00", cron=NIGHTLY) == []
        assert bench.file.read().covered == at("2026-06-05T12:00")

    def test_missed_ticks_are_one_check_at_the_start(self, bench):
        bench.run("2026-06-01T12:00", "2026-06-01T13:00", cron=NIGHTLY)
        found = bench.run("2026-06-04T12:00", "2026-06-05T12:00", cron=NIGHTLY)
        assert found == [
            "3 ticks, 2026-06-02 02:30 CEST to 2026-06-04 02:30 CEST",
            "tick 2026-06-05 02:30 CEST",
        ]
        assert bench.checks[0][0] == at("2026-06-04T12:00")
        assert any("missed without a scheduler: 3 ticks" in line for line in bench.lines)

    def test_missed_ticks_are_skipped_and_logged_if_configured(self, bench):
        bench.run("2026-06-01T12:00", "2026-06-01T13:00", cron=NIGHTLY)
        found = bench.run("2026-06-04T12:00", "2026-06-05T12:00", cron=NIGHTLY, missed="skip")
        assert found == ["tick 2026-06-05 02:30 CEST"]
        assert any(line.endswith("2026-06-04 02:30 CEST; skipped") for line in bench.lines)

    def test_a_clock_that_was_ahead_does_not_silence_the_schedule(self, bench):
        bench.folder.mkdir()
        bench.file.write(State(covered=at("2031-01-01")))
        found = bench.run("2026-06-01T12:00", "2026-06-02T12:00", cron=NIGHTLY)
        assert found == ["tick 2026-06-02 02:30 CEST"]
        assert any("the clock was set back" in line for line in bench.lines)

    def test_damaged_state_is_an_error_that_says_what_to_do(self, bench):
        bench.folder.mkdir()
        (bench.folder / "state.json").write_text('{"covered": 7')
        with pytest.raises(InfrastructureError, match="cannot be read") as caught:
            bench.run("2026-06-01T12:00", "2026-06-02T12:00", cron=NIGHTLY)
        assert "remove the file" in caught.value.hint


class TestOutcomes:
    def test_a_check_that_fails_covers_its_tick(self, bench):
        bench.exit_code, bench.document = 3, {**NOTHING, "exit_code": 3}
        assert len(bench.run("2026-06-01T12:00", "2026-06-03T12:00", cron=NIGHTLY)) == 2
        assert bench.reports == [3, 3]
        last = bench.file.read().last
        assert last is not None and last.exit_code == 3

    def test_a_command_without_a_document_is_reported_with_its_exit_code(self, bench):
        bench.command = ("/bin/sh", "-c", "exit 2")
        bench.run("2026-06-01T12:00", "2026-06-02T12:00", cron=NIGHTLY)
        assert bench.reports == [2]
        assert bench.lines[-2] == (
            "checked: ended with exit code 2 before a decision (exit code 2)"
        )

    def test_a_disk_error_ends_the_scheduler_and_the_next_one_finishes_the_check(self, bench):
        """A notification that cannot be written is not lost: its check does not count yet."""
        clock = StepClock(at("2026-06-01T12:00"), at("2026-06-03T12:00"))
        scheduler = bench.make(clock, InterruptibleWait(), cron=NIGHTLY)

        def fail(*_: Any) -> None:
            raise InfrastructureError("the disk is full")

        scheduler._on_report = fail
        with pytest.raises(InfrastructureError, match="the disk is full"):
            scheduler.run()
        left = bench.file.read()
        assert left.current is not None and left.last is None
        found = bench.run("2026-06-02T01:00", "2026-06-02T12:00", cron=NIGHTLY)
        assert found == ["tick 2026-06-02 02:30 CEST"], "the check was repeated or lost"
        assert any("ended without its scheduler" in line for line in bench.lines)

    def test_no_output_files_are_left(self, bench):
        bench.run("2026-06-01T12:00", "2026-06-04T12:00", cron=NIGHTLY)
        assert sorted(p.name for p in bench.folder.iterdir()) == [".lock", "state.json"]

    def test_a_watch_repeats_a_check_that_has_to_wait(self, bench):
        wait = {"action": "wait", "reasons": [{"kind": "cool_down", "text": "an hour to go"}]}
        bench.document = {"decision": wait, "runs": [], "exit_code": 0}
        found = bench.run("2026-06-01T12:00", "2026-06-01T12:16", check_at_start=True, again_s=300)
        assert found == ["start of the watch", *["the last check had to wait"] * 3]
        bench.document = NOTHING
        again = bench.run("2026-06-01T13:00", "2026-06-01T14:00", check_at_start=True, again_s=300)
        assert again == ["start of the watch"]

    def test_once_is_one_check_with_its_exit_code(self, bench):
        bench.exit_code, bench.document = 4, {**NOTHING, "exit_code": 4}
        clock = StepClock(at("2026-06-01T12:00"), at("2026-06-03T12:00"))
        assert bench.make(clock, InterruptibleWait()).check_once("requested") == 4
        assert [why for _, why in bench.checks] == ["requested"]


class TestChanges:
    def test_a_change_is_due_once_it_has_settled(self):
        pending = PendingTriggers(None, "UTC", 10.0)
        state, start = State(covered=at("2026-06-01")), at("2026-06-01T12:00")
        for second in (0, 5, 9):
            pending.add_change(start + dt.timedelta(seconds=second))
        assert pending.due(state, start + dt.timedelta(seconds=18)) is None
        assert pending.pause(state, start + dt.timedelta(seconds=18)) == dt.timedelta(seconds=1)
        due = pending.due(state, start + dt.timedelta(seconds=19))
        assert due is not None and due.why == "the data changed"

    def test_changes_that_never_end_do_not_postpone_the_check_for_ever(self):
        pending = PendingTriggers(None, "UTC", 10.0)
        state, start = State(covered=at("2026-06-01")), at("2026-06-01T12:00")
        for second in range(0, 200, 5):
            pending.add_change(start + dt.timedelta(seconds=second))
        assert pending.due(state, start + dt.timedelta(seconds=99)) is None
        assert pending.due(state, start + dt.timedelta(seconds=100)) is not None

    def test_a_change_that_a_check_has_seen_is_dropped(self):
        pending = PendingTriggers(None, "UTC", 0.0)
        start = at("2026-06-01T12:00")
        pending.add_change(start)
        assert pending.due(State(covered=start), start) is None
        later = start + dt.timedelta(seconds=1)
        pending.add_change(later)
        assert pending.due(State(covered=start), later) is not None


# --- real processes -------------------------------------------------------------------------


class Processes:
    """Starts schedulers on one project, and ends them."""

    def __init__(self, folder: Path, workspace: Path, log: Path) -> None:
        self.folder, self.workspace, self.log = folder, workspace, log
        self.state = StateFile(workspace / "toy" / "schedule")
        self.started: list[subprocess.Popen[str]] = []
        self.origin = time.time()

    def start(self, *rest: str, seconds: str = "0", **settings: Any) -> subprocess.Popen[str]:
        stand_in = [sys.executable, str(SUPPORT / "stand_in.py")]
        command = [*stand_in, str(self.workspace), str(self.log), seconds, *rest]
        about = {"origin": self.origin, "factor": 60 / MINUTE_S, "command": command, **settings}
        process = subprocess.Popen(
            [sys.executable, SUPPORT / "scheduler_process.py", self.folder, json.dumps(about)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def stop(self, process: subprocess.Popen[str]) -> str:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=240)
        assert process.returncode == 0, out
        return out

    def logged(self, key: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [raw for raw in map(json.loads, lines) if key in raw]

    def pids(self) -> set[int]:
        """Schedulers that have started, as they register themselves."""
        return {int(p.stem.rpartition("-")[2]) for p in self.state.folder.glob("schedulers/*.json")}

    def parent_of_check(self, among: list[Any]) -> Any:
        """The scheduler of the check in progress, or None."""
        current = self.state.read().current
        try:
            parent = psutil.Process(current.pid).ppid() if current else None
        except psutil.NoSuchProcess:
            return None
        return next((process for process in among if process.pid == parent), None)

    def await_(self, what: Callable[[], Any], seconds: float = 120) -> Any:
        end = time.time() + seconds
        while not (found := what()):
            assert time.time() < end, "it did not happen"
            time.sleep(0.02)
        return found


@pytest.fixture
def processes(make_project, tmp_path) -> Iterator[Processes]:
    project = make_project(schedule={"grace_s": 1.0, "settle_s": 0.0})
    made = Processes(project.folder, project.workspace, tmp_path / "log")
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def ticks_of(out: str) -> list[set[int]]:
    """The minutes that each check of a scheduler was for, except for one that it cut short."""
    checks = []
    for line in out.splitlines():
        found = re.search(r" checking: .*?(?:tick|ticks,) (.*)$", line)
        if found is None:
            continue
        times = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", found[1])
        minutes = [int((at(text) - BASE).total_seconds()) // 60 for text in times]
        checks.append(set(range(minutes[0], minutes[-1] + 1)))
    return checks[:-1] if "the check was stopped" in out else checks


def test_two_schedulers_never_run_at_once_and_lose_no_tick_of_fifty(processes):
    """Every seventh check takes longer than two ticks, and one scheduler is replaced half way."""
    settings = {"cron": "* * * * *", "seconds": ",".join(["0.02"] * 6 + ["0.8"])}
    running: list[subprocess.Popen[str]] = []

    def start_until_two_run() -> None:
        while len(running) < 2:
            running.append(processes.start(**settings))
        pids = {process.pid for process in running}
        # A signal that comes before its handlers would kill it, and one alone shows nothing.
        processes.await_(lambda: processes.pids() == pids)

    def until(moment: dt.datetime) -> None:
        processes.await_(lambda: processes.state.read().covered >= moment)

    start_until_two_run()
    begun = processes.await_(lambda: processes.state.read().covered)
    until(begun + dt.timedelta(minutes=25))
    busy = processes.await_(lambda: processes.parent_of_check(running))
    running.remove(busy)
    outs = [processes.stop(busy)]
    start_until_two_run()
    until(max(begun + dt.timedelta(minutes=54), processes.state.read().covered + 2 * MINUTE))
    outs += [processes.stop(process) for process in running]
    checks = list(itertools.chain.from_iterable(map(ticks_of, outs)))
    covered = sorted(itertools.chain.from_iterable(checks))
    first = covered[0]
    assert BASE + first * MINUTE <= begun + MINUTE
    wanted = list(range(first, first + 50))
    assert [tick for tick in covered if tick < first + 50] == wanted, "lost, or covered twice"
    spans = sorted((line["start"], line["end"]) for line in processes.logged("end"))
    assert len(spans) >= len(checks)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert any(len(ticks) > 1 for ticks in checks)


def test_sigterm_ends_a_polite_check_and_its_tick_is_due_again(processes):
    one = processes.start("--polite", cron="* * * * *", seconds="60")
    processes.await_(lambda: processes.logged("begun"))
    found = processes.state.read()
    out = processes.stop(one)
    assert len(processes.logged("stopped")) == 1
    assert "stopping the check: SIGTERM" in out
    left = processes.state.read()
    assert left.current is None and left.last is None
    assert left.covered == found.covered
    assert found.current is not None
    with pytest.raises(ProcessLookupError):
        os.kill(found.current.pid, 0)
    two = processes.start(cron="* * * * *", seconds="0")
    processes.await_(lambda: processes.state.read().last)
    cut = ticks_of(out.replace("the check was stopped", ""))[0]
    assert cut <= ticks_of(processes.stop(two))[0]


def test_sigterm_kills_a_check_that_does_not_end_in_its_grace_time(processes):
    one = processes.start("--stubborn", cron="* * * * *", seconds="60")
    processes.await_(lambda: processes.logged("begun"))
    begun = time.monotonic()
    processes.stop(one)
    assert time.monotonic() - begun > 0.9
    pid = processes.logged("begun")[0]["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_sigterm_while_it_only_waits_is_an_end_at_once(processes):
    one = processes.start(cron="0 0 1 1 *")
    assert one.stdout is not None
    assert "next tick" in one.stdout.readline()
    assert processes.stop(one).endswith("stopped\n")


def test_a_check_that_outlives_a_killed_scheduler_counts_and_is_not_run_beside(processes):
    one = processes.start(cron="0 0 1 1 *", watch=True, seconds="1.5")
    processes.await_(lambda: processes.logged("begun"))
    processes.await_(lambda: processes.state.read().current)
    one.kill()
    one.wait()
    two = processes.start(cron="0 0 1 1 *", seconds="0")
    processes.await_(lambda: processes.state.read().last)
    out = processes.stop(two)
    assert "ended without its scheduler" in out
    assert len(processes.logged("begun")) == len(processes.logged("end")) == 1
    last = processes.state.read().last
    assert last is not None and last.headline.startswith("the model passed every gate")


def test_a_check_that_is_killed_with_its_scheduler_is_repeated(processes):
    one = processes.start(cron="0 0 1 1 *", watch=True, seconds="60")
    processes.await_(lambda: processes.logged("begun"))
    current = processes.await_(lambda: processes.state.read().current)
    one.kill()
    one.wait()
    os.kill(current.pid, signal.SIGKILL)
    two = processes.start(cron="0 0 1 1 *", seconds="0")
    processes.await_(lambda: processes.state.read().last)
    out = processes.stop(two)
    assert "was killed; repeating it" in out


def test_a_check_that_is_killed_alone_has_failed_and_the_next_tick_checks_again(processes):
    one = processes.start(cron="* * * * *", seconds="60")
    processes.await_(lambda: processes.logged("begun"))
    current = processes.await_(lambda: processes.state.read().current)
    os.kill(current.pid, signal.SIGKILL)
    last = processes.await_(lambda: processes.state.read().last)
    assert (last.started, last.exit_code) == (current.started, 137)
    processes.await_(lambda: len(processes.logged("begun")) == 2)
    assert processes.state.read().current.started > current.started
    assert "ended with exit code 137 before a decision" in processes.stop(one)


def test_the_watch_notices_a_new_file(processes):
    one = processes.start(watch=True)
    processes.await_(lambda: len(processes.logged("end")) == 1)  # the check at the start
    time.sleep(0.5)
    assert len(processes.logged("end")) == 1, "it checks although nothing changed"
    (processes.folder / "data" / "4").mkdir()
    (processes.folder / "data" / "4" / "rows.csv").write_text("x,y\n1,0\n")
    processes.await_(lambda: len(processes.logged("end")) >= 2)
    assert "checking: the data changed" in processes.stop(one)


def test_the_watch_does_not_notice_the_workspace_and_survives_the_folders_return(
    make_project, tmp_path
):
    from ordain.scheduling.watcher import Watcher

    data = tmp_path / "data"
    own = data / "var"
    own.mkdir(parents=True)
    changes: list[float] = []
    lines: list[str] = []
    watcher = Watcher(data, [own], False, lambda: changes.append(time.time()), lines.append)
    watcher.start()
    try:
        time.sleep(0.5)
        (own / "metadata.sqlite").write_text("ours")
        time.sleep(0.6)
        assert changes == []
        data.rename(tmp_path / "away")
        end = time.time() + 60
        while not lines and time.time() < end:
            time.sleep(0.05)
        assert "is missing" in lines[0]
        before = len(changes)
        data.mkdir()
        while len(changes) == before and time.time() < end + 60:
            time.sleep(0.05)
        assert len(changes) > before and "is back" in lines[1]
        time.sleep(0.5)
        before = len(changes)
        (data / "new.csv").write_text("x\n")
        while len(changes) == before and time.time() < end + 120:
            time.sleep(0.05)
        assert len(changes) > before
    finally:
        watcher.end()
    assert not watcher.is_alive()


def test_a_stop_before_its_turn_is_no_check(bench):
    waiter = InterruptibleWait()
    waiter.stop()
    clock = StepClock(at("2026-06-01"), at("2026-06-02"))
    assert bench.make(clock, waiter).check_once("requested") == STOPPED
    assert bench.checks == []
