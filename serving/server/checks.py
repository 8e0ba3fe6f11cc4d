"""Checks of a version before any of it is loaded: a model is data until verified.

The one place that says so: for the server, for whoever moves a label, for `ordain models verify`.
"""

from __future__ import annotations

from pathlib import Path

from contracts.errors import InfrastructureError
from serving.manifest import verify
from serving.private_copy import PrivateCopy, copy_version
from serving.scan import scan
from serving.trust import Trust


def find_problems(folder: Path, trust: Trust | None = None) -> list[str]:
    """Why a version must not be loaded; empty if it may be.

    Its files have to be those that were published (where signing is on: as this version of this
    project, signed with the key), and its graph may hold allowed operations only.

    Args:
        folder: The version's folder, `<base>/<version>/`.
        trust: Whose version it has to be, or None.
    """
    if not (folder / "saved_model.pb").is_file():
        return [f"{folder.name}/saved_model.pb is missing"]
    return list(verify(folder, trust)) or [str(problem) for problem in scan(folder)]


def copy_checked(folder: Path, trust: Trust | None = None) -> PrivateCopy:
    """Copies a version to where nobody else can change it, and checks the copy.

    What is loaded from the copy is what was checked, whatever becomes of the folder meanwhile.

    Args:
        folder: The version's folder, `<base>/<version>/`.
        trust: Whose version it has to be, or None.

    Raises:
        InfrastructureError: It does not pass; there is no copy then.
        ConfigError: The key cannot be used.
    """
    copy = copy_version(folder)
    try:
        problems = find_problems(copy.folder, trust)
    except BaseException:
        copy.remove()
        raise
    if problems:
        copy.remove()
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InfrastructureError(problems[0].replace(str(copy.folder), str(folder)) + more)
    return copy
