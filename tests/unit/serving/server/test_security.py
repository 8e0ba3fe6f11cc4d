"""Tokens, addresses and TLS files."""

from dataclasses import replace
from pathlib import Path

import pytest

from ordain.errors import ConfigError
from ordain.serving.server.security import is_authorized, read_token, tls_context
from ordain.serving.server.settings import Settings, is_loopback

SETTINGS = Settings(Path("base"), "toy")


@pytest.mark.parametrize(
    ("header", "fine"),
    [
        ("Bearer secret", True),
        ("bearer  secret ", True),
        ("Bearer secre", False),
        ("Bearer secret2", False),
        ("Basic secret", False),
        ("secret", False),
        ("Bearer \udcff", False),
        ("", False),
        (None, False),
    ],
)
def test_the_header_must_carry_the_token(header, fine):
    assert is_authorized(header, "secret") is fine
    assert is_authorized(header, "")


class TestToken:
    def test_is_read_from_a_file_or_a_variable(self, tmp_path, monkeypatch):
        (tmp_path / "t").write_text("secret\n")
        assert read_token(str(tmp_path / "t")) == "secret"
        monkeypatch.setenv("SERVE_TOKEN", "other")
        assert read_token("${env:SERVE_TOKEN}") == "other"

    @pytest.mark.parametrize("text", ["", "\n", "two words", "caf\xe9"])
    def test_must_be_one_ascii_word(self, tmp_path, text):
        (tmp_path / "t").write_text(text)
        with pytest.raises(ConfigError, match="--token-file"):
            read_token(str(tmp_path / "t"))

    def test_must_exist(self, tmp_path, monkeypatch):
        monkeypatch.delenv("NO_TOKEN", raising=False)
        with pytest.raises(ConfigError, match="cannot be read"):
            read_token(str(tmp_path / "t"))
        with pytest.raises(ConfigError, match="NO_TOKEN is not set"):
            read_token("${env:NO_TOKEN}")


def test_loopback():
    assert all(map(is_loopback, ["127.0.0.1", "127.1.2.3", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "example.org"]))


def test_insecure_or_incomplete_settings_are_refused(tmp_path):
    SETTINGS.check()
    for fine in ({"token": "x"}, {"insecure": True}):
        replace(SETTINGS, host="0.0.0.0", **fine).check()
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        replace(SETTINGS, host="0.0.0.0").check()
    with pytest.raises(ConfigError, match="must be given together"):
        replace(SETTINGS, tls_cert=tmp_path).check()
    with pytest.raises(ConfigError, match="is not a file"):
        replace(SETTINGS, tls_cert=tmp_path, tls_key=tmp_path).check()


def test_invalid_tls_files_are_refused(tmp_path):
    (tmp_path / "cert").write_text("no")
    with pytest.raises(ConfigError, match="--tls-cert"):
        tls_context(tmp_path / "cert", tmp_path / "cert")
