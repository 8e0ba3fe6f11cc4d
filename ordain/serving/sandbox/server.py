"""Server process of a trial: `python -m ordain.serving.sandbox.server FOLDER`.

The server of `ordain serve`, on free ports of the loopback, with system limits. It restricts its
access to files, imports TensorFlow, reports that, and waits for a line on standard input: its limit
of processor time in seconds. If standard input ends before, so does the server.
"""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path

from ordain.common.package import PACKAGE
from ordain.common.process_exit import exit_process
from ordain.errors import OrdainError
from ordain.serving.sandbox.file_access import restrict_files
from ordain.serving.sandbox.sandbox import (
    CANDIDATE_FOLDER,
    HAS_FILES,
    IMPORTED,
    MAX_FILE_BYTES,
    SCRATCH_FOLDER,
)
from ordain.serving.server.settings import Settings
from ordain.upstream.tensorflow_import import hide_keras


def confine(folder: Path) -> bool:
    """Restricts this process to reading the candidate and writing to the scratch folder.

    Args:
        folder: The trial's folder.

    Returns:
        Whether it worked; if not, nothing has changed.
    """
    return restrict_files([folder / CANDIDATE_FOLDER, PACKAGE], [folder / SCRATCH_FOLDER])


def limit(cpu_s: int, file_bytes: int) -> None:
    """Limits processor time and file sizes of this process, and disables core dumps."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(folder: Path) -> None:
    """Serves the candidate of a trial's folder until SIGTERM."""
    is_confined = confine(folder)
    hide_keras()
    from ordain.serving.server.app import serve  # noqa: PLC0415

    _say(IMPORTED if is_confined else f"{IMPORTED} {HAS_FILES}")
    line = sys.stdin.readline()
    if not line:
        exit_process(0)
    base = folder / CANDIDATE_FOLDER
    # The server copies the version that it loads, so its largest file must be writable.
    sizes = [path.stat().st_size for path in base.rglob("*") if path.is_file()]
    limit(int(line), max([MAX_FILE_BYTES, *sizes]))
    settings = Settings(
        base=base,
        name="candidate",
        rest_port=0,
        grpc_port=0,
        drain_grace_s=0.0,
        load_timeout_s=math.inf,  # the supervisor has the time limit
    )
    try:
        serve(settings, _say, is_trial=True)
    except OrdainError as error:
        sys.stderr.write(f"{error.message}\n")
        exit_process(int(error.exit_code))
    exit_process(0)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
