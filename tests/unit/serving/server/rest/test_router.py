"""Paths that need no token: those of health alone."""

import pytest

from ordain.serving.server.rest.router import _PUBLIC


@pytest.mark.parametrize(
    ("path", "is_public"),
    [
        ("/v2/health/live", True),
        ("/v2/health/ready", True),
        ("/v2/models/toy/ready", True),
        ("/v2/models/toy/versions/3/ready", True),
        ("/v2/models/ready/ready", True),
        ("/v2/models/ready", False),  # the metadata of a model of that name
        ("/v2/models/toy/versions/ready", False),
        ("/v2/models/toy/versions/3", False),
        ("/v2/ready", False),
        ("/v1/models/toy/ready", False),
    ],
)
def test_health_is_public_and_nothing_else(path, is_public):
    assert bool(_PUBLIC.fullmatch(path)) is is_public
