"""HTML tables of results, for notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any


def html_table(rows: Iterable[Mapping[str, Any]], caption: str = "") -> str:
    """Renders rows as an HTML table; every text is escaped.

    Args:
        rows: Cells by column title; the first row decides the columns and their order.
        caption: A line above the table.
    """
    listed = list(rows)
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in (listed[0] if listed else ()))
    cells = (
        "".join(f"<td>{html.escape(_text(value))}</td>" for value in row.values()) for row in listed
    )
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
