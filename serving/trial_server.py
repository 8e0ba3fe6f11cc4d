"""The server of a trial: `python -m serving.trial_server BASE CPU_SECONDS`.

The same server as `ordain serve` starts, on free ports of the loopback, with limits of the system
on top.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path

from contracts.errors import OrdainError
from serving.server.lean import leave_keras_out
from serving.server.settings import Settings
from serving.trial import LOADING, MAX_FILE_BYTES


def limit(cpu_s: int) -> None:
    """Limits processor time and file sizes of this process, and leaves no memory image behind."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(base: str, cpu_s: str) -> None:
    """Serves until it is told to end."""
    limit(int(cpu_s))
    settings = Settings(
        base=Path(base), name="candidate", rest_port=0, grpc_port=0, drain_grace_s=0.0
    )
    leave_keras_out()
    from serving.server.app import bound_threads, serve_forever  # noqa: PLC0415

    _say(LOADING)
    bound_threads(settings.threads)
    try:
        asyncio.run(serve_forever(settings, _say))
    except OrdainError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.stderr.flush()
        os._exit(int(error.exit_code))
    # TensorFlow and gRPC take seconds to tear down, and nobody waits for more answers.
    os._exit(0)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:3])
