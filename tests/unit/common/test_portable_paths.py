"""Paths as ML Metadata keeps them: here, on a real SQLite store, and in TFX's cache key.

PostgreSQL is in tests/integration/test_postgres.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from moved_metadata import check, fill

from ordain.common.portable_paths import AS_THEY_ARE, project_paths
from ordain.config.loading import load_project
from ordain.metadata.store import open_store

HERE = project_paths("taxi", Path("/a/taxi"), Path("/a/taxi/var"), [Path("/a/data/taxi")])
#: The workspace is no longer in the project, and its path has what a JSON or a pattern may not.
THERE = project_paths("taxi", Path("/b c/ü.x"), Path("/w+(1)/var"), [Path("/b c/data/taxi")])


@pytest.mark.parametrize(
    ("text", "kept", "there"),
    [
        ("/a/taxi/var", "ordain://workspace", "/w+(1)/var"),
        ("/a/taxi/var/taxi/artifacts/8", "ordain://workspace/taxi/artifacts/8", ...),
        ("/a/taxi/model.py", "ordain://project.taxi/model.py", "/b c/ü.x/model.py"),
        ("/a/data/taxi/1", "ordain://project.taxi/../data/taxi/1", "/b c/data/taxi/1"),
        ('{"base": "/a/taxi/var/s"}', '{"base": "ordain://workspace/s"}', ...),
        (
            '{"a": "{\\"b\\": \\"/a/taxi\\"}"}',
            '{"a": "{\\"b\\": \\"ordain://project.taxi\\"}"}',
            ...,
        ),
        ("--temp=/a/taxi/var/t", "--temp=ordain://workspace/t", "--temp=/w+(1)/var/t"),
        ("[/a/taxi/a, /a/taxi/b]", "[ordain://project.taxi/a, ordain://project.taxi/b]", ...),
        # Other folders, other file systems, and whole addresses.
        ("/a/taxi-2/x", "/a/taxi-2/x", "/a/taxi-2/x"),
        ("/a/taxi/variable", "ordain://project.taxi/variable", "/b c/ü.x/variable"),
        ("/x/a/taxi/y", "/x/a/taxi/y", "/x/a/taxi/y"),
        ("gs://b/a/taxi/var/x", "gs://b/a/taxi/var/x", "gs://b/a/taxi/var/x"),
        ("/a/data/other", "/a/data/other", "/a/data/other"),
        ("", "", ""),
        # Another project's, in the same database.
        ("ordain://project.fare/model.py", "ordain://project.fare/model.py", ...),
        ("ordain://workspaces/x", "ordain://workspaces/x", "ordain://workspaces/x"),
    ],
)
def test_a_text_is_kept_and_read_at_another_place(text: str, kept: str, there: Any) -> None:
    assert HERE.portable(text) == kept
    assert HERE.absolute(kept) == text
    read = THERE.absolute(kept)
    if there is not ...:
        assert read == there
    assert THERE.portable(read) == kept
    assert AS_THEY_ARE.portable(text) == AS_THEY_ARE.absolute(text) == text


def test_a_json_stays_one_wherever_it_is_read() -> None:
    quoted = project_paths("taxi", Path('/q"/taxi'), Path('/q"/var'), [])
    for written in (HERE, THERE):
        value = {"directory": written.absolute("ordain://workspace/serving")}
        for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
            kept = written.portable(text)
            assert json.loads(kept) == {"directory": "ordain://workspace/serving"}
            assert json.loads(HERE.absolute(kept)) == {"directory": "/a/taxi/var/serving"}
            assert json.loads(THERE.absolute(kept)) == {"directory": "/w+(1)/var/serving"}
            assert json.loads(quoted.absolute(kept)) == json.loads(kept)
    # Alone it is an URI, and there is nothing to break.
    assert quoted.portable('/q"/var/x') == "ordain://workspace/x"
    assert quoted.absolute("ordain://workspace/x") == '/q"/var/x'
    text = json.dumps({"directory": '/q"/var/serving'})
    assert quoted.absolute(quoted.portable(text)) == text


def test_what_the_configuration_names_relative_to_the_project_moves_with_it(
    tmp_path: Path, write_project: Callable[..., Path]
) -> None:
    keys = {"data__path": "../data", "workspace": "../work", "push": {"directory": "/srv/models"}}
    write_project(tmp_path / "toy", **keys)
    paths = load_project(tmp_path / "toy").paths
    for path, kept in (
        (tmp_path / "data" / "1", "ordain://project.toy/../data/1"),
        (tmp_path / "work" / "toy", "ordain://workspace/toy"),
        (tmp_path / "toy" / "model.py", "ordain://project.toy/model.py"),
        (tmp_path / "other", str(tmp_path / "other")),
        # Another directory is another destination: a cached Pusher would publish nothing there.
        (Path("/srv/models/toy"), "/srv/models/toy"),
    ):
        assert paths.portable(str(path)) == kept


def test_a_buckets_workspace_is_kept_as_it_is(
    write_project: Callable[..., Path], tmp_path: Path
) -> None:
    workspace = "/tmp/ordain-gs/bucket/folder"
    folder = write_project(tmp_path / "toy", workspace=workspace, metadata="grpc://host")
    paths = load_project(folder).paths
    assert paths.portable(f"{workspace}/toy/artifacts/1") == f"{workspace}/toy/artifacts/1"
    assert paths.portable(f"{folder}/model.py") == "ordain://project.toy/model.py"


@pytest.fixture
def moved(tmp_path: Path, write_project: Callable[..., Path]) -> tuple[Any, Any]:
    """A project with a store that has everything in it, and the same at another place."""
    (tmp_path / "old").mkdir()
    old = load_project(write_project(tmp_path / "old" / "toy", workspace="var"))
    fill(open_store(old.metadata, old.paths, is_new=True), old)
    shutil.move(tmp_path / "old", tmp_path / "new")
    return old, load_project(tmp_path / "new" / "toy")


def kept_texts(store: Any) -> str:
    return f"{store.get_artifacts()}{store.get_executions()}{store.get_contexts()}"


def test_what_a_store_remembers_is_where_the_workspace_is_now(moved: tuple[Any, Any]) -> None:
    old, new = moved
    plain = open_store(new.metadata, AS_THEY_ARE)
    written = kept_texts(plain)
    assert str(old.folder) not in written
    assert "ordain://workspace/toy/artifacts/Trainer/model/1" in written
    store = open_store(new.metadata, new.paths)
    check(store, new)
    check(store, new)
    assert kept_texts(plain).count("ordain://") == written.count("ordain://")


def test_another_projects_record_is_written_back_as_it_was(moved: tuple[Any, Any]) -> None:
    _, new = moved
    plain = open_store(new.metadata, AS_THEY_ARE)
    before = plain.get_executions()
    other = project_paths("fare", Path("/elsewhere/fare"), new.workspace, [])
    store = open_store(new.metadata, other)
    store.put_executions(store.get_executions())
    (was,), (now,) = before, plain.get_executions()
    assert now.custom_properties == was.custom_properties


def test_absolute_uris_of_a_workspace_from_before_are_read_as_they_are(
    moved: tuple[Any, Any],
) -> None:
    _, new = moved
    plain = open_store(new.metadata, AS_THEY_ARE)
    (artifact,) = plain.get_artifacts()
    artifact.uri = "/gone/var/toy/artifacts/Trainer/model/1"
    plain.put_artifacts([artifact])
    (read,) = open_store(new.metadata, new.paths).get_artifacts()
    assert read.uri == artifact.uri
