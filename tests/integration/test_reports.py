"""Pages of real runs, looked at in a real browser: what they say, and that they do no harm."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow_data_validation as tfdv
import tensorflow_model_analysis as tfma
from axe_playwright_python.sync_playwright import Axe
from browser import as_number, chromium, looking_at, table
from playwright.sync_api import expect
from sandbox import PROJECTS, Sandbox, write_csv

from ordain.config.loading import load_project
from ordain.history.results import RunResult
from ordain.history.runs import History
from ordain.reports.at_run_end import write_run_report
from ordain.reports.facts.intervals import Histogram, auc
from ordain.reports.facts.model import read_evaluation
from ordain.reports.facts.run_record import read_record

SECTIONS = [
    "verdict",
    "data",
    "drift",
    "training",
    "model",
    "slices",
    "importance",
    "server",
    "time",
    "lineage",
]
#: Column names and values that would be code, or would turn or flood a page, if they were let.
SCRIPT = "<script>window.hacked=1</script>"
IMAGE = '"><img src=x onerror="window.hacked=1">'
TURNED = "\u202egnp.txt"
ARABIC = "مرحبا"
EMOJI = "🛫👩‍✈️"
LONG = "Z" * 10_000
EXPRESSION = "{{ 7 * 7 }} ${datum} '+alert(1)+'"
HOSTILE = [SCRIPT, IMAGE, TURNED, ARABIC, EMOJI, LONG, EXPRESSION, "plain"]
HEADER = ["x", "c", "y", SCRIPT, IMAGE, TURNED, ARABIC, EMOJI]


def hostile_rows(shift: int = 0) -> list[list[Any]]:
    rows = []
    for i in range(480):
        x = ((i * 37 + shift) % 100) / 100
        values = [HOSTILE[(i + k) % len(HOSTILE)] for k in range(6)]
        rows.append([x, values[0], int(x > 0.5), i % 7, *values[1:5]])
    return rows


def page_of(sandbox: Sandbox, result: RunResult) -> Path:
    """Writes the page as `ordain run` does, and says where it is."""
    project = load_project(sandbox.folder)
    _, line = write_run_report(project, result.run_id)
    path = project.runs / result.run_id / "report.html"
    assert str(path) in line, line
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A binary project whose columns and values are as bad as text can be."""
    folder = tmp_path_factory.mktemp("reports") / "hostile"
    shutil.copytree(PROJECTS / "small", folder)
    sandbox = Sandbox(folder)
    for span in (1, 2):
        write_csv(folder / "data" / str(span) / "rows.csv", hostile_rows(span), HEADER)
    sandbox.set(evaluate={"slices": ["c"], "metrics": ["ExampleCount", "AUC", "BinaryAccuracy"]})
    return sandbox


@pytest.fixture(scope="module")
def first(hostile: Sandbox) -> tuple[RunResult, Path]:
    """The first run: there is no baseline."""
    result = hostile.run()
    assert not result.exit_code, result.headline
    return result, page_of(hostile, result)


@pytest.fixture(scope="module")
def second(hostile: Sandbox, first: Any) -> tuple[RunResult, Path]:
    """A further run, whose candidate is held against the first one's."""
    del first
    result = hostile.run("train.steps=25")
    assert not result.exit_code, result.headline
    return result, page_of(hostile, result)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def blocked(hostile: Sandbox, second: Any) -> tuple[RunResult, Path]:
    """The newest span lacks a column: the data gate blocks."""
    del second
    rows = [[row[0], *row[2:]] for row in hostile_rows()]
    write_csv(hostile.data / "3" / "rows.csv", rows, [h for h in HEADER if h != "c"])
    result = hostile.run(span=3)
    assert result.exit_code == 3, result.headline
    return result, page_of(hostile, result)


@pytest.fixture(scope="module")
def failed(hostile: Sandbox, second: Any) -> tuple[RunResult, Path]:
    """Training raises."""
    del second
    result = hostile.run("train.parameters.learning_rate=fast", span=2)
    assert result.failure is not None
    return result, page_of(hostile, result)


