"""Label changes offered for each version."""

from __future__ import annotations

import pytest

from ordain.dashboard.actions import offered
from ordain.serving.registry.label_file import Canary, Labels


@pytest.mark.parametrize(
    ("version", "labels", "expected"),
    [
        (3, Labels(stable=3), []),
        (3, Labels(stable=3, pinned=True), ["promote"]),
        (2, Labels(stable=3), ["rollback", "canary"]),
        (4, Labels(stable=3), ["promote", "canary"]),
        (4, Labels(stable=3, canary=Canary(4, 0.1)), ["promote", "drop-canary"]),
        (2, Labels(stable=3, canary=Canary(2, 0.1)), ["promote", "drop-canary"]),
        (1, Labels(), ["promote", "canary"]),
    ],
)
def test_offers(version, labels, expected):
    assert [action.name for action in offered(version, labels)] == expected
