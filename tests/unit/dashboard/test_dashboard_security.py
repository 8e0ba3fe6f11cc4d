"""Hosts, origins, forms and tokens, one by one."""

from __future__ import annotations

import pytest

from ordain.dashboard.security import Guard, is_local_host, is_own_origin
from ordain.errors import ConfigError

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("localhost", True),
        ("LocalHost:8600", True),
        ("localhost.", True),
        ("127.0.0.1:1", True),
        ("[::1]", True),
        ("[::1]:8600", True),
        (None, False),
        ("", False),
        (":8600", False),
        ("localhost.evil.example", False),
        ("evil.example#localhost", False),
        ("localhost:80@evil.example", False),
        ("127.0.0.2", False),
        ("0.0.0.0:8600", False),
        ("localhost:8600x", False),
    ],
)
def test_hosts(header, expected):
    assert is_local_host(header) is expected


def test_origins():
    assert is_own_origin("http://localhost:8600", "localhost:8600")
    assert is_own_origin(None, "localhost:8600"), "no browser: the form and the token decide"
    for origin in ("null", "", "https://localhost:8600", "http://localhost", "http://evil.example"):
        assert not is_own_origin(origin, "localhost:8600")


def test_a_form_belongs_to_a_cookie_a_path_and_a_process():
    guard = Guard(TOKEN)
    field = guard.form_field("cookie", "/a")
    assert guard.is_own_form("cookie", "/a", field)
    assert not guard.is_own_form("cookie", "/b", field)
    assert not guard.is_own_form("other", "/a", field)
    assert not guard.is_own_form(None, "/a", field)
    assert not guard.is_own_form("cookie", "/a", "ä")
    assert not Guard(TOKEN).is_own_form("cookie", "/a", field)


def test_five_wrong_tokens_close_it():
    guard = Guard(TOKEN)
    assert guard.accepts(TOKEN)
    for wrong in ("", "0", TOKEN + "0", "ä", "\udcff"):
        assert not guard.is_closed
        assert not guard.accepts(wrong)
    assert guard.is_closed


def test_without_a_token_nothing_is_allowed():
    guard = Guard("")
    assert not guard.allows_actions
    assert not guard.accepts("")


def test_a_short_token_is_refused():
    with pytest.raises(ConfigError, match="ORDAIN_DASHBOARD_TOKEN has 15 characters"):
        Guard(TOKEN[:15])
