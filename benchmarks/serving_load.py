"""A server under load while its versions change, and its throughput beside the bare model.

    .venv/bin/python -m benchmarks.serving_load --seconds 60

Two figures come out of one run, over a server process of its own:

- load: clients ask over REST (one row; batches of 32) and gRPC while the label moves every five
  seconds; each answer is held against the version that gave it. Zero may fail or be wrong.
- throughput: rows a second of single-row requests and of batches of 32, as a ratio to calling the
  same SavedModel directly in this process. Client and server share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from ordain.serving.registry.labels import promote

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

BATCH = 32
URI = "/v1/models/toy:predict"


@dataclass
class Load:
    """What clients saw.

    Attributes:
        latencies_s: Of each answer, by kind of client.
        failed: Requests without a good answer, with the reason.
        wrong: Answers that are not what their version says.
        versions: How many answers each version gave.
        moves_s: From each move of the label to its first answer.
    """

    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)
    moves_s: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Answers in all."""
        return sum(map(len, self.latencies_s.values()))

    def note(self, kind: str, seconds: float, version: int, x: np.ndarray, y: Any) -> None:
        """Counts one answer and holds it against its version."""
        self.latencies_s.setdefault(kind, []).append(seconds)
        self.versions[version] = self.versions.get(version, 0) + 1
        want = 2 * x + np.float32(version)
        if not np.allclose(np.asarray(y, dtype=np.float32), want):
            self.wrong.append(f"{kind}: version {version} answered {y!r} to {x!r}")


async def ask_rest(
    session: aiohttp.ClientSession, url: str, load: Load, rows: int, until: float
) -> None:
    """One client: asks until the time is over, one request after the other."""
    draw = np.random.default_rng(rows)
    kind = f"REST, {rows} row(s)"
    while time.monotonic() < until:
        x = draw.integers(0, 1000, rows).astype(np.float32)
        instances = [{"x": float(value), "s": "abc"} for value in x]
        body = json.dumps({"instances": instances})
        started = time.monotonic()
        try:
            async with session.post(url + URI, data=body) as answer:
                text = await answer.text()
                seconds = time.monotonic() - started
                if answer.status != 200:
                    load.failed.append(f"{kind}: {answer.status} {text[:200]}")
                    continue
                predictions = json.loads(text)["predictions"]
                header = int(answer.headers["X-Model-Version"])
        except (aiohttp.ClientError, OSError, ValueError) as error:
            load.failed.append(f"{kind}: {error!r}")
            continue
        said = {p["v"] for p in predictions}
        if said != {header}:
            load.wrong.append(f"{kind}: rows of versions {said}, header {header}")
        load.note(kind, seconds, header, x, [p["y"] for p in predictions])


async def ask_grpc(address: str, load: Load, until: float) -> None:
    """One client of PredictionService."""
    draw = np.random.default_rng(7)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        while time.monotonic() < until:
            x = draw.integers(0, 1000, 4).astype(np.float32)
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "toy"
            request.inputs["x"].CopyFrom(tf.make_tensor_proto(x))
            request.inputs["s"].CopyFrom(tf.make_tensor_proto([b"abc"] * 4))
            started = time.monotonic()
            try:
                answer = await stub.Predict(request, timeout=30)
            except grpc.aio.AioRpcError as error:
                load.failed.append(f"gRPC: {error.code()} {error.details()}")
                continue
            seconds = time.monotonic() - started
            version = answer.model_spec.version.value
            load.note("gRPC, 4 row(s)", seconds, version, x, tf.make_ndarray(answer.outputs["y"]))


async def move_label(
    move: Callable[[int], Any], versions: int, every_s: float, load: Load, until: float
) -> None:
    """Moves `stable` through the versions, and waits for the first answer of each."""
    version = versions
    while time.monotonic() + every_s < until:
        await asyncio.sleep(every_s)
        version = version % versions + 1
        before = load.versions.get(version, 0)
        started = time.monotonic()
        await asyncio.to_thread(move, version)
        while load.versions.get(version, 0) == before and time.monotonic() < until:
            await asyncio.sleep(0.005)
        load.moves_s.append(time.monotonic() - started)


