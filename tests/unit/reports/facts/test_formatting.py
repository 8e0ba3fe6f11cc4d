"""Values as text."""

import pytest

from ordain.reports.facts import formatting


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
        (0.0, "0"),
        (-3.0, "−3"),
        (327346, "327,346"),
        (0.72321, "0.7232"),
        (-0.00012345, "−0.0001234"),
        (12345.6, "12,346"),
    ],
)
def test_number(value, shown):
    assert formatting.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.0, "0 %"), (0.0001, "< 0.1 %"), (0.148, "14.8 %"), (1.0, "100.0 %")],
)
def test_share_is_zero_only_if_it_is(value, shown):
    assert formatting.share(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0.0, "0.0 s"),
        (0.01, "< 0.1 s"),
        (41.25, "41.2 s"),
        (128, "2 min 08 s"),
        (3900, "1 h 05 min"),
    ],
)
def test_duration(seconds, shown):
    assert formatting.duration(seconds) == shown


def test_size_is_decimal():
    assert [formatting.size(v) for v in (None, 999, 1_540_000, 1_440_000_000)] == [
        "–",
        "999 B",
        "1.54 MB",
        "1.44 GB",
    ]


def test_moment_is_utc():
    assert formatting.moment("2026-11-21T17:29:11+02:00") == "2026-11-21 15:29 UTC"


def test_plain_leaves_scripts_and_emoji_to_whoever_escapes():
    assert formatting.plain("<script>") == "<script>"
    assert formatting.plain("مرحبا 👩\u200d✈️") == "مرحبا 👩\u200d✈️"


def test_plain_replaces_what_changes_other_text():
    assert formatting.plain("a\x00b\ud800\u202ec\u2066\ufeff") == "a�b��c��"


def test_plain_cuts_and_says_how_long_it_was():
    assert formatting.plain("Z" * 10_000, 5) == "ZZZZZ… (10,000 characters)"
    assert formatting.plain("ZZZZZ", 5) == "ZZZZZ"
