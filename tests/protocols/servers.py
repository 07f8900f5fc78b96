"""Real servers on free ports of the loopback address, for as long as a ``with`` block lasts."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence

PATIENCE = 60.0
"""Seconds that a program may take to listen, or to end."""

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
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(address, timeout=1).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None, f"{process.args!r} ended"
            assert time.monotonic() < deadline, f"{process.args!r} does not listen at {address}"
            time.sleep(0.01)
