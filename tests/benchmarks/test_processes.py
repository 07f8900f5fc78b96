"""Ports that are kept for programs."""

from __future__ import annotations

import socket

import pytest

from benchmarks.processes import Ports


def server(port, *, reuse):
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def test_a_port_is_kept_for_who_asks_for_it_by_its_number():
    with Ports() as ports:
        one, other = ports.take(), ports.take()
        assert one != other
        for _ in range(2):  # a program that is killed comes back
            with server(one, reuse=True), pytest.raises(OSError, match="in use"):
                server(one, reuse=True)
        with pytest.raises(OSError, match="in use"):  # as who asks for any port does
            server(one, reuse=False)