@pytest.fixture(scope="module")
def digits_run(
    tmp_path_factory: pytest.TempPathFactory, digit_rows: Any
) -> tuple[Sandbox, RunResult, Path]:
    """The multi-class project, with a Tuner and the server gate."""
    folder = tmp_path_factory.mktemp("reports") / "digits"
    shutil.copytree(PROJECTS / "digits", folder)
    header, rows = digit_rows
    for span, part in ((1, rows[:800]), (2, rows[800:])):
        write_csv(folder / "data" / str(span) / "digits.csv", part, header)
    sandbox = Sandbox(folder)
    sandbox.set(tune={"steps": 30, "eval_steps": 2})
    result = sandbox.run()
    assert not result.exit_code, result.headline
    return sandbox, result, page_of(sandbox, result)


def artifact(sandbox: Sandbox, result: RunResult, node: str, key: str) -> str:
    """Folder of what a node left, as ML Metadata knows it."""
    project = load_project(sandbox.folder)
    run = History(project.metadata, project.name, project.paths).read_run(result.run_id)
    return next(o.uri for n in run.nodes if n.node == node for o in n.outputs if o.key == key)


def measured(uri: str) -> dict[tuple[str, str, str], float]:
    """TFMA's own results: metric, slice and model to value."""
    found = {}
    for entry in tfma.load_metrics(uri):
        parts = []
        for key in entry.slice_key.single_slice_keys:
            value = getattr(key, key.WhichOneof("kind"))
            parts.append(f"{key.column}={value.decode() if isinstance(value, bytes) else value}")
        for pair in entry.metric_keys_and_values:
            if not pair.key.is_diff and pair.value.HasField("double_value"):
                name = (pair.key.name, ", ".join(parts), pair.key.model_name)
                found[name] = pair.value.double_value.value
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_whole_and_harmless(browser, second, scheme):
    _, path = second
    with looking_at(browser, path, color_scheme=scheme) as sight:
        page = sight.page
        assert [s.get_attribute("id") for s in page.locator("main > section").all()] == SECTIONS
        links = page.locator("nav a").all()
        assert [link.get_attribute("href") for link in links] == [f"#{name}" for name in SECTIONS]
        assert "could not be" not in page.inner_text("body")
        assert page.evaluate("window.hacked") is None
        assert page.locator("script").count() == 1
        assert page.locator("img, iframe, object, embed, link, [src], [srcset]").count() == 0
        hrefs = "[...document.querySelectorAll('[href]')].map(e => e.getAttribute('href'))"
        assert all(href.startswith(("#", "..")) for href in page.evaluate(hrefs))
        assert page.locator("svg").count() > 10
        # Nothing runs out of the page sideways; what is wide scrolls within itself.
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        page.mouse.wheel(0, 20_000)
        page.wait_for_timeout(100)
        assert not sight.problems
        assert not sight.requests


def test_the_two_schemes_differ_and_print_is_light(browser, second):
    _, path = second
    seen = {}
    for scheme in ("light", "dark"):
        with looking_at(browser, path, color_scheme=scheme) as sight:
            ground = "getComputedStyle(document.body).backgroundColor"
            stroke = "getComputedStyle(document.querySelector('#model svg path[stroke]')).stroke"
            seen[scheme] = (sight.page.evaluate(ground), sight.page.evaluate(stroke))
            sight.page.emulate_media(media="print", color_scheme=scheme)
            assert sight.page.evaluate(ground) == "rgb(255, 255, 255)"
            assert not sight.page.locator("nav").is_visible()
    assert seen["light"][0] == "rgb(255, 255, 255)"
    assert seen["light"][0] != seen["dark"][0]
    assert seen["light"][1] != seen["dark"][1]


def test_the_file_names_nothing_to_fetch(second, digits_run):
    for path in (second[1], digits_run[2]):
        text = path.read_text(encoding="utf-8")
        assert "default-src 'none'" in text
        # The names of SVG's own XML namespaces are no addresses that anybody asks.
        own = text.replace("http://www.w3.org/", "")
        for word in ("http://", "https://", "url(", "@import"):
            assert word not in own, word
        assert path.stat().st_size < 3_000_000


