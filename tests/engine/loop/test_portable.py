"""The paths of systems that are not Linux, run here with Linux's own ways switched off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import sys
import threading
from types import SimpleNamespace

import pytest

from tests.legacy_plugins import ask
from tests.running import backend, pair, read, read_all, running
from vaurien import events, platform
from vaurien.engine.loop.clock import Clock
from vaurien.engine.net import binding, fd_limit
from vaurien.engine.policy import shared_counters
from vaurien.legacy import sockets
from vaurien.model import Address, Fault


@pytest.fixture
def elsewhere(monkeypatch):
    """None of the ways that only Linux has, and no poll() for legacy plugins."""
    for name, value in vars(platform).items():
        if value is True and name != "ADDRESS_REUSED":
            monkeypatch.setattr(platform, name, False)
    monkeypatch.setattr(sockets, "select", SimpleNamespace(select=select.select))


LANES = {"direct": (), "hooked": (Fault(name="noop", behavior="tests.plugins.Noop"),)}


@pytest.mark.usefixtures("elsewhere")
class TestPortable:
    @pytest.mark.parametrize("lane", LANES)
    def test_a_half_closed_client_has_its_whole_answer(self, serve, connect, lane):
        proxy = serve("", *LANES[lane])
        client = connect(proxy)
        payload = bytes(range(256)) * 2000
        sender = threading.Thread(target=lambda: (client.sendall(payload), client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read_all(client) == payload
        sender.join()
        closed = proxy.events.wait(events.Closed)[0]
        assert (closed.sent, closed.received) == (len(payload), len(payload))

    def test_a_delay_waits(self, serve, connect):
        proxy = serve("", Fault(name="slow", behavior="delay", options={"sleep": 0.01}))
        assert ask(connect(proxy)) == b"hello"
        assert proxy.events.wait(events.Injected)[0].fault == "slow"

    def test_a_handler_moves_the_bytes_and_notices_that_its_client_left(self, serve, connect):
        proxy = serve("", Fault(name="forward", behavior="forward"))
        client = connect(proxy)
        assert ask(client) == b"HELLO"
        client.close()
        assert proxy.events.wait(events.Closed)[0].end == "client closed"

    def test_what_was_sent_before_a_close_arrives_before_it(self):
        closes = Fault(name="closes", behavior="limit_data", options={"bytes": 5})
        with backend() as listening, running(listening.getsockname(), "", closes) as proxy:
            with pair(proxy, listening) as (client, server):
                server.sendall(b"hello and more")
                assert read(client, 5) == b"hello"
                assert read_all(client) == b""

    def test_a_timer_comes_from_the_loop(self):
        async def main():
            rang = asyncio.Event()
            with contextlib.closing(Clock(asyncio.get_running_loop())) as clock:
                clock.call_later(0.001, rang.set)
                await rang.wait()

        asyncio.run(main())

    def test_counters_are_in_a_file_without_a_name(self):
        file = shared_counters.create()
        try:
            counters = shared_counters.SharedCounters(file)
            for _ in range(2):
                counted = counters.change("key", (0.0, 0.0, 0.0), lambda row: (row[0] + 1, *row[1:]))
            assert counted == (2.0, 0.0, 0.0)
        finally:
            os.close(file)


def test_windows_has_no_limit_of_descriptors(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert fd_limit.connections_possible(fd_limit.IN_THE_LOOP) is None
    assert fd_limit.raise_fd_limit(100_000, fd_limit.IN_THE_LOOP) == 100_000


def test_on_windows_a_port_is_not_reused(monkeypatch):
    monkeypatch.setattr(platform, "ADDRESS_REUSED", False)
    monkeypatch.setattr(platform, "PORT_STAYS_BOUND", False)  # which binds a port twice

    async def main():
        [listening] = await binding.bind(Address("127.0.0.1", 0), 1)
        with listening:
            return listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)

    assert asyncio.run(main()) == 0
