"""Cron expressions for a server: what its library makes of the translation is what cron means."""

import datetime as dt
import itertools
import random

import pytest

from ordain.common.cron import Cron
from ordain.errors import ConfigError
from ordain.kubeflow.client.recurring_runs import to_six_fields

BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
NAMES = {
    4: ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    5: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
}
START = dt.datetime(2026, 2, 27, 22, 58, tzinfo=dt.UTC)


def parsed(field: str, place: int) -> tuple[set[int], bool]:
    """What robfig/cron 1 makes of a field (its parser.go), and whether there is a star in it."""
    low_bound, high_bound = BOUNDS[place]
    found: set[int] = set()
    is_star = False

    def number(text: str) -> int:
        if text in NAMES.get(place, ()):
            return NAMES[place].index(text) + low_bound
        return int(text)

    for term in field.split(","):
        span, _, step = term.partition("/")
        low, _, high = span.partition("-")
        if low in ("*", "?"):
            start, end, is_star = low_bound, high_bound, True
        else:
            start = number(low)
            end = number(high) if high else (high_bound if step else start)
        assert low_bound <= start <= end <= high_bound, f"robfig/cron refuses {term}"
        found |= set(range(start, end + 1, int(step or 1)))
    return found, is_star


def ticks(six: str) -> list[dt.datetime]:
    """The next ticks of six fields, as robfig/cron 1 finds them (its spec.go)."""
    fields = [parsed(field, place) for place, field in enumerate(six.split())]
    seconds, minutes, hours, days, months, weekdays = (values for values, _ in fields)
    is_and = fields[3][1] or fields[5][1]
    found = []
    for day in range(800):
        date = START.date() + dt.timedelta(days=day)
        on_day, on_weekday = date.day in days, date.isoweekday() % 7 in weekdays
        is_due = (on_day and on_weekday) if is_and else (on_day or on_weekday)
        if date.month not in months or not is_due:
            continue
        for clock in itertools.product(sorted(hours), sorted(minutes), sorted(seconds)):
            tick = dt.datetime.combine(date, dt.time(*clock), dt.UTC)
            if tick > START:
                found.append(tick)
            if len(found) == 20:
                return found
    return found


@pytest.mark.parametrize(
    ("given", "six"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("*/15 2 * * mon-fri", "0 */15 2 * * MON-FRI"),
        ("0 3 * * 7", "0 0 3 * * 0"),
        ("0 3 * * 5-7", "0 0 3 * * 0,5,6"),
        ("0 3 * * 1/2", "0 0 3 * * 0,1,3,5"),
        ("0 3 * * sat,7", "0 0 3 * * SAT,0"),
        ("0 3 1 JAN,JUL *", "0 0 3 1 JAN,JUL *"),
        ("0 0 3 * * *", "0 0 3 * * *"),
        ("30 0 3 * * 7", "30 0 3 * * 0"),
        ("  05  0 3 * * *  ", "5 0 3 * * *"),
    ],
)
def test_translation(given, six):
    assert to_six_fields(given) == six


def random_field(place: int, rng: random.Random) -> str:
    low, high = (0, 7) if place == 5 else BOUNDS[place]

    def term() -> str:
        first = rng.randint(low, high)
        last = rng.randint(first, high)
        kinds = [str(first), f"{first}-{last}" if last > first else str(first), f"{first}/7"]
        if last > first:
            kinds.append(f"{first}-{last}/3")
        return rng.choice(kinds)

    if rng.random() < 0.4:
        return rng.choice(["*", f"*/{rng.randint(2, 9)}"])
    return ",".join(term() for _ in range(rng.randint(1, 3)))


@pytest.mark.parametrize("seed", range(300))
def test_the_server_is_due_when_cron_is(seed):
    rng = random.Random(seed)
    # Days that every month has: an expression that never comes true is refused.
    five = " ".join(random_field(place, rng) for place in range(1, 6))
    try:
        six = to_six_fields(five)
    except ConfigError:
        assert five.split()[2].startswith(("29", "30", "31"))
        return
    cron, moment = Cron(five), START
    for tick in ticks(six):
        moment = cron.next_after(moment)
        assert tick == moment, f"{five!r} became {six!r}"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "got 0"),
        ("0 3 * *", "got 4"),
        ("0 0 0 3 * * *", "got 7"),
        ("@daily", "got 1"),
        ("0 3 L * *", "'L' is not supported"),
        ("0 3 LW * *", "'LW' is not supported"),
        ("0 3 * * MON#2", "'MON#2' is not supported"),
        ("0 3 * * 5L", "'5L' is not supported"),
        ("0 25 * * *", "is not a cron expression: bad hour"),
        ("0 3 31 2 *", "is not a cron expression: bad day-of-month"),
        ("* 0 3 * * *", "must be one number from 0 to 59, got '*'"),
        ("60 0 3 * * *", "must be one number from 0 to 59, got '60'"),
    ],
)
def test_what_is_refused(given, says):
    with pytest.raises(ConfigError) as caught:
        to_six_fields(given)
    assert says in caught.value.message
    assert caught.value.hint


def test_the_hint_for_seconds_is_the_right_text():
    with pytest.raises(ConfigError) as caught:
        to_six_fields("*/10 0 3 * * 1-5")
    assert caught.value.hint == "--cron '0 0 3 * * 1-5'"
    assert to_six_fields("0 0 3 * * 1-5") == "0 0 3 * * 1-5"
