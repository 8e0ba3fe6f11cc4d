"""Jinja2 environment of the reports and of the dashboard's pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

from ordain.reports.facts import formatting

TEMPLATES = Path(__file__).parent / "templates"


def environment(folders: Sequence[Path] = ()) -> jinja2.Environment:
    """Build the environment, with automatic escaping.

    Args:
        folders: Folders with templates, searched before that of the reports.
    """
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("plain", "number", "fixed", "share", "size", "duration", "moment"):
        found.filters[name] = getattr(formatting, name)
    return found
