"""Where ML Metadata is, as `metadata` in pipeline.yaml says it; servers are in
tests/integration/test_postgres.py."""

from pathlib import Path

import pytest

from ordain.config.loading import load_project, load_unresolved
from ordain.errors import ConfigError
from ordain.metadata.location import (
    MetadataService,
    PostgresDatabase,
    parse_location,
)
from ordain.metadata.store import connection_config


class TestParse:
    @pytest.mark.parametrize("text", ["meta.sqlite", "/srv/ml/meta.sqlite", "~/a:b@c"])
    def test_a_path(self, text):
        assert parse_location(text) == Path(text)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("postgresql://ada@db/ml", PostgresDatabase("ada", "db", 5432, "ml")),
            ("postgres://ada@10.0.0.1:6000/ml", PostgresDatabase("ada", "10.0.0.1", 6000, "ml")),
            ("postgresql://a%40b@[::1]/ml", PostgresDatabase("a@b", "::1", 5432, "ml")),
            (
                "postgresql://ada:${env:SECRET}@db/ml",
                PostgresDatabase("ada", "db", 5432, "ml", "${env:SECRET}"),
            ),
            ("grpc://metadata-grpc-service", MetadataService("metadata-grpc-service", 8080)),
            ("grpc://[::1]:9000", MetadataService("::1", 9000)),
        ],
    )
    def test_an_address(self, text, expected):
        assert parse_location(text) == expected

    def test_host_user_and_database_may_be_references(self, monkeypatch):
        for name in ("WHO", "WHERE", "WHAT"):
            monkeypatch.setenv(name, name.lower())
        found = parse_location("postgresql://${env:WHO}@${env:WHERE}/${env:WHAT}")
        assert found == PostgresDatabase("who", "where", 5432, "what")

    @pytest.mark.parametrize(
        "text",
        [
            "postgresql://ada:s3cret@db/ml",
            "postgresql://ada:s3cret${env:MORE}@db/ml",
            "postgresql://ada:@db/ml",
        ],
    )
    def test_a_password_in_the_open_is_refused_and_not_repeated(self, text):
        with pytest.raises(ValueError, match="holds a password") as caught:
            parse_location(text)
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize(
        "text",
        [
            "oracle://ada@db/ml",
            "grpc://ada@db:8080",
            "grpc://db:8080/ml",
            "postgresql://db/ml",
            "postgresql://ada@db",
            "postgresql://a:s3cret@",
        ],
    )
    def test_another_form_is_refused_and_not_repeated(self, text):
        with pytest.raises(ValueError, match="must be a path .*, postgresql://user@host") as caught:
            parse_location(text)
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize(
        "text", ["mysql://ada:s3cret@db/ml", "MySQL+pymysql://db", "mariadb://ada@db/ml"]
    )
    def test_mysql_is_refused_with_the_reason_and_what_is_allowed(self, text):
        with pytest.raises(ValueError) as caught:
            parse_location(text)
        assert str(caught.value) == (
            "MySQL is not supported, as ml-metadata cannot sign in to MySQL 9; must be a path "
            "(SQLite, the default), postgresql://user@host:port/database or grpc://host:port"
        )


class TestSecret:
    def test_is_resolved_at_use(self, monkeypatch):
        database = parse_location("postgresql://ada:${env:SECRET}@db/ml")
        monkeypatch.setenv("SECRET", "one")
        assert connection_config(database).postgresql.password == "'one'"
        monkeypatch.setenv("SECRET", "two")
        assert connection_config(database).postgresql.password == "'two'"

    def test_is_pgpassword_where_there_is_none(self, monkeypatch):
        monkeypatch.setenv("PGPASSWORD", "pg")
        monkeypatch.setenv("SECRET", "own")
        assert parse_location("postgresql://ada@db/ml").secret == "pg"
        assert parse_location("postgresql://ada:${env:SECRET}@db/ml").secret == "own"
        monkeypatch.delenv("PGPASSWORD")
        assert parse_location("postgresql://ada@db/ml").secret == ""

    def test_one_that_is_not_set_is_named(self, monkeypatch):
        monkeypatch.delenv("SECRET", raising=False)
        with pytest.raises(ConfigError, match="metadata: environment variable SECRET is not set"):
            _ = parse_location("postgresql://ada:${env:SECRET}@db/ml").secret

    def test_stands_in_no_text_of_the_place(self, monkeypatch):
        monkeypatch.setenv("SECRET", "s3cret")
        database = parse_location("postgresql://ada:${env:SECRET}@db:6000/ml")
        assert str(database) == "postgresql://ada@db:6000/ml"
        assert "s3cret" not in repr(database)


class TestProject:
    def test_the_default_is_a_file_in_the_workspace(self, make_project):
        project = make_project()
        assert project.metadata == project.workspace / "metadata.sqlite"

    def test_a_path_is_relative_to_the_project(self, make_project):
        project = make_project(metadata="../db/meta.sqlite")
        assert project.metadata == project.folder.parent / "db" / "meta.sqlite"

    def test_an_address_keeps_its_reference(self, make_folder, monkeypatch):
        monkeypatch.setenv("SECRET", "s3cret")
        folder = make_folder(metadata="postgresql://ada:${env:SECRET}@db/ml")
        project = load_project(folder)
        assert isinstance(project.metadata, PostgresDatabase)
        assert "s3cret" not in repr(project)
        assert "s3cret" not in str(project.effective)

    def test_mysql_is_refused_by_the_name_of_its_key(self, make_folder):
        folder = make_folder(metadata="mysql://ada:s3cret@db/ml")
        for load in (load_project, load_unresolved):
            with pytest.raises(ConfigError, match="metadata: MySQL is not supported") as caught:
                load(folder)
            assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("where", ["file", "set"])
    def test_a_password_is_refused_by_the_name_of_its_key(self, make_folder, where):
        address = "postgresql://ada:s3cret@db/ml"
        folder = make_folder(**({"metadata": address} if where == "file" else {}))
        settings = [f"metadata={address}"] if where == "set" else []
        with pytest.raises(ConfigError, match="metadata: holds a password") as caught:
            load_project(folder, settings=settings)
        assert "s3cret" not in str(caught.value)
