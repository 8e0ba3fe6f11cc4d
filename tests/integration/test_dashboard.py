"""The dashboard over real runs, looked at in a real browser."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import as_number, chromium, table
from dashboard import Dashboard, dashboard
from sandbox import PROJECTS, Sandbox, good_rows, write_csv

from benchmarks.history import write_runs
from ordain.config.loading import load_project
from ordain.history.results import RunResult
from ordain.history.runs import History
from ordain.reports.at_run_end import write_run_report
from ordain.retraining.decision_log import log_decision
from ordain.retraining.retrain import decide_now
from ordain.serving.registry.labels import set_canary

#: A column, a reason and a folder that would be code if they were let.
SCRIPT = "<script>window.hacked=1</script>"
IMAGE = '"><img src=x onerror="window.hacked=1">'
TURNED = "\u202egnp.txt"
HEADER = ["x", "c", "y", SCRIPT, IMAGE]
PAGES = {
    "projects": "/",
    "runs": "/runs",
    "chosen": "/runs?project=small&state=failed&from=2026-01-01",
    "project": "/projects/small",
    "models": "/projects/small/models",
    "drift": "/projects/small/drift",
    "decisions": "/projects/small/decisions",
    "nothing": "/projects/small/nothing",
}


def rows(shift: float = 0.0) -> list[list[Any]]:
    return [[*row, i % 7, "ab"[i % 2]] for i, row in enumerate(good_rows(400, shift))]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sandbox, dict[str, RunResult]]:
    """A project with runs that were pushed, blocked and failed, labels, a decision."""
    folder = tmp_path_factory.mktemp("dashboard") / "small"
    shutil.copytree(PROJECTS / "small", folder)
    sandbox = Sandbox(folder)
    sandbox.set(schedule={"cron": "0 3 * * *"}, data={"window": 2})
    ended = {}
    for span in (1, 2, 3):
        write_csv(sandbox.data / str(span) / "rows.csv", rows(0.01 * span), HEADER)
        ended[f"pushed{span}"] = sandbox.run(span=span)
        assert ended[f"pushed{span}"].is_new_version, ended[f"pushed{span}"].headline
    short = [[row[0], *row[2:]] for row in rows()]
    write_csv(sandbox.data / "4" / "rows.csv", short, [h for h in HEADER if h != "c"])
    ended["blocked"] = sandbox.run(span=4)
    ended["failed"] = sandbox.run("train.parameters.learning_rate=fast", span=3)
    loaded = load_project(folder)
    for result in ended.values():
        write_run_report(loaded, result.run_id)
    (loaded.runs / IMAGE.replace("/", "")).mkdir()
    set_canary(loaded.serving, 2, 0.1, f"somebody {TURNED}", SCRIPT)
    log_decision(loaded.home, decide_now(loaded), time.time(), [], 0)
    return sandbox, ended


@pytest.fixture(scope="module")
def shown(project: Any) -> Iterator[Dashboard]:
    with dashboard(project[0].folder, actions=True) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@contextlib.contextmanager
def looking(browser: Any, url: str, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """Opens an address; yields the page, and what was said or asked for beyond its own host."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, **options)
    page.set_default_timeout(120_000)
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(f"{m.type}: {m.text}"))
    page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
    own = url.partition("/")[0] + "//" + url.split("/")[2] + "/"
    page.on("request", lambda r: None if r.url.startswith((own, "data:,")) else wrong.append(r.url))
    try:
        page.goto(url)
        yield page, wrong
    finally:
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, "run", "blocked", "failed", "log", "action"])
def test_pages_are_whole_accessible_and_harmless(browser, shown, project, name, scheme):
    runs = {key: f"/projects/small/runs/{result.run_id}" for key, result in project[1].items()}
    own = {"run": runs["pushed3"], "blocked": runs["blocked"], "failed": runs["failed"]}
    own |= {"log": f"{runs['pushed3']}/logs/Trainer"}
    own |= {"action": "/projects/small/versions/2/promote"}
    url = shown.url + (PAGES | own)[name]
    with looking(browser, url, color_scheme=scheme) as (page, wrong):
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
        assert not found.response["violations"], found.generate_report()
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        assert page.locator("h1").count() == 1
        # The browser itself reports a page that is not there.
        assert [w for w in wrong if name != "nothing" or "404" not in w] == []


def test_runs_are_listed_with_what_came_of_them(browser, shown, project):
    _, ended = project
    with looking(browser, f"{shown.url}/runs") as (page, _):
        listed = {row["Run"].split(" ")[0][:20]: row for row in table(page, "main", "Runs, newest")}
    for name, outcome in (("pushed1", "pushed"), ("blocked", "data blocked"), ("failed", "failed")):
        row = listed[ended[name].run_id]
        assert row["Outcome"] == outcome
        assert row["Summary"] == ended[name].headline
        assert row["Report"] == "report"


