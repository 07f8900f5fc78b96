"""Each exchange is told to observers that follow its proxy, and none is told of, or made, for others."""

from __future__ import annotations

import pytest

from tests.engine.filters.streams import Streams, frame
from tests.running import Events, backend, pair, read, running
from vaurien import plugins
from vaurien.events import Closed, Exchanged, Injected
from vaurien.model import Fault, Scope

REQUEST = b"GET /cart?of=me HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GONE = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"


class Follower(Events):
    """An observer of the exchanges of proxies that the test names."""

    def __init__(self, *names):
        super().__init__()
        self.followed = set(names)

    def facts(self, count):
        """What *count* exchanges were, but for times."""
        told = self.wait(Exchanged, count)
        assert len(told) == count
        assert all(one.seconds >= 0 for one in told)
        return [(one.connection, one.exchange, dict(one.request), one.status, one.hits) for one in told]


def exchange(client, server, request=REQUEST, answer=OK):
    client.sendall(request)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read(server, 1)
    read(server, len(request.partition(b"\r\n\r\n")[2]))
    server.sendall(answer)
    assert read(client, len(answer)) == answer


def test_those_of_a_connection_that_is_open_already_and_no_more_once_nobody_follows():
    follower = Follower()
    with backend() as listening, running(listening.getsockname(), protocol="http", observers=[follower]) as proxy:
        with pair(proxy, listening) as (client, server):
            exchange(client, server)
            assert not proxy.call(lambda: proxy.proxy.state.lists_exchanges)
            follower.followed.add("test")
            proxy.call(proxy.proxy.follow_observers)
            exchange(client, server)
            exchange(client, server, POST, GONE)
            told = follower.facts(2)
            follower.followed.clear()
            proxy.call(proxy.proxy.follow_observers)
            exchange(client, server)
            assert proxy.call(lambda: proxy.proxy.figures).exchanges == 4
        proxy.events.wait(Closed)
        assert follower.facts(2) == told
        assert not proxy.events.of(Exchanged)
    host = {"host": told[0][2].get("host")}
    assert told == [
        (1, 2, {"method": "GET", "path": "/cart"} | host, "200", ()),
        (1, 3, {"method": "POST", "path": "/pay"} | host, "410", ()),
    ]


def test_many_in_one_chunk_and_cut_anywhere():
    follower = Follower("test")
    with backend() as listening, running(listening.getsockname(), protocol="http", observers=[follower]) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(REQUEST * 3)
            read(server, len(REQUEST) * 3)
            for byte in OK * 3:
                server.sendall(bytes([byte]))
            assert read(client, len(OK) * 3) == OK * 3
            assert [(number, status) for _, number, _, status, _ in follower.facts(3)] == [
                (1, "200"),
                (2, "200"),
                (3, "200"),
            ]
        proxy.events.wait(Closed)


def test_what_hit_them_and_what_has_no_answer():
    follower = Follower("test")
    broken = Fault("broken", "error", match={"path": "/pay"})
    silent = Fault("silent", "hang", match={"path": "/slow"})
    with (
        backend() as listening,
        running(listening.getsockname(), "", broken, silent, protocol="http", observers=[follower]) as proxy,
    ):
        with pair(proxy, listening) as (client, server):
            client.sendall(POST)
            assert client.recv(4096).startswith(b"HTTP/1.1 5")
            exchange(client, server)
            client.sendall(REQUEST.replace(b"cart", b"slow").replace(b"?of=me", b""))
            proxy.events.wait(Injected, 2)
        proxy.events.wait(Closed)
        first, second, last = follower.wait(Exchanged, 3)
    assert (first.hits, first.answered) == (("broken",), True)
    assert (second.hits, second.answered, second.status) == ((), True, "200")
    assert (last.hits, last.answered, last.status) == (("silent",), False, "")
    assert last.request["path"] == "/slow"


def test_faults_are_drawn_as_without_followers():
    half = Fault("half", "delay", options={"sleep": 0.001}, scope=Scope.EXCHANGE, probability=0.5)
    drawn = []
    for follower in (Follower(), Follower("test")):
        with (
            backend() as listening,
            running(listening.getsockname(), "", half, protocol="http", seed="4", observers=[follower]) as proxy,
        ):
            with pair(proxy, listening) as (client, server):
                for _ in range(12):
                    exchange(client, server)
            proxy.events.wait(Closed)
            drawn.append([event.exchange for event in proxy.events.of(Injected)])
    assert drawn[0] == drawn[1] == [one.exchange for one in follower.wait(Exchanged, 12) if one.hits]
    assert 0 < len(drawn[0]) < 12


def test_with_streams_each_by_itself():
    plugins.register("protocol", Streams, "streams")
    follower = Follower("test")
    ask = lambda stream, path: frame("Q", stream, path) + frame("E", stream)  # noqa: E731
    with backend() as listening, running(listening.getsockname(), protocol="streams", observers=[follower]) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(ask(1, b"first") + ask(3, b"second") + ask(5, b"open"))
            read(server, len(ask(1, b"first") + ask(3, b"second") + ask(5, b"open")))
            answer = frame("A", 3, b"fine") + frame("E", 3) + frame("A", 1, b"bad") + frame("E", 1)
            server.sendall(answer)
            assert read(client, len(answer)) == answer
            follower.wait(Exchanged, 2)
        proxy.events.wait(Closed)
        told = [(one.request["path"], one.status, one.answered) for one in follower.wait(Exchanged, 3)]
    assert told == [("second", "fine", True), ("first", "bad", True), ("open", "", False)]


def test_a_long_field_is_cut():
    follower = Follower("test")
    with backend() as listening, running(listening.getsockname(), protocol="http", observers=[follower]) as proxy:
        with pair(proxy, listening) as (client, server):
            exchange(client, server, REQUEST.replace(b"/cart", b"/" + b"x" * 3000))
            [(_, _, request, _, _)] = follower.facts(1)
        proxy.events.wait(Closed)
    assert len(request["path"]) == 200


@pytest.mark.parametrize("protocol", ["tcp"])
def test_a_protocol_that_knows_no_fields_has_none(protocol):
    follower = Follower("test")
    with backend() as listening, running(listening.getsockname(), protocol=protocol, observers=[follower]) as proxy:
        with pair(proxy, listening) as (client, server):
            exchange(client, server)
        proxy.events.wait(Closed)
        assert not follower.of(Exchanged)
