"""A forward proxy's client that asks for one server after the other on one connection, by raw sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import Running, backend, read, read_all, running
from tests.tls_peers import echo, serving
from tests.waiting import PATIENCE, until
from vaurien.events import Closed, Failed, Injected
from vaurien.model import Address, Fault, Scope

FORWARD = Address(forward=True)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def forwarding(*faults: Fault, protocol: str = "http", **config: Any) -> Iterator[Running]:
    with running(FORWARD, "", *faults, protocol=protocol, **config) as proxy:
        yield proxy


def get(listening: socket.socket, path: str, fields: str = "") -> bytes:
    """A request with an absolute URI."""
    port = listening.getsockname()[1]
    return f"GET http://127.0.0.1:{port}{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields}\r\n".encode()


def seen(listening: socket.socket, path: str, fields: str = "") -> bytes:
    """The request that its server sees."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{listening.getsockname()[1]}\r\n{fields}\r\n".encode()


def exchange(client: socket.socket, server: socket.socket, listening: socket.socket, path: str) -> None:
    client.sendall(get(listening, path))
    serve(client, server, listening, path)


def serve(client: socket.socket, server: socket.socket, listening: socket.socket, path: str) -> None:
    """The request that was sent last comes to *server*, and its answer to *client*."""
    wanted = seen(listening, path)
    assert read(server, len(wanted)) == wanted
    server.sendall(OK)
    assert read(client, len(OK)) == OK


def test_requests_for_one_server_share_its_connection() -> None:
    with backend() as listening, forwarding() as proxy, proxy.connect() as client:
        client.sendall(get(listening, "/1"))
        with listening.accept()[0] as server:
            serve(client, server, listening, "/1")
            for number in range(2, 6):
                exchange(client, server, listening, f"/{number}")
            assert proxy.call(lambda: [one.info.exchanges for one in proxy.proxy.live]) == [5]
            client.close()
            assert read_all(server) == b""
        [closed] = proxy.events.wait(Closed)
        assert closed.end == "client closed"
        assert closed.received == 5 * len(OK)
        assert not proxy.events.of(Failed)


def test_a_request_for_another_server_goes_there() -> None:
    with backend() as first, backend() as second, forwarding() as proxy, proxy.connect() as client:
        client.sendall(get(first, "/1"))
        with first.accept()[0] as one:
            serve(client, one, first, "/1")
            client.sendall(get(second, "/2"))
            with second.accept()[0] as other:
                assert read(other, len(seen(second, "/2"))) == seen(second, "/2")
                assert read_all(one) == b""
                other.sendall(OK)
                assert read(client, len(OK)) == OK
                exchange(client, other, second, "/3")


def test_a_server_that_has_left_is_dialled_again() -> None:
    with backend() as listening, forwarding() as proxy, proxy.connect() as client:
        for number in range(3):
            client.sendall(get(listening, f"/{number}"))
            with listening.accept()[0] as server:
                serve(client, server, listening, f"/{number}")
                proxy.until(lambda: not any(one.links for one in proxy.proxy.live))


def test_requests_that_are_sent_ahead_go_to_their_own_servers() -> None:
    body = b"POST http://127.0.0.1:%d/0 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    with backend() as first, backend() as second, forwarding() as proxy, proxy.connect() as client:
        client.sendall(body % first.getsockname()[1] + get(first, "/1") + get(second, "/2"))
        with first.accept()[0] as one:
            assert read(one, 60).startswith(b"POST /0 HTTP/1.1\r\n")
            one.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
            rest = b""
            while not rest.endswith(seen(first, "/1")):
                rest += one.recv(1000)
            one.sendall(OK)
            with second.accept()[0] as other:
                assert read(other, len(seen(second, "/2"))) == seen(second, "/2")
                other.sendall(OK)
                wanted = b"HTTP/1.1 100 Continue\r\n\r\n" + 3 * OK
                assert read(client, len(wanted)) == wanted


def test_what_is_sent_ahead_is_not_read_without_end() -> None:
    with backend() as listening, forwarding() as proxy, proxy.connect() as client:
        client.sendall(get(listening, "/1"))
        with listening.accept()[0] as server:
            assert read(server, len(seen(listening, "/1"))) == seen(listening, "/1")
            client.setblocking(False)
            ahead, sent = get(listening, "/2", "X: " + 1000 * "x" + "\r\n") * 100, 0

            def is_full() -> bool:
                nonlocal sent
                try:
                    while True:
                        sent += client.send(ahead)
                except BlockingIOError:
                    return sent > 0

            until(is_full)
            assert proxy.call(lambda: [one.info.waiting for one in proxy.proxy.live])[0] < 1 << 20
            client.settimeout(PATIENCE)
            server.sendall(OK)
            assert read(client, len(OK)) == OK
            wanted = seen(listening, "/2", "X: " + 1000 * "x" + "\r\n")
            assert read(server, len(wanted)) == wanted


