"""A real headless Chromium that looks at a page on disk, and notes whatever goes wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Sight:
    """A page, with what it said and what it asked for.

    Attributes:
        page: Playwright's page.
        problems: Console errors and warnings, and exceptions.
        requests: Addresses it asked for beside itself.
    """

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """The browser; without one the test is left out, except in CI."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None and not os.environ.get("ORDAIN_TEST_ALL"):
        pytest.skip("needs chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its own sandbox needs more rights than a container gives; it looks at our pages only.
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def looking_at(browser: Any, path: Path, **options: Any) -> Iterator[Sight]:
    """Opens a file; `options` are those of Playwright's `new_page`."""
    options = {"viewport": {"width": 1280, "height": 900}, **options}
    page = browser.new_page(**options)
    page.set_default_timeout(120_000)
    sight = Sight(page)
    page.on("console", lambda m: sight.problems.append(f"{m.type}: {m.text}"))
    page.on("pageerror", lambda error: sight.problems.append(f"exception: {error}"))
    own = path.resolve().as_uri()
    page.on(
        "request",
        lambda r: sight.requests.append(r.url) if r.url.partition("#")[0] != own else None,
    )
    try:
        page.goto(own)
        yield sight
    finally:
        page.close()


def table(page: Any, selector: str, caption: str) -> list[dict[str, str]]:
    """A table's rows by the heads of its columns, as a reader sees them.

    Args:
        page: Playwright's page.
        selector: The section that holds the table.
        caption: What the table's caption begins with.
    """
    script = """([selector, caption]) => {
        const all = [...document.querySelectorAll(selector + " table")];
        const one = all.find((t) => t.caption && t.caption.textContent.trim().startsWith(caption));
        if (!one) return null;
        const text = (cell) => {
            const parts = [...cell.childNodes].filter((n) => n.nodeName !== "SMALL");
            return parts.map((n) => n.textContent).join("").trim().replace(/\\s+/g, " ");
        };
        const heads = [...one.tHead.rows[0].cells].map(text);
        const entry = (row) => [...row.cells].map((c, i) => [heads[i], text(c)]);
        return [...one.tBodies[0].rows].map((row) => Object.fromEntries(entry(row)));
    }"""
    found = page.evaluate(script, [selector, caption])
    assert found is not None, f"no table {caption!r} in {selector}"
    return found


def as_number(text: str) -> float:
    """A number as the page writes it."""
    return float(text.replace(",", "").replace("−", "-").removesuffix(" %"))
