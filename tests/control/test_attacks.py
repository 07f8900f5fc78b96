"""Requests that are made to cost much: they are refused for their size, before the work begins."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.control.interface import interface
from tests.control.test_events import parsed
from tests.running import PATIENCE
from tests.waiting import until
from vaurien.control.events import LARGEST, RecentEvents
from vaurien.control.responses import STREAMS
from vaurien.errors import UnknownName, nearest
from vaurien.events import Listening, PolicyChanged

MEGABYTE = 2**20 - 1000


@pytest.fixture(scope="module")
def served():
    with interface() as served:
        yield served


def new(**fields):
    return {"name": "p", "backend": "127.0.0.1:9", **fields}


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/api/v1/proxies", new(backend="é." * 100_000 + ":1"), "at most 253 characters"),
        ("/api/v1/proxies", new(listen="a." * 100_000 + ":1"), "at most 253 characters"),
        ("/api/v1/proxies", new(faults=[{"behavior": "noop", "name": f"f{n}"} for n in range(1001)]), "at most 1000"),
        ("/api/v1/proxies", new(mix=",".join(["0:delay"] * 1001)), "at most 1000"),
        ("/api/v1/proxies", new(mix=[{"percent": 0, "behavior": "delay"}] * 1001), "at most 1000"),
        ("/api/v1/proxies", new(protocol="http", faults=[{"behavior": "x" * MEGABYTE}]), "unknown behavior"),
        ("/api/v1/proxies", new(protocol="x" * MEGABYTE), "unknown protocol"),
    ],
)
def test_what_is_too_much_is_refused(served, path, body, words):
    answer = served.ask("POST", path, body)
    assert answer.status == 400
    assert words.encode() in answer.body
    assert served.get("/api/v1/proxies")["proxies"] == []


def test_a_listening_address_that_is_too_long_is_no_host_for_toxiproxys_clients_either(served):
    body = {"name": "p", "listen": "a." * 100_000 + ":1", "upstream": "127.0.0.1:9"}
    answer = served.ask("POST", "/proxies", body)
    assert answer.status == 500
    assert answer.body.endswith(b'no such host","status":500}\n')
    assert served.get("/api/v1/proxies")["proxies"] == []


def test_a_thousand_faults_are_possible_and_no_more(served):
    faults = [{"behavior": "noop", "name": f"f{number}"} for number in range(1000)]
    served.proxy("p", faults=faults)
    answer = served.ask("POST", "/api/v1/proxies/p/faults", {"behavior": "noop", "name": "more"})
    served.clear()
    assert answer.status == 400
    assert b"at most 1000" in answer.body


def test_a_long_name_is_not_compared_and_not_shown_whole():
    known = {f"name {number}" for number in range(300)}
    assert nearest("name 7" * 100, known) is None
    assert nearest("name 77", {*known, "n" * 10_000}) == "name 77"
    said = str(UnknownName("proxy", "x" * 100_000, known))
    assert len(said) < 2000
    assert said.startswith(f"unknown proxy '{'x' * 200}'...; known are: ")
    assert said.endswith(" and 200 more")


def test_remembered_events_have_a_bound_in_size():
    recent = RecentEvents()
    for number in range(100):
        recent(Listening(proxy=f"{number}" * 10**6, at=0, address="", backend=""))
    assert sum(len(parsed(message)[1]["proxy"]) for message in recent.messages(0)) <= LARGEST
    for _ in range(1500):
        recent(PolicyChanged(proxy="p", at=0, mix="m", faults=("f",)))
    messages = recent.messages(0)
    assert len(messages) == 1000
    assert parsed(messages[-1])[0] == 1600


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/live", "/api/v1/proxies/p/exchanges"])
def test_no_more_streams_of_events_than_the_limit(path):
    """Each event is written to each of them, in the loop of the proxies."""
    with interface() as served, contextlib.ExitStack() as stack:
        served.proxy("p")
        ask = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

        def stream(*answers):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", served.address.port), PATIENCE))
            client.sendall(ask)
            got = b""
            while not any(answer in got for answer in answers):
                got += (chunk := client.recv(1 << 16))
                assert chunk, got
            return client, got

        opened = [stream(b"HTTP/1.1 200 ")[0] for _ in range(STREAMS)]
        refused = stream(b"close one")[1]
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"100 streams of events are open, and no more are served: close one" in refused
        assert served.ask("GET", "/version").status == 200
        opened[0].close()
        until(lambda: stream(b"HTTP/1.1 200 ", b"close one")[1].startswith(b"HTTP/1.1 200 "))
