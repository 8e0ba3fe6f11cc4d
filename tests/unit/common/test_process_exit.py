"""Fast exit of a process, without leftover files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
#: A thread and a function at the interpreter's end that never end; one object writes when it is
#: torn down.
PROGRAM = """
import atexit, os, sys, threading
import tensorflow as tf
from ordain.common.process_exit import exit_process

class TornDown:
    def __del__(self):
        print("torn down", flush=True)

@tf.function
def is_large(number):
    if number > 1:
        return True
    return False

kept = TornDown()
atexit.register(threading.Event().wait)
threading.Thread(target=threading.Event().wait).start()
assert is_large(tf.constant(2))
sys.stdout.write("said")
sys.stderr.write("warned")
if len(sys.argv) > 1:
    exit_process(int(sys.argv[1]))
os._exit(0)
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"  # AutoGraph reads the source
    program.write_text(PROGRAM)
    temporary = folder / "temporary"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, str(program), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_output_is_complete_and_no_file_is_left(tmp_path: Path) -> None:
    done = run(tmp_path, "5")
    assert (done.returncode, done.stdout) == (5, "said")
    assert done.stderr.endswith("warned")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_process_that_just_ends_leaves_what_autograph_wrote(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 0
    assert list((tmp_path / "temporary").glob("__autograph_generated_file*.py")), (
        "AutoGraph writes no files any more: exit_process() need not remove them"
    )


def test_the_exit_code_is_kept_without_a_reader() -> None:
    program = "from ordain.common.process_exit import exit_process; print('said'); exit_process(4)"
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=buffered, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(240) == 4
