"""A side of a connection of HTTP/2 that a test plays, frame by frame."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import NamedTuple

import hpack

from tests.running import Running, backend, pair, read, running
from vaurien.events import Closed, Failed
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Setting
from vaurien.model import Fault
from vaurien.protocols.http2.blocks import encode

ASKED = [(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", "/slow?x")]
FAST = [*ASKED[:3], (":path", "/fast"), ("x-id", "7")]
OK = [(":status", "200"), ("content-type", "text/plain")]
LIMIT = [(Setting.HEADER_TABLE_SIZE, 0)]
KEEP = {"overwrite_host_header": False}


CALL = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), ("grpc-timeout", "1H"), ("te", "trailers")]
MESSAGE = b"\0\0\0\0\1x"
ANSWERED, TRAILERS = [(":status", "200"), ("content-type", "application/grpc")], [("grpc-status", "0")]


def block(*fields: tuple[str, str]) -> bytes:
    """A header block that needs no table."""
    return encode((name.encode(), value.encode()) for name, value in fields)


ASKS = h2.PREFACE + h2.settings([]) + h2.frame(h2.PING, 0, 0, bytes(8)) + h2.window_update(0, 9)
ASKS += h2.headers(1, block(*CALL), end=False)
"""What a client sends up to the head of a call."""

ANSWERS = h2.settings([]) + h2.headers(1, block(*ANSWERED), end=False)
"""And what a server does."""

ENDS = h2.headers(1, block(*TRAILERS), end=True)


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes = b""


class Side:
    """One side, with tables of HPACK of its own, as a real one has them."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()

    def send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        self.sock.sendall(h2.frame(kind, flags, stream, payload))

    def ask(self, stream: int, fields=ASKED, *, end: bool = True) -> None:
        self.head(stream, fields, end=end)

    def head(self, stream: int, fields=OK, *, end: bool = False) -> None:
        self.sock.sendall(h2.headers(stream, self.encoder.encode(fields), end=end))

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.send(h2.DATA, h2.END_STREAM if end else 0, stream, data)

    def frame(self) -> Frame:
        """The next frame; of a header block all frames, in one."""
        frame = self._frame()
        if frame.kind in (h2.HEADERS, h2.PUSH_PROMISE):
            while not frame.flags & h2.END_HEADERS:
                more = self._frame()
                assert (more.kind, more.stream) == (h2.CONTINUATION, frame.stream)
                frame = Frame(frame.kind, frame.flags | more.flags, frame.stream, frame.payload + more.payload)
        return frame

    def _frame(self) -> Frame:
        header = read(self.sock, 9)
        assert len(header) == 9, f"the stream has ended after {header!r}"
        high, low, kind, flags, stream = h2.HEADER.unpack(header)
        return Frame(kind, flags, stream, read(self.sock, high << 8 | low))

    def fields(self, frame: Frame) -> list[tuple[str, str]]:
        """What a header block says, decoded as a real peer does."""
        assert frame.kind == h2.HEADERS
        payload = frame.payload[5:] if frame.flags & h2.HAS_PRIORITY else frame.payload
        return [(str(name), str(value)) for name, value in self.decoder.decode(payload)]

    def hears(self, kind: int, stream: int, payload: bytes | None = None) -> Frame:
        """The next frame, which is of that kind."""
        frame = self.frame()
        assert (frame.kind, frame.stream) == (kind, stream), frame
        assert payload is None or frame.payload == payload
        return frame

    def hears_head(self, stream: int) -> list[tuple[str, str]]:
        return self.fields(self.hears(h2.HEADERS, stream))


def greet(client: Side, server: Side, *, of_client=(), of_server=()) -> None:
    """Both send their settings, and acknowledge those of the other."""
    client.sock.sendall(h2.PREFACE + h2.settings(of_client))
    assert read(server.sock, 24) == h2.PREFACE
    server.sock.sendall(h2.settings(of_server))
    for one, others in ((server, of_client), (client, of_server)):
        heard = h2.pairs(one.hears(h2.SETTINGS, 0).payload)
        assert heard == [*LIMIT, *(pair for pair in others if pair[0] != Setting.HEADER_TABLE_SIZE)]
        one.send(h2.SETTINGS, h2.ACK, 0)
    for one in (client, server):
        assert one.hears(h2.SETTINGS, 0).flags == h2.ACK
        one.encoder.header_table_size = 0  # as told


@contextlib.contextmanager
def sides(
    *faults: Fault, mix: str = "", greeted: bool = True, protocol: str = "http2", **config
) -> Iterator[tuple[Running, Side, Side]]:
    """The proxy, a client and a backend."""
    config.setdefault("protocol_options", KEEP)
    with backend() as listening:
        with running(listening.getsockname(), mix, *faults, protocol=protocol, **config) as proxy:
            with pair(proxy, listening) as (client, server):
                both = Side(client), Side(server)
                if greeted:
                    greet(*both)
                yield proxy, *both
            proxy.events.wait(Closed)
            assert not proxy.events.of(Failed)


def fault(behavior: str, path: str = "/slow", **options) -> Fault:
    """A fault for the path ``/slow``."""
    return Fault("it", behavior, options=options, match={"path": path} if path else {})
