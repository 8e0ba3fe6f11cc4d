"""SavedModels as people export them: none may be refused."""

import pytest
from honest_models import HONEST

from ordain.serving.scan.scan import scan


@pytest.mark.parametrize("name", HONEST)
def test_is_accepted(tmp_path, name):
    HONEST[name](tmp_path / "m")
    assert [str(problem) for problem in scan(tmp_path / "m")] == []
