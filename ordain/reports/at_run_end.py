"""Writing a run's report at its end, without effect on the run's outcome."""

from __future__ import annotations

import logging
from pathlib import Path

from ordain.config.project import Project


def write_run_report(project: Project, run_id: str) -> tuple[Path | None, str]:
    """Write the report of a run that has just ended; never raises.

    Args:
        project: The project.
        run_id: The run.

    Returns:
        The report's path, None if it failed; and a line for the terminal.
    """
    try:
        from ordain.reports.page import write_report  # noqa: PLC0415  only now it is wanted

        path = write_report(project, run_id)
    except Exception as error:
        logging.getLogger(__name__).warning("no report", exc_info=True)
        return None, f"report   none: {type(error).__name__}: {error}"
    return path, f"report   {path}"
