"""A real browser: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import require


@contextlib.contextmanager
def chromium_browser() -> Iterator[Any]:
    """The browser; playwright runs a loop in this thread meanwhile, where other tests need their own."""
    program = require("chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the group 'dashboard')")
    with api.sync_playwright() as playwright:
        # Root may not use the sandbox, and in a container /dev/shm is small.
        started = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield started
        started.close()
