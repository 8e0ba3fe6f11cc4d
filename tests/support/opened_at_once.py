"""Many processes that open a fresh database at the same moment, as pods do.

    opened_at_once.py ADDRESS

waits for a line, opens ML Metadata there, writes one artifact and says how many it finds.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def open_at_once(address: str, count: int) -> list[tuple[int, str]]:
    """Exit code and what was said, of each process."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [(process.wait(), process.communicate()[0]) for process in processes]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from ml_metadata.proto import metadata_store_pb2 as pb

    from ordain.common.portable_paths import AS_THEY_ARE
    from ordain.metadata.location import parse_location
    from ordain.metadata.store import open_store

    print("ready", flush=True)
    sys.stdin.readline()
    store = open_store(parse_location(sys.argv[1]), AS_THEY_ARE)
    kind = store.put_context_type(pb.ContextType(name=f"of-{id(store)}-{sys.argv[0]}"))
    print("opened", kind > 0, flush=True)
