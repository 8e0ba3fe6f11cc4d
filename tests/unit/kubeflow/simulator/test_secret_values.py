"""Secrets: where they come from, and that nothing written holds one."""

from pathlib import Path

import pytest

from ordain.errors import ConfigError
from ordain.kubeflow.simulator.secret_values import Masker, read_secrets

SECRET = "s3cret' word\\@/:"


class TestMasker:
    @pytest.mark.parametrize(
        "text",
        [
            SECRET,
            "postgresql://ordain:s3cret%27%20word%5C%40%2F%3A@db/ordain",
            repr(SECRET),
            '{"password": "s3cret\' word\\\\@/:"}',
            "password='s3cret\\' word\\\\@/:' dbname=x",
        ],
    )
    def test_a_secret_is_masked_in_every_form(self, text: str) -> None:
        masked = Masker([SECRET]).mask(f"before {text} after")
        assert "cret" not in masked
        assert masked.startswith("before ")
        assert masked.endswith(" after")

    def test_lines_of_a_key_are_masked_one_by_one(self) -> None:
        masker = Masker(["-----BEGIN\nMIIEvQIBADAN\n-----END"])
        assert masker.mask("it is MIIEvQIBADAN here") == "it is *** here"

    def test_short_values_are_left(self) -> None:
        assert Masker(["a"]).mask("data") == "data"

    @pytest.mark.parametrize("size", [97, 4096, 65_536, 70_000])
    def test_a_secret_across_chunks_of_a_stream(self, size: int) -> None:
        masker = Masker(["topsecret"])
        data = (b"x" * 65_530 + b"topsecret" + b"y" * 80_000 + b"\ntopsecret\n") * 2
        written, rest = b"", b""
        for start in range(0, len(data), size):
            ready, rest = masker.split(rest + data[start : start + size])
            written += ready
        written += masker.mask_bytes(rest)
        assert b"secret" not in written
        assert written == data.replace(b"topsecret", b"***")

    def test_values_of_json(self) -> None:
        masked = Masker(["topsecret"]).mask_value(
            {"a": ["topsecret", 1], "b": {"c": "x topsecret"}}
        )
        assert masked == {"a": ["***", 1], "b": {"c": "x ***"}}


class TestReading:
    def test_from_the_environment_and_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "secrets.yaml"
        file.write_text("db: {password: from-file, user: me}\nother: {port: 5432}\n")
        monkeypatch.setenv("PASSWORD", "from-environment")
        assert read_secrets(["db.password=PASSWORD"], file) == {
            "db.password": "from-environment",
            "db.user": "me",
            "other.port": "5432",
        }

    @pytest.mark.parametrize("option", ["db.password", "password=PASSWORD", "db.password="])
    def test_another_form(self, option: str) -> None:
        with pytest.raises(ConfigError, match="expected NAME.KEY=VARIABLE"):
            read_secrets([option], None)

    def test_a_variable_that_is_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PASSWORD", raising=False)
        with pytest.raises(ConfigError, match="PASSWORD is not set"):
            read_secrets(["db.password=PASSWORD"], None)

    @pytest.mark.parametrize("text", ["[topsecret", "- topsecret", "db: topsecret"])
    def test_an_error_does_not_quote_the_file(self, text: str, tmp_path: Path) -> None:
        file = tmp_path / "secrets.yaml"
        file.write_text(text)
        with pytest.raises(ConfigError, match="expected name -> key -> value") as caught:
            read_secrets([], file)
        assert "topsecret" not in str(caught.value)
        assert caught.value.__cause__ is None
