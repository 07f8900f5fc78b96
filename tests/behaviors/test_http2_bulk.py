"""Bulk in HTTP/2: what no fault acts on passes as it came, whatever its frames are, and whoever is slow."""

from __future__ import annotations

import socket
import threading
from random import Random

import pytest

from tests.http2 import FAST, Side, fault, greet, sides
from tests.running import read
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Setting

ROOM = 1 << 30
"""Bytes of a window that nothing here fills."""

SIZES = {
    "usual": (16384,),
    "of all sizes": (0, 1, 8, 100, 5000, 16384, 16384, 16384),
    "long": (60_000, 16384, 200_000),
    "padded": (16384, -3000),
}
"""Bytes of frames; of those below zero a part is padding."""


def bulk(stream: int, sizes: tuple[int, ...], seed: int, *, others: bool) -> bytes:
    """Frames of some 12 MB, in between some of the connection and of another stream, up to the end of the stream."""
    random, frames, total = Random(seed), bytearray(), 0
    while total < 12_000_000:
        size = random.choice(sizes)
        data = random.randbytes(abs(size))
        if size < 0:
            data = bytes((100,)) + data + bytes(100)
        frames += h2.frame(h2.DATA, h2.PADDED if size < 0 else 0, stream, data)
        total += len(data)
        if others and random.random() < 0.01:
            frames += h2.frame(h2.PING, 0, 0, random.randbytes(8)) + h2.frame(h2.DATA, 0, stream + 2, b"small")
    return bytes(frames) + h2.data(stream, b"last", end=True)


def send(one: socket.socket, data: bytes) -> threading.Thread:
    """Send all of it beside the test."""
    sender = threading.Thread(target=one.sendall, args=(data,), daemon=True)
    sender.start()
    return sender


def text_of(data: bytes) -> dict[int, bytes]:
    """The text on each stream, without padding."""
    texts: dict[int, bytearray] = {}
    at = 0
    while at < len(data):
        high, low, kind, flags, stream = h2.HEADER.unpack_from(data, at)
        payload = data[at + 9 : at + 9 + (high << 8 | low)]
        if kind == h2.DATA:
            padding = payload[0] if flags & h2.PADDED else 0
            texts.setdefault(stream, bytearray()).extend(payload[1 if padding else 0 : len(payload) - padding])
        at += 9 + (high << 8 | low)
    return {stream: bytes(text) for stream, text in texts.items()}


def asked(client: Side, server: Side, settings: list[tuple[int, int]]) -> None:
    """Two streams, on which both sides may send as much as they like, beside the faults for others."""
    greet(client, server, of_client=settings, of_server=settings)
    for stream in (1, 3):
        client.ask(stream, FAST, end=False)
        server.hears_head(stream)
        server.head(stream)
        client.hears_head(stream)
    for one, other in ((client, server), (server, client)):
        one.send(h2.WINDOW_UPDATE, 0, 0, ROOM.to_bytes(4, "big"))
        other.hears(h2.WINDOW_UPDATE, 0)


@pytest.mark.parametrize("to_backend", [False, True])
@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_bulk_passes_as_it_came(sizes: str, *, others: bool, to_backend: bool) -> None:
    window = [(Setting.INITIAL_WINDOW_SIZE, ROOM), (Setting.MAX_FRAME_SIZE, 1 << 20)]
    with sides(fault("hang"), greeted=False) as (_, client, server):
        asked(client, server, window)
        data = bulk(1, SIZES[sizes], 7, others=others)
        source, destination = (client, server) if to_backend else (server, client)
        sender = send(source.sock, data)
        if sizes != "long":
            assert read(destination.sock, len(data)) == data
        else:  # frames above 64 KiB come in parts
            got = bytearray()
            while not got.endswith(h2.data(1, b"last", end=True)):
                got += destination.sock.recv(1 << 20)
            assert text_of(bytes(got)) == text_of(data)
        sender.join()


def test_bulk_waits_for_a_reader_that_is_slow() -> None:
    """Nothing is lost or put twice where the system takes a part of what a chunk and the frame before it are."""
    window = [(Setting.INITIAL_WINDOW_SIZE, ROOM)]
    with sides(fault("hang"), greeted=False) as (_, client, server):
        asked(client, server, window)
        data = bulk(1, SIZES["of all sizes"], 11, others=True)
        sender = send(server.sock, data)
        random, got = Random(3), bytearray()
        while len(got) < len(data):
            size = random.choice((1, 1000, 300_000))
            got += read(client.sock, min(size, len(data) - len(got)))
        assert got == data
        sender.join()
