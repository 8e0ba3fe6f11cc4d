"""Checks of a version before any of it is loaded: a model is data until verified.

The one place that says so: for the server, for whoever moves a label, for `ordain models verify`.
"""

from __future__ import annotations

from pathlib import Path

from ordain.errors import InfrastructureError
from ordain.serving.registry.private_copy import PrivateCopy, copy_version
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.verification import verify
from ordain.serving.scan.scan import scan


def find_problems(folder: Path, trust: Trust | None = None) -> list[str]:
    """Why a version must not be loaded; empty if it may be.

    Its files have to be those that were published (where signing is on: as this version of this
    project, signed with the key), its graph may hold allowed operations only, and it has to offer
    what a server serves, as far as that is known without loading it.

    Args:
        folder: The version's folder, `<base>/<version>/`.
        trust: Whose version it has to be, or None.
    """
    if not (folder / "saved_model.pb").is_file():
        return [f"{folder.name}/saved_model.pb is missing"]
    return list(verify(folder, trust)) or find_model_problems(folder)


def find_model_problems(model: Path) -> list[str]:
    """Why a model must not be loaded, or could not be served, published or not; empty if it may be.

    Args:
        model: Folder of the SavedModel.
    """
    return [str(problem) for problem in scan(model)] or find_unservable(model)


def find_unservable(model: Path) -> list[str]:
    """Why a model without problems in its scan could not be served; empty if nothing is known.

    Args:
        model: Folder of the SavedModel.
    """
    from ordain.serving.server.models.signature_defs import (  # noqa: PLC0415  imports TensorFlow
        LoadError,
        read_servable,
    )

    try:
        read_servable(model)
    except LoadError as error:
        return [" ".join(str(error).split())]
    except Exception as error:
        # A model is made by others: what it makes the reader raise is not to be foreseen.
        what = " ".join(str(error).split())[:200]
        return [f"saved_model.pb cannot be read: {type(error).__name__}: {what}"]
    return []


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
