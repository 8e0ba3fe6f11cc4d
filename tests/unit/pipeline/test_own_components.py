"""Import of a project's own components."""

import sys

import pytest

from ordain.pipeline.own_components import project_on_path


def test_a_projects_folder_is_importable_while_it_runs_and_no_longer(tmp_path):
    before = list(sys.path)
    with pytest.raises(ZeroDivisionError), project_on_path(tmp_path):
        assert sys.path[0] == str(tmp_path)
        raise ZeroDivisionError
    assert sys.path == before
