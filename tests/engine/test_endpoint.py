"""Connections over an endpoint that has a layer of its own: bytes wait inside it while its socket is silent."""

from __future__ import annotations

import contextlib
import random
import socket
import threading

import pytest

from tests.engine.layered import END, Decoder, LayeredEndpoint, encoded
from tests.running import PATIENCE, backend, pair, read, read_all, reset, running, until
from vaurien.engine.relay.ending import Ending
from vaurien.events import Closed, Failed
from vaurien.model import Fault, Stream

HOOKED = Fault("late", "tests.plugins.Late", {"after": 0.0})
LANES = [pytest.param((), id="direct"), pytest.param((HOOKED,), id="hooked")]


@contextlib.contextmanager
def layered(listening: socket.socket, *faults: Fault, **config: object):
    """A proxy whose backend speaks records."""
    with running(listening.getsockname(), "", *faults, **config) as proxy:
        proxy.call(lambda: setattr(proxy.proxy.state, "wrap_backend", LayeredEndpoint))
        yield proxy


def decoded(one: socket.socket, size: int) -> bytes:
    """*size* plain bytes from *one*, or fewer when its stream ends by an end record and a FIN."""
    decoder = Decoder()
    while len(decoder.plain) < size:
        data = one.recv(1 << 16)
        if not data:
            assert decoder.ended, "the stream was cut off"
            break
        decoder.feed(data)
    return bytes(decoder.plain)


def _sending(one: socket.socket, data: bytes) -> threading.Thread:
    """A thread that sends *data* and ends the stream."""

    def send() -> None:
        with contextlib.suppress(OSError):
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize("faults", LANES)
def test_bytes_pass_both_ways(faults: tuple[Fault, ...]) -> None:
    with backend() as listening, layered(listening, *faults) as proxy, pair(proxy, listening) as (client, server):
        client.sendall(b"to the backend")
        assert decoded(server, 14) == b"to the backend"
        server.sendall(encoded(b"to the client"))
        assert read(client, 13) == b"to the client"


@pytest.mark.parametrize("faults", LANES)
def test_records_that_came_at_once_all_arrive(faults: tuple[Fault, ...]) -> None:
    """The socket has nothing to read any more after the first of them."""
    data = random.Random(1).randbytes(50_000)
    with backend() as listening, layered(listening, *faults) as proxy, pair(proxy, listening) as (client, server):
        server.sendall(encoded(data))
        assert read(client, len(data)) == data


@pytest.mark.parametrize("faults", LANES)
def test_a_record_that_comes_in_pieces_arrives(faults: tuple[Fault, ...]) -> None:
    with backend() as listening, layered(listening, *faults) as proxy, pair(proxy, listening) as (client, server):
        for byte in encoded(b"byte by byte"):
            server.sendall(bytes([byte]))
        assert read(client, 12) == b"byte by byte"


def test_records_wait_inside_while_the_client_does_not_read() -> None:
    """The link stops reading, and goes on with what the endpoint has decoded by then."""
    data = random.Random(2).randbytes(8_000_000)
    with backend() as listening, layered(listening) as proxy, pair(proxy, listening) as (client, server):
        sending = _sending(server, encoded(data) + END)
        until(lambda: any("down" in link and "moved=0" not in link for link in proxy.links()))
        received = read_all(client)
        sending.join(PATIENCE)
        assert len(received) == len(data)
        assert bool(received == data)  # pytest would show how megabytes differ


@pytest.mark.parametrize("faults", LANES)
def test_what_the_socket_has_not_taken_is_sent_later(faults: tuple[Fault, ...]) -> None:
    data = random.Random(3).randbytes(8_000_000)
    with backend() as listening, layered(listening, *faults) as proxy, pair(proxy, listening) as (client, server):
        sending = _sending(client, data)
        received = decoded(server, len(data) + 1)
        sending.join(PATIENCE)
        assert len(received) == len(data)
        assert bool(received == data)  # pytest would show how megabytes differ
        server.sendall(encoded(b"half-closed, and heard"))
        assert read(client, 22) == b"half-closed, and heard"
        server.sendall(END)
        assert client.recv(1) == b""
    assert proxy.events.wait(Closed)[0].end == "client closed"
    assert not proxy.events.of(Failed)


@pytest.mark.parametrize("faults", LANES)
def test_the_last_end_is_said_in_the_layer_too(faults: tuple[Fault, ...]) -> None:
    with backend() as listening, layered(listening, *faults) as proxy, pair(proxy, listening) as (client, server):
        server.sendall(encoded(b"bye") + END)
        assert read_all(client) == b"bye"
        client.close()
        assert decoded(server, 1) == b""
    assert proxy.events.wait(Closed)[0].end == "backend closed"


def test_a_stream_that_is_cut_off_is_a_reset() -> None:
    with backend() as listening, layered(listening) as proxy, pair(proxy, listening) as (client, server):
        server.sendall(encoded(b"some"))
        server.shutdown(socket.SHUT_WR)
        assert read(client, 4) == b"some"
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert proxy.events.wait(Closed)[0].end == "backend reset"


def test_a_reset_of_the_client_reaches_the_backend() -> None:
    with backend() as listening, layered(listening) as proxy, pair(proxy, listening) as (client, server):
        client.sendall(b"some")
        assert decoded(server, 4) == b"some"
        reset(client)
        with pytest.raises(ConnectionResetError):
            server.recv(1)


def test_an_orderly_close_delivers_what_the_endpoint_holds() -> None:
    limit = Fault("limit", "limit_data", {"bytes": 2_000_000}, stream=Stream.UPSTREAM)
    with backend() as listening, layered(listening, limit) as proxy, pair(proxy, listening) as (client, server):
        sending = _sending(client, bytes(3_000_000))
        assert decoded(server, 3_000_000) == bytes(2_000_000)
        sending.join(PATIENCE)


def test_a_connection_is_closed_by_control() -> None:
    with backend() as listening, layered(listening) as proxy, pair(proxy, listening) as (client, server):
        client.sendall(b"x")
        assert decoded(server, 1) == b"x"
        proxy.call(lambda: proxy.proxy.close_connection(1))
        assert decoded(server, 1) == b""
        assert client.recv(1) == b""
    assert proxy.events.wait(Closed)[0].end == Ending.CLOSED_BY_CONTROL.value
