"""A project and its workspace moved, copied, and shared by machines that have it at other paths."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import postgres
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from moved_metadata import check, fill
from sandbox import PROJECTS, Sandbox, good_rows, states, write_csv

from ordain.config.loading import load_project, load_raw
from ordain.dashboard.store import ReadOnlyHistory
from ordain.metadata.location import parse_location
from ordain.metadata.store import open_store

ROOT = Path(__file__).resolve().parents[2]
KEEP_ONE = ("--keep-runs", "1", "--keep-days", "0")
#: Resolvers look something up, which has no cache.
RESOLVERS = {"AnalyzerCache": "complete", "Baseline": "complete"}


def ordain(*words: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ordain.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_nothing_is_new(project: Sandbox, *settings: str) -> None:
    """Another run executes nothing and publishes nothing."""
    before = project.versions
    result = project.run(*settings)
    assert states(result) == dict.fromkeys(states(result), "cached") | RESOLVERS
    assert (int(result.exit_code), result.is_new_version) == (0, False)
    assert result.headline.startswith("nothing new: version ")
    assert project.versions == before


def artifacts(project: Sandbox) -> list[Any]:
    loaded = load_project(project.folder)
    return list(open_store(loaded.metadata, loaded.paths).get_artifacts())


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def copied(project: Sandbox, to: Path) -> Sandbox:
    """A copy of project, workspace and what lies beside them, made as one does by hand."""
    subprocess.run(["cp", "-a", str(project.folder.parent), str(to)], check=True)
    return Sandbox(to / project.folder.name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """Two published models, of data beside the project; made at a place that is gone."""
    made = tmp_path_factory.mktemp("made")
    shutil.copytree(PROJECTS / "small", made / "small")
    sandbox = Sandbox(made / "small")
    sandbox.set(data={"path": "../data"}, evaluate={"thresholds": {"auc": {"min": 0.01}}})
    write_csv(made / "data" / "1" / "rows.csv", good_rows(), ["x", "c", "y"])
    for steps in (30, 31):
        assert sandbox.run(f"train.steps={steps}").exit_code == 0
    assert sandbox.versions == ["1", "2"]
    there = made.with_name("there")
    shutil.move(made, there)
    return Sandbox(there / "small")


def test_a_moved_project_is_cached_and_all_that_reads_its_past_finds_it(trained: Sandbox) -> None:
    check_nothing_is_new(trained, "train.steps=31")

    assert [a.uri for a in artifacts(trained) if not Path(a.uri).exists()] == []
    folder = str(trained.folder)
    first = json.loads(ordain("runs", "list", folder, "--json"))[-1]["run"]
    shown = json.loads(ordain("runs", "show", folder, first, "--json"))
    uris = [output["uri"] for node in shown["nodes"] for output in node["outputs"]]
    assert uris and all(Path(uri).is_relative_to(trained.folder) for uri in uris)
    assert json.loads(ordain("runs", "compare", folder, "--json"))["metrics"]
    page = trained.folder / "var" / "small" / "runs" / first / "report.html"
    ordain("report", folder, first, "--renew")
    assert "the run has no" not in page.read_text()
    assert str(trained.folder) in page.read_text()
    history = ReadOnlyHistory(load_project(trained.folder))
    (newest, *_) = history.newest_artifacts("Trainer", "Model", 10)
    assert Path(newest.uri).is_relative_to(trained.folder)
    ordain("schema", "freeze", folder)
    (trained.folder / "schema.pbtxt").unlink()

    taken_over = trained.run("train.steps=31", from_node="Evaluator")
    assert int(taken_over.exit_code) == 0
    assert states(taken_over)["Trainer"] == "reused"


def test_after_a_move_only_a_new_span_is_analyzed(trained: Sandbox, tmp_path: Path) -> None:
    project = copied(trained, tmp_path / "copy")
    write_csv(tmp_path / "copy" / "data" / "2" / "rows.csv", good_rows(300), ["x", "c", "y"])
    result = project.run("train.steps=31")
    assert states(result)["Transform"] == "complete"
    log = (project.folder / "var/small/runs" / result.run_id / "logs/Transform.log").read_text()
    assert "analyzing 1 of 2 datasets" in log


def test_gc_of_a_copy_removes_the_copys_files_alone(trained: Sandbox, tmp_path: Path) -> None:
    # As `ordain models prune` leaves it: what made version 1 may go.
    shutil.rmtree(trained.folder / "var/serving/small/1")
    check_nothing_is_new(trained, "train.steps=31")
    copy = copied(trained, tmp_path / "copy")
    before = digests(trained.folder)
    would = json.loads(ordain("gc", str(trained.folder), "--json", "--dry-run", *KEEP_ONE))

    told = json.loads(ordain("gc", str(copy.folder), "--json", *KEEP_ONE))

    def removals(found: dict[str, Any], root: Path) -> set[Path]:
        return {Path(removal["folder"]).relative_to(root) for removal in found["artifacts"]}

    removed = removals(told, copy.folder)
    assert removed == removals(would, trained.folder)
    assert told["runs"] == would["runs"] != []
    assert {"ModelRun", "PushedModel"} <= {a["type"] for a in told["artifacts"]}
    assert [path for path in removed if (copy.folder / path).exists()] == []
    assert digests(trained.folder) == before
    deleted = [a for a in artifacts(copy) if a.state == pb.Artifact.DELETED]
    assert len(deleted) == len(told["artifacts"])
    # What the evaluation looked back to may be gone, as it would be at the old place.
    after = states(copy.run("train.steps=31"))
    assert {name for name in after if after[name] != "cached"} <= {
        *RESOLVERS,
        "Evaluator",
        "Pusher",
    }
    check_nothing_is_new(trained, "train.steps=31")


def test_a_workspace_that_moved_alone_is_found_by_the_configuration(
    trained: Sandbox, tmp_path: Path
) -> None:
    project = copied(trained, tmp_path / "copy")
    shutil.move(project.folder / "var", tmp_path / "elsewhere")
    result = project.run("train.steps=31", f"workspace={tmp_path / 'elsewhere'}")
    assert states(result) == dict.fromkeys(states(result), "cached") | RESOLVERS
    assert result.headline.startswith("nothing new: version ")


def test_a_new_database_does_not_mix_its_artifacts_with_those_of_a_lost_one(small: Any) -> None:
    project = small()
    write_csv(project.data / "1" / "more.csv", good_rows(100), ["x", "c", "y"])
    assert int(project.run(to_node="DataGate").exit_code) == 0
    (project.folder / "var" / "metadata.sqlite").unlink()
    (project.data / "1" / "more.csv").unlink()

    result = project.run(to_node="DataGate")

    assert int(result.exit_code) == 0, result.headline
    assert result.nodes[0].rows == 400
    (examples,) = [a for a in artifacts(project) if a.type == "Examples"]
    assert sorted(path.name for path in Path(examples.uri).glob("Split-train/*")) == [
        "data_tfrecord-00000-of-00001.gz"
    ]
    assert json.loads(ordain("gc", str(project.folder), "--json"))["unfinished"]
    assert list(project.folder.glob("var/small/**/.removed-*")) == []


@pytest.fixture
def address(server: postgres.Server, request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the test's own, with the password in the variable SECRET."""
    name = f"m{zlib.crc32(request.node.nodeid.encode()):08x}"
    server.make(name)
    monkeypatch.setenv("SECRET", postgres.PASSWORD)
    return server.address(name, "${env:SECRET}")


