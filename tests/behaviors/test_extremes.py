"""Every number that an option takes works: the smallest, the largest, and those that arithmetic stumbles over."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.behaviors.known import ACTING, HTTP2, NAMES, protocol_for
from tests.http2 import ANSWERS, ASKS, ENDS, MESSAGE
from tests.running import Echo, running, until
from vaurien import options, plugins
from vaurien.errors import OptionError
from vaurien.events import Closed, Failed
from vaurien.framing import http2 as h2
from vaurien.model import Fault
from vaurien.options import Declaration

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + bytes(5000)
CALL = ASKS + h2.data(1, MESSAGE, end=True)
NUMBERS = [0, 5e-324, 1e-300, 1, 3, 2**31, 2**53, 10**15, 2**63 - 1, 2**63, 1e19, 1e300, 1.7e308]


def numeric() -> Iterator[tuple[str, Declaration]]:
    for name in NAMES:
        for declaration in plugins.find(name, "behavior").declarations:
            if declaration.kind in (int, float):
                yield name, declaration


NUMERIC = [pytest.param(*cell, id=f"{cell[0]}-{cell[1].name}") for cell in numeric()]


class Calls(Echo):
    """A server that answers a call by two messages, whatever was asked."""

    def _serve(self, one: socket.socket) -> None:
        with one, contextlib.suppress(OSError):
            if one.recv(65536):
                one.sendall(ANSWERS + h2.data(1, MESSAGE * 2, end=False) + ENDS)
            while one.recv(65536):
                pass


@pytest.fixture(scope="module")
def proxy():
    """A proxy in front of an echo server, for one test after the other; for HTTP/2 in front of one that answers."""
    with (
        Echo() as echo,
        Calls() as calls,
        running(echo.address, protocol="http") as http,
        running(calls.address, protocol="grpc") as grpc,
        running(echo.address) as tcp,
    ):
        yield lambda name: grpc if name in HTTP2 else http if protocol_for(name) == "http" else tcp


@pytest.mark.parametrize(("name", "option"), NUMERIC)
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_refused_or_works(proxy, name, option, number):
    given = {**ACTING.get(name, {}), option.name: number}
    given |= {"burst": number} if (name, option.name) == ("bandwidth", "rate") and number else {}
    try:
        options.build(plugins.find(name, "behavior").target, given, owner=name)
    except OptionError:
        return
    running = proxy(name)
    running.set_policy("", Fault("it", name, options=given))
    try:
        failed, closed = len(running.events.of(Failed)), len(running.events.of(Closed))
        before, held = received(running), name in HOLD
        with contextlib.suppress(ConnectionError), running.connect() as client:
            client.sendall(CALL if name in HTTP2 else REQUEST)
            until(lambda: held or received(running) > before or running.events.of(Closed)[closed:])
            running.set_policy("")
            with contextlib.suppress(OSError):  # it was reset
                client.shutdown(socket.SHUT_WR)
            client.recv(1000)
        assert [event.error for event in running.events.of(Failed)[failed:]] == []
    finally:
        running.set_policy("")


HOLD = ("flap", "slow_accept")
"""Behaviors that let a client wait before anything of it is read."""


def received(running):
    """How many bytes have come from clients."""
    figures = running.call(lambda: running.proxy.figures)
    return figures.to_backend.read + figures.to_client.read
