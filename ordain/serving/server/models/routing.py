"""Versions in memory, and which of them a request goes to.

A request is given a version once, at its start, and keeps it. What is served changes by one
assignment of a complete `Routing`; a version that is no longer in it ends when its last request
does.
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
    """What a version is doing, in TF Serving's words."""

    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


@dataclass(frozen=True)
class VersionStatus:
    """What the status page says about one version.

    Attributes:
        version: Its number.
        state: What it is doing.
        code: `OK`, or why it is not served.
        message: The same for a person; empty if it is fine.
    """

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""


class ServedVersion:
    """One loaded version with the requests it is answering."""

    def __init__(self, model: LoadedModel, batcher: Batcher) -> None:
        self.model = model
        self.batcher = batcher
        self._in_flight = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def version(self) -> int:
        """Its number."""
        return self.model.version

    @contextlib.contextmanager
    def lease(self) -> Iterator[ServedVersion]:
        """Keeps the version in memory for one request."""
        self._in_flight += 1
        self._is_idle.clear()
        try:
            yield self
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._is_idle.set()

    async def end(self) -> None:
        """Returns when its last request was answered; for a version that gets no new ones."""
        await self._is_idle.wait()
        await self.batcher.close()


@dataclass(frozen=True)
class Routing:
    """Where requests go, at one instant.

    Attributes:
        name: The model's name.
        stable: The version that serves, or None before there is one.
        canary: The version that gets a share, or None.
        share: The canary's part of the requests that name neither version nor label.
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
        """The version that answers a request.

        Args:
            name: The model's name, as the request gives it.
            version: The version it asks for, or None.
            label: The label it asks for, or empty.
            request_id: What tells this request from others; the same one is always answered by
                the same side of the canary's share. None for a question about the model, such as
                its metadata, which the stable version answers.

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
        number = self._labelled(label) if label else self._any(request_id)
        return self.loaded[number]

    def labels(self) -> dict[str, int]:
        """Each label that stands on a version in memory."""
        found = {STABLE: self.stable, CANARY: self.canary}
        return {label: version for label, version in found.items() if version is not None}

    def _labelled(self, label: str) -> int:
        version = self.labels().get(label)
        if version is None:
            # TF Serving's words and code for a label that nothing stands on.
            raise invalid(f"Unrecognized servable version label: {label}")
        return version

    def _any(self, request_id: str | None) -> int:
        if self.stable is None:
            raise RequestError(Code.UNAVAILABLE, f"no version of {self.name} is loaded yet")
        if self.canary is None or request_id is None:
            return self.stable
        return self.canary if _draw(request_id) < self.share else self.stable


def _draw(request_id: str) -> float:
    """A number in [0, 1): always the same for one id, any for a request without."""
    if not request_id:
        return random.random()  # noqa: S311  a share of the traffic is no secret
    digest = hashlib.sha256(request_id.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
