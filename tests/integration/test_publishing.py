"""Publishing under kill -9: a reader that polls all the time sees whole versions or none.

Publisher and reader are processes of their own. The publisher forks a child that publishes
without end, kills it at a random moment, and starts over; the reader looks every millisecond
and holds each version against its manifest, or loads it, the moment it appears.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ordain.serving.registry.directory import publish
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.labels import record_push
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.verification import verify
from ordain.serving.registry.versions import list_versions

ROOT = Path(__file__).resolve().parents[2]

PUBLISHER = """
import json, os, random, signal, shutil, sys, time
from ordain.serving.registry.manifest import Manifest
from ordain.serving.registry.directory import next_version, publish
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.labels import record_push

how, model, base, kills = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

def whole():
    folder = publish(model, base, Manifest("toy", 0, ""))
    record_push(base, int(folder.name), "run r", "auto")

def naive():
    # As TFX's Pusher: file by file into the folder that is being watched.
    from pathlib import Path
    os.makedirs(base, exist_ok=True)
    shutil.copytree(model, Path(base) / str(next_version(Path(base), read_labels(base))))

push = {"whole": whole, "naive": naive}[how]
began = time.monotonic()
push()
took = time.monotonic() - began
dice = random.Random(int(sys.argv[5]))
staged = 0
for _ in range(kills):
    child = os.fork()
    if child == 0:
        while True:
            push()
    time.sleep(dice.uniform(0, 2 * took))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    staged += any(name.startswith(".staging-") for name in os.listdir(base))
print(json.dumps({"took_s": took, "staged": staged}))
"""

READER = """
import json, sys, time
from pathlib import Path
from ordain.serving.registry.label_file import read_labels
from ordain.serving.registry.verification import verify
from ordain.serving.registry.versions import list_versions

how, base, stop = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
if how == "load":
    import tensorflow as tf

    class Triple(tf.Module):
        def __init__(self):
            self.weight = tf.Variable(3.0)
            self.table = tf.Variable(tf.random.uniform([500_000]))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            return {"y": x * self.weight}

    made = Triple()
    tf.saved_model.save(made, sys.argv[4], signatures={"serving_default": made.serve})

    def check(folder):
        call = tf.saved_model.load(str(folder)).signatures["serving_default"]
        value = call(x=tf.constant([2.0]))["y"].numpy().tolist()
        return [] if value == [6.0] else [f"answered {value}"]
else:
    check = verify
problems, seen, polls, longest = [], set(), 0, 0.0
print("ready", flush=True)
while not stop.exists():
    began = time.monotonic()
    for version in list_versions(base):
        if version not in seen:
            seen.add(version)
            try:
                problems += [f"{version}: {p}" for p in check(base / str(version))]
            except Exception as error:
                problems.append(f"{version}: {error!r:.200}")
    stable = read_labels(base).stable
    if stable is not None and stable not in list_versions(base):
        problems.append(f"stable is {stable}, which is not there")
    polls += 1
    longest = max(longest, time.monotonic() - began)
    time.sleep(0.001)
print(json.dumps({"problems": problems, "seen": len(seen), "polls": polls}))
"""


def run(how: str, check: str, model: Path, base: Path, kills: int, seed: int = 7) -> dict:
    """Publishes under a reader's eyes; what both of them have to say."""
    stop = base.parent / "stop"
    base.parent.mkdir(parents=True, exist_ok=True)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, check, str(base), str(stop), str(model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    try:
        assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
        arguments = [how, str(model), str(base), str(kills), str(seed)]
        done = subprocess.run(
            [sys.executable, "-c", PUBLISHER, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        time.sleep(0.05)
    finally:
        stop.touch()
        told, _ = reader.communicate(timeout=240)
    return {**json.loads(told), **json.loads(done.stdout)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Four megabytes in 41 files."""
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    for i in range(40):
        (folder / "variables" / f"variables.data-{i:05d}").write_bytes(bytes([i]) * 100_000)
    return folder


def test_killed_at_any_moment_a_publisher_leaves_whole_versions(model, tmp_path) -> None:
    base = tmp_path / "serving" / "toy"
    told = run("whole", "verify", model, base, kills=40)
    assert told["problems"] == []
    # The kills did hit publishers at work, and others got through.
    assert told["staged"] >= 10, told
    assert told["seen"] >= 5 and told["polls"] > 100, told
    for version in list_versions(base):
        assert verify(base / str(version)) == []
    # The next publisher removes what the dead ones left, and nothing else.
    versions = list_versions(base)
    last = publish(model, base, Manifest("toy", 0, ""))
    assert list_versions(base) == [*versions, int(last.name)]
    assert not list(base.glob(".staging-*"))
    assert record_push(base, int(last.name), "run r", "auto").is_stable
    assert read_labels(base).stable == int(last.name)


def test_the_reader_finds_what_a_naive_publisher_leaves(model, tmp_path) -> None:
    # The proof that the test above can fail.
    told = run("naive", "verify", model, tmp_path / "serving" / "toy", kills=3)
    assert told["problems"] != []


def test_killed_at_any_moment_every_version_loads(tmp_path) -> None:
    told = run("whole", "load", tmp_path / "saved", tmp_path / "serving" / "toy", kills=30)
    assert told["problems"] == []
    assert told["seen"] >= 2, told


def test_two_publishers_at_once_make_two_versions_each_whole(model, tmp_path) -> None:
    base = tmp_path / "serving" / "toy"
    script = (
        "import sys\n"
        "from ordain.serving.registry.manifest import Manifest\n"
        "from ordain.serving.registry.directory import publish\n"
        "from ordain.serving.registry.labels import record_push\n"
        "base = sys.argv[2]\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for _ in range(3):\n"
        "    folder = publish(sys.argv[1], base, Manifest('toy', 0, ''))\n"
        "    record_push(base, int(folder.name), 'run r', 'auto')\n"
        "    print(folder.name, flush=True)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(model), str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    given = [process.communicate("go\n", timeout=240)[0].split() for process in processes]
    assert sorted(int(version) for names in given for version in names) == [1, 2, 3, 4, 5, 6]
    for version in list_versions(base):
        assert verify(base / str(version)) == []
    labels = read_labels(base)
    assert labels.stable == 6 and len(labels.changes) == 6
