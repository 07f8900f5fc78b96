"""Real servers on free ports of the loopback address, for as long as a ``with`` block lasts."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence

from tests.waiting import PATIENCE, until

Address = tuple[str, int]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: Sequence[str], address: Address) -> Iterator[Address]:
    """Start *command* and wait until it listens at *address*."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _await(process, address)
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _await(process: subprocess.Popen[bytes], address: Address) -> None:
    def listens() -> bool:
        assert process.poll() is None, f"{process.args!r} ended"
        try:
            socket.create_connection(address, timeout=1).close()
        except ConnectionRefusedError:
            return False
        return True

    until(listens)
