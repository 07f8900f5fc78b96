"""Nodes of a fleet as processes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.waiting import until
from vaurien.client import Client

COMMAND = [sys.executable, "-m", "vaurien", "serve", "--port", "0"]


class NodeProcess:
    """``vaurien serve --fleet`` in a process of its own; *client* steers it, *fleet* steers what the fleet wants."""

    def __init__(self, url: str, name: str, *arguments: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [*COMMAND, "--fleet", url, "--node", name, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"LOG_LEVEL": "error", **os.environ},
        )
        self.port = 0

    def ready(self) -> NodeProcess:
        """Wait until its interface answers."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.search(r"HTTP at \S+:(\d+),", line)
        assert match, line + self.process.stderr.read()  # type: ignore[union-attr]
        self.port = int(match[1])
        return self

    @property
    def client(self) -> Client:
        return Client(port=self.port)

    def fleet(self, **selecting: str) -> Client:
        return Client(port=self.port, query={"scope": "fleet", **selecting})

    def faults(self, proxy: str) -> list[str]:
        """The names of the faults that *proxy* has here; none, too, where there is no such proxy."""
        proxies: list[Any] = self.client.list_proxies()
        return [fault["name"] for one in proxies if one["name"] == proxy for fault in one["faults"]]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> str:
        """What it said on standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        return said


@contextlib.contextmanager
def running(url: str, *names: str, arguments: dict[str, list[str]] | None = None) -> Iterator[list[NodeProcess]]:
    """Nodes called *names* until the block ends."""
    nodes = [NodeProcess(url, name, *(arguments or {}).get(name, ())) for name in names]
    try:
        for node in nodes:
            node.ready()
        yield nodes
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.process.kill()
            node.process.communicate()


def eventually_all(nodes: list[NodeProcess], proxy: str, faults: list[str]) -> None:
    """Wait until *proxy* has *faults*, and no others, on all of *nodes*."""
    until(lambda: all(node.faults(proxy) == faults for node in nodes))
