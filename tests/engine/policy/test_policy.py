"""The fields of a fault that say when it acts: scope, match, window, ttl."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.running import Echo, Running, backend, pair, read, running
from vaurien.errors import OptionError, UnknownName
from vaurien.events import Closed, Injected, PolicyChanged
from vaurien.model import Fault, Scope, Stream, Window


def fault(behavior: str = "delay", **fields: Any) -> Fault:
    options = fields.pop("options", {"sleep": 0.001} if behavior == "delay" else {})
    return Fault(name="f", behavior=behavior, options=options, **fields)


def hits(proxy: Running, *commands: str) -> list[int]:
    """Which of *commands*, sent one after the other to a redis that answers everything, were hit."""
    with proxy.connect() as client:
        for command in commands:
            client.sendall(command.encode() + b"\r\n")
            assert client.recv(100) == b"+OK\r\n"
    proxy.events.wait(Closed)
    return [event.exchange for event in proxy.events.of(Injected)]


class Redis(Echo):
    """Answers OK to whatever comes."""

    def _serve(self, one) -> None:
        with one, contextlib.suppress(OSError):
            while one.recv(1 << 16):
                one.sendall(b"+OK\r\n")


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"command": "GET"}, [1, 3, 5]),
        ({"command": "exact:SET"}, [2, 4]),
        ({"key": "prefix:user:"}, [1, 2]),
        ({"key": "glob:*:2"}, [3, 4]),
        ({"key": "regex:^(user|order):[13]$"}, [1, 2, 5]),
        ({"command": "GET", "key": "prefix:order:"}, [3, 5]),
        ({"command": "get"}, []),
        ({"client": "127.0.0.0/8"}, [1, 2, 3, 4, 5]),
        ({"client": "10.0.0.0/8, ::1"}, []),
    ],
)
def test_match_chooses_exchanges(match: dict[str, str], expected: list[int]) -> None:
    commands = ["GET user:1", "SET user:1 x", "GET order:2", "SET order:2 x", "GET order:3"]
    with Redis() as redis, running(redis.address, "", fault(match=match), protocol="redis") as proxy:
        assert hits(proxy, *commands) == expected


def test_match_on_the_response_acts_on_the_response() -> None:
    lost = fault("abort", match={"status": "regex:^5", "path": "/b"})
    with backend() as listening, running(listening.getsockname(), "", lost, protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            for path, status in ((b"/a", b"500"), (b"/b", b"200"), (b"/b", b"503")):
                client.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                server.recv(1000)
                answer = b"HTTP/1.1 " + status + b" X\r\nContent-Length: 0\r\n\r\n"
                server.sendall(answer)
                expected = b"" if (path, status) == (b"/b", b"503") else answer
                assert read(client, len(answer)) == expected


@pytest.mark.parametrize("behavior", ["http_status", "hang", "blackout", "duplicate_request"])
def test_match_on_the_response_is_refused_where_there_is_none_yet(behavior: str) -> None:
    with backend() as listening:
        with pytest.raises(OptionError, match=f"no field of the response: '{behavior}' acts before there is one"):
            with running(listening.getsockname(), "", fault(behavior, match={"status": "503"}), protocol="http"):
                pass


def test_a_header_is_matched_by_its_name_in_any_case() -> None:
    slow = fault(match={"header.X-Slow": "yes"})
    with backend() as listening, running(listening.getsockname(), "", slow, protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            for value in (b"no", b"yes"):
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nx-slow: " + value + b"\r\n\r\n")
                server.recv(1000)
                server.sendall(b"HTTP/1.1 204 X\r\n\r\n")
                assert client.recv(1000)
            assert [event.exchange for event in proxy.events.of(Injected)] == [2]


def test_bytes_of_other_exchanges_are_left_alone() -> None:
    cut = fault("tests.plugins.Late", options={"after": 0.001}, match={"command": "SET"})
    with Redis() as redis, running(redis.address, "", cut, protocol="redis") as proxy:
        hits(proxy, "GET a", "SET a b", "GET a")
        assert len(proxy.events.of(Injected)) == 2  # the request's bytes and the response's


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(skip=3), [4, 5, 6, 7, 8]),
        (Window(count=2), [1, 2]),
        (Window(every=3), [1, 4, 7]),
        (Window(skip=1, every=2, count=2), [2, 4]),
        (Window(seconds=0.0), []),
        (Window(seconds=3600.0), [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_a_window_takes_some_of_the_occasions(window: Window, expected: list[int]) -> None:
    with Redis() as redis:
        one = fault(scope=Scope.EXCHANGE, window=window)
        with running(redis.address, "", one, protocol="redis") as proxy:
            assert hits(proxy, *["PING"] * 8) == expected


def test_a_window_counts_what_matches_and_what_the_dice_hit() -> None:
    with Redis() as redis:
        one = fault(scope=Scope.EXCHANGE, window=Window(count=1), match={"command": "SET"})
        with running(redis.address, "", one, protocol="redis") as proxy:
            assert hits(proxy, "GET a", "SET a b", "GET a", "SET a b") == [2]
        rare = fault(scope=Scope.EXCHANGE, window=Window(count=3), probability=0.3)
        with running(redis.address, "", rare, protocol="redis") as proxy:
            assert len(hits(proxy, *["PING"] * 100)) == 3


def test_a_window_of_connections() -> None:
    with Redis() as redis:
        with running(redis.address, "", fault(window=Window(skip=1, count=1)), protocol="redis") as proxy:
            for number in range(4):
                hits(proxy, "PING", "PING")
                proxy.events.wait(Closed, number + 1)
            assert [closed.hits.get("f", 0) for closed in proxy.events.of(Closed)] == [0, 2, 0, 0]


def test_a_fault_with_a_time_to_live_removes_itself() -> None:
    with Echo() as echo, running(echo.address, "", fault(ttl=0.05)) as proxy:
        changed = proxy.events.wait(PolicyChanged)[0]
        assert changed.faults == ()
        assert proxy.proxy.policy.faults == ()


def test_a_changed_time_to_live_starts_anew() -> None:
    with Echo() as echo, running(echo.address, "", fault(ttl=3600.0)) as proxy:
        proxy.set_policy("", fault(ttl=3600.0), Fault(name="g", behavior="dummy"))
        proxy.set_policy("", fault(ttl=0.05), Fault(name="g", behavior="dummy"))
        assert proxy.events.wait(PolicyChanged, 3)[2].faults == ("g",)


def test_blackout_may_be_for_some_exchanges() -> None:
    with Redis() as redis, running(redis.address, "", fault("blackout", match={"key": "a"}), protocol="redis") as proxy:
        with proxy.connect() as client:
            client.sendall(b"GET b\r\n")
            assert client.recv(100) == b"+OK\r\n"
            client.sendall(b"GET a\r\n")
            assert client.recv(100) == b""


@pytest.mark.parametrize(
    ("one", "protocol", "error", "text"),
    [
        (fault(match={"path": "/"}), "redis", UnknownName, "unknown field 'path' of the match of fault 'f'; known are"),
        (fault(match={"comand": "GET"}), "redis", UnknownName, "did you mean 'command'?"),
        (fault(match={"client": "10.0.0.0/99"}), "tcp", OptionError, "networks such as 10.0.0.0/8"),
        (fault(match={"key": "regex:("}), "redis", OptionError, "a regular expression of Python's re"),
        (fault("slow_accept", match={"key": "a"}), "redis", OptionError, "'slow_accept' acts on whole connections"),
        (fault("reset_peer", scope=Scope.EXCHANGE), "tcp", OptionError, "'reset_peer' acts on whole connections"),
    ],
)
def test_what_makes_no_sense_is_refused(one: Fault, protocol: str, error: type[Exception], text: str) -> None:
    with Echo() as echo, pytest.raises(error) as raised, running(echo.address, "", one, protocol=protocol):
        pass
    assert text in str(raised.value)


def test_what_a_delay_keeps_back_still_belongs_to_its_exchange() -> None:
    """By the time that a chunk comes to the second fault, its exchange is long over."""
    slow = Fault(name="slow", behavior="latency", options={"latency": 20}, stream=Stream.DOWNSTREAM)
    marked = fault(
        "replace", scope=Scope.EXCHANGE, window=Window(skip=1, count=1), options={"pattern": "OK", "by": "NO"}
    )
    with backend() as listening, running(listening.getsockname(), "", slow, marked, protocol="redis") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"PING\r\n" * 3)
            assert read(server, 18) == b"PING\r\n" * 3
            server.sendall(b"+OK\r\n" * 3)
            assert read(client, 15) == b"+OK\r\n+NO\r\n+OK\r\n"
