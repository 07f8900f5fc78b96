"""Frames of HTTP/2 that are wrong in themselves: the peer that gets them judges them, as it would without the proxy."""

from __future__ import annotations

import pytest

from tests.http2 import KEEP, Side, fault, greet
from tests.running import backend, pair, read, running
from vaurien.events import Closed, Failed, ProtocolLost
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Setting
from vaurien.model import Fault

PASSING = {
    "PING of 7 bytes": h2.frame(h2.PING, 0, 0, bytes(7)),
    "PING on a stream": h2.frame(h2.PING, 0, 5, bytes(8)),
    "PING of nothing": h2.frame(h2.PING, 0, 0),
    "DATA on the connection": h2.frame(h2.DATA, 0, 0, b"x"),
    "DATA on a stream that is not open": h2.frame(h2.DATA, 1, 99, b"x"),
    "DATA with more padding than bytes": h2.frame(h2.DATA, h2.PADDED, 99, b"\x09x"),
    "DATA with padding and no bytes": h2.frame(h2.DATA, h2.PADDED, 99),
    "PRIORITY of 4 bytes": h2.frame(h2.PRIORITY, 0, 3, bytes(4)),
    "PRIORITY on the connection": h2.frame(h2.PRIORITY, 0, 0, bytes(5)),
    "RST_STREAM of 3 bytes": h2.frame(h2.RST_STREAM, 0, 99, bytes(3)),
    "RST_STREAM on the connection": h2.frame(h2.RST_STREAM, 0, 0, bytes(4)),
    "SETTINGS of 5 bytes": h2.frame(h2.SETTINGS, 0, 0, bytes(5)),
    "SETTINGS on a stream": h2.frame(h2.SETTINGS, 0, 3, bytes(6)),
    "an acknowledgement with bytes": h2.frame(h2.SETTINGS, h2.ACK, 0, bytes(6)),
    "a window that is too large": h2.settings([(Setting.INITIAL_WINDOW_SIZE, 2**31)]),
    "frames that are too small": h2.settings([(Setting.MAX_FRAME_SIZE, 1)]),
    "frames that are too large": h2.settings([(Setting.MAX_FRAME_SIZE, 2**24)]),
    "push that is neither on nor off": h2.settings([(Setting.ENABLE_PUSH, 2)]),
    "a setting without a name": h2.settings([(0xFFFF, 1)]),
    "GOAWAY of 7 bytes": h2.frame(h2.GOAWAY, 0, 0, bytes(7)),
    "GOAWAY on a stream": h2.frame(h2.GOAWAY, 0, 3, bytes(8)),
    "WINDOW_UPDATE of 3 bytes": h2.frame(h2.WINDOW_UPDATE, 0, 0, bytes(3)),
    "WINDOW_UPDATE of nothing": h2.frame(h2.WINDOW_UPDATE, 0, 0, bytes(4)),
    "more than the largest window": h2.window_update(0, h2.MOST) * 3,
    "more than the largest window of a stream": h2.window_update(99, h2.MOST) * 2,
    "a type without a name": h2.frame(0x63, 0xFF, 7, b"what it says"),
    "a type without a name on the connection": h2.frame(0xFA, 0, 0, b""),
    "a reserved bit": h2.frame(h2.PING, 0, 2**31, bytes(8)),
}
"""Frames that mean nothing for what the proxy does."""


@pytest.mark.parametrize("faults", [(), (fault("delay", sleep=0.001),)], ids=["alone", "delay"])
@pytest.mark.parametrize("upstream", [True, False])
@pytest.mark.parametrize("what", PASSING)
def test_a_frame_that_is_wrong_passes(what: str, upstream: bool, faults: tuple[Fault, ...]) -> None:
    with (
        backend() as listening,
        running(listening.getsockname(), "", *faults, protocol="http2", protocol_options=KEEP) as proxy,
    ):
        with pair(proxy, listening) as (client, server):
            sides = Side(client), Side(server)
            greet(*sides)
            sender, receiver = (client, server) if upstream else (server, client)
            sender.sendall(PASSING[what])
            assert read(receiver, len(PASSING[what])) == PASSING[what]
            sides[0].ask(1)  # and the connection goes on, as far as the proxy is asked
            assert sides[1].hears_head(1)
        proxy.events.wait(Closed)
        assert not proxy.events.of(Failed, ProtocolLost)


@pytest.mark.parametrize("behavior", ["h2_ping", "h2_settings", "h2_stall"])
def test_faults_that_read_frames_take_wrong_ones(behavior: str) -> None:
    with (
        backend() as listening,
        running(listening.getsockname(), "", Fault("it", behavior), protocol="http2", protocol_options=KEEP) as proxy,
    ):
        with pair(proxy, listening) as (client, server):
            client.sendall(h2.PREFACE + h2.settings([]) + b"".join(PASSING.values()) + h2.frame(0x77, 0, 0))
            sides = Side(client), Side(server)
            assert read(server, len(h2.PREFACE)) == h2.PREFACE
            while sides[1].frame().kind != 0x77:
                pass
        proxy.events.wait(Closed)
        assert not proxy.events.of(Failed, ProtocolLost)


BLOCKS = {
    "HEADERS on the connection": h2.headers(0, b"\x82\x84", end=True),
    "HEADERS on a stream of the other side": h2.headers(2, b"\x82\x84", end=True),
    "HEADERS on a stream that is over": h2.headers(1, b"\x82\x84", end=True),
    "PUSH_PROMISE of a client": h2.frame(h2.PUSH_PROMISE, 4, 1, bytes(3) + b"\x02\x82\x84"),
}


@pytest.mark.parametrize("what", BLOCKS)
def test_a_head_in_the_wrong_place_passes(what: str) -> None:
    with (
        backend() as listening,
        running(listening.getsockname(), "100:delay", protocol="http2", protocol_options=KEEP) as proxy,
    ):
        with pair(proxy, listening) as (client, server):
            sides = Side(client), Side(server)
            greet(*sides)
            sides[0].ask(1)
            assert sides[1].hears_head(1)
            sides[1].head(1, end=True)
            assert sides[0].hears_head(1)
            client.sendall(BLOCKS[what])
            frame = sides[1].frame()
            assert (frame.kind, frame.stream) == h2.HEADER.unpack_from(BLOCKS[what])[2::2]
            sides[0].ask(3)
            assert sides[1].hears_head(3)
        proxy.events.wait(Closed)
        assert not proxy.events.of(Failed, ProtocolLost)
