"""Leaving a process at once, with what libraries registered for its end done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
#: A thread that never ends would keep the interpreter; one object writes when it is torn down.
PROGRAM = """
import atexit, pathlib, sys, threading
from contracts.leaving import leave

class TornDown:
    def __del__(self):
        print("torn down", flush=True)

kept = TornDown()
temporary = pathlib.Path(sys.argv[1])
atexit.register(temporary.unlink)
threading.Thread(target=threading.Event().wait).start()
sys.stdout.write("said")
sys.stderr.write("warned")
leave(5)
"""


def test_it_flushes_cleans_up_and_tears_nothing_down(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.touch()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(temporary)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "said", "warned")
    assert not temporary.exists()