def test_metrics_are_those_of_tfma(browser, hostile, second):
    result, path = second
    own = measured(artifact(hostile, result, "Evaluator", "evaluation"))
    with looking_at(browser, path) as sight:
        rows = table(sight.page, "#model", "Metrics of the whole window")
        slices = table(sight.page, "#slices", "Slices")
    assert [row["Metric"] for row in rows] == ["auc", "binary_accuracy at 0.5"]
    for row in rows:
        name = row["Metric"].partition(" at ")[0]
        for column, model in (("Candidate", "candidate"), ("Baseline", "baseline")):
            assert as_number(row[column]) == pytest.approx(own[name, "", model], abs=5e-5)
        low, high = map(as_number, row["95 % interval"].split(" to "))
        assert low <= as_number(row["Candidate"]) <= high
        assert 0 < high - low < 0.2
    wheres = {where for _, where, _ in own}
    assert len(slices) == len(wheres) == 1 + 2 + len(HOSTILE)
    shown = {}
    for row in slices:
        shown["" if row["Slice"].startswith("whole window") else row["Slice"]] = row
    for where in (w for w in wheres if len(w) < 60 and "\u202e" not in w and "\u200d" not in w):
        row = shown[where]
        assert as_number(row["Examples"]) == own["example_count", where, "candidate"]
        assert as_number(row["auc"]) == pytest.approx(own["auc", where, "candidate"], abs=5e-5)
    values = [as_number(row["auc"]) for row in slices]
    assert values == sorted(values), "worst first"


def test_data_is_what_tfdv_measured(browser, hostile, second):
    result, path = second
    project = load_project(hostile.folder)
    run = History(project.metadata, project.name, project.paths).read_run(result.run_id)
    folders = {n.span: n.outputs[0].uri for n in run.nodes if n.node == "StatisticsGen"}
    with looking_at(browser, path) as sight:
        headings = [h.inner_text() for h in sight.page.locator("#data .feature h3").all()]
        numbers = {name: table(sight.page, "#data", f"{name} by span") for name in ("x", "c", "y")}
        drift = {row["Feature"]: row for row in table(sight.page, "#drift", "Distances")}
    assert len(headings) == len(HEADER)
    assert headings[0] == "y", "the label comes first where nothing is conspicuous"
    stats = {
        (span, split): tfdv.load_stats_binary(f"{uri}/Split-{split}/FeatureStats.pb").datasets[0]
        for span, uri in folders.items()
        for split in ("train", "eval")
    }
    features = {
        key: {f.path.step[0]: f for f in dataset.features} for key, dataset in stats.items()
    }
    for name in ("x", "y"):
        assert len(numbers[name]) == 4
        for row in numbers[name]:
            own = features[int(row["Span"]), row["Split"]][name].num_stats
            assert as_number(row["Values"]) == own.common_stats.num_non_missing
            for column, value in (
                ("Mean", own.mean),
                ("Deviation", own.std_dev),
                ("Least", own.min),
                ("Median", own.median),
                ("Greatest", own.max),
                ("Zeros", own.num_zeros),
            ):
                assert as_number(row[column]) == pytest.approx(value, rel=1e-3, abs=1e-9), column
    for row in numbers["c"]:
        own = features[int(row["Span"]), row["Split"]]["c"].string_stats
        assert as_number(row["Different"]) == own.unique
        assert f"{own.rank_histogram.buckets[0].sample_count:.0f}" in row["Most frequent"]

    def shares(key: tuple[int, str]) -> dict[str, float]:
        found = features[key]["c"].string_stats
        total = found.common_stats.num_non_missing
        return {b.label: b.sample_count / total for b in found.rank_histogram.buckets}

    before, after = shares((1, "train")), shares((2, "train"))
    farthest = max(abs(before.get(v, 0) - after.get(v, 0)) for v in before | after)
    assert as_number(drift["c"]["Distance"]) == pytest.approx(farthest, abs=1e-4)
    assert drift["c"]["Formula"] == "L-infinity distance"


def test_hostile_names_and_values_are_text(browser, second):
    _, path = second
    with looking_at(browser, path) as sight:
        names = [h.inner_text() for h in sight.page.locator("#data .feature h3").all()]
        text = sight.page.evaluate("document.body.textContent")
        drawn = sight.page.evaluate("document.querySelector('#slices svg').textContent")
        assert sight.page.evaluate("window.hacked") is None
    for name in (SCRIPT, IMAGE, ARABIC, EMOJI):
        assert name in names
    assert "\N{REPLACEMENT CHARACTER}gnp.txt" in names
    assert "\u202e" not in text, "what would turn the text after it"
    assert "c=<script>" in drawn, "in a chart too"
    assert EXPRESSION in text
    assert "(10,002 characters)" in text
    assert "Z" * 200 not in text


