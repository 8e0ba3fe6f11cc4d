"""A project's two threads: what is read is given up after a while, a change is not."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from ordain.config.loading import load_project
from ordain.dashboard import workspaces

SMALL = Path(__file__).parents[2] / "projects" / "small"


def test_a_change_is_waited_for_and_pages_are_read_meanwhile(monkeypatch):
    monkeypatch.setattr(workspaces, "ANSWER_TIMEOUT_S", 0.05)
    source = workspaces.Source(load_project(SMALL))
    goes_on = threading.Event()

    async def ask_while_changing() -> tuple[str, bool]:
        change = asyncio.create_task(source.change(lambda: goes_on.wait(60)))
        await asyncio.sleep(0.2)
        read = await source.ask(lambda: "read")
        with pytest.raises(TimeoutError):
            await source.ask(lambda: goes_on.wait(0.2))
        assert not change.done()
        goes_on.set()
        return read, await change

    try:
        assert asyncio.run(ask_while_changing()) == ("read", True)
    finally:
        goes_on.set()
        source.close()
