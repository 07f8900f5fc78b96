"""Ends of connections in unusual order, and what one connection leaves to the next."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket

from tests.running import PATIENCE, backend, pair, read, read_until, reset, running
from tests.waiting import until
from vaurien.engine.relay.ending import Ending
from vaurien.events import Closed, Failed
from vaurien.model import Address, Fault, Policy, Stream


def test_both_sides_reset_while_bytes_wait_for_both() -> None:
    with backend() as listening, running(listening.getsockname()) as proxy:
        with pair(proxy, listening) as (client, server):
            for one in (client, server):
                one.setblocking(False)
            _fill(proxy, client, server)
            proxy.call(lambda: (reset(client), reset(server)))
            assert proxy.events.wait(Closed)[0].end in ("client reset", "backend reset")


def _fill(proxy, *ones: socket.socket) -> None:
    """Send until the proxy has bytes that neither side takes."""

    def full() -> bool:
        for one in ones:
            with contextlib.suppress(BlockingIOError):
                one.send(bytes(1 << 20))
        return proxy.call(lambda: [bool(link.pending) for one in proxy.proxy.live for link in one.links]) == [True] * 2

    until(full)


def test_a_socket_of_another_backend_is_not_kept_for_the_next_client() -> None:
    with backend() as first, backend() as second, contextlib.ExitStack() as kept:
        elsewhere = Fault(name="e", behavior="tests.misbehaving.Elsewhere", options={"port": second.getsockname()[1]})
        options = {"protocol": "http", "protocol_options": {"reuse_socket": True}}
        with running(first.getsockname(), "", elsewhere, **options) as proxy:
            _ask(proxy, second, kept)
            proxy.set_policy("")
            _ask(proxy, first, kept)
            proxy.set_policy("", elsewhere)
            _ask(proxy, second, kept)


def test_a_socket_of_the_former_backend_is_not_kept() -> None:
    with backend() as first, backend() as second, contextlib.ExitStack() as kept:
        options = {"protocol": "http", "protocol_options": {"reuse_socket": True}}
        with running(first.getsockname(), **options) as proxy:
            _ask(
                proxy, first, kept, lambda: proxy.call(lambda: proxy.proxy.set_backend(Address(*second.getsockname())))
            )
            _ask(proxy, second, kept)


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def _ask(proxy, listening: socket.socket, kept: contextlib.ExitStack, meanwhile=lambda: None) -> None:
    """One exchange on a new connection to *listening*, which closes its side only when it is told the end."""
    closed = len(proxy.events.of(Closed))
    with proxy.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server = kept.enter_context(listening.accept()[0])
        assert server.recv(1000).endswith(b"\r\n\r\n")  # the host is the backend's
        meanwhile()
        server.sendall(ANSWER)
        assert read(client, len(ANSWER)) == ANSWER
    while len(proxy.events.of(Closed)) == closed:
        if select.select([server], [], [], 0.01)[0]:
            server.close()
            proxy.events.wait(Closed, closed + 1)


def test_a_backend_that_was_sent_half_a_head_is_not_kept() -> None:
    options = {"protocol": "http", "protocol_options": {"reuse_socket": True}}
    with backend() as listening, running(listening.getsockname(), **options) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"GET /half HT")
            client.shutdown(socket.SHUT_WR)
            server.settimeout(PATIENCE)
            assert read(server, 12) == b"GET /half HT"
            assert server.recv(1) == b""


def test_a_fault_is_removed_in_the_moment_the_client_leaves() -> None:
    hang = Fault(name="hang", behavior="hang")
    with backend() as listening, running(listening.getsockname(), "", hang) as proxy:
        with pair(proxy, listening) as (client, _):
            client.sendall(b"x")
            proxy.until(lambda: _waiting(proxy))

            def both() -> None:
                client.shutdown(socket.SHUT_WR)  # readable in the next turn, in which the callback comes first
                asyncio.get_running_loop().call_soon(lambda: proxy.proxy.set_policy(Policy()))

            proxy.call(both)
            client.close()
            # the complaints of the loop are asserted at the end of `running`


def test_a_connection_that_is_closed_ends_although_its_client_is_gone() -> None:
    with backend() as listening, running(listening.getsockname(), "100:error", protocol="http") as proxy:
        with pair(proxy, listening) as (client, _):
            client.setblocking(False)

            def full() -> bool:
                with contextlib.suppress(BlockingIOError):
                    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
                return proxy.call(lambda: any(link.full for one in proxy.proxy.live for link in one.links))

            until(full)
            proxy.call(lambda: (proxy.proxy.live[0].close(Ending.CLOSED_BY_CONTROL), reset(client)))
            assert proxy.events.wait(Closed)[0].end == "closed by control"


def _queued(proxy) -> int:
    return sum(link.hook_queue.queued for one in proxy.proxy.live for link in one.links)


def test_answers_of_our_own_are_bounded_while_a_hook_waits() -> None:
    """The first of them is held by a hook; who asks on and on is held back, and gets every answer in the end."""
    held = Fault(name="held", behavior="freeze", stream=Stream.DOWNSTREAM)
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with backend() as listening, running(listening.getsockname(), "100:error", held, protocol="http") as proxy:
        with pair(proxy, listening) as (client, _):
            client.sendall(request * 1000)
            proxy.until(lambda: _queued(proxy))
            assert proxy.call(lambda: _queued(proxy)) <= 65
            proxy.set_policy("100:error")
            read_until(client, lambda answers: answers.count(b"HTTP/1.1 ") == 1000)


def test_a_connection_ends_while_bytes_from_a_delay_line_are_in_a_hook_that_never_returns() -> None:
    late = Fault(name="late", behavior="latency", options={"latency": 1}, stream=Stream.UPSTREAM)
    frozen = Fault(name="frozen", behavior="freeze", match={"method": "GET"}, stream=Stream.UPSTREAM)
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    plain = {"protocol": "http", "protocol_options": {"overwrite_host_header": False}}
    with backend() as listening, running(listening.getsockname(), "", late, frozen, **plain) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(request)
            proxy.until(lambda: [active.name for active in _waiting(proxy)] == ["frozen"])
            proxy.call(lambda: proxy.proxy.close_connection(1))
            assert read(server, len(request)) == request
            assert client.recv(1) == server.recv(1) == b""
        assert proxy.events.wait(Closed)[0].end == "closed by control"


def _waiting(proxy):
    return [active for one in proxy.proxy.live for active in one.bound_faults.values() if active.waiting]


def test_a_socket_that_is_between_two_exchanges_is_kept() -> None:
    options = {"protocol": "http", "protocol_options": {"reuse_socket": True}}
    with backend() as listening, contextlib.ExitStack() as kept, running(listening.getsockname(), **options) as proxy:
        _ask(proxy, listening, kept)
        assert proxy.call(lambda: len(proxy.proxy.state.pool)) == 1


def test_a_backend_is_gone_when_the_end_of_the_stream_lets_go_of_half_a_head() -> None:
    with backend() as listening, running(listening.getsockname(), protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            server.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            client.sendall(b"G")
            proxy.call(lambda: (reset(server), client.close()))
            assert proxy.events.wait(Closed)[0].end in ("client closed", "backend reset")
        assert not proxy.events.of(Failed)
