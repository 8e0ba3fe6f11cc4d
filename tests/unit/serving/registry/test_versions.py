"""Versions of a serving directory."""

import os

import pytest

from ordain.errors import InfrastructureError
from ordain.serving.registry.versions import list_versions


def test_folders_named_by_a_whole_number_are_versions(tmp_path):
    for name in ("3", "12", "007", "\u0664", "1.5", "-1", ".staging-1", str(2**63)):
        (tmp_path / name).mkdir()
    (tmp_path / "4").touch()
    assert list_versions(tmp_path) == [3, 12]
    assert list_versions(tmp_path / "nowhere") == []


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.write_text("x")])
def test_what_is_no_folder_is_an_error_that_names_it(tmp_path, make):
    make(tmp_path / "toy")
    with pytest.raises(InfrastructureError) as caught:
        list_versions(tmp_path / "toy")
    assert caught.value.message == f"{tmp_path / 'toy'} cannot be read: Not a directory"
