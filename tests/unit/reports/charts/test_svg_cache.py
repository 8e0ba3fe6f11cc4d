"""SVGs of identical charts come from the cache."""

import os

import pytest

from ordain.reports.charts import renderer, svg_cache
from ordain.reports.charts.base import CANDIDATE, Chart, axis, layered, line
from ordain.reports.charts.svg_cache import SvgCache

pytestmark = pytest.mark.process


def chart(title="Curve", end=5):
    rows = [{"x": i, "y": i} for i in range(end)]
    layer = line(rows, axis("x", "step"), axis("y", "rate"), CANDIDATE)
    return Chart(title, "How to read it.", layered([layer], 200, 100))


@pytest.fixture
def processes(monkeypatch):
    """Number of charts drawn by each call."""
    counts = []
    original = renderer._draw

    def draw(specs):
        counts.append(len(specs))
        return original(specs)

    monkeypatch.setattr(renderer, "_draw", draw)
    return counts


def test_only_what_is_new_is_drawn(tmp_path, processes):
    kept = SvgCache(tmp_path)
    first = renderer.draw_all([chart(), chart(end=4)], kept)
    again = renderer.draw_all([chart(end=4), chart(end=6), chart()], kept)
    assert (again[0], again[2]) == (first[1], first[0])
    assert again[1] not in first
    renderer.draw_all([chart()], kept)
    assert processes == [2, 1]


def test_another_title_is_another_label_of_the_same_drawing(tmp_path, processes):
    kept = SvgCache(tmp_path)
    (one,) = renderer.draw_all([chart("One")], kept)
    (other,) = renderer.draw_all([chart("Other")], kept)
    assert 'aria-label="One. ' in one and 'aria-label="Other. ' in other


def test_another_version_draws_anew(tmp_path, processes, monkeypatch):
    kept = SvgCache(tmp_path)
    renderer.draw_all([chart()], kept)
    monkeypatch.setattr(svg_cache, "_drawer", lambda: "vl-convert-python==0\n")
    renderer.draw_all([chart()], kept)
    assert processes == [1, 1]


def test_what_could_not_be_drawn_is_not_kept(tmp_path):
    wrong = Chart("Wrong", "", {"mark": {"type": "nothing"}, "data": {"values": []}})
    renderer.draw_all([wrong], SvgCache(tmp_path))
    assert not list((tmp_path / svg_cache.FOLDER).iterdir())


def test_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(svg_cache, "KEPT", 2)
    kept = SvgCache(tmp_path)
    for at, spec in enumerate("abc"):
        kept.keep([(spec, f"<svg>{spec}</svg>")])
        path = tmp_path / svg_cache.FOLDER / svg_cache._name(spec)
        os.utime(path, (at, at))
    assert [kept.find(spec) for spec in "abc"] == [None, "<svg>b</svg>", "<svg>c</svg>"]


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path, caplog):
    (tmp_path / svg_cache.FOLDER).write_text("in the way")
    (svg,) = renderer.draw_all([chart()], SvgCache(tmp_path))
    assert svg.startswith("<svg ")
    assert "cannot be written" in caplog.text
