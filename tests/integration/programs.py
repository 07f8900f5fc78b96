"""Vaurien as users start it, in a process of its own, in each of its lanes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0

LANES = {
    "direct": [],
    "hooked": ["--behavior", "100:tests.plugins.Noop"],
    "blocking": ["--behavior", "100:tests.plugins.Forward"],
}
"""What puts a connection into each lane: nothing, a behavior that does nothing, a handler that forwards."""


@dataclass
class Program:
    """A running program and where it listens."""

    process: subprocess.Popen[str]
    host: str
    port: int

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def descriptors(self) -> Counter[str]:
        """How many of each kind it has: sockets, pipes…"""
        kinds: Counter[str] = Counter()
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                kinds[os.readlink(link).partition(":")[0]] += 1
        return kinds

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    @property
    def resident(self) -> int:
        """Bytes of memory in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


@contextlib.contextmanager
def vaurien(backend: str, *arguments: str, **environment: str) -> Iterator[Program]:
    """``vaurien --proxy 127.0.0.1:0 --backend BACKEND …``; it must end with status 0 on SIGTERM."""
    command = [sys.executable, "-m", "vaurien", "--proxy", "127.0.0.1:0", "--backend", backend]
    command += ["--grace", "0", "--seed", "1", *arguments]
    with started(command, r": ([\d.]+):(\d+) -> ", **environment) as program:
        yield program
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(PATIENCE) == 0


ECHO = """
import asyncio

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=4096)
    print("echo: %s:%s -> " % server.sockets[0].getsockname(), flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@contextlib.contextmanager
def echo() -> Iterator[Program]:
    """A server that sends back what it gets, in a process of its own, for thousands of connections."""
    with started([sys.executable, "-c", ECHO], r"echo: ([\d.]+):(\d+) -> ") as program:
        yield program


@contextlib.contextmanager
def started(command: list[str], greeting: str, **environment: str) -> Iterator[Program]:
    """The program that *command* starts, once its first line says where it listens."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {**os.environ, "PYTHONPATH": paths, **environment}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
    assert process.stdout is not None
    with process:
        try:
            line = process.stdout.readline()
            found = re.search(greeting, line)
            assert found is not None, line
            yield Program(process, found[1], int(found[2]))
        finally:
            process.kill()
