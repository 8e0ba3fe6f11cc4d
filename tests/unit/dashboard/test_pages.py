"""Templates and static files of the pages, those shared with the reports included."""

import pytest

from ordain.dashboard import pages


def test_all_templates_and_what_they_import_are_found():
    environment = pages.environment()
    names = environment.list_templates(extensions=["html"])
    assert {"base.html", "projects.html", "macros.html"} <= set(names)
    for name in names:
        environment.get_template(name)


@pytest.mark.parametrize("name", pages.ASSETS)
def test_static_files_are_found(name):
    content, _ = pages.read_asset(name)
    assert content


def test_no_other_file_is_served():
    assert pages.read_asset("../pages.py") is None