def test_metrics_and_drift_are_those_of_the_gates(browser, shown, project):
    _, ended = project
    with looking(browser, f"{shown.url}/projects/small/models") as (page, _):
        values = table(page, "main", "auc, whole window")
        versions = table(page, "main", "Published versions")
    pushed = [ended[f"pushed{span}"] for span in (3, 2, 1)]
    assert [row["Run"] for row in values] == [result.run_id for result in pushed]
    assert [row["Newest span"] for row in values] == ["3", "2", "1"]
    for row, result in zip(values, pushed, strict=True):
        auc = next(r for v in result.verdicts for r in v.reasons if r.kind == "auc.min")
        assert as_number(row["Value"]) == pytest.approx(auc.measured, abs=5e-5)
        assert as_number(row["Limit"]) == auc.limit
    assert [row["Labels"] for row in versions] == ["stable", "canary 10.0 %", ""]
    with looking(browser, f"{shown.url}/projects/small/drift") as (page, _):
        newest = {row["Feature"]: row for row in table(page, "main", "Newest distance")}
        assert page.locator("figure svg").count() == len(newest)
    # The blocked run measured the newest span, but for the column that it lacked.
    runs = [ended[name] for name in ("pushed2", "pushed3", "blocked")]
    drift = [r for run in runs for v in run.verdicts for r in v.reasons if r.kind == "drift"]
    expected = {reason.where: reason for reason in drift}
    assert newest.keys() == expected.keys() == set(HEADER)
    for feature, reason in expected.items():
        row = newest[feature]
        assert as_number(row["Distance"]) == pytest.approx(reason.measured, abs=5e-5)
        assert as_number(row["Limit"]) == reason.limit
        assert row["Span"] == str(reason.span)


def test_hostile_text_is_text(browser, shown):
    with looking(browser, f"{shown.url}/projects/small/models") as (page, _):
        text = page.evaluate("document.body.textContent")
        assert SCRIPT in text
        assert "\u202e" not in text
        assert page.locator("main script, main img").count() == 0
    with looking(browser, f"{shown.url}/runs") as (page, _):
        assert IMAGE.replace("/", "") in page.evaluate("document.body.textContent")
        page.locator("a", has_text="onerror").first.click()
        assert page.locator("h1").inner_text() == IMAGE.replace("/", "")


def test_filters_stand_in_the_address_and_work_without_scripts(browser, shown, project):
    _, ended = project
    with looking(browser, f"{shown.url}/runs", java_script_enabled=False) as (page, _):
        page.get_by_label("Verdict").select_option("data blocked")
        page.get_by_role("button", name="Show").click()
        assert "verdict=data+blocked" in page.url
        assert page.locator("tbody tr").count() == 1
        assert ended["blocked"].run_id in page.inner_text("tbody")
        page.goto(f"{shown.url}/runs?to=2020-01-01")
        assert "No run matches the filter" in page.inner_text("main")
        page.goto(f"{shown.url}/runs?state=odd&page=x&from=yesterday")
        assert page.locator(".problem").count() == 3
        page.goto(f"{shown.url}/projects/small")
        assert "version 3" in page.inner_text("main")
        assert page.locator("button").count() == 0, "no control that does nothing"


def test_the_keyboard_reaches_everything(browser, shown):
    with looking(browser, f"{shown.url}/projects/small") as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.locator("#live-control button").focus()
        page.keyboard.press("Enter")
        assert page.locator("#live-control button").inner_text() == "Go on updating"
        page.locator(".sub a", has_text="Models").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/models")


def test_a_report_opens_as_it_was_written_and_reaches_nothing(browser, shown, project):
    _, ended = project
    path = f"/projects/small/runs/{ended['pushed3'].run_id}/report"
    loaded = load_project(project[0].folder)
    written = (loaded.runs / ended["pushed3"].run_id / "report.html").read_text(encoding="utf-8")
    answer = shown.ask(path)
    assert answer.text == written
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts;")
    with looking(browser, shown.url + path) as (page, wrong):
        assert page.locator("h1").inner_text() == "Pushed"
        assert page.locator("#slices th button, #verdict th button").count() > 0, "its script runs"
        assert page.evaluate("self.origin") == "null", "and is nobody here"
        assert not wrong


@pytest.fixture
def fresh(tmp_path: Path) -> Sandbox:
    folder = tmp_path / "small"
    shutil.copytree(PROJECTS / "small", folder)
    write_csv(folder / "data" / "1" / "rows.csv", good_rows(), ["x", "c", "y"])
    return Sandbox(folder)