async def run_load(
    rest: str,
    address: str,
    move: Callable[[int], Any],
    versions: int,
    seconds: float,
    every_s: float,
) -> Load:
    """Clients of each kind, and the label moving under them."""
    load = Load()
    until = time.monotonic() + seconds
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        clients = [ask_rest(session, rest, load, 1, until) for _ in range(6)]
        clients += [ask_rest(session, rest, load, BATCH, until) for _ in range(2)]
        clients += [ask_grpc(address, load, until) for _ in range(2)]
        await asyncio.gather(*clients, move_label(move, versions, every_s, load, until))
    return load


async def measure_rows(rest: str, rows: int, clients: int, seconds: float) -> float:
    """Rows a second over REST, each client asking one request after the other."""
    load = Load()
    until = time.monotonic() + seconds
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*[ask_rest(session, rest, load, rows, until) for _ in range(clients)])
    if load.failed or load.wrong:
        raise SystemExit("\n".join(load.failed[:5] + load.wrong[:5]))
    return load.count * rows / seconds


def measure_direct(folder: Path, rows: int, seconds: float) -> float:
    """Rows a second of the SavedModel called in this process, from arrays to arrays."""
    call = tf.saved_model.load(str(folder)).signatures["serving_default"]
    x = np.arange(rows, dtype=np.float32)
    s = np.array([b"abc"] * rows, dtype=object)
    done = 0
    until = 0.0
    while not until or time.monotonic() < until:
        outputs = call(x=tf.constant(x), s=tf.constant(s))
        _ = {name: tensor.numpy() for name, tensor in outputs.items()}
        done += rows
        if not until:  # the first call builds the function
            done, until = 0, time.monotonic() + seconds
    return done / seconds


def describe(load: Load) -> str:
    """The figures of a load, a line each."""
    lines = [
        f"answers {load.count}, failed {len(load.failed)}, wrong {len(load.wrong)}, "
        f"label moves {len(load.moves_s)}, seen after at most {max(load.moves_s, default=0):.2f} s"
    ]
    for kind, latencies in sorted(load.latencies_s.items()):
        p50, p95, p99 = (1000 * np.percentile(latencies, q) for q in (50, 95, 99))
        lines.append(
            f"{kind:<16} {len(latencies):>7} answers  "
            f"p50 {p50:.1f} ms  p95 {p95:.1f} ms  p99 {p99:.1f} ms"
        )
    return "\n".join(lines)


def main() -> None:
    """Prints both figures; fails if an answer failed or was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--every", type=float, default=5, help="seconds between label moves")
    parser.add_argument("--throughput-seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=32, help="clients of the throughput")
    given = parser.parse_args()

    # The toy and its server process are the tests'; they are no package.
    from servers import end, publish_toys, start, write_project  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="ordain-load-") as name:
        folder = Path(name)
        project = write_project(folder)
        base = folder / "work" / "serving" / "toy"
        publish_toys(base, folder, 3)
        server = start(project, "--keep-loaded", "0")
        try:
            server.wait()
            before = server.memory_bytes
            move: Callable[[int], Any] = lambda v: promote(base, v, "load", "benchmark")  # noqa: E731
            load = asyncio.run(
                run_load(server.rest, server.grpc, move, 3, given.seconds, given.every)
            )
            after = server.memory_bytes
            print(describe(load))
            print(f"server memory {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after")
            for rows in (1, BATCH):
                served = asyncio.run(
                    measure_rows(server.rest, rows, given.clients, given.throughput_seconds)
                )
                direct = measure_direct(base / "3", rows, given.throughput_seconds / 2)
                print(
                    f"{rows} row(s) a request: {served:,.0f} rows/s served, "
                    f"{direct:,.0f} rows/s direct, ratio {served / direct:.2f}"
                )
            code = server.stop()
        finally:
            end(server)
    for line in (*load.failed[:10], *load.wrong[:10]):
        print("bad:", line)
    sys.exit(bool(load.failed or load.wrong or code))


if __name__ == "__main__":
    main()
