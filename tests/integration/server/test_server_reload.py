"""Labels that move, canaries, refused versions and load, on the server as it comes."""

import asyncio
import json
import os
import shutil
import time
from collections import Counter

import pytest
from servers import copy_version, wait_until

from benchmarks.serving_load import run_load
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.labels import drop_canary, promote, rollback, set_canary

WHO = ("test", "because")


@pytest.fixture
def stable(server):
    """The server with version 3 stable and no canary, before and after."""

    def reset():
        if read_labels(server.base).canary is not None:
            drop_canary(server.base, *WHO)
        promote(server.base, 3, *WHO)
        server.wait_for(3)

    promote(server.base, 3, *WHO)
    server.wait_for(3)
    yield server
    reset()


def test_a_promotion_and_a_rollback_are_seen(stable):
    promote(stable.base, 1, *WHO)
    stable.wait_for(1)
    rollback(stable.base, *WHO, to=3)
    stable.wait_for(3)
    # Version 1 lost its label and stays in memory; version 2 never had one.
    assert stable.ask("/v1/models/toy/versions/1")[1]["model_version_status"][0]["state"] == (
        "AVAILABLE"
    )
    document = {"instances": [{"x": 1, "s": "a"}]}
    assert stable.ask("/v1/models/toy/versions/2:predict", document)[0] == 404


def test_a_canary_gets_its_share_and_keeps_its_clients(stable):
    set_canary(stable.base, 2, 0.3, *WHO)
    wait_until(lambda: stable.ask("/v1/models/toy/labels/canary")[0] == 200)
    assert stable.version("canary") == 2
    assert stable.version("stable") == 3
    by_id = {i: stable.version(X_Request_Id=f"user-{i}") for i in range(100)}
    assert 15 <= Counter(by_id.values())[2] <= 45
    assert by_id == {i: stable.version(X_Request_Id=f"user-{i}") for i in range(100)}
    anonymous = Counter(stable.version() for _ in range(200))
    assert set(anonymous) == {2, 3}
    assert 30 <= anonymous[2] <= 90
    # A larger share takes more clients in and lets none of the old ones go.
    set_canary(stable.base, 2, 0.6, *WHO)
    wait_until(lambda: sum(stable.version(X_Request_Id=f"user-{i}") == 2 for i in range(40)) > 15)
    assert all(stable.version(X_Request_Id=f"user-{i}") == 2 for i in by_id if by_id[i] == 2)
    drop_canary(stable.base, *WHO)
    wait_until(lambda: stable.ask("/v1/models/toy/labels/canary")[0] == 400)
    assert {stable.version() for _ in range(50)} == {3}


@pytest.mark.parametrize(
    ("number", "damage", "words"),
    [
        (9, lambda f: (f / "saved_model.pb").unlink(), "saved_model.pb is missing"),
        (10, lambda f: (f / "variables" / "variables.index").write_bytes(b"x"), "variables.index"),
        (11, lambda f: (f / "manifest.json").unlink(), "manifest.json"),
    ],
    ids=["no graph", "changed weights", "no manifest"],
)
def test_a_version_that_does_not_verify_is_refused_and_the_old_one_serves(
    stable, number, damage, words
):
    folder = copy_version(stable.base, 3, number)
    path = f"/v1/models/toy/versions/{number}"
    try:
        raw = json.loads((folder / "manifest.json").read_text())
        raw["version"] = number
        (folder / "manifest.json").write_text(json.dumps(raw))
        damage(folder)
        labels = json.loads((stable.base / "labels.json").read_text())
        _write(stable.base, {**labels, "stable": number})
        wait_until(lambda: stable.ask(path)[0] == 200 and _state(stable, path) == "END")
        status = stable.ask(path)[1]["model_version_status"][0]
        assert status["status"]["error_code"] == "FAILED_PRECONDITION"
        assert words in status["status"]["error_message"]
        assert f"version {number} is refused" in stable.log.read_text()
        assert stable.version() == 3
        assert stable.ask("/v2/health/ready")[0] == 200
    finally:
        _write(stable.base, labels)
        shutil.rmtree(folder)
        wait_until(lambda: stable.ask(path)[0] == 404)


def _state(server, path) -> str:
    return server.ask(path)[1]["model_version_status"][0]["state"]


def _write(base, labels) -> None:
    part = base / ".labels.part"
    part.write_text(json.dumps(labels))
    part.replace(base / "labels.json")


def test_damaged_labels_change_nothing(stable):
    text = (stable.base / "labels.json").read_text()
    try:
        (stable.base / "labels.json").write_text("{")
        wait_until(lambda: "cannot be followed" in stable.log.read_text())
        (problem,) = _problems(stable)
        assert "labels.json is damaged" in problem
        assert "\n" not in problem and "next:" not in problem
        assert stable.version() == 3
    finally:
        (stable.base / "labels.json").write_text(text)


#: What stands where the serving directory was.
GONE = {
    "nothing": lambda base: None,
    "an empty folder, as where a disk was mounted": lambda base: base.mkdir(),
    "a link to nothing": lambda base: base.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
    "a file": lambda base: base.write_text("x"),
}


@pytest.mark.parametrize("name", GONE)
def test_a_directory_that_is_gone_is_a_problem_and_changes_nothing(stable, name):
    set_canary(stable.base, 2, 0.5, *WHO)
    wait_until(lambda: stable.ask("/v1/models/toy/labels/canary")[0] == 200)
    wait_until(lambda: _problems(stable) == [])
    before = stable.log.read_text()
    away = stable.base.with_name("away")
    stable.base.rename(away)
    try:
        GONE[name](stable.base)
        wait_until(lambda: _problems(stable))
        time.sleep(1)  # it is looked at some five times more
        (problem,) = _problems(stable)
        assert problem.startswith("the serving directory ")
        assert str(stable.base) in problem
        assert "\n" not in problem and "Errno" not in problem
        assert stable.version("canary") == 2
        assert stable.version("stable") == 3
        assert stable.log.read_text().removeprefix(before).count("cannot be followed") == 1
    finally:
        if stable.base.is_dir():
            stable.base.rmdir()
        else:
            stable.base.unlink(missing_ok=True)
        away.rename(stable.base)
    wait_until(lambda: _problems(stable) == [])
    assert stable.version("canary") == 2
    assert "can be followed again" in stable.log.read_text().removeprefix(before)


def _problems(server) -> list[str]:
    status, answer = server.ask("/v2/health/ready")
    assert (status, answer["ready"]) == (200, True)
    return answer.get("problems", [])


def test_ten_seconds_of_load_while_versions_change(stable):
    def move(version):
        return promote(stable.base, version, *WHO)

    load = asyncio.run(run_load(stable.rest, stable.grpc, move, 3, 10, 2))
    assert load.failed == []
    assert load.wrong == []
    assert set(load.versions) == {1, 2, 3}
    assert len(load.moves_s) >= 3
    assert load.count > 500
