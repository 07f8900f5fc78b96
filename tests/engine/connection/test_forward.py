"""A forward proxy, by raw sockets: three languages on one port, byte for byte."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import vaurien
from tests.running import Running, backend, pair, read, read_all, running
from tests.tls_peers import echo, serving
from tests.waiting import PATIENCE, until
from vaurien.engine.connection import opening as opening_module
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.relay.ending import Ending
from vaurien.errors import OptionError
from vaurien.events import Closed, Failed
from vaurien.library.session_authority import session_authority
from vaurien.model import Address, Fault

FORWARD = Address(forward=True)
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@contextlib.contextmanager
def forwarding(*faults: Fault, **config: Any) -> Iterator[tuple[Running, socket.socket]]:
    """A forward proxy, and a server that its clients may ask for."""
    with backend() as listening, running(FORWARD, "", *faults, **config) as proxy:
        yield proxy, listening


def port_of(listening: socket.socket) -> int:
    return listening.getsockname()[1]


def socks5(listening: socket.socket) -> bytes:
    return b"\x05\x01\x00\x01" + socket.inet_aton("127.0.0.1") + struct.pack("!H", port_of(listening))


def asked(client: socket.socket, listening: socket.socket, language: str) -> None:
    """Ask for the server, and read that it is there."""
    port = struct.pack("!H", port_of(listening))
    if language == "connect":
        client.sendall(f"CONNECT 127.0.0.1:{port_of(listening)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert read(client, len(ESTABLISHED)) == ESTABLISHED
    elif language.startswith("socks5"):
        client.sendall(b"\x05\x02\x02\x00")
        assert read(client, 2) == b"\x05\x00"
        name = b"\x03\x09localhost" if language == "socks5h" else b"\x01\x7f\x00\x00\x01"
        client.sendall(b"\x05\x01\x00" + name + port)
        assert read(client, 10) == b"\x05\x00\x00\x01" + bytes(6)
    else:
        where = b"\x00\x00\x00\x01me\x00localhost\x00" if language == "socks4a" else b"\x7f\x00\x00\x01me\x00"
        client.sendall(b"\x04\x01" + port + where)
        assert read(client, 8) == b"\x00\x5a" + bytes(6)


LANGUAGES = ["connect", "socks5", "socks5h", "socks4", "socks4a"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_tunnel_has_the_servers_bytes_and_both_ends(language: str) -> None:
    with forwarding() as (proxy, listening), proxy.connect() as client:
        asked(client, listening, language)
        with listening.accept()[0] as server:
            client.sendall(b"hello")
            assert read(server, 5) == b"hello"
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b""
            server.sendall(b"world")
            server.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"world"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reset_of_the_server_is_one_of_the_client(language: str) -> None:
    with forwarding() as (proxy, listening), proxy.connect() as client:
        asked(client, listening, language)
        server, _ = listening.accept()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_what_comes_behind_the_request_is_the_servers() -> None:
    with forwarding() as (proxy, listening), proxy.connect() as client:
        client.sendall(f"CONNECT 127.0.0.1:{port_of(listening)} HTTP/1.1\r\n\r\nearly".encode())
        with listening.accept()[0] as server:
            assert read(server, 5) == b"early"


@pytest.mark.parametrize(
    "first",
    [b"AMQP\0\0\x09\x01", b"0\x0c\x02\x01\x01", b"G\0", b"B\0\0\0\x01", b"GET key value"],
    ids=["AMQP", "LDAP", "one letter", "MongoDB", "no version"],
)
def test_a_tunnel_for_another_protocol_holds_nothing_though_a_fault_waits_for_requests(first: bytes) -> None:
    fault = Fault("it", "http_status", match={"path": "/x"}, options={"status": 503})
    for cut in (len(first), 1):
        with forwarding(fault, protocol="http") as (proxy, listening), proxy.connect() as client:
            asked(client, listening, "connect")
            with listening.accept()[0] as server:
                for at in range(0, len(first), cut):
                    client.sendall(first[at : at + cut])
                assert read(server, len(first)) == first
                server.sendall(b"H\0welcome")
                assert read(client, 9) == b"H\0welcome"


def test_a_server_that_speaks_first_does_though_a_fault_matches_a_server_name() -> None:
    fault = Fault("it", "latency", match={"sni": "api.test"}, options={"latency": 1})
    with forwarding(fault, timeout=PATIENCE) as (proxy, listening), proxy.connect() as client:
        asked(client, listening, "connect")
        with listening.accept()[0] as server:
            client.settimeout(PATIENCE / 2)  # not only when the proxy waits no longer for a ClientHello
            server.sendall(b"220 ready\r\n")
            assert read(client, 11) == b"220 ready\r\n"
            client.sendall(b"EHLO x\r\n")
            assert read(server, 8) == b"EHLO x\r\n"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("fault", ["", "http_status"])
def test_a_client_that_names_its_server_keeps_the_name_of_its_host(language: str, fault: str) -> None:
    sent = b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"
    faults = [Fault("f", fault, probability=0.0)] if fault else []
    with forwarding(*faults, protocol="http") as (proxy, listening), proxy.connect() as client:
        asked(client, listening, language)
        with listening.accept()[0] as server:
            for _ in range(2):
                client.sendall(sent)
                assert read(server, len(sent)) == sent


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_request_may_come_in_one_byte_pieces(language: str) -> None:
    class Slow(socket.socket):
        def sendall(self, data: bytes, flags: int = 0) -> None:
            for byte in data:
                super().sendall(bytes([byte]))

    with forwarding() as (proxy, listening):
        with proxy.connect() as fast:
            client = Slow(fileno=fast.detach())
        with client:
            client.settimeout(PATIENCE)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked(client, listening, language)
            with listening.accept()[0] as server:
                client.sendall(b"hello")
                assert read(server, 5) == b"hello"


def test_a_host_may_have_any_character() -> None:
    with forwarding() as (proxy, _):
        answer = request(proxy, "GET http://no\\1such\\g<9>.invalid/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 502 ")


def request(proxy: Running, text: str) -> bytes:
    with proxy.connect() as client:
        client.sendall(text.encode())
        return read_all(client)


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (
            "GET http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\nX: y\r\n\r\n",
            "GET /a?b=c HTTP/1.1\r\nConnection: close\r\nHost: 127.0.0.1:{port}\r\nX: y\r\n\r\n",
        ),
        (
            "GET http://127.0.0.1:{port} HTTP/1.0\r\nProxy-Authorization: Basic eA==\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n",
        ),
        (
            "POST http://me:pw@127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nConnection: close\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "GET http://127.0.0.1:{port}/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "GET /ws HTTP/1.1\r\nConnection: Upgrade, close\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            "OPTIONS http://127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nConnection: close\r\nHost: 127.0.0.1:{port}\r\n\r\n",
        ),
    ],
)
@pytest.mark.parametrize("protocol", ["http", "tcp"])
def test_an_absolute_uri_becomes_a_request_to_its_server(sent: str, got: str, protocol: str) -> None:
    with forwarding(protocol=protocol) as (proxy, listening), proxy.connect() as client:
        client.sendall(sent.format(port=port_of(listening)).encode())
        wanted = got.format(port=port_of(listening)).encode()
        if protocol == "http" and b"HTTP/1.1" in wanted:  # another request may follow
            wanted = wanted.replace(b"Connection: close\r\n", b"").replace(b"Upgrade, close", b"Upgrade")
        with listening.accept()[0] as server:
            assert read(server, len(wanted)) == wanted
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            server.close()
            assert read_all(client).endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("CONNECT no.such.name.invalid:443 HTTP/1.1\r\n\r\n", "502", "does not resolve"),
        ("GET http://no.such.name.invalid/ HTTP/1.1\r\n\r\n", "502", "does not resolve"),
        ("CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", "502", "Connection refused"),
        ("CONNECT {here} HTTP/1.1\r\n\r\n", "508", "the proxy itself"),
        ("GET http://{here}/ HTTP/1.1\r\n\r\n", "508", "the proxy itself"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400", "this is a forward proxy"),
        ("GET ftp://x/ HTTP/1.1\r\n\r\n", "400", "this is a forward proxy"),
        ("GET http://x:99999/ HTTP/1.1\r\n\r\n", "400", "this is a forward proxy"),
        ("CONNECT x HTTP/1.1\r\n\r\n", "400", "expected host:port"),
        ("CONNECT :1 HTTP/1.1\r\n\r\n", "400", "expected host:port"),
        ("CONNECT me:secret@localhost:1 HTTP/1.1\r\n\r\n", "400", "CONNECT localhost:1; expected host:port"),
        ("CONNECT me:secret@localhost HTTP/1.1\r\n\r\n", "400", "CONNECT localhost; expected host:port"),
        ("GET ftp://me:secret@localhost/ HTTP/1.1\r\n\r\n", "400", "ftp://localhost/: this is a forward proxy"),
        ("CONNECT x:0 HTTP/1.1\r\n\r\n", "400", "a port from 1 to 65535"),
        ("CONNECT " + "x" * 300 + ":1 HTTP/1.1\r\n\r\n", "400", "a host of at most 253 characters"),
        ("nonsense\r\n\r\n", "400", "no request of HTTP/1"),
        ("GET / HTTP/1.1\r\nX: " + 70000 * "x" + "\r\n\r\n", "400", "over 65536 bytes"),
        (
            "\x16\x03\x01\x02",
            "400",
            "TLS before a request; expected http:// in the address by which clients know the proxy",
        ),
        ("\x01\x02", "400", "no request of HTTP/1"),
    ],
)
def test_a_request_that_cannot_be_followed_gets_the_reason(text: str, status: str, reason: str) -> None:
    with forwarding() as (proxy, _):
        here = f"127.0.0.1:{proxy.proxy.address.port}"
        answer = request(proxy, text.format(here=here)).decode()
        assert answer.startswith(f"HTTP/1.1 {status} ")
        head, _, body = answer.partition("\r\n\r\n")
        assert f"Content-Length: {len(body.encode())}" in head
        assert reason in body
        assert reason in proxy.events.wait(Failed)[0].error


def test_a_server_that_never_answers_gets_504_with_the_reason() -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with forwarding(timeout=0.2) as (proxy, _), proxy.connect() as client:
            client.sendall(f"CONNECT 127.0.0.1:{port_of(full)} HTTP/1.1\r\n\r\n".encode())
            got = read_all(client).decode()
            assert got.startswith("HTTP/1.1 504 Gateway Timeout\r\n")
            reason = f"127.0.0.1:{port_of(full)}: no answer within 0.2 s"
            assert got.endswith(f"\r\n\r\n{reason}\n")
            assert [event.error for event in proxy.events.of(Failed)] == [reason]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_proxy_on_all_interfaces_knows_itself_by_each_name(host: str) -> None:
    with running(FORWARD, listen="0.0.0.0:0") as proxy:
        port = proxy.proxy.address.port
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
            assert read_all(client).startswith(b"HTTP/1.1 508 ")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_proxy_does_not_dial_itself(host: str) -> None:
    with backend() as listening, running(listening.getsockname()) as proxy:
        proxy.call(lambda: proxy.proxy.set_backend(Address(host, proxy.proxy.address.port)))
        with pytest.raises(ConnectionResetError), proxy.connect() as client:
            client.recv(1)
        assert [closed.connection for closed in proxy.events.wait(Closed)] == [1]
        assert "this is the proxy itself" in proxy.events.of(Failed)[0].error
        proxy.call(lambda: proxy.proxy.set_backend(Address(*listening.getsockname())))
        with pair(proxy, listening) as (client, server):
            client.sendall(b"works")
            assert read(server, 5) == b"works"
        assert [closed.connection for closed in proxy.events.wait(Closed, 2)] == [1, 2]


def test_a_server_on_the_same_port_of_another_address_is_not_the_proxy() -> None:
    with backend() as listening, running(FORWARD, listen=f"127.0.0.2:{port_of(listening)}") as proxy:
        with proxy.connect() as client:
            asked(client, listening, "connect")


@pytest.mark.parametrize(
    ("data", "answer", "reason"),
    [
        (b"\x05\x01\x02", b"\x05\xff", "SOCKS5 with the methods 2"),
        (b"\x05\x00", b"\x05\xff", "SOCKS5 with the methods none"),
        (b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x01", b"\x05\x00\x05\x07", "SOCKS5 command 2"),
        (b"\x05\x01\x00\x05\x01\x00\x09", b"\x05\x00\x05\x08", "SOCKS5 with an address of type 9"),
        (b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01", b"\x05\x00\x05\x05", "Connection refused"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x09x.invalid\x00\x01", b"\x05\x00\x05\x04", "does not resolve"),
        (b"\x04\x02\x00\x01\x7f\x00\x00\x01\x00", b"\x00\x5b", "SOCKS4 command 2"),
        (b"\x04\x01\x00\x01\x7f\x00\x00\x01\x00", b"\x00\x5b", "Connection refused"),
        (b"\x04\x01\x00\x01\x7f\x00\x00\x01" + b"x" * 300, b"\x00\x5b", "a name of over 255 bytes"),
    ],
)
def test_socks_is_refused_in_its_own_language(data: bytes, answer: bytes, reason: str) -> None:
    with forwarding() as (proxy, _), proxy.connect() as client:
        client.sendall(data)
        assert read_all(client).startswith(answer)
        assert reason in proxy.events.wait(Failed)[0].error


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({"host": "127.0.0.*"}, True),
        ({"host": "*.example.test"}, False),
        ({"host": "127.0.0.1", "port": "1"}, False),
        ({"port": "{port}"}, True),
        ({"host": "127.0.0.1", "client": "10.0.0.0/8"}, False),
    ],
)
def test_faults_match_the_server(match: dict[str, str], hit: bool) -> None:
    with forwarding() as (proxy, listening):
        shown = {name: text.format(port=port_of(listening)) for name, text in match.items()}
        proxy.set_policy("", Fault(name="it", behavior="reset_peer", match=shown))
        with proxy.connect() as client:
            asked(client, listening, "socks5")
            with listening.accept()[0] as server:
                if hit:
                    with pytest.raises(ConnectionResetError):
                        client.recv(1)
                else:
                    server.sendall(b"hello")
                    assert read(client, 5) == b"hello"


def test_an_error_of_http_hits_a_request_with_an_absolute_uri() -> None:
    with forwarding(Fault(name="it", behavior="http_status", options={"status": 418}), protocol="http") as (proxy, one):
        answer = request(proxy, f"GET http://127.0.0.1:{port_of(one)}/ HTTP/1.0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 418 ")


def test_a_client_that_leaves_while_its_server_is_dialled_leaves_nothing() -> None:
    with forwarding() as (proxy, _):
        client = proxy.connect()
        client.sendall(b"CONNECT 10.255.255.1:9 HTTP/1.1\r\n\r\n")
        proxy.until(lambda: proxy.proxy.live)
        number = proxy.call(lambda: proxy.proxy.live[0].number)
        proxy.call(lambda: proxy.proxy.reset_connection(number))
        proxy.events.wait(Closed)
        client.close()


class Dialled:
    """A dial that is done as soon as it is asked to be, in the place of `Dial`."""

    made: list[Dialled] = []

    def __init__(self, loop: Any, clock: Any, backend: Address, timeout: float, done: Any, own: Any) -> None:
        self.done = done
        Dialled.made.append(self)

    def start(self, begun: Any) -> None:
        pass

    def cancel(self) -> None:
        pass


def test_a_client_that_is_reset_the_moment_its_server_is_there_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening_module, "Dial", Dialled)
    monkeypatch.setattr(opening_module.dial, "begin", lambda backend, own: None)
    with running(FORWARD) as proxy, proxy.connect() as client:
        client.sendall(b"CONNECT a.test:1 HTTP/1.1\r\n\r\n")
        until(lambda: Dialled.made)
        one, other = socket.socketpair()
        endpoint = PlainEndpoint.of(one)

        def done_and_reset() -> None:
            Dialled.made[0].done(endpoint)
            proxy.proxy.live[0].reset(Ending.RESET_BY_CONTROL)

        proxy.call(done_and_reset)
        assert endpoint.fileno() < 0
        other.close()


# TLS that is opened.


@contextlib.contextmanager
def opening(backend: Any, **settings: Any) -> Iterator[vaurien.Proxy]:
    """A forward proxy that opens TLS; *backend* is what it is told of servers."""
    pytest.importorskip("cryptography")
    with vaurien.Proxy(backend=backend, tls="auto", **settings) as proxy:
        yield proxy


def tunnel(proxy: vaurien.Proxy, port: int) -> socket.socket:
    client = socket.create_connection((proxy.host, proxy.port), PATIENCE)
    client.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode())
    assert read(client, len(ESTABLISHED)) == ESTABLISHED
    return client


def test_a_server_that_speaks_first_is_not_taken_for_tls() -> None:
    with backend() as listening, opening("forward") as proxy:
        with tunnel(proxy, port_of(listening)) as client, listening.accept()[0] as server:
            server.sendall(b"220 hello\r\n")
            assert read(client, 11) == b"220 hello\r\n"
            client.sendall(b"QUIT\r\n")
            assert read(server, 6) == b"QUIT\r\n"


def test_a_tunnel_without_tls_passes_beside_tls_that_is_opened() -> None:
    with backend() as listening, opening("forward") as proxy:
        with tunnel(proxy, port_of(listening)) as client, listening.accept()[0] as server:
            client.sendall(b"PING\r\n")
            assert read(server, 6) == b"PING\r\n"


def test_what_is_said_inside_tls_goes_to_the_server_by_tls() -> None:
    with opening("forward", protocol="http") as one:
        context = session_authority().server_context("localhost")
        seen: list[str] = []
        context.sni_callback = lambda _, name, __: seen.append(name)
        with serving(context, echo) as address:
            told = f"forward?ca={one.ca_file}"
            with opening(told) as proxy, tunnel(proxy, address[1]) as raw:
                with proxy.ssl_context().wrap_socket(raw, server_hostname="localhost") as secure:
                    secure.sendall(b"hello")
                    assert secure.recv(5) == b"hello"
            assert seen == ["localhost"]
            with opening("forward") as proxy, tunnel(proxy, address[1]) as raw:  # the system does not know the server
                with proxy.ssl_context().wrap_socket(raw, server_hostname="localhost") as secure:
                    with contextlib.suppress(OSError):
                        secure.sendall(b"hello")
                        assert secure.recv(5) == b""


# Another proxy behind it.


def test_another_proxy_is_asked_for_a_server() -> None:
    with forwarding() as (upstream, listening):
        where = f"http://127.0.0.1:{upstream.proxy.address.port}/"
        with running(FORWARD, upstream_proxy=where) as proxy, proxy.connect() as client:
            asked(client, listening, "socks5")
            with listening.accept()[0] as server:
                client.sendall(b"hello")
                assert read(server, 5) == b"hello"
        assert upstream.proxy.accepted == 1


def test_another_proxy_gets_an_absolute_uri_and_what_the_client_tells_it() -> None:
    with backend() as other, running(FORWARD, upstream_proxy=f"127.0.0.1:{port_of(other)}") as proxy:
        with proxy.connect() as client:
            client.sendall(
                b"GET http://x.invalid/a HTTP/1.1\r\nHost: x.invalid\r\nProxy-Authorization: Basic eA==\r\n\r\n"
            )
            wanted = (
                b"GET http://x.invalid/a HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\nConnection: close\r\n"
                b"Host: x.invalid\r\n\r\n"
            )
            with other.accept()[0] as server:
                assert read(server, len(wanted)) == wanted


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"", b"nonsense\r\n\r\n"])
def test_a_refusal_of_another_proxy_is_told(answer: bytes) -> None:
    with backend() as other, running(FORWARD, upstream_proxy=f"127.0.0.1:{port_of(other)}") as proxy:
        with proxy.connect() as client:
            client.sendall(b"CONNECT x.invalid:443 HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\n\r\n")
            wanted = b"CONNECT x.invalid:443 HTTP/1.1\r\nHost: x.invalid:443\r\nProxy-Authorization: Basic eA==\r\n\r\n"
            with other.accept()[0] as server:
                assert read(server, len(wanted)) == wanted
                server.sendall(answer)
            got = read_all(client).decode()
            assert got.startswith("HTTP/1.1 502 ")
            assert (answer.decode().strip() or "it has closed the connection") in got


# Options that do not go together.


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"upstream_proxy": "localhost"}, "upstream_proxy: 'localhost' is not valid; expected host:port"),
        ({"upstream_proxy": "tls://localhost:1"}, "expected host:port of a proxy that speaks HTTP"),
        ({"route": ("a=b:1",)}, "expected none where clients name their backends"),
    ],
)
def test_options_that_cannot_be_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught, running(FORWARD, **config):
        pass
    assert message in str(caught.value)


def test_an_upstream_proxy_is_for_a_forward_proxy() -> None:
    with pytest.raises(OptionError, match="none unless the backend is 'forward'"):
        with running(("127.0.0.1", 1), upstream_proxy="localhost:1"):
            pass


def test_a_legacy_plugin_is_refused() -> None:
    with pytest.raises(OptionError, match="a legacy plugin"):
        with running(FORWARD, "20:tests.legacy_plugins.Forward"):
            pass


def test_tunnels_leave_nothing_behind() -> None:
    with forwarding() as (proxy, listening):
        for _ in range(200):
            with proxy.connect() as client:
                asked(client, listening, "connect")
                listening.accept()[0].close()
        until(lambda: not proxy.proxy.live)
        assert threading.active_count() < 20
