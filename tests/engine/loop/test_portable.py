"""The paths of systems that are not Linux, run here with what only Linux has switched off."""

from __future__ import annotations

import select
import socket
import threading
from types import SimpleNamespace

import pytest

from tests.legacy_plugins import ask
from tests.running import backend, pair, read, read_all, running
from vaurien import events
from vaurien.engine.blocking import blocking_lane as blocking
from vaurien.engine.loop import clock
from vaurien.engine.net import closing as ending
from vaurien.engine.net import dial
from vaurien.legacy import sockets
from vaurien.model import Fault


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch):
    """No timerfd, no poll(), no POLLRDHUP, no SOCK_NONBLOCK, no SIOCOUTQ."""
    only_select = SimpleNamespace(select=select.select)
    monkeypatch.setattr(clock, "_HAS_TIMERFD", False)
    monkeypatch.setattr(sockets, "select", only_select)
    monkeypatch.setattr(blocking, "select", only_select)
    monkeypatch.setattr(dial, "_NONBLOCK", 0)
    monkeypatch.setattr(ending, "sys", SimpleNamespace(platform="darwin"))


LANES = {"direct": (), "hooked": (Fault(name="noop", behavior="tests.plugins.Noop"),)}


@pytest.mark.parametrize("lane", LANES)
def test_a_half_closed_client_has_its_whole_answer(serve, connect, lane):
    proxy = serve("", *LANES[lane])
    assert isinstance(proxy.proxy._clock._alarm, clock._LoopAlarm)
    client = connect(proxy)
    payload = bytes(range(256)) * 2000
    sender = threading.Thread(target=lambda: (client.sendall(payload), client.shutdown(socket.SHUT_WR)))
    sender.start()
    assert read_all(client) == payload
    sender.join()
    closed = proxy.events.wait(events.Closed)[0]
    assert (closed.sent, closed.received) == (len(payload), len(payload))


def test_a_delay_waits(serve, connect):
    proxy = serve("", Fault(name="slow", behavior="delay", options={"sleep": 0.01}))
    assert ask(connect(proxy)) == b"hello"
    assert proxy.events.wait(events.Injected)[0].fault == "slow"


def test_a_handler_moves_the_bytes_and_notices_that_its_client_left(serve, connect):
    proxy = serve("", Fault(name="forward", behavior="forward"))
    client = connect(proxy)
    assert ask(client) == b"HELLO"
    client.close()
    assert proxy.events.wait(events.Closed)[0].end == "client closed"


def test_what_was_sent_before_a_close_arrives_before_it():
    closes = Fault(name="closes", behavior="limit_data", options={"bytes": 5})
    with backend() as listening, running(listening.getsockname(), "", closes) as proxy:
        with pair(proxy, listening) as (client, server):
            server.sendall(b"hello and more")
            assert read(client, 5) == b"hello"
            assert read_all(client) == b""
