"""The server of a trial: `python -m serving.trial_server`.

The same server as `ordain serve` starts, on free ports of the loopback, with limits of the system
on top. It imports first, says so, and reads what to serve from standard input: a line of JSON,
`[serving directory, seconds of processor time]`. If that ends before, so does the server.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from pathlib import Path

from contracts.errors import OrdainError
from contracts.leaving import leave
from serving.server.lean import leave_keras_out
from serving.server.settings import Settings
from serving.trial import IMPORTED, MAX_FILE_BYTES


def limit(cpu_s: int) -> None:
    """Limits processor time and file sizes of this process, and leaves no memory image behind."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Serves until it is told to end."""
    leave_keras_out()
    from serving.server.app import serve  # noqa: PLC0415

    _say(IMPORTED)
    line = sys.stdin.readline()
    if not line:
        leave(0)
    base, cpu_s = json.loads(line)
    limit(cpu_s)
    settings = Settings(
        base=Path(base),
        name="candidate",
        rest_port=0,
        grpc_port=0,
        drain_grace_s=0.0,
        load_timeout_s=math.inf,  # who holds the trial ends it
    )
    try:
        serve(settings, _say, is_trial=True)
    except OrdainError as error:
        sys.stderr.write(f"{error.message}\n")
        leave(int(error.exit_code))
    leave(0)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
