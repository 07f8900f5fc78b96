"""The PROXY protocol on the wire: read from clients, sent to backends."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.running import backend, read, read_all, running
from vaurien.engine.net import proxy_protocol
from vaurien.events import Accepted, Closed, Failed
from vaurien.model import Fault

V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int, family: int, addresses: bytes) -> bytes:
    return V2 + struct.pack("!BBH", command, family, len(addresses)) + addresses


IPV4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4711, 80)


def field(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def summed(addresses: bytes, *, wrong: int = 0) -> bytes:
    """A header with a checksum, and a field behind that."""
    rest = field(4, b"\0" * 9)
    header = v2(0x21, 0x11, addresses + field(3, bytes(4)) + rest)
    checksum = (proxy_protocol.crc32c(header) ^ wrong).to_bytes(4)
    return header[: -len(rest) - 4] + checksum + rest


IPV6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack("!HH", 4711, 80)

HEADERS = [
    (V1, "192.0.2.7:4711"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n", "[2001:db8::7]:4711"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    (v2(0x21, 0x11, IPV4), "192.0.2.7:4711"),
    (v2(0x21, 0x11, IPV4 + b"\x04\x00\x01\x00"), "192.0.2.7:4711"),
    (v2(0x21, 0x21, IPV6), "[2001:db8::7]:4711"),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0x00, bytes(40)), None),
    (v2(0x20, 0x11, IPV4), None),
    (v2(0x21, 0x00, b""), None),
    (v2(0x21, 0x00, bytes(60_000)), None),
    (v2(0x21, 0x12, IPV4), None),
    (v2(0x21, 0x31, bytes(216)), None),
    (v2(0x21, 0x31, bytes(216) + field(4, b"")), None),
    (v2(0x21, 0x11, IPV4 + field(1, b"h2") + field(2, b"x.test") + field(0xEE, bytes(3000))), "192.0.2.7:4711"),
    (summed(IPV4), "192.0.2.7:4711"),
]


@pytest.mark.parametrize(("header", "peer"), HEADERS)
@pytest.mark.parametrize("pieces", [False, True])
def test_a_header_says_where_the_client_is(header: bytes, peer: str | None, pieces: bool) -> None:
    with backend() as listening, running(listening.getsockname(), accept_proxy_protocol=True) as proxy:
        with proxy.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in [bytes([byte]) for byte in header] if pieces and len(header) < 1000 else [header]:
                client.sendall(part)
            client.sendall(b"hello")
            with listening.accept()[0] as server:
                assert read(server, 5) == b"hello"
                name = client.getsockname()
                shown = proxy.call(lambda: proxy.proxy.live[0].info.peer)
                assert shown == (peer or f"{name[0]}:{name[1]}")
        assert proxy.events.wait(Closed)[0].peer == shown
        assert len(proxy.events.of(Accepted)) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 99999 80\r\n",
        b"PROXY TCP4 2001:db8::7 192.0.2.1 1 80\r\n",
        b"PROXY TCP4 nonsense 192.0.2.1 1 80\r\n",
        b"PROXY TCP5 192.0.2.7 192.0.2.1 1 80\r\n",
        b"PROXY TCP4 192.0.2.7 nonsense 1 80\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 99999\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 01 80\r\n",
        b"PROXY TCP4 192.0.2.007 192.0.2.1 1 80\r\n",
        b"PROXY TCP6 fe80::1%lo 2001:db8::1 1 80\r\n",
        b"PROXY  TCP4 192.0.2.7 192.0.2.1 1 80\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 80\n\n",
        b"PROXY " + b"x" * 200 + b"\r\n",
        b"PROXY UNKNOWN" + b"x" * 100 + b"\r\n",
        v2(0x11, 0x11, IPV4),
        v2(0x22, 0x11, IPV4),
        v2(0x21, 0x11, IPV4[:8]),
        v2(0x21, 0x31, bytes(215)),
        v2(0x21, 0x41, IPV4),
        v2(0x21, 0x13, IPV4),
        v2(0x21, 0x11, IPV4 + b"\4"),
        v2(0x21, 0x11, IPV4 + b"\4\0\1"),
        v2(0x21, 0x11, IPV4 + field(3, bytes(3))),
        summed(IPV4, wrong=1),
    ],
)
def test_a_client_without_a_header_is_not_served(data: bytes) -> None:
    with backend() as listening, running(listening.getsockname(), accept_proxy_protocol=True) as proxy:
        with proxy.connect() as client:
            client.sendall(data)
            assert read_all(client) == b""
        assert "header of the PROXY protocol" in proxy.events.wait(Failed)[0].error


def test_the_checksum_is_that_of_the_standard() -> None:
    """RFC 3720, section B.4, has examples."""
    assert proxy_protocol.crc32c(b"123456789") == 0xE3069283
    assert proxy_protocol.crc32c(bytes(32)) == 0x8A9136AA


@pytest.mark.parametrize("data", [b"", b"PROXY TCP4 192.0.2.7", V2, v2(0x21, 0x11, IPV4)[:-1]])
def test_a_client_is_not_waited_for_without_end(data: bytes) -> None:
    with backend() as listening, running(listening.getsockname(), accept_proxy_protocol=True, timeout=0.05) as proxy:
        with proxy.connect() as client:
            client.sendall(data)
            assert read_all(client) == b""
        assert proxy.events.wait(Failed)[0].error == "it has not said in time what it wants"


def test_a_client_that_ends_within_its_header_is_not_served() -> None:
    with backend() as listening, running(listening.getsockname(), accept_proxy_protocol=True) as proxy:
        with proxy.connect() as client:
            client.sendall(HEADERS[0][0][:-1])
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
        assert proxy.events.wait(Closed)[0].end == "client closed"


def test_a_fault_is_for_the_client_in_the_header() -> None:
    fault = Fault(name="it", behavior="reset_peer", match={"client": "192.0.2.0/24"})
    with backend() as listening, running(listening.getsockname(), "", fault, accept_proxy_protocol=True) as proxy:
        with proxy.connect() as client:
            client.sendall(HEADERS[0][0])
            with pytest.raises(ConnectionResetError):
                client.recv(1)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_backend_gets_the_clients_address(version: str) -> None:
    with backend() as listening, running(listening.getsockname(), send_proxy_protocol=version) as proxy:
        with proxy.connect() as client:
            client.sendall(b"hello")
            source, target = client.getsockname(), client.getpeername()
            if version == "v1":
                wanted = f"PROXY TCP4 {source[0]} {target[0]} {source[1]} {target[1]}\r\n".encode()
            else:
                both = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
                wanted = v2(0x21, 0x11, both + struct.pack("!HH", source[1], target[1]))
            with listening.accept()[0] as server:
                assert read(server, len(wanted) + 5) == wanted + b"hello"


def test_one_proxy_tells_the_next() -> None:
    with backend() as listening, running(listening.getsockname(), accept_proxy_protocol=True) as second:
        with running(second.address, send_proxy_protocol="v2") as first, first.connect() as client:
            name = client.getsockname()
            client.sendall(b"hello")
            with listening.accept()[0] as server:
                assert read(server, 5) == b"hello"
                assert second.call(lambda: second.proxy.live[0].info.peer) == f"{name[0]}:{name[1]}"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("header", [V1, v2(0x21, 0x11, IPV4 + field(4, b"x")), summed(IPV4)])
def test_what_a_client_was_told_about_is_told_on(version: str, header: bytes) -> None:
    """Both ends of its connection: where it comes from, and what it has connected to."""
    settings = {"accept_proxy_protocol": True, "send_proxy_protocol": version}
    with backend() as listening, running(listening.getsockname(), **settings) as proxy, proxy.connect() as client:
        client.sendall(header + b"hello")
        wanted = V1 if version == "v1" else v2(0x21, 0x11, IPV4)
        with listening.accept()[0] as server:
            assert read(server, len(wanted) + 5) == wanted + b"hello"


def test_a_client_without_an_address_is_said_to_be_unknown() -> None:
    assert proxy_protocol.header(1, "", "/run/it") == b"PROXY UNKNOWN\r\n"
    assert proxy_protocol.header(2, "", "/run/it") == v2(0x21, 0, b"")


def test_no_other_client_gets_a_backend_that_was_told_whose_it_is() -> None:
    settings = {"protocol_options": {"reuse_socket": True}, "send_proxy_protocol": "v1"}
    with backend() as listening, running(listening.getsockname(), **settings) as proxy:
        for _ in range(2):
            with proxy.connect() as client:
                port = client.getsockname()[1]
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                with listening.accept()[0] as server:
                    assert b"PROXY TCP4 127.0.0.1 127.0.0.1 %d " % port in server.recv(65536)
                    server.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                    assert client.recv(65536)


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 65535)),
    st.tuples(st.ip_addresses(v=6).map(str), st.integers(0, 65535), st.just(0), st.just(0)),
    st.just(""),
)


@given(ADDRESSES, ADDRESSES, st.sampled_from([1, 2]))
def test_every_header_can_be_read_by_another(peer: object, here: object, version: int) -> None:
    header = proxy_protocol.header(version, peer, here)
    if version == 1:
        assert len(header) <= 107
        assert header.endswith(b"\r\n")
    else:
        assert header.startswith(V2)
        assert len(header) == 16 + int.from_bytes(header[14:16])
