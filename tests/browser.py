"""A real browser to open our pages in. `pytest_plugins = ["browser"]` in a test module brings its fixtures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOCAL = ("file:", "data:", "blob:", "http://127.0.0.1:")


# Of a module rather than of the session: Playwright keeps an event loop running in this thread, which another module's
# asyncio.run would refuse.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, headless; a test that wants it is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("needs Chromium or Chrome")
    sandbox = () if os.geteuid() else ("--no-sandbox",)  # root has none
    with playwright.sync_playwright() as session:
        chromium = session.chromium.launch(executable_path=program, args=[*QUIET, *sandbox])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A window in which an error on the console, an exception, or a request over the network fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    window, faults = context.new_page(), []
    window.set_default_timeout(30_000)  # a busy machine's; who need not wait does not
    window.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    window.on("pageerror", lambda error: faults.append(str(error)))
    window.on("request", lambda request: None if request.url.startswith(LOCAL) else faults.append(request.url))
    yield window
    context.close()
    assert not faults
