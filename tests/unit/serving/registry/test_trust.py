"""Signing keys: secrets are resolved only when they are needed."""

from pathlib import Path

import pytest

from ordain.errors import ConfigError
from ordain.serving.registry.trust import Trust

SIGNING = {
    "public_key": "/keys/public.pem",
    "private_key": "${env:ORDAIN_TEST_KEY}",
    "password": "${env:ORDAIN_TEST_PHRASE}",
}


def test_key_and_pass_phrase_are_looked_up_when_they_are_needed(monkeypatch):
    for name in ("ORDAIN_TEST_KEY", "ORDAIN_TEST_PHRASE"):
        monkeypatch.delenv(name, raising=False)
    trust = Trust.of("toy", SIGNING)
    assert trust.is_signed
    with pytest.raises(ConfigError, match="ORDAIN_TEST_KEY is not set"):
        trust.key()
    monkeypatch.setenv("ORDAIN_TEST_KEY", "/keys/private.pem")
    with pytest.raises(ConfigError, match="ORDAIN_TEST_PHRASE is not set"):
        trust.key()
    monkeypatch.setenv("ORDAIN_TEST_PHRASE", "open sesame")
    key = trust.key()
    assert (key.path, key.password) == (Path("/keys/private.pem"), "open sesame")
    assert "sesame" not in repr(key) + repr(trust)


def test_signing_is_off_without_a_section_and_needs_both_keys_where_it_is_on():
    assert not Trust.of("toy", None).is_signed and Trust.of("toy", None).key() is None
    with pytest.raises(ConfigError, match="no private_key"):
        Trust.of("toy", {**SIGNING, "private_key": None}).key()
