"""The stable version's latency while a canary hangs, raises or takes all memory at its load.

    .venv/bin/python -m benchmarks.serving_bad_canary --rounds 5 --seconds 8

One server process, clients that ask one request after the other, and phases that alternate so that
a slow minute of the machine meets each kind: no canary; one that hangs while it is loaded; one that
raises, tried again and again; one that fills memory without end, tried again and again. Every
answer has to come from the stable version. Fails if one does not, or if the ratio of a p99 to the
p99 without a canary is above the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

import aiohttp
import numpy as np

from benchmarks.serving_load import ROOT, Load, ask_rest
from ordain.serving.registry.directory import publish
from ordain.serving.registry.label_file import LABELS_FILE
from ordain.serving.registry.labels import promote
from ordain.serving.registry.manifest import Manifest

sys.path.insert(0, str(ROOT / "tests" / "support"))

WHO = ("bench", "benchmark")
STABLE = 1
#: The canary of each kind of phase.
CANARIES = {"no canary": None, "hangs": 2, "raises": 3, "fills memory": 4}
KIND = "REST, 1 row(s)"
#: From the start of a phase to the first answer that counts.
SETTLE_S = 1.0
#: How often the label of a canary that was refused changes, so that it is tried again.
AGAIN_S = 1.0


def put_canary(base: Path, version: int | None, share: float) -> None:
    """Moves the canary's label by hand.

    `set_canary` checks the version in this process first, whose clients would wait for it.
    """
    labels = json.loads((base / LABELS_FILE).read_text())
    labels["canary"] = None if version is None else {"version": version, "share": share}
    part = base / ".labels.part"
    part.write_text(json.dumps(labels))
    part.replace(base / LABELS_FILE)


async def trouble(base: Path, version: int | None, seconds: float) -> None:
    """Puts the canary's label on a version, and again and again; takes it away at the end."""
    if version is None:
        await asyncio.sleep(seconds)
        return
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    share = 0.5
    while loop.time() < until:
        put_canary(base, version, share)
        share = 0.5 if share != 0.5 else 0.4
        # The one that hangs is loading all the time; another label would change nothing.
        await asyncio.sleep(seconds if CANARIES["hangs"] == version else AGAIN_S)
    put_canary(base, None, 0)


async def phase(rest: str, base: Path, version: int | None, clients: int, seconds: float) -> Load:
    """The answers of one phase."""
    load, ignored = Load(), Load()
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask() -> None:
            begun = loop.time()
            await ask_rest(session, rest, ignored, 1, begun + SETTLE_S)
            await ask_rest(session, rest, load, 1, begun + SETTLE_S + seconds)

        asking = [ask() for _ in range(clients)]
        await asyncio.gather(*asking, trouble(base, version, SETTLE_S + seconds))
    load.failed += ignored.failed
    load.wrong += ignored.wrong
    return load


def table(phases: dict[str, list[Load]], limit: float) -> tuple[list[str], bool]:
    """The figures as a table in Markdown, and whether each ratio is within the limit."""
    lines = ["| canary | answers | p50 ms | p99 ms | p99 of each round | p99 ratio |"]
    lines.append("|---|---:|---:|---:|---|---:|")
    pooled = {
        name: [s for load in loads for s in load.latencies_s[KIND]]
        for name, loads in phases.items()
    }
    base = float(np.percentile(pooled["no canary"], 99))
    is_fine = True
    for name, loads in phases.items():
        p50, p99 = np.percentile(pooled[name], [50, 99])
        each = ", ".join(f"{1000 * np.percentile(d.latencies_s[KIND], 99):.1f}" for d in loads)
        ratio = p99 / base
        is_fine = is_fine and ratio <= limit
        lines.append(
            f"| {name} | {len(pooled[name])} | {1000 * p50:.1f} | {1000 * p99:.1f} | {each} "
            f"| {ratio:.2f} |"
        )
    return lines, is_fine


def main() -> None:
    """Prints the table; fails if an answer was lost or a ratio is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="of each phase")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--limit", type=float, default=1.5, help="of each p99 ratio")
    given = parser.parse_args()

    # The models and the server process are the tests'; they are no package.
    from broken_models import save_broken  # noqa: PLC0415
    from servers import end, start, write_project  # noqa: PLC0415

    phases: dict[str, list[Load]] = {name: [] for name in CANARIES}
    with tempfile.TemporaryDirectory(prefix="ordain-canary-") as name:
        folder = Path(name)
        project = write_project(folder)
        base = folder / "work" / "serving" / "toy"
        for version, kind in enumerate(("", "hang", "raise", "memory"), STABLE):
            publish(
                save_broken(folder / f"m{version}", version, kind), base, Manifest("toy", 0, "")
            )
        promote(base, STABLE, *WHO)
        server = start(project, "--load-timeout-s", "600", "--load-memory-mb", "2000")
        try:
            server.wait()
            names = list(CANARIES)
            for number in range(given.rounds):
                for kind in names[number % len(names) :] + names[: number % len(names)]:
                    version = CANARIES[kind]
                    done = asyncio.run(
                        phase(server.rest, base, version, given.clients, given.seconds)
                    )
                    phases[kind].append(done)
            refused = server.log.read_text().count("is refused")
            code = server.stop()
        finally:
            end(server)
    lines, is_fine = table(phases, given.limit)
    print("\n".join(lines))
    loads = [load for each in phases.values() for load in each]
    failed = [line for load in loads for line in load.failed + load.wrong]
    others = sorted({v for load in loads for v in load.versions} - {STABLE})
    print(
        f"failed or wrong {len(failed)}, answers of other versions {others}, "
        f"loads refused {refused}"
    )
    for line in failed[:10]:
        print("bad:", line)
    sys.exit(bool(failed or others or code or not is_fine))


if __name__ == "__main__":
    main()