def test_pages_without_script_say_the_main_facts(browser, second):
    result, path = second
    with looking_at(browser, path, java_script_enabled=False) as sight:
        page = sight.page
        assert page.locator("h1").inner_text() == "Pushed"
        assert result.headline in page.inner_text("header")
        auc_measured = next(r for v in result.verdicts for r in v.reasons if r.kind == "auc.min")
        assert f"{auc_measured.measured:.4f}" in page.inner_text("#model")
        assert page.locator("#data svg").first.is_visible()
        assert page.locator("th button").count() == 0, "no control that does nothing"


def test_the_keyboard_reaches_everything(browser, second):
    _, path = second
    with looking_at(browser, path) as sight:
        page = sight.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        head = page.locator("#slices th button", has_text="Examples")
        head.focus()
        rows = "[...document.querySelectorAll('#slices tbody tr')].map(r => r.cells[1].textContent)"
        page.keyboard.press("Enter")
        counts = [as_number(text) for text in page.evaluate(rows)]
        assert counts == sorted(counts)
        page.keyboard.press("Space")
        counts = [as_number(text) for text in page.evaluate(rows)]
        assert counts == sorted(counts, reverse=True)
        sorted_by = page.locator("#slices th[aria-sort]")
        assert sorted_by.get_attribute("aria-sort") == "descending"
        page.locator("#lineage a[href='#node-Trainer']").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#node-Trainer")).to_have_attribute("open", "")
        assert page.locator("#node-Trainer a").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["second", "blocked", "failed", "digits_run"])
def test_axe_finds_no_violation_of_aa(browser, name, scheme, request):
    path = request.getfixturevalue(name)[-1]
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    # axe can say nothing of labels in charts, and takes minutes over the 65 features of digits,
    # which are made as those of the others.
    context = {"exclude": [["svg g"]]}
    with looking_at(browser, path, color_scheme=scheme) as sight:
        if name == "digits_run":
            more = "document.querySelectorAll('.feature + .feature')"
            sight.page.evaluate(f"{more}.forEach(feature => feature.remove())")
        sight.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        options = {"runOnly": {"type": "tag", "values": tags}}
        found = Axe().run(sight.page, context=context, options=options)
        assert len(found.response["passes"]) > 15, "it looked"
        assert found.violations_count == 0, found.generate_report()


def test_a_first_run_has_no_baseline(browser, first):
    _, path = first
    with looking_at(browser, path) as sight:
        assert "this is the first model" in sight.page.inner_text("#model")
        (row, *_) = table(sight.page, "#model", "Metrics")
        assert "Baseline" not in row


def test_a_blocked_run_says_why_first(browser, blocked):
    result, path = blocked
    with looking_at(browser, path) as sight:
        page = sight.page
        assert page.locator("h1").inner_text() == "Not pushed"
        assert result.headline in page.inner_text("header")
        reasons = table(page, "#verdict", "Checks that blocked the run")
        own = [r for v in result.verdicts for r in v.reasons if r.outcome == "blocked"]
        assert [row["Where"] for row in reasons] == [r.where for r in own]
        assert "c" in [row["Where"] for row in reasons]
        first_feature = page.locator("#data .feature").first
        assert first_feature.locator(".anomalies").is_visible()
        for section in ("training", "model"):
            assert "the data gate blocked" in page.inner_text(f"#{section}")
        assert not sight.problems


def test_a_failed_run_says_what_failed(browser, failed):
    result, path = failed
    with looking_at(browser, path) as sight:
        page = sight.page
        assert page.locator("h1").inner_text() == "Failed"
        assert result.failure.message in page.inner_text("header")
        assert "Trainer failed" in page.inner_text("#training")
        states = {row["Node"]: row["State"] for row in table(page, "#time", "Cost of each node")}
        assert states["Trainer"] == "failed"
        assert not sight.problems


def test_a_run_that_did_not_end_has_a_page(browser, hostile, second):
    result, path = second
    kept = (path.parent / "result.json").read_bytes()
    (path.parent / "result.json").unlink()
    try:
        written = page_of(hostile, result)
        with looking_at(browser, written) as sight:
            assert sight.page.locator("h1").inner_text() == "Did not end"
            assert table(sight.page, "#model", "Metrics")
    finally:
        (path.parent / "result.json").write_bytes(kept)
        page_of(hostile, result)


