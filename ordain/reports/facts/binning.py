"""Common bins or values for distributions that are drawn together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ordain.reports.facts.data import Distribution

#: As in TFDV's histograms: with the same range the bars are TFDV's.
BINS = 10
#: Values of a text feature with a bar; the others share one.
TOP_VALUES = 9
OTHERS = "(others)"


def common_edges(distributions: Sequence[Distribution]) -> list[float]:
    """Edges of equally wide bins over the range of all distributions; empty without a range."""
    filled = [d for d in distributions if d.buckets and d.present]
    if not filled:
        return []
    low = min(d.buckets[0][0] for d in filled)
    high = max(d.buckets[-1][1] for d in filled)
    if not (low > float("-inf") and high < float("inf")):
        return []
    if low == high:
        low, high = low - 0.5, high + 0.5
    return [low + i * (high - low) / BINS for i in range(BINS + 1)]


def binned(distribution: Distribution, edges: Sequence[float]) -> list[float]:
    """Share of the values in each bin.

    Within a bucket of TFDV's histogram the values count as evenly spread, which is what TFDV
    itself does when it merges histograms.

    Args:
        distribution: A numeric one.
        edges: Result of `common_edges`.
    """
    counts = [0.0] * (len(edges) - 1)
    width = edges[1] - edges[0]
    last = len(counts) - 1
    for low, high, count in distribution.buckets:
        if high <= low:
            counts[min(last, max(0, int((low - edges[0]) / width)))] += count
            continue
        for i in range(len(counts)):
            overlap = min(high, edges[i + 1]) - max(low, edges[i])
            if overlap > 0:
                counts[i] += count * overlap / (high - low)
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def common_values(distributions: Sequence[Distribution]) -> list[str]:
    """The most frequent values over all distributions, most frequent first."""
    totals: Counter[str] = Counter()
    for distribution in distributions:
        for value, count in distribution.values:
            totals[value] += int(count)
    return [value for value, _ in sorted(totals.items(), key=lambda e: (-e[1], e[0]))][:TOP_VALUES]


def valued(distribution: Distribution, values: Sequence[str]) -> list[float]:
    """Share of each value among rows that have one; the last share is that of all other values."""
    counts = dict(distribution.values)
    shares = [
        counts.get(value, 0.0) / distribution.present if distribution.present else 0.0
        for value in values
    ]
    return [*shares, max(0.0, 1 - sum(shares)) if distribution.present else 0.0]
