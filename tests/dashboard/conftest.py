"""The dashboard in a real browser: Debian's Chromium, before a real `vaurien serve`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium_browser
from tests.cli.programs import PROGRAM
from tests.servers import absent
from tests.waiting import PATIENCE

WIDE = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser, for a module."""
    with chromium_browser() as browser:
        yield browser


class Tab:
    """A page of the browser, and what went wrong in it."""

    def __init__(self, page: Any, origin: str) -> None:
        self.page, self.origin = page, origin
        self.problems: list[str] = []
        self.requested: list[str] = []
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", self._note)
        page.on("request", lambda request: self.requested.append(request.url))

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.problems.append(f"{message.type}: {message.text}")

    def open(self, where: str = "#/") -> Any:
        self.page.goto(f"{self.origin}/{where}")
        return self.page


class Daemon:
    """``vaurien serve`` in a process of its own."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        command = [*PROGRAM, "serve", "-host", "127.0.0.1", "-port", str(port), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        greeting = self.process.stdout.readline()
        self.port = int(re.search(r"HTTP at 127\.0\.0\.1:(\d+)", greeting)[1])  # type: ignore[index]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.token = ""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        request = urllib.request.Request(f"{self.origin}/api/v1{path}", content, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.loads(response.read() or "null")

    def proxy(self, name: str, backend: str, **more: Any) -> Any:
        return self.ask("POST", "/proxies", {"name": name, "backend": backend, **more})

    def stop(self) -> None:
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def new_daemon() -> Iterator[Any]:
    """Starts ``vaurien serve`` with arguments; a test names it before its tabs, so that these are closed first."""
    started: list[Daemon] = []

    def start(*arguments: str, **settings: Any) -> Daemon:
        started.append(Daemon(*arguments, **settings))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def daemon(new_daemon: Any) -> Daemon:
    """``vaurien serve`` without any proxy."""
    started: Daemon = new_daemon()
    return started


@pytest.fixture
def new_tab(chromium: Any) -> Iterator[Any]:
    """Opens tabs; no test leaves an error in one, or a request to another origin."""
    tabs: list[Tab] = []
    contexts: list[Any] = []

    def opened(origin: str, **settings: Any) -> Tab:
        contexts.append(chromium.new_context(**{"viewport": WIDE, **settings}))
        tabs.append(Tab(contexts[-1].new_page(), origin))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.page.close()
    for context in contexts:
        context.close()
    assert [problem for tab in tabs for problem in tab.problems] == []
    foreign = {url for tab in tabs for url in tab.requested if not url.startswith((tab.origin + "/", "data:", "blob:"))}
    assert foreign == set()


@pytest.fixture
def tab(new_tab: Any, daemon: Daemon) -> Tab:
    """One tab, at the daemon."""
    opened: Tab = new_tab(daemon.origin)
    return opened


TOOLS = Path(__file__).parents[2] / "build" / "dashboard-tools" / "node_modules"


def tool(path: str) -> Path:
    """A file of the tools that `tests/install-servers.sh` gets from npm. Where it is not there the test skips."""
    if not (TOOLS / path).exists():
        absent(f"{path} is not there (make servers gets it from npm)")
    return TOOLS / path
