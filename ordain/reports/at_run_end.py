"""A run's page at the run's end: whatever becomes of it, the run's outcome stands."""

from __future__ import annotations

import logging
from pathlib import Path

from ordain.config.project import Project


def write_quietly(project: Project, run_id: str) -> tuple[Path | None, str]:
    """Writes the page of a run that has just ended; never raises.

    Args:
        project: The project.
        run_id: The run.

    Returns:
        The page's path, None if there is none; and a line for whoever watches.
    """
    try:
        from ordain.reports.page import write_report  # noqa: PLC0415  only now it is wanted

        path = write_report(project, run_id)
    except Exception as error:
        logging.getLogger(__name__).warning("no report", exc_info=True)
        return None, f"report   none: {type(error).__name__}: {error}"
    return path, f"report   {path}"