def test_several_classes_the_tuner_and_the_server(browser, digits_run):
    sandbox, result, path = digits_run
    uri = artifact(sandbox, result, "Evaluator", "evaluation")
    whole = [p for p in tfma.load_plots(uri) if not p.slice_key.single_slice_keys]
    (plots,) = whole
    value = plots.plot_keys_and_values[0].value
    (matrix,) = value.multi_class_confusion_matrix_at_thresholds.matrices
    own = {
        (entry.actual_class_id, entry.predicted_class_id): entry.num_weighted_examples
        for entry in matrix.entries
    }
    trials = json.loads(
        Path(artifact(sandbox, result, "Tuner", "tuner_results"), "tuner_results.json").read_text()
    )
    timed = json.loads(
        Path(artifact(sandbox, result, "ServerGate", "blessing"), "measurements.json").read_text()
    )
    with looking_at(browser, path) as sight:
        page = sight.page
        rows = table(page, "#model", "Rows: the label")
        assert len(rows) == 10
        for actual, row in enumerate(rows):
            for predicted in range(10):
                assert as_number(row[str(predicted)]) == own.get((actual, predicted), 0)
        metric = table(page, "#model", "Metrics")[0]
        total = sum(own.values())
        right = sum(v for (a, p), v in own.items() if a == p)
        assert as_number(metric["Candidate"]) == pytest.approx(right / total, abs=5e-5)
        shown = table(page, "#training", "Trials")
        assert [row["Trial"] for row in shown] == [t["trial_id"] for t in trials]
        assert [row["units"] for row in shown] == [str(t["units"]) for t in trials]
        latency = {row["Protocol"]: row for row in table(page, "#server", "Latency")}
        for protocol, times in timed["single_ms"].items():
            assert int(latency[protocol]["Requests"]) == len(times)
            p99 = sorted(times)[math.ceil(0.99 * len(times)) - 1]
            assert as_number(latency[protocol]["p99"]) == pytest.approx(p99, abs=0.06)
        importance = table(page, "#importance", "Loss of accuracy")
        means = [as_number(row["Mean"]) for row in importance]
        assert means == sorted(means, reverse=True)
        assert means[0] > 0
        assert not sight.problems


def test_curves_come_from_tfmas_own_histogram(hostile, second):
    result, _ = second
    record = read_record(load_project(hostile.folder), result.run_id)
    evaluation = read_evaluation(record)
    for histogram, value in (
        (evaluation.candidate, evaluation.overall["auc"].value),
        (evaluation.baseline, evaluation.overall["auc"].baseline),
    ):
        assert isinstance(histogram, Histogram)
        total = histogram.positives.sum() + histogram.negatives.sum()
        assert total == evaluation.counts[""]
        # Buckets of 0.002 instead of TFMA's 0.0001.
        assert float(auc(histogram.positives, histogram.negatives)) == pytest.approx(
            value, abs=3e-3
        )
    assert evaluation.importance.features[0][0] == "x", "the label follows from x alone"


def test_a_page_that_cannot_be_written_is_one_line(hostile, second):
    result, path = second
    kept = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / "in-the-way").touch()
    try:
        _, line = write_run_report(load_project(hostile.folder), result.run_id)
    finally:
        shutil.rmtree(path)
        path.write_bytes(kept)
    assert line.startswith("report   none: ")
    assert "\n" not in line


def test_charts_that_cannot_be_drawn_leave_the_facts(
    hostile, second, browser, monkeypatch: pytest.MonkeyPatch
):
    result, path = second
    kept = path.read_bytes()
    with monkeypatch.context() as patch:
        # The process that draws dies at once.
        patch.setattr("ordain.reports.charts.renderer.sys.executable", shutil.which("false"))
        patch.setattr("ordain.reports.page.SvgCache", lambda _: None)
        written = page_of(hostile, result)
    try:
        with looking_at(browser, written) as sight:
            assert "This chart could not be drawn" in sight.page.inner_text("#data")
            assert table(sight.page, "#model", "Metrics")
    finally:
        path.write_bytes(kept)