def test_postgresql_keeps_the_same(address: str, small: Any, tmp_path: Path) -> None:
    project = load_project(small().folder)
    fill(open_store(parse_location(address), project.paths), project)
    workspace = f"workspace={tmp_path / 'work'}"
    moved = load_raw(project.effective, tmp_path / "ü\\b" / "small", None, [workspace])
    for one in (moved, project, moved):
        check(open_store(parse_location(address), one.paths), one)


def test_machines_that_share_a_database(address: str, small: Any, tmp_path: Path) -> None:
    """One mounts the workspace at another path, and one has a workspace of its own."""
    first = small(metadata=address, evaluate={"thresholds": {"auc": {"min": 0.01}}})
    assert int(first.run().exit_code) == 0
    mounted = copied(first, tmp_path.with_name("mounted"))
    check_nothing_is_new(mounted)

    own = copied(first, tmp_path.with_name("own"))
    shutil.rmtree(own.folder / "var")
    result = own.run()
    assert (int(result.exit_code), result.version) == (0, 1)
    assert states(result)["Trainer"] == "complete"
    before = digests(first.folder / "var" / "small" / "artifacts")
    told = json.loads(ordain("gc", str(own.folder), "--json", *KEEP_ONE))
    assert told["artifacts"] == []
    assert digests(first.folder / "var" / "small" / "artifacts") == before
    check_nothing_is_new(first)
