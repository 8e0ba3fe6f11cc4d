"""Checks of a version before any of it is loaded; the files are only read as data.

Used by the server, before a label moves, and by `ordain models verify`.
"""

from __future__ import annotations

from pathlib import Path

from ordain.errors import InfrastructureError
from ordain.serving.registry.private_copy import PrivateCopy, copy_version
from ordain.serving.registry.trust import Trust
from ordain.serving.registry.verification import summary, verify
from ordain.serving.scan.scan import scan


def find_problems(folder: Path, trust: Trust | None = None) -> list[str]:
    """Finds reasons not to load a version; empty if there are none.

    Its files must be those that were published (and, where signing is on, signed as this version of
    this project), its graph may hold allowed operations only, and it must have a signature that can
    be served, as far as that is known without loading it.

    Args:
        folder: The version's folder, `<base>/<version>/`.
        trust: Required signer of the version, or None.
    """
    if not (folder / "saved_model.pb").is_file():
        return [f"{folder.name}/saved_model.pb is missing"]
    return list(verify(folder, trust)) or find_model_problems(folder)


def find_model_problems(model: Path) -> list[str]:
    """Finds reasons not to load a model, published or not; empty if there are none.

    Args:
        model: Folder of the SavedModel.
    """
    return [str(problem) for problem in scan(model)] or find_unservable(model)


def find_unservable(model: Path) -> list[str]:
    """Finds reasons why a server could not serve a scanned model; empty if there are none.

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
        return [str(error)]
    except Exception as error:
        # The model is untrusted input: the reader may raise anything.
        return [str(LoadError(f"saved_model.pb cannot be read: {type(error).__name__}: {error}"))]
    return []


def copy_checked(folder: Path, trust: Trust | None = None) -> PrivateCopy:
    """Copies a version to a private folder, and checks the copy.

    Loading from the copy guarantees that the checked files are loaded, even if the version's folder
    changes meanwhile.

    Args:
        folder: The version's folder, `<base>/<version>/`.
        trust: Required signer of the version, or None.

    Raises:
        InfrastructureError: The version fails the checks; no copy is left.
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
        raise InfrastructureError(summary(problems).replace(str(copy.folder), str(folder)))
    return copy