@pytest.mark.parametrize(
    "last",
    [
        "GET http://127.0.0.1:{port}/ HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n",
        "GET http://127.0.0.1:{port}/ HTTP/1.1\r\nProxy-Connection: Keep-Alive, close\r\nHost: x\r\n\r\n",
        "GET http://127.0.0.1:{port}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ],
)
def test_a_client_that_wants_it_ends_with_its_server(last: str) -> None:
    with backend() as listening, forwarding() as proxy, proxy.connect() as client:
        client.sendall(last.format(port=listening.getsockname()[1]).encode())
        with listening.accept()[0] as server:
            while b"Connection: close\r\n" not in (heard := server.recv(1000)):
                assert heard
            server.sendall(OK)
            server.shutdown(socket.SHUT_WR)
            assert read_all(client) == OK


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    ],
)
def test_a_server_that_ends_the_connection_ends_the_clients(answer: bytes) -> None:
    with backend() as listening, forwarding() as proxy, proxy.connect() as client:
        client.sendall(get(listening, "/"))
        with listening.accept()[0] as server:
            assert read(server, len(seen(listening, "/"))) == seen(listening, "/")
            server.sendall(answer)
            server.close()
            assert read_all(client) == answer


ACCEPT = "Sec-WebSocket-Accept"
UPGRADE = "Connection: Upgrade\r\nUpgrade: {}\r\n"


def asked_to_upgrade(listening: socket.socket, name: str) -> tuple[bytes, bytes]:
    """The request for it, and what its server sees."""
    fields = UPGRADE.format(name) + "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
    wanted = seen(listening, "/", fields)
    line, lf, rest = wanted.partition(b"\n")
    rest = b"Connection: Upgrade\r\n" + rest.replace(b"Connection: Upgrade\r\n", b"")
    return get(listening, "/", fields), line + lf + rest


def test_an_upgrade_that_is_refused_is_not_the_last_request() -> None:
    with backend() as first, backend() as second, forwarding() as proxy, proxy.connect() as client:
        sent, wanted = asked_to_upgrade(first, "websocket")
        client.sendall(sent + get(second, "/2"))
        with first.accept()[0] as one:
            assert read(one, len(wanted)) == wanted
            one.sendall(OK)
            assert read(client, len(OK)) == OK
            with second.accept()[0] as other:
                serve(client, other, second, "/2")


@pytest.mark.parametrize("faults", [(), (Fault("it", "latency", options={"latency": 1}),)], ids=["spared", "slow"])
@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("name", ["websocket", "other"])
def test_an_upgrade_goes_on_with_its_server(name: str, ahead: bool, faults: tuple[Fault, ...]) -> None:
    frame = b"\x81\x82\0\0\0\0hi"
    with backend() as listening, forwarding(*faults) as proxy, proxy.connect() as client:
        sent, wanted = asked_to_upgrade(listening, name)
        client.sendall(sent + (frame if ahead else b""))
        with listening.accept()[0] as server:
            assert read(server, len(wanted)) == wanted
            switched = (
                f"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n{ACCEPT}: x\r\nUpgrade: {name}\r\n\r\n".encode()
            )
            server.sendall(switched)
            assert read(client, len(switched)) == switched
            if not ahead:
                client.sendall(frame)
            assert read(server, len(frame)) == frame
            for _ in range(3):
                server.sendall(b"\x81\x02ho")
                assert read(client, 4) == b"\x81\x02ho"
                client.sendall(frame)
                assert read(server, len(frame)) == frame
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b""
        assert not proxy.events.of(Failed)


def test_a_fault_hits_the_messages_of_a_websocket_behind_an_upgrade() -> None:
    fault = Fault("it", "ws_drop", match={"direction": "upstream"})
    with backend() as listening, forwarding(fault) as proxy, proxy.connect() as client:
        sent, wanted = asked_to_upgrade(listening, "websocket")
        client.sendall(sent)
        with listening.accept()[0] as server:
            assert read(server, len(wanted)) == wanted
            switched = f"HTTP/1.1 101 Switching\r\n{ACCEPT}: x\r\nUpgrade: websocket\r\n\r\n".encode()
            server.sendall(switched)
            assert read(client, len(switched)) == switched
            client.sendall(b"\x81\x82\0\0\0\0hi")
            proxy.events.wait(Injected)
            server.sendall(b"\x81\x02ho")
            assert read(client, 4) == b"\x81\x02ho"


def test_a_tunnel_may_follow_a_request() -> None:
    with backend() as listening, forwarding() as proxy, proxy.connect() as client:
        client.sendall(get(listening, "/1"))
        with listening.accept()[0] as server:
            serve(client, server, listening, "/1")
        client.sendall(f"CONNECT 127.0.0.1:{listening.getsockname()[1]} HTTP/1.1\r\n\r\n".encode())
        assert read(client, 19) == b"HTTP/1.1 200 Connec"
        with listening.accept()[0] as server:
            client.sendall(b"\0hello")
            assert read(server, 6) == b"\0hello"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET http://no.such.name.invalid/ HTTP/1.1\r\n\r\n", "502"),
        ("GET http://127.0.0.1:1/ HTTP/1.1\r\n\r\n", "502"),
        ("GET http://{here}/ HTTP/1.1\r\n\r\n", "508"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    ],
)
def test_a_later_request_that_cannot_be_followed_gets_the_reason(text: str, status: str) -> None:
    with backend() as listening, forwarding() as proxy, proxy.connect() as client:
        client.sendall(get(listening, "/1"))
        with listening.accept()[0] as server:
            serve(client, server, listening, "/1")
            client.sendall(text.format(here="{}:{}".format(*proxy.address)).encode())
            assert read_all(client).startswith(f"HTTP/1.1 {status} ".encode())
            assert read_all(server) == b""
        assert proxy.events.of(Failed)