def test_a_run_is_seen_while_it_goes_on_and_is_not_hindered(browser, fresh):
    command = [sys.executable, "-m", "ordain.cli.main", "run", str(fresh.folder)]
    command += ["--set", "train.steps=3000"]
    runs = load_project(fresh.folder).runs
    with dashboard(fresh.folder) as shown:
        with looking(browser, f"{shown.url}/projects/small") as (page, wrong):
            assert "No run yet" in page.inner_text("main")
            run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                deadline = time.monotonic() + 400
                while run.poll() is None and time.monotonic() < deadline:
                    for path in ("/", "/runs", "/projects/small"):
                        assert shown.ask(path).status == 200
                    if "running: " in shown.ask("/runs?state=running").text:
                        break
                page.reload()
                page.get_by_text("running: ").first.wait_for(timeout=240_000)
                while run.poll() is None and time.monotonic() < deadline:
                    shown.ask("/projects/small/drift")
                    for folder in runs.iterdir():
                        shown.ask(f"/projects/small/runs/{folder.name}")
                assert run.wait(240) == 0, run.stdout.read()
            finally:
                run.kill()
            # The page that was open all along comes to know of it by itself.
            page.locator("dl.tiles", has_text="version 1").wait_for(timeout=240_000)
            assert page.locator(".badge.running").count() == 0
            assert not wrong


def test_pages_of_a_long_history(fresh):
    first = fresh.run()
    assert not first.exit_code, first.headline
    template = fresh.run()
    project = load_project(fresh.folder)
    write_runs(History(project.metadata, project.name, project.paths).store, template.run_id, 58)
    seen: list[str] = []
    with dashboard(fresh.folder) as shown:
        for number, count in ((1, 25), (2, 25), (3, 10), (4, 0)):
            text = shown.ask(f"/runs?page={number}").text
            ids = [part.partition('"')[0] for part in text.split("/projects/small/runs/")[1:]]
            ids = [one for one in ids if "/" not in one]
            assert len(ids) == count
            assert ('rel="next"' in text) == (number < 3)
            seen += ids
        assert len(set(seen)) == 60
        assert "60 runs" in shown.ask("/runs").text
        removed = shown.ask("/runs?state=removed&verdict=nothing+new&page=3").text
        assert removed.count("its folder was removed") == 8
        assert "No run matches the filter" in shown.ask("/runs?state=removed&verdict=pushed").text


def test_a_database_that_is_not_there_is_a_page_that_says_so(fresh):
    assert not fresh.run().exit_code
    fresh.set(metadata="postgresql://nobody@127.0.0.1:9/nothing")
    with dashboard(fresh.folder) as shown:
        for path in ("/", "/runs", "/projects/small", "/projects/small/drift"):
            answer = shown.ask(path)
            assert answer.status == 200
            assert "postgresql://nobody@127.0.0.1:9/nothing" in answer.text
        assert "version 1" in shown.ask("/projects/small").text, "what is on the disk is shown"
        assert "the model passed every gate" in shown.ask("/runs").text


def test_a_damaged_store_is_named(fresh):
    assert not fresh.run().exit_code
    store = load_project(fresh.folder).metadata
    whole = store.read_bytes()
    with dashboard(fresh.folder) as shown:
        store.write_bytes(b"no database" * 1000)
        answer = shown.ask("/projects/small/drift")
        assert answer.status == 200
        assert str(store) in answer.text
        store.write_bytes(whole)
        deadline = time.monotonic() + 240
        while "Some data could not be read" in shown.ask("/projects/small/drift").text:
            assert time.monotonic() < deadline, "it is read again once it is whole"
            time.sleep(0.5)


def test_tensorboard_shows_the_trainings_by_names(project):
    sandbox, ended = project
    command = [sys.executable, "-m", "ordain.cli.main", "tensorboard", str(sandbox.folder)]
    process = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "TensorBoard" in line and "http://" in line:
                break
        url = next(word for word in lines[-1].split() if word.startswith("http://127.0.0.1:"))
        wanted = {"version 3, stable", "version 2, canary", "version 1"}
        deadline = time.monotonic() + 240
        names: set[str] = set()
        while time.monotonic() < deadline and len(names) < 3:
            answer = Dashboard(int(url.rstrip("/").rpartition(":")[2])).ask("/data/runs")
            names = {n.rpartition("/")[0].partition(", ")[2] for n in json.loads(answer.text)}
            time.sleep(0.5)
        assert names == wanted
        assert ended["pushed1"].run_id[-4:] in "".join(lines)
        process.terminate()
        assert process.wait(240) == 0
    finally:
        process.kill()
