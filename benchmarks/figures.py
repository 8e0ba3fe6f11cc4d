"""From single processes to medians, ratios and the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.contestants import Outcome
from benchmarks.process import Measured

OURS = "ordain"
MISSING = "-"
REST = "imports and the rest"


@dataclass(frozen=True)
class Run:
    """One process of one contestant: measured, and either its outcome or its error."""

    contestant: str
    repetition: int
    command: str
    measured: Measured | None
    outcome: Outcome | None = None
    error: str | None = None


@dataclass(frozen=True)
class Summary:
    """Medians over the runs of one contestant that did their work.

    Attributes:
        asked: Runs there should be.
        done: Runs that did their work; every median is over these.
        blessed: Those whose model passed its thresholds; None where there are none.
        wall_range_s: Fastest and slowest.
        seconds: By component, and what is missing to the wall time.
    """

    asked: int
    done: int
    blessed: int | None
    wall_s: float
    wall_range_s: tuple[float, float]
    cpu_s: float
    peak_pss_bytes: float | None
    peak_rss_bytes: float
    auc: float
    slices: dict[str, float]
    seconds: dict[str, float]


def summarize(runs: Iterable[Run]) -> dict[str, Summary]:
    """Medians by contestant; one without a single good run is left out."""
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.contestant, []).append(run)
    found = {name: _summary(name_runs) for name, name_runs in by_name.items()}
    return {name: summary for name, summary in found.items() if summary is not None}


def compare(summaries: Mapping[str, Summary]) -> dict[str, dict[str, float | None]]:
    """Ordain against each other contestant.

    Returns:
        By `ordain/PEER`: ratios of medians (`wall`, `cpu`, `peak_pss`, `peak_rss`; below 1 is less
        than the peer's), and `auc`, the difference of medians (above 0 is better than the peer's).
    """
    if OURS not in summaries:
        return {}
    ours = summaries[OURS]
    return {
        f"{OURS}/{name}": {
            "wall": ratio(ours.wall_s, peer.wall_s),
            "cpu": ratio(ours.cpu_s, peer.cpu_s),
            "peak_pss": ratio(ours.peak_pss_bytes, peer.peak_pss_bytes),
            "peak_rss": ratio(ours.peak_rss_bytes, peer.peak_rss_bytes),
            "auc": ours.auc - peer.auc,
        }
        for name, peer in summaries.items()
        if name != OURS
    }


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Ours as a share of theirs; None where one is missing or theirs is nothing."""
    return ours / theirs if ours is not None and theirs else None


def main_table(titles: Mapping[str, str], summaries: Mapping[str, Summary]) -> list[str]:
    """The table of totals, as Markdown.

    Args:
        titles: Column heading by contestant, in the order of the columns.
        summaries: By contestant; one that is missing gets a column that says nothing.
    """
    compared = compare(summaries)
    peers = [name for name in titles if name != OURS and OURS in titles]

    def row(label: str, cell: Callable[[Summary], str], against: str | None = None) -> list[str]:
        cells = [cell(summaries[n]) if n in summaries else "failed" for n in titles]
        for peer in peers:
            value = compared.get(f"{OURS}/{peer}", {}).get(against or "")
            show = "{:+.4f}" if against == "auc" else "{:.2f}"
            cells.append(show.format(value) if value is not None else MISSING)
        return [label, *cells]

    rows = [
        row("wall time, s", lambda s: f"{s.wall_s:.1f}", "wall"),
        row("fastest to slowest, s", lambda s: "{:.1f} to {:.1f}".format(*s.wall_range_s)),
        row("CPU time, s", lambda s: f"{s.cpu_s:.1f}", "cpu"),
        row("peak memory (PSS), MB", lambda s: _megabytes(s.peak_pss_bytes), "peak_pss"),
        row("peak memory (RSS), MB", lambda s: _megabytes(s.peak_rss_bytes), "peak_rss"),
        row("AUC on the eval days", lambda s: f"{s.auc:.4f}", "auc"),
    ]
    for where in _in_order(s.slices for s in summaries.values()):
        rows.append(row(f"AUC, {where}", lambda s, w=where: _auc(s.slices.get(w))))  # type: ignore[misc]
    rows.append(row("runs that did the work", lambda s: f"{s.done} of {s.asked}"))
    rows.append(row("models that were blessed", lambda s: _count(s.blessed)))
    headings = [f"{titles[OURS]} / {titles[peer]}" for peer in peers]
    return _markdown(["median", *titles.values(), *headings], rows)


def seconds_table(titles: Mapping[str, str], summaries: Mapping[str, Summary]) -> list[str]:
    """The table of seconds per component, as Markdown."""
    names = _in_order(s.seconds for s in summaries.values())
    names = [n for n in names if n != REST] + [REST]
    rows = []
    for name in names:
        values = [summaries[n].seconds.get(name) if n in summaries else None for n in titles]
        rows.append([name, *(MISSING if v is None else f"{v:.1f}" for v in values)])
    return _markdown(["seconds (median)", *titles.values()], rows)


def as_json(summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """Medians and comparisons for the results file."""
    return {
        "medians": {name: vars(summary) for name, summary in summaries.items()},
        "comparisons": compare(summaries),
    }


def _summary(runs: Sequence[Run]) -> Summary | None:
    good = [(r.measured, r.outcome) for r in runs if r.measured and r.outcome and not r.error]
    if not good:
        return None
    walls = [measured.wall_s for measured, _ in good]
    pss = [m.peak_pss_bytes for m, _ in good if m.peak_pss_bytes is not None]
    judged = [o.is_blessed for _, o in good if o.is_blessed is not None]
    seconds = [{**o.seconds, REST: max(m.wall_s - sum(o.seconds.values()), 0.0)} for m, o in good]
    return Summary(
        asked=len(runs),
        done=len(good),
        blessed=sum(judged) if judged else None,
        wall_s=median(walls),
        wall_range_s=(min(walls), max(walls)),
        cpu_s=median(m.cpu_s for m, _ in good),
        peak_pss_bytes=median(pss) if len(pss) == len(good) else None,
        peak_rss_bytes=median(m.peak_rss_bytes for m, _ in good),
        auc=median(o.auc for _, o in good),
        slices=_medians([o.slices for _, o in good]),
        seconds=_medians(seconds),
    )


def _medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Median by key, over the rows that have it."""
    return {k: median(r[k] for r in rows if k in r) for k in _in_order(rows)}


def _in_order(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """The keys of all rows, as they first appear."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _megabytes(size_bytes: float | None) -> str:
    return MISSING if size_bytes is None else f"{size_bytes / 1e6:.0f}"


def _auc(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4f}"


def _count(value: int | None) -> str:
    return "no threshold" if value is None else str(value)


def _markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns also line up as plain text."""
    widths = [max(len(line[i]) for line in [heading, *rows]) for i in range(len(heading))]

    def line(cells: Sequence[str]) -> str:
        first, *others = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join([first, *others]) + " |"

    rule = "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths))
    return [line(heading), f"|{rule}|", *(line(r) for r in rows)]