def test_faults_match_the_server_of_each_request() -> None:
    with backend() as first, backend() as second:
        fault = Fault("error", "error", match={"port": str(second.getsockname()[1])}, options={"code": "503"})
        with forwarding(fault) as proxy, proxy.connect() as client:
            for listening, hit in ((first, False), (second, True), (first, False)):
                client.sendall(get(listening, "/"))
                with listening.accept()[0] as server:
                    if not hit:
                        serve(client, server, listening, "/")
                    else:
                        answer = b""
                        while not answer.endswith(b"\r\n\r\n503 Service Unavailable\n"):
                            answer += client.recv(1000)
                        assert b"Connection: keep-alive" in answer
            assert len(proxy.events.of(Injected)) == 1


def test_a_fault_that_is_set_while_the_client_thinks_hits_its_next_request() -> None:
    with backend() as listening, forwarding() as proxy, proxy.connect() as client:
        client.sendall(get(listening, "/1"))
        with listening.accept()[0] as server:
            serve(client, server, listening, "/1")
            proxy.set_policy("", Fault("error", "error", options={"code": "503"}))
            client.sendall(get(listening, "/2"))
            assert read(client, 13) == b"HTTP/1.1 503 "
            proxy.set_policy("")
            answer = b""
            while not answer.endswith(b"Unavailable\n"):
                answer += client.recv(1000)
            exchange(client, server, listening, "/3")


@pytest.mark.parametrize("fault", ["latency", "slicer"])
def test_an_answer_on_a_delay_line_comes_whole(fault: str) -> None:
    options = {"latency": {"latency": 30}, "slicer": {"average_size": 3, "size_variation": 1}}[fault]
    with backend() as listening, forwarding(Fault(fault, fault, options=options)) as proxy, proxy.connect() as client:
        client.sendall(get(listening, "/1"))
        with listening.accept()[0] as server:
            serve(client, server, listening, "/1")
            for number in range(3):
                exchange(client, server, listening, f"/{number}")


def test_another_proxy_is_asked_for_all_servers_on_one_connection() -> None:
    with backend() as upstream:
        where = f"http://127.0.0.1:{upstream.getsockname()[1]}/"
        with forwarding(upstream_proxy=where) as proxy, proxy.connect() as client:
            client.sendall(b"GET http://x.invalid/a HTTP/1.1\r\nHost: x.invalid\r\n\r\n")
            with upstream.accept()[0] as other:
                wanted = b"GET http://x.invalid/a HTTP/1.1\r\nHost: x.invalid\r\n\r\n"
                assert read(other, len(wanted)) == wanted
                other.sendall(OK)
                assert read(client, len(OK)) == OK
                client.sendall(b"GET http://y.invalid/a HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\n\r\n")
                wanted = (
                    b"GET http://y.invalid/a HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\nHost: y.invalid\r\n\r\n"
                )
                assert read(other, len(wanted)) == wanted


def test_a_client_that_leaves_between_two_requests_leaves_nothing() -> None:
    with serving(None, echo) as _, backend() as listening, forwarding() as proxy:
        with proxy.connect() as client:
            client.sendall(get(listening, "/1"))
            with listening.accept()[0] as server:
                serve(client, server, listening, "/1")
                client.close()
                assert read_all(server) == b""
        proxy.until(lambda: not proxy.proxy.live)
        assert not proxy.events.of(Failed)


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("fault", [True, False])
def test_each_request_has_a_draw_of_its_own(fault: bool, two: bool) -> None:
    """Not the first of its connection again and again, on one server or on two in turn."""
    faults = [Fault("it", "error", probability=0.5, scope=Scope.EXCHANGE, options={"code": "503"})] if fault else []
    mix = "" if fault else "50:error"
    with backend() as one, backend() as other, running(FORWARD, mix, *faults, protocol="http") as proxy:

        def serve(listening: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while True:
                    with listening.accept()[0] as server:
                        while server.recv(1000):
                            server.sendall(OK)

        threads = [threading.Thread(target=serve, args=(listening,)) for listening in (one, other)]
        for thread in threads:
            thread.start()
        hits = []
        with proxy.connect() as client:
            for number in range(24):
                client.sendall(get(other if two and number % 2 else one, f"/{number}"))
                heard = client.recv(1000)
                while not heard.endswith((b"ok", b"\n")) or heard.endswith(b"\r\n"):
                    heard += client.recv(1000)
                hits.append(not heard.startswith(OK[:13]))
        for listening in (one, other):
            listening.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)
        assert 4 < sum(hits) < 20, hits
        counted = [event.exchange for event in proxy.events.of(Injected)]
        assert counted == [number for number, hit in enumerate(hits, 1) if hit]
