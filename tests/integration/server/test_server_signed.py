"""A server that asks for signatures, and somebody who can write to the directory and has no key."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest
from servers import end, save_toy, start, wait_until, write_project

from ordain.errors import InfrastructureError
from ordain.serving.registry.directory import publish
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.label_writing import with_change, write_labels
from ordain.serving.registry.labels import promote, record_push, rollback
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.trust import Trust


@pytest.fixture(scope="module")
def trust(tmp_path_factory) -> Trust:
    folder = tmp_path_factory.mktemp("keys")
    subprocess.run(
        "openssl ecparam -name prime256v1 -genkey -noout | "
        f"openssl pkcs8 -topk8 -nocrypt -out {folder}/a.pem && "
        f"openssl pkey -in {folder}/a.pem -pubout -out {folder}/a.pub",
        shell=True,
        check=True,
    )
    return Trust("toy", folder / "a.pub", folder / "a.pem")


@pytest.fixture(scope="module")
def signed(tmp_path_factory, trust):
    """A server over three signed versions, the last of them stable."""
    folder = tmp_path_factory.mktemp("signed")
    project = write_project(folder)
    base = folder / "work" / "serving" / "toy"
    for number in (1, 2, 3):
        model = save_toy(folder / f"toy-{number}", number)
        publish(model, base, Manifest("toy", 0, ""), trust)
        record_push(base, number, "run r", "auto", trust)
    server = start(project, "--set", f"push.signing.public_key={trust.public_key}")
    try:
        yield server.wait()
    finally:
        end(server)


def _wait_for(server, words: str) -> None:
    wait_until(lambda: words in server.log.read_text(), server.log)


def test_labels_move_with_the_key_and_not_without(signed, trust):
    path = signed.base / "labels.json"
    assert signed.version() == 3
    first = path.read_text()
    rollback(signed.base, "ada", "x", None, trust)
    signed.wait_for(2)

    path.write_text(json.dumps({**json.loads(path.read_text()), "stable": 1}))
    _wait_for(signed, "labels.json does not verify")
    path.write_text(first)
    _wait_for(signed, "is older than the labels that were read before")
    path.unlink()
    _wait_for(signed, "labels.json is missing, and signing is on")
    assert signed.version() == 2 and signed.ask("/v2/health/ready")[0] == 200

    promote(signed.base, 3, "ada", "somebody was here", trust, is_replacing=True)
    signed.wait_for(3)


def test_an_older_version_in_a_newer_ones_place_is_refused(signed, trust):
    """As whole as on its first day, and signed with the right key."""
    shutil.copytree(signed.base / "1", signed.base / "4")
    before = signed.version()
    with pytest.raises(InfrastructureError, match="the manifest is that of version 1, not 4"):
        promote(signed.base, 4, "ada", "x", trust)
    # Where the label was there first, the server refuses.
    labels = read_labels(signed.base, trust)
    changed = with_change(labels, replace(labels, stable=4), "ada", "x", "promote", 4)
    write_labels(signed.base, changed, trust)
    _wait_for(signed, "version 4 is refused: the manifest is that of version 1, not 4")
    assert signed.version() == before
