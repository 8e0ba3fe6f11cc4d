"""ML Metadata on a real PostgreSQL server that asks for a password."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lock_holder
import ml_metadata as mlmd
import postgres
import psycopg
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from opened_at_once import open_at_once
from sandbox import Sandbox, states

from ordain.common.portable_paths import AS_THEY_ARE
from ordain.config.loading import load_project
from ordain.errors import InfrastructureError
from ordain.history.runs import History
from ordain.metadata.location import PostgresDatabase, parse_location
from ordain.metadata.store import connection_config, open_store
from ordain.runner.local import Options, new_run_id
from ordain.runner.run import plan_and_run
from ordain.runner.workspace_lock import workspace_lock

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def address(server: postgres.Server, request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the test's own, with the password in the variable SECRET."""
    name = f"t{zlib.crc32(request.node.nodeid.encode()):08x}"
    server.make(name)
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("SECRET", postgres.PASSWORD)
    return server.address(name, "${env:SECRET}")


@pytest.fixture
def database(address: str) -> PostgresDatabase:
    found = parse_location(address)
    assert isinstance(found, PostgresDatabase)
    return found


def end_sessions(server: postgres.Server, database: PostgresDatabase) -> None:
    """Breaks the connections that hold a lock on a database, as its restart would."""
    with contextlib.closing(server.connect(database.database)) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        ).fetchall()
    assert ended == [(True,)]


class _Ending:
    """A listener that breaks the lock's connection while a node is at work."""

    def __init__(self, server: postgres.Server, database: PostgresDatabase, at: str) -> None:
        self.nodes: list[str] = []
        self._break = lambda: end_sessions(server, database)
        self._at = at

    def started(self, node: str, span: int | None) -> None:
        self.nodes.append(node)
        if node == self._at:
            self._break()

    def finished(self, result: Any) -> None:
        pass


