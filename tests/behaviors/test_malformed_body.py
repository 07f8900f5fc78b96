"""Bodies that are not what they say they are."""

from __future__ import annotations

import http.client
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.running import PATIENCE, Running, backend, pair, read, running
from vaurien.behaviors.malformed_body import MalformedBody, _Body
from vaurien.errors import OptionError
from vaurien.model import Fault
from vaurien.protocols.http import HttpProtocol
from vaurien.protocols.tcp import Tcp

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\n\r\n"


@contextmanager
def malforming(*others: Fault, **options: Any) -> Iterator[tuple[Running, Any]]:
    fault = Fault(name="it", behavior="malformed_body", options=options)
    with backend() as listening, running(listening.getsockname(), "", *others, fault, protocol="http") as proxy:
        yield proxy, listening


@pytest.mark.parametrize(
    ("after", "response", "passes"),
    [
        (0, SIZED + b"0123456789", SIZED + b"123456789"),
        (4, SIZED + b"0123456789", SIZED + b"012356789"),
        (10, SIZED + b"0123456789", SIZED + b"0123456789"),
        (0, CHUNKED + CHUNKS, CHUNKED + b"malformed " + CHUNKS),
        (1, CHUNKED + CHUNKS, CHUNKED + b"4\r\n0123\r\nmalformed 6;x=y\r\n456789\r\n0\r\n\r\n"),
        (10, CHUNKED + CHUNKS, CHUNKED + b"4\r\n0123\r\n6;x=y\r\n456789\r\nmalformed 0\r\n\r\n"),
        (100, CHUNKED + CHUNKS, CHUNKED + CHUNKS),
        (0, b"HTTP/1.1 200 OK\r\n\r\n0123456789", b"HTTP/1.1 200 OK\r\n\r\n0123456789"),
    ],
)
@pytest.mark.parametrize("cut", [1000, 1, 45])
def test_it_breaks_in_its_place(after: int, response: bytes, passes: bytes, cut: int) -> None:
    with malforming(after=after) as (proxy, listening), pair(proxy, listening) as (client, server):
        client.sendall(REQUEST)
        server.recv(1000)
        for start in range(0, len(response), cut):
            server.sendall(response[start : start + cut])
        server.shutdown(1)
        assert read(client, 1 << 20) == passes


def test_each_response_counts_for_itself_behind_other_faults_too() -> None:
    """A delay keeps the bytes back for longer than the exchange lasts; they are still the same response's."""
    slow = Fault(name="slow", behavior="latency", options={"latency": 30})
    other = Fault(name="new", behavior="http_headers", options={"set": "X-New: n"})
    with malforming(slow, other, after=1) as (proxy, listening), pair(proxy, listening) as (client, server):
        for _ in range(3):
            client.sendall(REQUEST)
            server.recv(1000)
            server.sendall(SIZED + b"0123456789")
            expected = SIZED[:-2] + b"X-New: n\r\n\r\n023456789"
            assert read(client, len(expected)) == expected


def test_a_strict_client_takes_the_message_for_malformed() -> None:
    with malforming(after=1) as (proxy, listening):
        one = http.client.HTTPConnection(*proxy.address, timeout=PATIENCE)
        one.request("GET", "/")
        server, _ = listening.accept()
        with server:
            server.recv(1000)
            server.sendall(CHUNKED + CHUNKS)
            with pytest.raises(http.client.IncompleteRead):
                one.getresponse().read()
        one.close()


@given(sizes=st.lists(st.integers(1, 20), max_size=6), after=st.integers(0, 200), cuts=st.lists(st.integers(1, 30)))
def test_where_it_breaks_does_not_depend_on_cuts(sizes: list[int], after: int, cuts: list[int]) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (size, b"z" * size) for size in sizes) + b"0\r\n\r\n"
    whole, parts, start = _Body(CHUNKED), _Body(CHUNKED), 0
    joined = b""
    for end in [*itertools.accumulate(cuts), 1 << 20]:
        piece = (CHUNKED + body)[start:end]
        joined += piece if parts.done else parts.broken(piece, after)
        start = end
    assert joined == whole.broken(CHUNKED + body, after)
    assert (b"malformed" in joined) == any(
        sum(len(b"%x\r\n" % size) + size + 2 for size in sizes[:count]) >= after for count in range(len(sizes) + 1)
    )


def test_it_is_for_http() -> None:
    MalformedBody().check(HttpProtocol())
    with pytest.raises(
        OptionError, match="behavior: 'malformed_body' is not valid; expected a proxy whose protocol is"
    ):
        MalformedBody().check(Tcp())
