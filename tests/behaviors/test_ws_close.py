"""Where a close frame comes that the proxy makes, and how the connection ends then."""

from __future__ import annotations

import pytest

from tests.behaviors.test_ws_reorder import KEEP, message, upgraded
from tests.running import backend, pair, read, read_all, running, until
from vaurien.events import Injected
from vaurien.framing.websocket import MESSAGE_LIMIT, close_frame
from vaurien.model import Fault, Stream


@pytest.mark.parametrize("size", [10, MESSAGE_LIMIT + 10])
@pytest.mark.parametrize(("behavior", "side"), [("ws_close", "client"), ("ws_close", "backend"), ("error", "client")])
def test_a_close_comes_behind_the_message_that_is_being_sent(behavior: str, side: str, size: int) -> None:
    """The message goes one way, and the one that the fault acts on the other."""
    options = {"side": side, "code": 1011} if behavior == "ws_close" else {"code": "500"}
    match = {"text": "now", "direction": "upstream" if side == "client" else "downstream"}
    with (
        backend() as listening,
        running(listening.getsockname(), protocol="http", protocol_options=KEEP) as proxy,
        pair(proxy, listening) as (client, server),
    ):
        upgraded(client, server)
        told, other = (client, server) if side == "client" else (server, client)
        long = message("x" * size, masked=side == "backend")
        other.sendall(long[:-5])
        assert read(told, len(long) - 5) == long[:-5]
        proxy.set_policy("", Fault("it", behavior, options=options, match=match))
        told.sendall(message("now", masked=side == "client"))
        until(lambda: proxy.events.of(Injected))
        other.sendall(long[-5:])
        reason = "" if behavior == "ws_close" else "Internal Server Error"
        closing = close_frame(1011, reason, bytes(4) if side == "backend" else b"")
        assert read(told, 5 + len(closing)) == long[-5:] + closing
        assert read_all(told) == b""


@pytest.mark.parametrize("size", [10, MESSAGE_LIMIT + 10])
@pytest.mark.parametrize("side", ["client", "backend"])
@pytest.mark.parametrize("order", ["late first", "close first"])
def test_a_close_comes_behind_a_message_that_is_late(side: str, size: int, order: str) -> None:
    """All of the message, or its end, is on the delay line of another fault while the close is made."""
    to_told, to_other = (Stream.DOWNSTREAM, "upstream") if side == "client" else (Stream.UPSTREAM, "downstream")
    late = Fault("late", "latency", {"latency": 300}, stream=to_told)
    close = Fault("it", "ws_close", {"side": side, "code": 1011}, match={"text": "now", "direction": to_other})
    faults = [late, close] if order == "late first" else [close, late]
    with (
        backend() as listening,
        running(listening.getsockname(), protocol="http", protocol_options=KEEP) as proxy,
        pair(proxy, listening) as (client, server),
    ):
        upgraded(client, server)
        told, other = (client, server) if side == "client" else (server, client)
        proxy.set_policy("", *faults)
        long = message("x" * size, masked=side == "backend")
        other.sendall(long)
        until(lambda: [one for one in proxy.events.of(Injected) if one.fault == "late"])
        told.sendall(message("now", masked=side == "client"))
        closing = close_frame(1011, "", bytes(4) if side == "backend" else b"")
        assert read(told, len(long) + len(closing)) == long + closing
        assert read_all(told) == b""
