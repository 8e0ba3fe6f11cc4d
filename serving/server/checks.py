"""What a version has to pass before any of it is loaded: a model is data until verified."""

from __future__ import annotations

from pathlib import Path

from serving.manifest import verify
from serving.scan import scan


def find_problems(folder: Path, public_key: Path | None = None) -> list[str]:
    """Why a version must not be loaded; empty if it may be.

    Its files have to be those that were published (and signed with the key's pair, if a key is
    given), and its graph may hold allowed operations only.

    Args:
        folder: The version's folder, `<base>/<version>/`.
        public_key: Key that its manifest has to be signed for, or None.
    """
    if not (folder / "saved_model.pb").is_file():
        return [f"{folder.name}/saved_model.pb is missing"]
    return list(verify(folder, public_key)) or [str(problem) for problem in scan(folder)]
