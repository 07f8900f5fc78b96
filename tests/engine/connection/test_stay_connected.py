"""A client that stays when its backend goes away, while the proxy holds some of what it said."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import pytest

from tests.running import Running, backend, pair, read, read_all, reset, running, until
from vaurien.engine.connection.states import State
from vaurien.events import Closed, Failed, Injected
from vaurien.model import Fault, Stream

DELAY = Fault("held", "delay", {"sleep": "1h"})
HANG = Fault("held", "hang")
LATENCY = Fault("held", "latency", {"latency": "1h"}, stream=Stream.UPSTREAM)
COALESCE = Fault("held", "coalesce", {"size": 1000, "wait": "1h"}, stream=Stream.UPSTREAM)
PLAIN_HTTP = {"protocol": "http", "protocol_options": {"overwrite_host_header": False}}
REQUEST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Leave = Callable[[socket.socket], None]
LEAVES = [reset, socket.socket.close, lambda server: server.shutdown(socket.SHUT_WR)]
HOLDS = [
    pytest.param((DELAY,), {}, id="hook"),
    pytest.param((HANG,), {}, id="hang"),
    pytest.param((LATENCY,), {}, id="line"),
    pytest.param((COALESCE,), {}, id="alarm"),
    pytest.param((DELAY,), PLAIN_HTTP, id="hook http"),
    pytest.param((LATENCY,), PLAIN_HTTP, id="line http"),
    pytest.param((DELAY, Fault("more", "latency", {"latency": 1})), PLAIN_HTTP, id="hook and line http"),
]


def ask(client: socket.socket, server: socket.socket) -> None:
    client.sendall(REQUEST)
    assert read(server, len(REQUEST)) == REQUEST
    server.sendall(ANSWER)
    assert read(client, len(ANSWER)) == ANSWER


WAITING = (State.WITHOUT_BACKEND, State.RECONNECTING)


def gone(proxy: Running) -> None:
    """Wait until the proxy knows that the backend is gone."""
    proxy.until(lambda: all(one.state in WAITING for one in proxy.proxy.live))


@pytest.mark.parametrize("leave", LEAVES, ids=["reset", "close", "half-close"])
@pytest.mark.parametrize(("faults", "config"), HOLDS)
def test_what_is_held_goes_to_the_next_backend(faults, config, leave: Leave) -> None:
    with backend() as listening, running(listening.getsockname(), stay_connected=True, **config) as proxy:
        with pair(proxy, listening) as (client, server):
            ask(client, server)
            proxy.set_policy("", *faults)
            client.sendall(REQUEST)
            proxy.events.wait(Injected)
            leave(server)
            gone(proxy)
            proxy.set_policy("")
            again, _ = listening.accept()
            with again:
                assert read(again, len(REQUEST)) == REQUEST
                again.sendall(ANSWER)
                assert read(client, len(ANSWER)) == ANSWER
                ask(client, again)
                client.close()
                assert read_all(again) == b""
        closed = proxy.events.wait(Closed)[0]
        assert (closed.end, closed.sent, closed.received) == ("client closed", 3 * len(REQUEST), 3 * len(ANSWER))
        assert not proxy.events.of(Failed)


@pytest.mark.parametrize("config", [{}, PLAIN_HTTP])
def test_what_comes_off_a_line_by_itself_calls_the_next_backend(config) -> None:
    late = Fault("late", "latency", {"latency": 100}, stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", late, stay_connected=True, **config) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(REQUEST)
            proxy.events.wait(Injected)
            server.close()
            again, _ = listening.accept()
            with again:
                assert read(again, len(REQUEST)) == REQUEST
                again.sendall(ANSWER)
                assert read(client, len(ANSWER)) == ANSWER


def test_half_a_head_is_kept_for_the_next_backend() -> None:
    with backend() as listening, running(listening.getsockname(), stay_connected=True, **PLAIN_HTTP) as proxy:
        with pair(proxy, listening) as (client, server):
            ask(client, server)
            client.sendall(REQUEST[:20])
            until(lambda: proxy.proxy.figures.to_backend.read == len(REQUEST) + 20)
            server.close()
            gone(proxy)
            client.sendall(REQUEST[20:])
            again, _ = listening.accept()
            with again:
                assert read(again, len(REQUEST)) == REQUEST
                again.sendall(ANSWER)
                assert read(client, len(ANSWER)) == ANSWER


@pytest.mark.parametrize("leave", LEAVES, ids=["reset", "close", "half-close"])
def test_half_of_a_request_that_was_sent_ends_the_client_as_without_the_option(leave: Leave) -> None:
    with backend() as listening, running(listening.getsockname(), stay_connected=True, **PLAIN_HTTP) as proxy:
        with pair(proxy, listening) as (client, server):
            ask(client, server)
            client.sendall(REQUEST[:-2])
            assert read(server, len(REQUEST) - 2) == REQUEST[:-2]
            leave(server)
            with pytest.raises(ConnectionResetError) if leave is reset else contextlib.nullcontext():
                assert client.recv(1) == b""


def test_a_request_behind_one_that_is_not_answered_ends_the_client_too() -> None:
    """The next backend's answer to the second would be taken for the first one's."""
    second = Fault("held", "delay", {"sleep": "1h"}, match={"path": "/second"})
    first = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
    with backend() as listening:
        with running(listening.getsockname(), "", second, stay_connected=True, **PLAIN_HTTP) as proxy:
            with pair(proxy, listening) as (client, server):
                client.sendall(first + first.replace(b"first", b"second"))
                assert read(server, len(first)) == first
                proxy.events.wait(Injected)
                server.close()
                assert client.recv(1) == b""


@pytest.mark.parametrize("leave", [reset, socket.socket.close])
def test_a_client_that_leaves_meanwhile_ends_the_connection(leave: Leave) -> None:
    half = REQUEST[:20]
    with backend() as listening, running(listening.getsockname(), stay_connected=True, **PLAIN_HTTP) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(half)
            until(lambda: proxy.proxy.figures.to_backend.read == 20)
            server.close()
            gone(proxy)
            leave(client)
            if leave is not reset:
                again, _ = listening.accept()
                with again:
                    assert read_all(again) == half
            proxy.events.wait(Closed)
        assert not proxy.events.of(Failed)


@pytest.mark.parametrize("fault", [DELAY, LATENCY, HANG])
def test_a_connection_without_a_backend_can_be_ended(fault: Fault) -> None:
    with backend() as listening, running(listening.getsockname(), "", fault, stay_connected=True) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"question")
            proxy.events.wait(Injected)
            server.close()
            gone(proxy)
            proxy.call(lambda: proxy.proxy.close_connection(1))
            assert client.recv(1) == b""
        assert proxy.events.wait(Closed)[0].end == "closed by control"


def test_a_backend_that_is_not_there_when_it_is_needed_resets_the_client() -> None:
    with backend() as listening, running(listening.getsockname(), "", DELAY, stay_connected=True) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"question")
            proxy.events.wait(Injected)
            server.close()
            gone(proxy)
            listening.close()
            assert not proxy.events.of(Closed)
            proxy.set_policy("")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            assert proxy.events.wait(Closed)[0].end == "dial failed"


def test_the_end_of_the_client_follows_what_is_held() -> None:
    late = Fault("late", "latency", {"latency": "1h"}, stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", late, stay_connected=True) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"question")
            proxy.events.wait(Injected)
            server.close()
            gone(proxy)
            client.shutdown(socket.SHUT_WR)
            proxy.events.wait(Injected, 2)
            proxy.set_policy("")
            again, _ = listening.accept()
            with again:
                assert read_all(again) == b"question"
                again.sendall(b"answer")
                again.close()
                assert read_all(client) == b"answer"


def test_frozen_when_its_backend_has_gone_it_still_calls_the_next_one() -> None:
    late = Fault("late", "latency", {"latency": "1h"}, stream=Stream.UPSTREAM)
    ice = Fault("ice", "freeze", stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", late, stay_connected=True) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"question")
            proxy.events.wait(Injected)
            server.close()
            gone(proxy)
            proxy.set_policy("", ice)
            proxy.set_policy("")
            again, _ = listening.accept()
            with again:
                assert read(again, 8) == b"question"


def test_a_backend_that_resets_when_it_is_written_to_is_followed_by_another() -> None:
    """What was written then is lost, and what the fault holds behind it; what comes later is not."""
    holds_some = Fault("held", "coalesce", {"size": 100, "wait": "1h"}, stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", holds_some, stay_connected=True) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"a" * 60)
            proxy.events.wait(Injected)
            proxy.call(lambda: (client.sendall(b"b" * 60), reset(server)))  # one batch for the loop: bytes, then reset
            gone(proxy)
            proxy.set_policy("")
            client.sendall(b"more")
            again, _ = listening.accept()
            with again:
                assert b"more".startswith(read(again, 1))
