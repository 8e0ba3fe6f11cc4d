"""Malformed requests at a running `ordain serve`: each is answered 4xx, with a message.

    .venv/bin/python -m benchmarks.serving_malformed http://127.0.0.1:8501 NAME --count 10000

The requests come from a seeded generator, so that a failure can be had again. Slow clients take
seconds each, and are a few among them.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

#: One slow client in so many requests.
SLOW_EACH = 250
ANSWER_LIMIT_S = 30.0
#: Any JSON value but an object that a predict request could be.
SCALARS = (None, True, False, 0, -1, 1.5, "", "x", "\ud800", 10**400, -(10**30), 1e308)


@dataclass
class Tally:
    """What became of the requests."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many were sent."""
        return sum(self.kinds.values())


def good(name: str) -> tuple[str, bytes]:
    """A request to the toy model that is fine; the malformed ones are made of it."""
    body = {"instances": [{"x": 1.5, "s": "abc"}, {"x": 2.5, "s": "d"}]}
    return f"/v1/models/{name}:predict", json.dumps(body).encode()


def truncated(draw: random.Random, body: bytes) -> bytes:
    """Cut short."""
    return body[: draw.randrange(len(body))]


def invalid_utf8(draw: random.Random, body: bytes) -> bytes:
    """A byte that begins no character, in a text."""
    at = body.index(b"abc") + draw.randrange(3)
    return body[:at] + bytes([draw.choice((0xFF, 0xC0, 0x80, 0xFE))]) + body[at:]


def wrong_type(draw: random.Random, body: bytes) -> bytes:
    """Another kind of value where a number is wanted."""
    del body
    value = draw.choice(["1", True, None, {}, [], {"b64": "AA=="}, {"x": 1}, [[1]]])
    return json.dumps({"instances": [{"x": value, "s": "a"}]}).encode()


def wrong_shape(draw: random.Random, body: bytes) -> bytes:
    """Lists where none are wanted, irregular ones, columns of different lengths."""
    del body
    size = draw.randrange(2, 20)
    inputs = draw.choice(
        [
            {"x": [[1.0]] * size, "s": ["a"] * size},
            {"x": [1.0] * size, "s": ["a"] * (size + 1)},
            {"x": [1.0, [1.0]], "s": ["a", "b"]},
            {"x": [], "s": ["a"] * size},
            {"x": 1.0, "s": "a"},
        ]
    )
    return json.dumps({"inputs": inputs}).encode()


def huge_number(draw: random.Random, body: bytes) -> bytes:
    """A number that fits no double, no float32, or no patience."""
    del body
    text = draw.choice(["1e999", "-1e400", "9" * 5000, "1" + "0" * 400, "1e39", "1" * 350 + ".5"])
    return b'{"instances": [{"x": ' + text.encode() + b', "s": "a"}]}'


def deep(draw: random.Random, body: bytes) -> bytes:
    """Nested far deeper than any tensor."""
    del body
    depth = draw.choice([50, 500, 5_000, 100_000])
    opening, closing = draw.choice([(b"[", b"]"), (b'{"a":', b"}")])
    end = closing * depth if draw.random() < 0.5 else b""
    return b'{"instances": ' + opening * depth + b"1" + end + b"}"


def other_document(draw: random.Random, body: bytes) -> bytes:
    """A document that is something else."""
    del body
    value = draw.choice([*SCALARS, [], {}, {"instances": draw.choice(SCALARS)}, {"inputs": 1}])
    return json.dumps(value).encode()


def noise(draw: random.Random, body: bytes) -> bytes:
    """Bytes of no kind, or of the good request with some replaced by brackets and quotes."""
    if draw.random() < 0.5:
        return draw.randbytes(draw.randrange(1, 2000))
    damaged = bytearray(body)
    for _ in range(draw.randrange(1, 6)):
        damaged[draw.randrange(len(damaged))] = draw.choice(b'[]{}":,\\\x00\xff')
    # Brackets make sure that it is none by chance.
    return b"[" + bytes(damaged) + b"}"


BODIES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(truncated, invalid_utf8, wrong_type, wrong_shape, huge_number, deep),
    *(other_document, noise),
)


def bad_target(draw: random.Random, name: str) -> tuple[str, str]:
    """A method and a path that mean nothing."""
    return draw.choice(
        [
            ("POST", f"/v1/models/{name}/versions/999:predict"),
            ("POST", f"/v1/models/{name}/versions/-1:predict"),
            ("POST", f"/v1/models/{name}/labels/%00:predict"),
            ("POST", "/v1/models/%ff%fe:predict"),
            ("POST", f"/v1/models/{'n' * 3000}:predict"),
            ("POST", f"/v1/models/{name}:drop"),
            ("DELETE", f"/v1/models/{name}"),
            ("GET", "/v1/../../etc/passwd"),
            ("POST", f"/v2/models/{name}/versions/x/infer"),
            ("POST", "/v2/models/other/infer"),
            ("GET", f"/v2/models/{name}/infer"),
        ]
    )


