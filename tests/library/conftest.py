from __future__ import annotations

import contextlib
import socket

import pytest

from tests.running import PATIENCE, Echo


@pytest.fixture
def backend():
    """The address of a server that says again what it is told."""
    with Echo() as echo:
        yield echo.address


@pytest.fixture
def nobody():
    """An address that nobody listens on, and nobody else is given."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()


@pytest.fixture
def connect():
    """Connects to a proxy: a socket that gives up after a while, and is closed at the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda proxy: stack.enter_context(socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE))


def says(client, text=b"hello"):
    """What comes back."""
    client.sendall(text)
    return client.recv(len(text))
