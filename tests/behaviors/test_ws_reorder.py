"""What becomes of the message that waits for the next one."""

from __future__ import annotations

import socket

import pytest

from tests.running import backend, pair, read, read_all, running
from vaurien.events import Injected
from vaurien.framing.websocket import FIN, TEXT, Frame, close_frame
from vaurien.model import Fault, Stream

ASKED = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
KEEP = {"overwrite_host_header": False}


def message(text: str, *, masked: bool) -> bytes:
    return bytes(Frame(FIN | TEXT, text.encode(), b"mask" if masked else b""))


def upgraded(client: socket.socket, server: socket.socket) -> None:
    client.sendall(ASKED)
    assert read(server, len(ASKED)) == ASKED
    server.sendall(AGREED)
    assert read(client, len(AGREED)) == AGREED


@pytest.mark.parametrize("upstream", [False, True])
@pytest.mark.parametrize("stream", list(Stream))
def test_it_comes_before_the_end_of_its_direction(upstream: bool, stream: Stream) -> None:
    fault = Fault("it", "ws_reorder", stream=stream)
    with (
        backend() as listening,
        running(listening.getsockname(), "", fault, protocol="http", protocol_options=KEEP) as p,
    ):
        with pair(p, listening) as (client, server):
            upgraded(client, server)
            sender, receiver = (client, server) if upstream else (server, client)
            last = message("c", masked=upstream)
            sender.sendall(message("a", masked=upstream) + message("b", masked=upstream) + last)
            assert read(receiver, len(last) * 2) == message("b", masked=upstream) + message("a", masked=upstream)
            sender.shutdown(socket.SHUT_WR)
            assert read_all(receiver) == last
            back = message("d", masked=not upstream)  # the other direction goes on
            receiver.sendall(back)
            receiver.shutdown(socket.SHUT_WR)
            assert read_all(sender) == back


def test_it_comes_when_the_fault_is_removed() -> None:
    with (
        backend() as listening,
        running(
            listening.getsockname(), "", Fault("it", "ws_reorder"), protocol="http", protocol_options=KEEP
        ) as proxy,
    ):
        with pair(proxy, listening) as (client, server):
            upgraded(client, server)
            server.sendall(message("a", masked=False))
            proxy.events.wait(Injected)
            proxy.set_policy("")
            assert read(client, 3) == message("a", masked=False)


def test_nothing_follows_a_close() -> None:
    fault = Fault("it", "ws_reorder", match={"direction": "downstream"})
    with (
        backend() as listening,
        running(listening.getsockname(), "", fault, protocol="http", protocol_options=KEEP) as p,
    ):
        with pair(p, listening) as (client, server):
            upgraded(client, server)
            sent = message("a", masked=False) + close_frame(1000, "")
            server.sendall(sent)
            server.shutdown(socket.SHUT_WR)
            assert read_all(client) == sent
