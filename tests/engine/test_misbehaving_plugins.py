"""Behaviors that are written badly end their own connection, leave nothing behind, and are named."""

from __future__ import annotations

import contextlib
import itertools
import socket

import pytest

from tests.misbehaving import DEEDS, EVERYWHERE
from tests.running import Echo, backend, pair, read, read_all, running
from vaurien.events import Closed, Failed
from vaurien.model import Fault, Stream

CASES = [
    (deed, hook)
    for deed, hook in itertools.product(DEEDS, EVERYWHERE)
    if "reply" not in deed or hook in ("on_request", "on_response")
]


@pytest.mark.parametrize(("deed", "hook"), CASES)
def test_a_rude_behavior_ends_its_connection_and_nothing_else(deed: str, hook: str) -> None:
    rude = Fault(name="rude", behavior="tests.misbehaving.Rude", options={"deed": deed, "hook": hook})
    with Echo() as echo, running(echo.address, "", rude) as proxy:
        with contextlib.suppress(OSError), proxy.connect() as client:
            client.sendall(b"one")
            client.recv(1)
            client.sendall(b"two")
            client.shutdown(socket.SHUT_WR)
            while client.recv(1000):
                pass
        closed = proxy.events.wait(Closed)[0]
        failures = [event.where for event in proxy.events.of(Failed)]
        if "close" in deed or "reset" in deed:
            assert closed.end.endswith("by rude")
            assert not failures
        else:
            assert closed.end == "error"
            assert failures == ["behavior rude"]
        proxy.set_policy("")
        with proxy.connect() as other:
            other.sendall(b"fine")
            assert read(other, 4) == b"fine"


def test_an_interruption_that_comes_as_a_cancellation_is_one() -> None:
    wrapped = Fault(name="wrapped", behavior="tests.misbehaving.Wrapped", stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", wrapped) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"held")
            proxy.until(lambda: any(active.waiting for one in proxy.proxy.live for active in one.bound_faults.values()))
            proxy.set_policy("")
            assert read(server, 4) == b"held"


def test_what_a_behavior_sends_after_the_end_of_a_stream_is_dropped() -> None:
    late = Fault(name="late", behavior="tests.misbehaving.LateWord")
    with backend() as listening, running(listening.getsockname(), "", late) as proxy:
        with pair(proxy, listening) as (client, server):
            server.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
            client.sendall(b"ask")
            assert read(server, 3) == b"ask"
            client.close()
            assert read_all(server) == b""
            server.close()
        assert proxy.events.wait(Closed)[0].end == "backend closed"
        assert not proxy.events.of(Failed)


def test_an_answer_of_our_own_comes_although_the_end_of_the_backends_is_not_known() -> None:
    own = Fault(name="own", behavior="tests.misbehaving.OwnAnswer")
    with Echo() as echo, running(echo.address, "", own) as proxy, proxy.connect() as client:
        for _ in range(3):
            client.sendall(b"ask")
            assert read(client, 3) == b"own"
