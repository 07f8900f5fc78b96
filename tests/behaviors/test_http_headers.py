"""Headers that change on the way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import backend, pair, read, running
from vaurien import options
from vaurien.behaviors.http_headers import HttpHeaders
from vaurien.errors import OptionError
from vaurien.model import Fault, Stream
from vaurien.protocols.http import HttpProtocol
from vaurien.protocols.tcp import Tcp

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nCookie: a\r\nX-Id: 1\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nETag: e\r\nx-id: 2\r\nX-Id: 3\r\nContent-Length: 2\r\n\r\nok"
KEEP_HOST = {"overwrite_host_header": False}


def fault(stream: Stream = Stream.BOTH, name: str = "it", **values: Any) -> Fault:
    return Fault(name=name, behavior="http_headers", options=values, stream=stream)


def exchange(
    *faults: Fault, request: bytes = REQUEST, response: bytes = RESPONSE, cut: int = 1000, **config: Any
) -> Any:
    """What the backend and the client read, when each is sent in pieces of *cut* bytes."""
    config.setdefault("protocol_options", KEEP_HOST)
    with backend() as listening, running(listening.getsockname(), "", *faults, protocol="http", **config) as proxy:
        with pair(proxy, listening) as (client, server):
            got = []
            for sender, receiver, data in ((client, server, request), (server, client, response)):
                for start in range(0, len(data), cut):
                    sender.sendall(data[start : start + cut])
                sender.shutdown(1)
                got.append(read(receiver, 1 << 20))
            return got


@pytest.mark.parametrize("cut", [1000, 1])
def test_headers_are_set_and_removed_in_both_directions(cut: int) -> None:
    got = exchange(fault(set="X-Id: 9, X-New: n", remove="cookie, etag"), cut=cut)
    assert got == [
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Id: 9\r\nX-New: n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Id: 9\r\nX-New: n\r\n\r\nok",
    ]


@pytest.mark.parametrize(("stream", "changed"), [(Stream.UPSTREAM, 0), (Stream.DOWNSTREAM, 1)])
def test_the_stream_chooses_requests_or_responses(stream: Stream, changed: int) -> None:
    got = exchange(fault(stream, set="X-New: n"))
    assert [b"X-New: n" in one for one in got] == [index == changed for index in (0, 1)]
    assert got[1 - changed] == (REQUEST, RESPONSE)[1 - changed]


def test_two_of_a_kind_add_up_and_what_a_later_one_says_holds() -> None:
    faults = [fault(name="1", set="A: 1, B: 1"), fault(name="2", set="B: 2", remove="X-Id, Cookie")]
    assert exchange(*faults)[0] == b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\n\r\n"


def test_it_comes_after_the_proxys_own_host() -> None:
    got = exchange(fault(set="X-New: n"), protocol_options={})[0]
    assert b"Host: 127.0.0.1:" in got
    assert b"X-New: n\r\n\r\n" in got
    assert b"\r\nHost: other\r\n\r\n" in exchange(fault(set="Host: other"), protocol_options={})[0]


def test_bare_line_ends_and_folded_values_are_understood() -> None:
    request = b"GET / HTTP/1.1\nA: 1\n 2\nB: 3\n\n"
    assert exchange(fault(remove="a"), request=request)[0] == b"GET / HTTP/1.1\nB: 3\n\n"


def test_nothing_to_change_is_no_hit_and_bytes_of_another_protocol_are_left_alone() -> None:
    for request in (REQUEST, b"\x16\x03\x01 hello: no HTTP\r\n\r\n"):
        got = exchange(fault(remove="X-Nothing"), request=request, response=b"")
        assert got[0] == request
    assert exchange(fault(set="A: b"), request=b"\x16\x03 x: y\r\n\r\n", response=b"z: z\r\n\r\n") == [
        b"\x16\x03 x: y\r\n\r\n",
        b"z: z\r\n\r\n",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"set": "Content-Length: 3"}, "set as NAME: VALUE, without connection, content-length, expect, keep-alive"),
        ({"set": "transfer-encoding: chunked"}, "not 'transfer-encoding: chunked'"),
        ({"set": "Connection: close"}, "not 'Connection: close'"),
        ({"set": "nonsense"}, "not 'nonsense'"),
        ({"set": ["A: b\r\nC: d"]}, "not 'A: b\\r\\nC: d'"),
        ({"remove": "Content-Length"}, "remove as names of headers, without connection, content-length"),
        ({"remove": "a b"}, "not 'a b'"),
    ],
)
def test_headers_about_framing_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as raised:
        options.build(HttpHeaders, values, owner="it")
    assert message in str(raised.value)


def test_it_is_for_http() -> None:
    HttpHeaders().check(HttpProtocol())
    with pytest.raises(
        OptionError, match="behavior: 'http_headers' is not valid; expected a proxy whose protocol is http"
    ):
        HttpHeaders().check(Tcp())
