"""Charts are drawn by the real library; what goes wrong with it stays in the chart's place."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ordain.reports.charts import renderer
from ordain.reports.charts.base import CANDIDATE, Chart, axis, layered, line

pytestmark = pytest.mark.process

ROWS = [{"x": i, "y": 0.0001234 * i, "i": i} for i in range(5)]


def chart(title="Curve", y_title="rate", **more):
    layer = line(ROWS, axis("x", "step"), axis("y", y_title, format="~g"), CANDIDATE)
    return Chart(title, "How to read it.", layered([layer], 200, 100, **more))


def test_a_chart_is_vector_graphics_with_text_and_the_pages_colours():
    (svg,) = renderer.draw_all([chart()])
    assert svg.startswith("<svg ")
    assert 'role="img" aria-label="Curve. How to read it."' in svg
    assert 'stroke="var(--candidate)"' in svg
    assert ">step</text>" in svg
    assert "<image" not in svg
    # Coordinates are rounded, numbers that are read are not.
    assert ">0.0004</text>" in svg


def test_hostile_titles_are_escaped():
    hostile = '<script>x</script>"&\\1'
    (svg,) = renderer.draw_all([chart(hostile, hostile)])
    assert "<script" not in svg
    assert "&lt;script" in svg
    assert '\\1. How to read it."' in svg


def test_many_charts_keep_their_order():
    titles = [f"chart {i}" for i in range(renderer.MANY + 1)]
    drawn = renderer.draw_all([chart(title) for title in titles])
    assert [f'aria-label="{t}. ' in svg for t, svg in zip(titles, drawn, strict=True)] == [
        True
    ] * len(titles)


def test_a_wrong_specification_spoils_its_own_chart_only():
    wrong = Chart("Wrong", "", {"mark": {"type": "nothing"}, "data": {"values": []}})
    good, bad = renderer.draw_all([chart(), wrong])
    assert good.startswith("<svg ")
    assert bad.startswith('<p class="missing">This chart could not be drawn: ')


@pytest.mark.parametrize("program", ["false", "cat", "true"])
def test_a_process_that_dies_or_says_nonsense(monkeypatch, program, tmp_path):
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\nexec {program} </dev/null\n")
    script.chmod(0o755)
    monkeypatch.setattr(renderer.sys, "executable", str(script))
    drawn = renderer.draw_all([chart(), chart()])
    assert [d.startswith('<p class="missing">') for d in drawn] == [True, True]


def test_drawing_imports_neither_tensorflow_nor_ml_metadata():
    root = Path(renderer.__file__).parents[3]
    code = "import sys, ordain.reports.charts.renderer; print([m for m in sys.modules if m in %r])"
    done = subprocess.run(
        [sys.executable, "-c", code % (["tensorflow", "tfx", "ml_metadata", "numpy"],)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.replace("'", '"')) == []
