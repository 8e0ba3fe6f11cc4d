"""Routing of requests to the versions in memory.

A request is assigned a version once, at its start. Routing changes by one assignment of a complete
`Routing`; a version that is no longer in it is unloaded after its last request.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ordain.serving.registry.label_file import CANARY, STABLE
from ordain.serving.server.errors import Code, RequestError, invalid, not_found
from ordain.serving.server.models.batching import Batcher
from ordain.serving.server.models.loaded_model import LoadedModel


class State(StrEnum):
    """State of a version, as TensorFlow Serving names it."""

    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


@dataclass(frozen=True)
class VersionStatus:
    """Status of one version.

    Attributes:
        version: Its number.
        state: Its state.
        code: `OK`, or the code of the error.
        message: Reason for a refusal, or empty.
    """

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""


class OpenRequests:
    """Counts open requests, and waits for their end.

    Attributes:
        count: How many are open.
    """

    def __init__(self) -> None:
        self.count = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Counts a request while it is open."""
        self.count += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self.count -= 1
            if not self.count:
                self._is_idle.set()

    async def ended(self) -> None:
        """Waits until none is open."""
        await self._is_idle.wait()


class ServedVersion:
    """One loaded version with its open requests."""

    def __init__(self, model: LoadedModel, batcher: Batcher) -> None:
        self.model = model
        self.batcher = batcher
        self.open_requests = OpenRequests()

    @property
    def version(self) -> int:
        """Its number."""
        return self.model.version

    async def end(self) -> None:
        """Waits for its last request, then closes the batcher; it must get no new requests."""
        await self.open_requests.ended()
        await self.batcher.close()


@dataclass(frozen=True)
class Routing:
    """Assignment of requests to versions, at one instant.

    Attributes:
        name: The model's name.
        stable: The stable version, or None before there is one.
        canary: The canary version, or None.
        share: The canary's share of the requests that name neither version nor label.
        loaded: All versions in memory.
    """

    name: str
    stable: int | None = None
    canary: int | None = None
    share: float = 0.0
    loaded: Mapping[int, ServedVersion] = field(default_factory=dict)

    def choose(
        self, name: str, version: int | None = None, label: str = "", request_id: str | None = ""
    ) -> ServedVersion:
        """Chooses the version that answers a request.

        Args:
            name: Requested model.
            version: Requested version, or None.
            label: Requested label, or empty.
            request_id: Id of the request; equal ids are always on the same side of the canary
                split. None for requests about the model, such as its metadata, which the stable
                version answers.

        Raises:
            RequestError: Nothing of that name, version or label is served.
        """
        if name != self.name:
            wanted = f"Specific({name}, {version})" if version is not None else f"Latest({name})"
            raise not_found(f"Servable not found for request: {wanted}")
        if version is not None:
            if label:
                raise invalid("a request names a version or a label, not both")
            if version not in self.loaded:
                raise not_found(f"Servable not found for request: Specific({name}, {version})")
            return self.loaded[version]
        if label:
            if label not in self.labels():
                # TensorFlow Serving's message and code for a label without a version.
                raise invalid(f"Unrecognized servable version label: {label}")
            return self.loaded[self.labels()[label]]
        if self.stable is None:
            raise RequestError(Code.UNAVAILABLE, f"no version of {self.name} is loaded yet")
        if self.canary is None or request_id is None or _draw(request_id) >= self.share:
            return self.loaded[self.stable]
        return self.loaded[self.canary]

    def labels(self) -> dict[str, int]:
        """Labels of versions in memory."""
        found = {STABLE: self.stable, CANARY: self.canary}
        return {label: version for label, version in found.items() if version is not None}


def _draw(request_id: str) -> float:
    """A number in [0, 1): derived from the id, or random without one."""
    if not request_id:
        return random.random()  # noqa: S311  a share of the traffic is no secret
    digest = hashlib.sha256(request_id.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
