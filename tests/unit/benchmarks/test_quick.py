"""The limits of the quick benchmark."""

import pytest

from benchmarks.quick import LIMITS, broken_limits

PLAIN = {"cpu_s": 10.0, "wall_s": 12.0, "peak_rss_bytes": 10**9}


def medians(**factors):
    """ordain's medians as multiples of the limits; at the limit unless told."""
    most = {limit.key: limit.most for limit in LIMITS}
    ordain = {key: PLAIN[key] * most[key] * factors.get(key, 1.0) for key in PLAIN}
    return {"plain": PLAIN, "ordain": ordain}


def test_what_is_at_its_limit_is_fine(capsys):
    assert broken_limits(medians()) == []
    assert "BROKEN" not in capsys.readouterr().out


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.key)
def test_what_is_above_is_named(limit, capsys):
    (broken,) = broken_limits(medians(**{limit.key: 1.01}))
    assert broken.startswith(limit.title)
    shown = capsys.readouterr().out.splitlines()
    assert [limit.title in line for line in shown if "BROKEN" in line] == [True]


def test_every_limit_leaves_room_for_what_ordain_does_more():
    assert all(limit.most > 1 for limit in LIMITS)
