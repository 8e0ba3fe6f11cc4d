"""ML Metadata on MySQL (a real MariaDB server) and behind gRPC."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lock_holder
import mysql
import pymysql
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from opened_at_once import open_at_once
from sandbox import Sandbox, states

from ordain.cli.health_checks import check_server
from ordain.errors import InfrastructureError
from ordain.metadata.location import MetadataService, MysqlDatabase, parse_location
from ordain.metadata.portable_paths import AS_THEY_ARE
from ordain.metadata.store import open_store
from ordain.runner.workspace_lock import workspace_lock

SUPPORT = Path(__file__).resolve().parents[1] / "support"
TEXT = 'a "quoted" \\ and \\"nested\\" text, it\'s ü\n'


@pytest.fixture(scope="module")
def server() -> Iterator[mysql.Server]:
    if not mysql.is_installed() and "ORDAIN_TEST_ALL" not in os.environ:
        pytest.skip("MariaDB is not installed: apt-get install mariadb-server")
    with mysql.serving() as running:
        yield running


@pytest.fixture
def address(server: mysql.Server, request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the test's own, with the password in the variable SECRET."""
    name = f"t{zlib.crc32(request.node.nodeid.encode()):08x}"
    server.make(name)
    monkeypatch.setenv("SECRET", mysql.PASSWORD)
    return server.address(name)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """The address of a gRPC service over a fresh store."""
    process = subprocess.Popen(
        [sys.executable, str(SUPPORT / "metadata_service.py"), str(tmp_path / "served.sqlite")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield f"grpc://127.0.0.1:{int(process.stdout.readline())}"
    process.kill()
    process.communicate()


def keeps(location: Any) -> None:
    """Any text comes back as it was, and answers come in the order of ids."""
    store = open_store(location, AS_THEY_ARE)
    kind = store.put_context_type(pb.ContextType(name="kind"))
    context = pb.Context(type_id=kind, name="named")
    context.custom_properties["text"].string_value = TEXT
    store.put_contexts([context])
    found = open_store(location, AS_THEY_ARE).get_context_by_type_and_name("kind", "named")
    assert found.custom_properties["text"].string_value == TEXT
    thing = store.put_artifact_type(pb.ArtifactType(name="thing"))
    ids = store.put_artifacts([pb.Artifact(type_id=thing, uri=f"/{i}") for i in range(3)])
    first = store.get_artifacts_by_id(ids[:1])
    first[0].state = pb.Artifact.LIVE
    store.put_artifacts(first)
    assert [a.id for a in store.get_artifacts_by_id(ids)] == ids


class TestMysql:
    def test_it_keeps_what_it_is_given(self, address: str) -> None:
        keeps(parse_location(address))

    def test_a_wrong_password_is_told_and_not_repeated(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET", "wr0ng-pass")
        location = parse_location(address)
        with pytest.raises(InfrastructureError) as caught:
            open_store(location, AS_THEY_ARE)
        assert str(location) in caught.value.message
        assert "wr0ng-pass" not in str(caught.value)
        assert isinstance(location, MysqlDatabase)
        assert check_server(location).state == "fail"

    def test_doctor_says_what_answers(self, address: str) -> None:
        location = parse_location(address)
        assert isinstance(location, MysqlDatabase)
        found = check_server(location)
        assert found.state == "ok" and "answers, version " in found.found

    def test_a_database_that_is_not_there(self, server: mysql.Server, address: str) -> None:
        gone = parse_location(server.address("nowhere"))
        with pytest.raises(InfrastructureError) as caught:
            open_store(gone, AS_THEY_ARE)
        assert "CREATE DATABASE nowhere" in caught.value.hint

    def test_one_run_at_a_time_and_a_killed_one_leaves_no_lock(
        self, tmp_path: Path, address: str
    ) -> None:
        location = parse_location(address)

        def hold(wait: bool = False) -> Any:
            return workspace_lock(tmp_path / "mine", "mine", wait, lambda _: None, location)

        other = lock_holder.start(tmp_path / "run-1", "run-1", "refuse", address)
        try:
            assert other.stdout.readline() == "holds\n", other.communicate()
            with pytest.raises(InfrastructureError, match=r"/t[0-9a-f]+ is in use by"), hold():
                pytest.fail("the database was given away twice")
            other.send_signal(signal.SIGKILL)
            other.wait()
            with hold(wait=True) as held:
                held.check()
        finally:
            other.kill()
            other.communicate()

    def test_it_is_free_though_the_server_has_not_noticed_the_end_of_its_connection(
        self, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        location, kept = parse_location(address), []

        def hold() -> Any:
            return workspace_lock(tmp_path / "mine", "mine", False, lambda _: None, location)

        def keep(connection: Any) -> None:
            kept.append(connection)

        with monkeypatch.context() as patch, hold():
            patch.setattr(pymysql.Connection, "close", keep)
        try:
            with hold():
                pass
        finally:
            for connection in kept:
                connection.close()

    def test_a_connection_that_breaks_is_noticed(
        self, tmp_path: Path, server: mysql.Server, address: str
    ) -> None:
        location = parse_location(address)
        with workspace_lock(tmp_path, "mine", False, lambda _: None, location) as held:
            with server.connect() as connection, connection.cursor() as cursor:
                cursor.execute(
                    "SELECT id FROM information_schema.processlist WHERE db = %s",
                    (location.database,),  # type: ignore[union-attr]
                )
                for (session,) in cursor.fetchall():
                    cursor.execute(f"KILL {int(session)}")
            with pytest.raises(InfrastructureError, match="the lock on database .* is lost"):
                held.check()

    def test_ten_processes_open_a_fresh_database_at_once(self, address: str) -> None:
        ended = open_at_once(address, 10)
        assert [code for code, _ in ended] == [0] * 10, ended
        assert all("opened True" in said for _, said in ended), ended

    def test_a_run_and_its_repetition(self, small: Callable[..., Sandbox], address: str) -> None:
        is_cached(small(metadata=address, evaluate={"thresholds": {"auc": {"min": 0.01}}}))


class TestService:
    def test_it_keeps_what_it_is_given(self, service: str) -> None:
        keeps(parse_location(service))

    def test_doctor_says_whether_it_answers(self, service: str) -> None:
        location = parse_location(service)
        assert isinstance(location, MetadataService)
        assert check_server(location).state == "ok"
        found = check_server(MetadataService("127.0.0.1", 1))
        assert found.state == "fail" and "grpc://127.0.0.1:1" in found.found

    def test_a_run_and_its_repetition(self, small: Callable[..., Sandbox], service: str) -> None:
        is_cached(small(metadata=service, evaluate={"thresholds": {"auc": {"min": 0.01}}}))


def is_cached(project: Sandbox) -> None:
    """A run succeeds, and the same again is cached."""
    first, again = project.run(), project.run()
    assert (int(first.exit_code), first.version) == (0, 1), first.failure
    assert (int(again.exit_code), again.is_new_version) == (0, False), again.failure
    left = {node: state for node, state in states(again).items() if state != "cached"}
    assert left == {"AnalyzerCache": "complete", "Baseline": "complete"}
    assert not (project.folder / "var" / "metadata.sqlite").exists()
