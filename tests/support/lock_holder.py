"""Holds a workspace until it is sent a line, and says so; or says for whom it waits.

lock_holder.py WORKSPACE RUN refuse|wait [METADATA]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ordain.metadata.location import parse_location
from ordain.runner.workspace_lock import workspace_lock


def start(workspace: Path, run_id: str, mode: str, *metadata: str) -> subprocess.Popen[str]:
    """Starts one in a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, str(workspace), run_id, mode, *metadata],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


if __name__ == "__main__":
    workspace, run_id, mode, *metadata = sys.argv[1:]
    with workspace_lock(
        Path(workspace),
        run_id,
        mode == "wait",
        lambda holder: print("waits for", holder, flush=True),
        parse_location(metadata[0]) if metadata else None,
    ):
        print("holds", flush=True)
        sys.stdin.readline()