class TestLock:
    """Two workspaces stand for two machines: they share the database and nothing else."""

    @pytest.fixture
    def start(self, tmp_path: Path, address: str) -> Iterator[Callable[..., Any]]:
        started = []

        def run(run_id: str, mode: str = "refuse") -> Any:
            process = lock_holder.start(tmp_path / run_id, run_id, mode, address)
            started.append(process)
            return process

        yield run
        for process in started:
            process.kill()
            process.communicate()

    def hold(self, tmp_path: Path, database: PostgresDatabase, wait: bool = False) -> Any:
        return workspace_lock(tmp_path / "mine", "mine", wait, lambda _: None, database)

    def test_a_second_machine_is_refused_by_the_firsts_name(
        self, tmp_path: Path, database: PostgresDatabase, start: Callable[..., Any]
    ) -> None:
        other = start("run-1")
        assert other.stdout.readline() == "holds\n", other.communicate()
        with pytest.raises(InfrastructureError) as caught, self.hold(tmp_path, database):
            pytest.fail("the database was given away twice")
        host = os.uname().nodename
        assert caught.value.message == (
            f"database {database} is in use by run run-1 (process {other.pid} on {host})"
        )
        other.communicate("end\n")
        with self.hold(tmp_path, database):
            pass

    def test_one_that_waits_gets_it_after(
        self, tmp_path: Path, database: PostgresDatabase, start: Callable[..., Any]
    ) -> None:
        with self.hold(tmp_path, database):
            other = start("run-2", "wait")
            assert other.stdout.readline().startswith("waits for run mine (process ")
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(0.3)
        assert other.stdout.readline() == "holds\n"

    def test_a_killed_one_leaves_no_lock(
        self, tmp_path: Path, database: PostgresDatabase, start: Callable[..., Any]
    ) -> None:
        other = start("run-1")
        assert other.stdout.readline() == "holds\n"
        other.send_signal(signal.SIGKILL)
        other.wait()
        with self.hold(tmp_path, database, wait=True):
            pass

    def test_an_error_inside_frees_it(self, tmp_path: Path, database: PostgresDatabase) -> None:
        with pytest.raises(ZeroDivisionError), self.hold(tmp_path, database):
            raise ZeroDivisionError
        with self.hold(tmp_path, database):
            pass

    def test_it_is_free_though_the_server_has_not_noticed_the_end_of_its_connection(
        self, tmp_path: Path, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = []

        def keep(connection: Any) -> None:
            kept.append(connection)

        with monkeypatch.context() as patch, self.hold(tmp_path, database):
            patch.setattr(psycopg.Connection, "close", keep)
        try:
            with self.hold(tmp_path, database):
                pass
        finally:
            for connection in kept:
                connection.close()

    def test_a_connection_that_breaks_is_noticed(
        self, tmp_path: Path, database: PostgresDatabase, server: postgres.Server
    ) -> None:
        with self.hold(tmp_path, database) as hold:
            hold.check()
            end_sessions(server, database)
            with pytest.raises(InfrastructureError, match="the lock on database .* is lost"):
                hold.check()

    def test_a_run_whose_lock_is_lost_ends_before_its_next_node(
        self,
        small: Callable[..., Sandbox],
        address: str,
        database: PostgresDatabase,
        server: postgres.Server,
    ) -> None:
        project = small(metadata=address)
        loaded = load_project(project.folder)
        view = _Ending(server, database, at="SchemaGen")

        with pytest.raises(InfrastructureError, match="the lock on database .* is lost"):
            with self.hold(project.folder, database) as hold:
                drawing = contextlib.nullcontext(view)
                plan_and_run(loaded, new_run_id(), None, Options(), drawing, hold)

        assert view.nodes[-1] == "SchemaGen"
        assert project.versions == []
        store = open_store(database, AS_THEY_ARE)
        assert {e.last_known_state for e in store.get_executions()} == {pb.Execution.COMPLETE}
        # The database is free again, and what was finished is cached.
        again = project.run()
        assert (int(again.exit_code), states(again)["StatisticsGen"]) == (0, "cached")

    def test_another_database_is_another_lock(
        self, tmp_path: Path, database: PostgresDatabase, server: postgres.Server
    ) -> None:
        server.make("another")
        other = parse_location(server.address("another", "${env:SECRET}"))
        with self.hold(tmp_path, database):
            with workspace_lock(tmp_path / "other", "other", False, lambda _: None, other):
                pass


class TestErrors:
    def test_a_wrong_password_is_told_and_not_repeated(
        self, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET", "wr0ng-pass")
        with pytest.raises(InfrastructureError) as caught:
            open_store(database, AS_THEY_ARE)
        assert str(database) in caught.value.message
        assert "wr0ng-pass" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        gone = PostgresDatabase("ada", "127.0.0.1", 1, "ml")
        with pytest.raises(InfrastructureError, match=r"ada@127.0.0.1:1/ml: the database cannot"):
            with workspace_lock(tmp_path, "run", False, lambda _: None, gone):
                pass

    def test_a_database_that_is_not_there(
        self, tmp_path: Path, server: postgres.Server, database: PostgresDatabase
    ) -> None:
        gone = parse_location(server.address("nowhere", "${env:SECRET}"))
        with pytest.raises(InfrastructureError) as caught:
            with workspace_lock(tmp_path, "run", False, lambda _: None, gone):
                pass
        assert "createdb nowhere" in caught.value.hint


class TestTexts:
    TEXT = 'a "quoted" \\ and \\"nested\\" text, it\'s \u00fc\n'

    def context(self, store: Any) -> Any:
        kind = store.put_context_type(pb.ContextType(name="kind"))
        context = pb.Context(type_id=kind, name=self.TEXT)
        context.custom_properties[self.TEXT.replace("\\", "")].string_value = self.TEXT
        return context

    def test_any_text_comes_back_as_it_was(self, database: PostgresDatabase) -> None:
        store = open_store(database, AS_THEY_ARE)
        store.put_contexts([self.context(store)])
        found = store.get_context_by_type_and_name("kind", self.TEXT)
        assert found.name == self.TEXT
        assert [v.string_value for v in found.custom_properties.values()] == [self.TEXT]

    def test_upstream_still_has_the_trap(self, database: PostgresDatabase) -> None:
        """When this fails, backslashes can be written: `PostgresStore` can go."""
        store = mlmd.MetadataStore(connection_config(database))
        with pytest.raises(mlmd.errors.InternalError, match="syntax error"):
            store.put_contexts([self.context(store)])


class TestOrder:
    """What is updated first comes last from PostgreSQL, whatever its id."""

    def artifacts(self, store: Any) -> tuple[list[int], int]:
        kind = store.put_artifact_type(pb.ArtifactType(name="thing"))
        ids = store.put_artifacts([pb.Artifact(type_id=kind, uri=f"/{i}") for i in range(3)])
        execution_kind = store.put_execution_type(pb.ExecutionType(name="doing"))
        (execution,) = store.put_executions([pb.Execution(type_id=execution_kind)])
        for number in reversed(ids):
            event = pb.Event(artifact_id=number, execution_id=execution, type=pb.Event.OUTPUT)
            store.put_events([event])
        first = store.get_artifacts_by_id(ids[:1])
        first[0].state = pb.Artifact.LIVE
        store.put_artifacts(first)
        return list(ids), execution

    def test_what_is_asked_for_in_no_order_comes_by_id(self, database: PostgresDatabase) -> None:
        store = open_store(database, AS_THEY_ARE)
        ids, execution = self.artifacts(store)
        assert [a.id for a in store.get_artifacts_by_id(ids)] == ids
        assert [a.id for a in store.get_artifacts_by_type("thing")] == ids
        events = store.get_events_by_execution_ids([execution])
        assert [event.artifact_id for event in events] == ids

    def test_an_order_that_is_asked_for_is_kept(self, database: PostgresDatabase) -> None:
        store = open_store(database, AS_THEY_ARE)
        ids, _ = self.artifacts(store)
        options = mlmd.ListOptions(order_by=mlmd.OrderByField.ID, is_asc=False)
        assert [a.id for a in store.get_artifacts(list_options=options)] == ids[::-1]

    def test_upstream_still_has_the_trap(self, database: PostgresDatabase) -> None:
        """When this fails, answers are ordered: `ServerStore` can go."""
        store = mlmd.MetadataStore(connection_config(database))
        ids, _ = self.artifacts(store)
        assert [a.id for a in store.get_artifacts_by_id(ids)] != ids


def test_ten_processes_open_a_fresh_database_at_once(address: str) -> None:
    ended = open_at_once(address, 10)
    assert [code for code, _ in ended] == [0] * 10, ended
    assert all("opened True" in said for _, said in ended), ended


def test_a_run_its_repetition_and_its_history(
    small: Callable[..., Sandbox], address: str, database: PostgresDatabase, server: postgres.Server
) -> None:
    project = small(metadata=address, evaluate={"thresholds": {"auc": {"min": 0.01}}})

    first = project.run()
    again = project.run()

    assert (int(first.exit_code), first.version) == (0, 1), first.failure
    assert (int(again.exit_code), again.is_new_version) == (0, False), again.failure
    assert states(again)["Trainer"] == "cached"
    assert not (project.folder / "var" / "metadata.sqlite").exists()
    assert len(History(database, "small", AS_THEY_ARE).list_runs()) == 2
    command = [sys.executable, "-m", "ordain.cli.main"]
    told = {}
    for words in (["runs", "show"], ["doctor"], ["gc"]):
        done = subprocess.run(
            [*command, *words, str(project.folder), "--json"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        assert postgres.PASSWORD not in done.stdout + done.stderr
        told[words[0]] = json.loads(done.stdout)
    assert told["runs"]["exit_code"] == 0
    (checked,) = [check for check in told["doctor"] if check["name"] == "database"]
    assert checked["state"] == "ok" and str(database) in checked["found"]
    assert told["gc"]["kept_runs"] == 2
    # The password is nowhere: neither in a file of the workspace nor in the database.
    for path in project.folder.rglob("*"):
        if path.is_file():
            assert postgres.PASSWORD.encode() not in path.read_bytes(), path
    with contextlib.closing(server.connect(database.database)) as connection:
        for table, column in (
            ("ExecutionProperty", "string_value"),
            ("ArtifactProperty", "string_value"),
        ):
            question = f"SELECT count(*) FROM {table} WHERE strpos({column}, %s) > 0"
            assert connection.execute(question, [postgres.PASSWORD]).fetchone() == (0,)