def bad_head(draw: random.Random, path: str) -> bytes:
    """Bytes that are no head of a request, or of one too large."""
    return draw.choice(
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 3 + b"\r\n\r\n",
            b"GARBAGE\r\n\r\n",
            f"POST {path} HTTP/9.9\r\n\r\n".encode(),
            f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n".encode(),
            f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".encode(),
            f"POST {path} HTTP/1.1\r\nHost: a\r\nX: {'y' * 20_000}\r\n\r\n".encode(),
            f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".encode(),
            f"POST {path} HTTP/1.1\r\n: no name\r\n\r\n".encode(),
        ]
    )


def head(method: str, path: str, length: int, extra: str = "") -> bytes:
    """The head of a request; the connection is for it alone."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n{extra}\r\n"
    ).encode("latin-1")


def requests(seed: int, count: int, name: str, limit: int) -> Iterator[tuple[str, list[bytes]]]:
    """Kind and pieces of each request; there is a pause before each piece but the first.

    Args:
        seed: The same gives the same requests.
        count: How many.
        name: A toy model's name.
        limit: The server's limit on a body, in bytes.
    """
    draw = random.Random(seed)  # noqa: S311  has to be repeatable, not secret
    path, body = good(name)
    for number in range(count):
        kind = draw.randrange(len(BODIES) + 4)
        if number % SLOW_EACH == SLOW_EACH - 1:
            whole = head("POST", path, len(body)) + body
            cut = draw.choice([10, len(whole) - 5])
            yield ("slow head" if cut == 10 else "slow body"), [whole[:cut], b""]
        elif kind < len(BODIES):
            made = BODIES[kind](draw, body)
            target = path if draw.random() < 0.7 else f"/v2/models/{name}/infer"
            yield BODIES[kind].__name__, [head("POST", target, len(made)) + made]
        elif kind == len(BODIES):
            yield "oversized, as it says", [head("POST", path, limit + draw.randrange(1, 10**12))]
        elif kind == len(BODIES) + 1:
            # Chunks, so that the length is not known before.
            chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
            start = head("POST", path, 0).replace(
                b"Content-Length: 0", b"Transfer-Encoding: chunked"
            )
            yield "oversized, in chunks", [start + chunk * (limit // 65536 + 2)]
        elif kind == len(BODIES) + 2:
            yield "head", [bad_head(draw, path)]
        else:
            method, target = bad_target(draw, name)
            sent = body if method == "POST" else b""
            yield "path", [head(method, target, len(sent)) + sent]


def send(host: str, port: int, pieces: list[bytes]) -> tuple[int, bytes]:
    """Status and body of the answer."""
    with socket.create_connection((host, port), timeout=ANSWER_LIMIT_S) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break  # refused before all of it was sent; the answer is there to read
        answer = b""
        try:
            while not _is_whole(answer) and (chunk := connection.recv(65536)):
                answer += chunk
        except ConnectionResetError:
            pass
    status = answer.split(b" ", 2)[1:2]
    return int(status[0]) if status else 0, answer.partition(b"\r\n\r\n")[2]


def _is_whole(answer: bytes) -> bool:
    """Whether all of an answer is there; the connection may stay open behind it."""
    start, blank, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", start)
    return bool(blank) and length is not None and len(body) >= int(length[1])


def run(url: str, name: str, count: int, seed: int, limit: int) -> Tally:
    """Sends malformed requests one after the other and looks at each answer."""
    split = urlsplit(url)
    assert split.hostname is not None  # noqa: S101
    tally = Tally()
    for kind, pieces in requests(seed, count, name, limit):
        status, body = send(split.hostname, split.port or 80, pieces)
        tally.kinds[kind] += 1
        tally.statuses[status] += 1
        if not 400 <= status < 500 or not body.strip():
            sent = b"".join(pieces)[:300]
            tally.wrong.append(f"{kind}: {status} {body[:200]!r} to {sent!r}")
    return tally


def main() -> None:
    """Prints what became of the requests; fails if one was not answered 4xx with a message."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-body-bytes", type=int, default=16_000_000)
    given = parser.parse_args()
    started = time.monotonic()
    tally = run(given.url, given.name, given.count, given.seed, given.max_body_bytes)
    print(f"{tally.count} requests in {time.monotonic() - started:.0f} s")
    for title, counts in (("kinds", tally.kinds), ("statuses", tally.statuses)):
        print(f"{title}: " + ", ".join(f"{k} {n}" for k, n in sorted(counts.items(), key=str)))
    for line in tally.wrong[:20]:
        print("wrong:", line)
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
