"""Views as HTML, from templates with automatic escaping."""

from __future__ import annotations

import datetime
from pathlib import Path

import jinja2

from ordain.dashboard.views import View
from ordain.reports import templating
from ordain.reports.facts import formatting
from ordain.retraining.report import describe_reason

_OWN = Path(__file__).parent / "templates"
#: Static files: name, type, folder.
ASSETS = {
    "style.css": ("text/css", templating.TEMPLATES),
    "dashboard.css": ("text/css", _OWN),
    "live.js": ("text/javascript", _OWN),
}


class Pages:
    """Renders pages."""

    def __init__(self, projects: tuple[str, ...], allows_actions: bool) -> None:
        """Prepare what every page shows.

        Args:
            projects: Names of the projects.
            allows_actions: True if labels can be changed.
        """
        self._common = {"projects_all": projects, "allows_actions": allows_actions}
        self._templates = environment()

    def draw(self, view: View) -> str:
        """Render a view."""
        now = datetime.datetime.now(datetime.UTC)
        return self._templates.get_template(view.template).render(
            **self._common, view=view, now=now, **view.content
        )


def read_asset(name: str) -> tuple[bytes, str] | None:
    """Return a static file and its type; None if there is none of that name."""
    if name not in ASSETS:
        return None
    kind, folder = ASSETS[name]
    return (folder / name).read_bytes(), kind


def environment() -> jinja2.Environment:
    """Build the template environment, including the reports' templates."""
    found = templating.environment([_OWN])
    found.filters |= {"ago": ago, "lines": lines, "reason": describe_reason}
    return found


def ago(value: datetime.datetime | str | float, now: datetime.datetime) -> str:
    """Format a time relative to now: `5 min ago`, `in 2 h`."""
    when = formatting.parsed(value)
    if when is None:
        return ""
    seconds = (now - when).total_seconds()
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if size >= length:
            amount = f"{int(size // length)} {unit}"
            return f"{amount} ago" if seconds > 0 else f"in {amount}"
    return "just now" if seconds > 0 else "in less than a minute"


def lines(value: str) -> str:
    """Make a log printable: line breaks and tabs stay, other control characters are replaced."""
    return "\n".join(
        formatting.plain(line.replace("\t", "    "), 2000) for line in value.split("\n")
    )
