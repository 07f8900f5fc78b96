"""Who sends to this machine is not paced; who sends elsewhere sends as the system does."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from vaurien import platform
from vaurien.engine.loop import clock
from vaurien.engine.net import binding
from vaurien.engine.net import congestion_control as pacing
from vaurien.engine.net.dial import Dial
from vaurien.model import Address

pytestmark = pytest.mark.skipif(not platform.CONGESTION_CONTROL, reason="TCP_CONGESTION")


def congestion_control(one):
    return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.fixture
def default():
    """The system's, whatever that is."""
    with socket.socket() as one:
        return congestion_control(one)


@pytest.fixture
def paces(monkeypatch):
    """Let the system's congestion control count as one that paces, or not."""

    def count(pacing_ones):
        monkeypatch.setattr(pacing, "PACED", pacing_ones)
        pacing.paced.cache_clear()

    yield count
    pacing.paced.cache_clear()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_what_stays_on_this_machine_is_not_paced(paces, default, host):
    paces(default)
    with socket.socket() as one:
        pacing.use_reno_on_loopback(one, host)
        assert congestion_control(one) == b"reno"


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "0.0.0.0", "::", "", "fe80::1%lo"])
def test_what_may_leave_it_is_sent_as_the_system_does(paces, default, host):
    paces(default)
    with socket.socket() as one:
        pacing.use_reno_on_loopback(one, host)
        assert congestion_control(one) == default


def test_where_nothing_paces_nothing_changes(paces, default):
    paces(b"another " + default)
    with socket.socket() as one:
        pacing.use_reno_on_loopback(one, "127.0.0.1")
        assert congestion_control(one) == default


def test_both_sides_of_a_proxy_run(paces, default):
    paces(default)

    async def connect():
        loop = asyncio.get_running_loop()
        [listening] = await binding.bind(Address("127.0.0.1", 0), 1)
        connected = loop.create_future()
        with listening, contextlib.closing(clock.Clock(loop)) as ticking:
            Dial(loop, ticking, binding.bound(Address(), [listening]), 10.0, connected.set_result).start()
            with contextlib.closing(await connected) as dialled, (await loop.sock_accept(listening))[0] as accepted:
                return {congestion_control(dialled), congestion_control(accepted)}

    assert asyncio.run(connect()) == {b"reno"}
