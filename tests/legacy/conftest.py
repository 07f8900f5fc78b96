from __future__ import annotations

import contextlib
import importlib
import itertools
import socket
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import pytest

from vaurien.legacy.sockets import take_over

TIMEOUT = 60.0
_numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch) -> Iterator[Callable[[str], ModuleType]]:
    """Write a text to a file of its own and import it."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def make(text: str) -> ModuleType:
        names.append(f"plugin_of_a_user_{next(_numbers)}")
        (tmp_path / f"{names[-1]}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return importlib.import_module(names[-1])

    yield make
    for name in names:
        del sys.modules[name]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname(), timeout=TIMEOUT)
        other, _ = server.accept()
    other.settimeout(TIMEOUT)
    return one, other


@pytest.fixture
def wire() -> Iterator[SimpleNamespace]:
    """A client and a server, and between them the two sockets that a plugin gets."""
    with contextlib.ExitStack() as stack:
        client, client_sock = tcp_pair()
        backend_sock, server = tcp_pair()
        ends = SimpleNamespace(
            client=client,
            client_sock=take_over(client_sock, TIMEOUT),
            backend_sock=take_over(backend_sock, TIMEOUT),
            server=server,
        )
        for sock in vars(ends).values():
            stack.callback(sock.close)
        yield ends
