"""A TLS endpoint over a socket, without a loop: what it has met while it sent is told when it is read."""

from __future__ import annotations

import contextlib
import select
import ssl
from collections.abc import Iterator

import pytest

from tests.tls_peers import server_context
from tests.waiting import PATIENCE
from vaurien.engine.net.endpoint import loopback_pair
from vaurien.engine.net.tls_endpoint import TlsEndpoint
from vaurien.tls.authority import Authority


@pytest.fixture
def ends() -> Iterator[tuple[TlsEndpoint, TlsEndpoint]]:
    """Both ends of a connection whose handshake is done."""
    one, other = loopback_pair()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    own = server_context(Authority.create().issue(["localhost"]))
    client = TlsEndpoint(one, trusting, server_side=False, server_hostname="localhost")
    server = TlsEndpoint(other, own, server_side=True)
    scratch = memoryview(bytearray(1 << 16))
    while client.shaking or server.shaking:
        for end in (server, client):
            with contextlib.suppress(BlockingIOError):
                end.shake(scratch)
    yield client, server
    client.close()
    server.close()


def comes(end: TlsEndpoint) -> None:
    """Wait until *end*'s socket has something to read, or to report."""
    assert select.select([end.fileno()], [], [], PATIENCE)[0]


def read(end: TlsEndpoint) -> int:
    """What is read next: how many bytes, 0 at the end. Raises OSError."""
    space = memoryview(bytearray(1 << 16))
    while True:
        comes(end)
        with contextlib.suppress(BlockingIOError):
            return end.recv_into(space)


def meet_reset(client: TlsEndpoint, server: TlsEndpoint) -> None:
    """Have *client* send its end to *server*, which has reset the connection."""
    server.reset()
    comes(client)
    client.end_stream()


def test_a_reset_that_the_end_has_met_is_no_end(ends: tuple[TlsEndpoint, TlsEndpoint]) -> None:
    client, server = ends
    meet_reset(client, server)
    with pytest.raises(ConnectionResetError):
        read(client)


def test_what_came_before_such_a_reset_is_read_before_it(ends: tuple[TlsEndpoint, TlsEndpoint]) -> None:
    client, server = ends
    assert server.send(b"last words") == 10
    comes(client)
    meet_reset(client, server)
    assert read(client) == 10
    with pytest.raises(ConnectionResetError):
        read(client)


def test_an_end_that_came_before_a_reset_stays_an_end(ends: tuple[TlsEndpoint, TlsEndpoint]) -> None:
    client, server = ends
    server.end_stream()
    server.close()
    client.send(b"late")  # which a closed socket answers with a reset
    poll = select.poll()
    poll.register(client.fileno(), 0)
    assert poll.poll(PATIENCE * 1000)  # it was reset
    client.end_stream()
    assert read(client) == 0
    assert not client.truncated
