"""Clients that reset in every phase of a connection: nothing of them is left in the proxy."""

from __future__ import annotations

import gc
import os
import sys

import pytest

from tests.running import Echo, Running, reset, running
from vaurien.engine.connection.connection import ProxiedConnection
from vaurien.engine.relay.link import RelayLink
from vaurien.events import Accepted, Closed, Failed
from vaurien.model import Fault

CLIENTS = 100

PHASES = {
    "direct": [],
    "before the dial": [Fault("slow", "slow_accept", {"delay": 3600.0})],
    "in a hook": [Fault("delay", "delay", {"sleep": 3600.0})],
    "while it hangs": [Fault("hang", "hang")],
    "on a delay line": [Fault("late", "tests.plugins.Late", {"after": 3600.0})],
    "between two halves": [Fault("slow", "tests.plugins.Slow")],
    "in two hooks": [Fault("late", "tests.plugins.Late", {"after": 0.001}), Fault("slow", "tests.plugins.Slow")],
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.skipif(sys.platform != "linux", reason="counts /proc/self/fd")
def test_clients_that_reset(phase: str) -> None:
    with Echo() as echo, running(echo.address) as proxy:
        before = proxy.call(lambda: _left(proxy))
        proxy.set_policy("", *PHASES[phase])
        clients = [proxy.connect() for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            client.sendall(b"x" * 1000)
            if number % 2:
                reset(client)
        proxy.events.wait(Accepted, CLIENTS)
        for number, client in enumerate(clients):
            if not number % 2:
                reset(client)
        proxy.set_policy("")
        proxy.events.wait(Closed, CLIENTS)
        proxy.until(lambda: _left(proxy) == before)
        assert not [event for event in proxy.events.of(Failed) if event.where != "dial"]


def _left(proxy: Running) -> tuple[int, ...]:
    """Connections, live timers, and sockets of this process."""
    assert proxy.proxy.state is not None
    return (
        len(proxy.proxy.live),
        proxy.proxy.state.clock.pending,
        sum(1 for fd in os.listdir("/proc/self/fd") if _is_socket(fd)),
    )


def _is_socket(fd: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except OSError:
        return False


def test_a_connection_that_is_over_is_freed_without_the_collector() -> None:
    """No cycle is left at a close, so memory does not grow until the collector runs, which it does seldom."""
    with Echo() as echo, running(echo.address) as proxy:
        proxy.call(lambda: (gc.collect(), gc.disable()))
        before = proxy.call(_kept)  # of tests before this one
        try:
            for _ in range(10):
                with proxy.connect() as client:
                    client.sendall(b"x")
                    assert client.recv(1) == b"x"
            proxy.events.wait(Closed, 10)
            assert proxy.call(_kept) == before
        finally:
            proxy.call(gc.enable)


def _kept() -> int:
    return sum(type(one) in (ProxiedConnection, RelayLink) for one in gc.get_objects())
