"""Formatting of numbers, sizes, times and untrusted text."""

from __future__ import annotations

import datetime
import math
import unicodedata

#: Longer texts are cut to keep pages readable.
MAX_CHARS = 160
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def plain(value: object, limit: int = MAX_CHARS) -> str:
    """Make a text safe to show.

    Control characters, lone surrogates and marks that change the direction of what follows are
    replaced; a long text is cut and its length noted.
    """
    text = str(value)
    short = text[:limit]
    short = "".join("\N{REPLACEMENT CHARACTER}" if _is_unseen(c) else c for c in short)
    return f"{short}… ({len(text):,} characters)" if len(text) > limit else short


def _is_unseen(char: str) -> bool:
    # Cf holds the bidirectional overrides, and also the joiners of emoji and of Persian, which
    # are harmless.
    category = unicodedata.category(char)
    return category in ("Cc", "Cs", "Cn") or (category == "Cf" and char not in "\u200c\u200d")


def number(value: float | None, digits: int = 4) -> str:
    """Format a value with significant digits; a dash for None."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    if abs(value) >= 10**digits:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.{digits}g}".replace("-", "−")


def fixed(value: float | None, places: int = 4) -> str:
    """Format a value with a fixed number of decimals; a dash for None."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{places}f}".replace("-", "−")


def share(value: float | None) -> str:
    """Format a share as a percentage with one decimal; 0 % only if it is exactly 0."""
    if value is None or math.isnan(value):
        return "–"
    if 0 < value < 0.0005:
        return "< 0.1 %"
    return f"{100 * value:.1f} %" if value else "0 %"


def size(bytes_: float | None) -> str:
    """Format a size in decimal units."""
    if bytes_ is None:
        return "–"
    for factor, unit in _UNITS:
        if bytes_ >= factor:
            return f"{bytes_ / factor:.3g} {unit}"
    return f"{bytes_:.0f} B"


def duration(seconds: float | None) -> str:
    """Format a duration: 0.3 s, 41.2 s, 2 min 08 s, 1 h 05 min."""
    if seconds is None:
        return "–"
    if 0 < seconds < 0.05:
        return "< 0.1 s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(value: datetime.datetime | str | float) -> str:
    """Format a time as `2026-11-21 15:29 UTC`; a dash for what is none."""
    when = parsed(value)
    return "–" if when is None else f"{when:%Y-%m-%d %H:%M} UTC"


def parsed(value: datetime.datetime | str | float) -> datetime.datetime | None:
    """Parse a time in ISO 8601 or in seconds since 1970; None if it is neither."""
    try:
        if isinstance(value, str):
            value = datetime.datetime.fromisoformat(value)
        elif not isinstance(value, datetime.datetime):
            value = datetime.datetime.fromtimestamp(float(value), datetime.UTC)
        return value.astimezone(datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return None
