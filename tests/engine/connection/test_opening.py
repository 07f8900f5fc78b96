"""What a client says before anything is relayed: faults match on it, backends follow from it, it stays as it is."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator

import pytest

from tests.running import Running, backend, read, read_all, running
from vaurien.errors import OptionError, UnknownName
from vaurien.events import Closed
from vaurien.model import Fault, Policy

RESET = {"behavior": "reset_peer"}


def hello(name: str | None, alpn: tuple[str, ...] = (), version: ssl.TLSVersion | None = None) -> bytes:
    """A ClientHello for the server *name*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = name is not None
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version is not None:
        context.maximum_version = version
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def padded(whole: bytes, size: int) -> bytes:
    """The ClientHello *whole* with a padding extension (RFC 7685) of *size* bytes, in records of 16 KiB."""
    body = bytearray(whole[9:])
    at = 34 + 1 + body[34]  # behind the session id
    at += 2 + int.from_bytes(body[at : at + 2])
    at += 1 + body[at]
    extensions = bytes(body[at + 2 :]) + struct.pack("!HH", 21, size) + bytes(size)
    message = bytes(body[:at]) + struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + len(message).to_bytes(3) + message
    cut = [message[at : at + 16384] for at in range(0, len(message), 16384)]
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(part)) + part for part in cut)


def fault(**match: str) -> Fault:
    return Fault(name="it", behavior="reset_peer", match=match)


@contextlib.contextmanager
def matching(**match: str) -> Iterator[tuple[Running, socket.socket]]:
    """A proxy that resets connections which are meant, and its backend."""
    with backend() as listening, running(listening.getsockname(), "", fault(**match)) as proxy:
        yield proxy, listening


def is_hit(proxy: Running, listening: socket.socket, data: bytes) -> bool:
    """Whether a client that says *data* is reset; otherwise its backend gets the same bytes."""
    with proxy.connect() as client:
        client.sendall(data)
        with contextlib.suppress(OSError):  # it is reset already
            client.shutdown(socket.SHUT_WR)
        with listening.accept()[0] as server:
            server.settimeout(30)
            try:
                got = read_all(server)
            except ConnectionResetError:
                return True
            assert got == data
            return False


@pytest.mark.parametrize(
    ("match", "data", "hit"),
    [
        ({"sni": "api.test"}, hello("api.test"), True),
        ({"sni": "API.test"}, hello("api.TEST"), True),
        ({"sni": "api.test"}, hello("www.test"), False),
        ({"sni": "*.example.test"}, hello("a.example.test"), True),
        ({"sni": "glob:*.example.test"}, hello("example.test"), False),
        ({"sni": "prefix:api."}, hello("api.test"), True),
        ({"sni": "regex:^api"}, hello("api.test"), True),
        ({"sni": "*"}, hello(None), False),
        ({"alpn": "h2"}, hello("a.test", ("h2", "http/1.1")), True),
        ({"alpn": "http/1.1"}, hello("a.test", ("h2", "http/1.1")), True),
        ({"alpn": "h2"}, hello("a.test", ("http/1.1",)), False),
        ({"tls_version": "1.3"}, hello("a.test"), True),
        ({"tls_version": "1.3"}, hello("a.test", version=ssl.TLSVersion.TLSv1_2), False),
        ({"sni": "a.test", "client": "10.0.0.0/8"}, hello("a.test"), False),
        ({"sni": "a.test"}, b"GET / HTTP/1.1\r\n\r\n", False),
        ({"sni": "a.test"}, b"", False),
        ({"sni": "a.test"}, b"\x16", False),
        ({"sni": "a.test"}, hello("a.test")[:-1], False),
        ({"sni": "a.test"}, padded(hello("a.test"), 60_000), True),
        ({"sni": "a.test"}, padded(hello("a.test"), 65_000)[:65_500], False),
        ({"sni": "a.test"}, b"\x16\x03\x01\x40\x00\x01\x01\x00\x01" + bytes(80_000), False),
    ],
)
def test_a_fault_is_for_connections_by_their_hello(match: dict[str, str], data: bytes, hit: bool) -> None:
    with matching(**match) as (proxy, listening):
        assert is_hit(proxy, listening, data) is hit


def test_a_hello_may_come_in_one_byte_pieces() -> None:
    data = hello("api.test")
    with matching(sni="api.test") as (proxy, listening):
        with proxy.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in data:
                client.sendall(bytes([byte]))
            with listening.accept()[0] as server, pytest.raises(ConnectionResetError):
                read_all(server)


def test_a_client_that_resets_before_its_hello_is_one_that_has_reset() -> None:
    with matching(sni="api.test") as (proxy, _):
        client = proxy.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert proxy.events.wait(Closed)[0].end == "client reset"


def test_a_silent_client_is_passed_on_when_its_time_is_over() -> None:
    with backend() as listening, running(listening.getsockname(), "", fault(sni="a.test"), timeout=0.2) as proxy:
        with proxy.connect() as client, listening.accept()[0] as server:
            server.sendall(b"220 hello\r\n")
            assert read(client, 11) == b"220 hello\r\n"


def test_a_connection_that_is_closed_while_it_is_read_leaves_nothing() -> None:
    with matching(sni="a.test") as (proxy, _), proxy.connect() as client:
        proxy.until(lambda: proxy.proxy.live)
        number = proxy.call(lambda: proxy.proxy.live[0].number)
        proxy.call(lambda: proxy.proxy.close_connection(number))
        assert read_all(client) == b""
        assert proxy.events.wait(Closed)[0].end == "closed by control"


def test_a_policy_that_comes_meanwhile_is_the_one_that_counts() -> None:
    with matching(sni="other.test") as (proxy, listening), proxy.connect() as client:
        client.sendall(hello("api.test")[:20])
        proxy.until(lambda: proxy.proxy.live)
        proxy.call(lambda: proxy.proxy.set_policy(Policy(faults=(fault(sni="api.test"),))))
        client.sendall(hello("api.test")[20:])
        with listening.accept()[0] as server, pytest.raises(ConnectionResetError):
            read_all(server)


def test_routes_choose_the_backend() -> None:
    with backend() as first, backend() as second, backend() as third:
        where = [":".join(map(str, one.getsockname())) for one in (second, third)]
        route = (f"*.b.test={where[0]}", f"b.test={where[1]}")
        with running(first.getsockname(), route=route) as proxy:
            for name, meant in (("x.b.test", second), ("b.test", third), ("c.test", first), (None, first)):
                with proxy.connect() as client:
                    client.sendall(hello(name))
                    with meant.accept()[0] as server:
                        assert read(server, 1) == b"\x16"


@pytest.mark.parametrize("text", ["a.test", "=localhost:1", "a.test=", "a.test=localhost", "a.test=localhost:0"])
def test_a_route_that_cannot_be_is_refused(text: str) -> None:
    with backend() as listening, pytest.raises(OptionError, match="route"):
        with running(listening.getsockname(), route=(text,)):
            pass


def test_a_field_of_a_forward_proxy_is_none_of_this_one() -> None:
    with backend() as listening, running(listening.getsockname()) as proxy:
        with pytest.raises(UnknownName, match="unknown field 'port' of the match of fault 'it'"):
            proxy.set_policy("", fault(port="443"))
