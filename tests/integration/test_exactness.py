"""How exact shares are on the wire. Times and rates are exact on the virtual clock, and measured in `make bench`."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

import pytest

from tests.running import PATIENCE, Echo, Events, backend, read, running
from vaurien.events import Closed, Decided, Injected
from vaurien.model import Fault, Scope


def fault(behavior: str, **fields: Any) -> Fault:
    options = {key: fields.pop(key) for key in list(fields) if key not in Fault.__struct_fields__}
    return Fault(name="it", behavior=behavior, options=options, **fields)


def test_a_fifth_of_2000_connections_is_hit() -> None:
    with Echo() as echo, running(echo.address, "", fault("delay", sleep=0.001, probability=0.2), seed="7") as proxy:
        for _ in range(2000):
            with proxy.connect() as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
        ends = proxy.events.wait(Closed, 2000)
    assert 0.17 <= sum("it" in end.hits for end in ends) / 2000 <= 0.23


def test_a_fifth_of_2000_exchanges_is_hit() -> None:
    some = fault("delay", sleep=0.001, probability=0.2, scope=Scope.EXCHANGE)
    with Echo() as echo, running(echo.address, "", some, seed="7") as proxy:
        with proxy.connect() as client:
            for _ in range(2000):
                client.sendall(b"x")
                assert client.recv(1) == b"x"
        proxy.events.wait(Closed)
        hits = {event.exchange for event in proxy.events.of(Injected)}
    assert 0.17 <= len(hits) / 2000 <= 0.23


class Decisions(Events):
    """Remembers what dice said, too."""

    detailed = True


@pytest.mark.parametrize("live", [False, True])
def test_a_reset_is_seen_on_both_sides_of_those_that_are_drawn_and_of_no_other(live: bool) -> None:
    """The dice tell who was drawn; raw sockets tell what became of them."""
    rst, told = fault("reset_peer", probability=0.5), Decisions()
    with backend() as listening, running(listening.getsockname(), seed="5", observers=[told]) as proxy:
        if not live:
            proxy.set_policy("", rst)
        with contextlib.ExitStack() as stack:
            pairs = []
            for _ in range(20):
                client = stack.enter_context(socket.socket())
                client.settimeout(PATIENCE)
                told_early = client.connect_ex(proxy.address) == errno.ECONNRESET
                server, _ = listening.accept()
                server.settimeout(PATIENCE)
                pairs.append((client, stack.enter_context(server), told_early))
            proxy.set_policy("", rst)
            drawn = {event.connection for event in told.wait(Decided, 20) if event.drawn}
            proxy.events.wait(Closed, len(drawn))
            for number, (client, server, told_early) in enumerate(pairs, 1):
                if number in drawn:
                    assert told_early or _is_reset(client)
                    assert _is_reset(server)
                else:
                    client.sendall(b"x")
                    assert read(server, 1) == b"x"
            assert 0 < len(drawn) < 20


def _is_reset(one: socket.socket) -> bool:
    try:
        one.recv(1)
    except ConnectionResetError:
        return True
    return False
