"""Laws of framing for HTTP and Redis: any bytes, and dialogues built from pieces of the real thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.framing import Protocol
from vaurien.protocols.http import HttpProtocol
from vaurien.protocols.redis import RedisProtocol
from vaurien.testing.framing import Segment, check_framing

HTTP_REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /a HTTP/1.0\n\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    b"2;x\r\nab\r\n",
    b"0\r\nT: x\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: x\r\n",
    b"\r\n",
    b" folded\r\n",
]
HTTP_RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 100 Go\r\n\r\n",
    b"HTTP/1.1 101 Go\r\n\r\n",
    b"HTTP/1.0 200\n\n",
    b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"1\r\nx\r\n",
    b"0\r\n\r\n",
]
REDIS_REQUESTS = [
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n",
    b"*3\r\n$3\r\nSET\r\n$2\r\n\r\n\r\n",
    b"$4\r\nabcd\r\n",
    b"SET a b\r\n",
    b"MULTI\r\n",
    b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n",
    b"CLIENT REPLY OFF\r\n",
    b"CLIENT REPLY ON\r\n",
    b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"UNSUBSCRIBE\r\n",
    b"MONITOR\r\n",
    b"RESET\r\n",
    b"SYNC\r\n",
    b"*0\r\n",
]
REDIS_REPLIES = [
    b"+OK\r\n",
    b"-ERR x\r\n",
    b":1\r\n",
    b"$3\r\na\r\n\r\n",
    b"*2\r\n",
    b"%1\r\n",
    b"|1\r\n",
    b"*?\r\n",
    b".\r\n",
    b"$?\r\n;1\r\nx\r\n;0\r\n",
    b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n",
    b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n",
    b'+1.5 [0 a] "x"\r\n',
    b"+RESET\r\n",
]


def dialogues(requests: list[bytes], replies: list[bytes]) -> st.SearchStrategy[list[Segment]]:
    def segment(to_backend: bool, parts: list[bytes]) -> st.SearchStrategy[Segment]:
        some = st.lists(st.sampled_from(parts) | st.binary(max_size=3), max_size=4).map(b"".join)
        return some.map(lambda data: (to_backend, data))

    return st.lists(segment(True, requests) | segment(False, replies), max_size=8)


@given(dialogues(HTTP_REQUESTS, HTTP_RESPONSES), st.integers(1, 20))
def test_http_does_not_depend_on_cuts(segments: list[Segment], size: int) -> None:
    check_framing(HttpProtocol(), segments, (1, size))


@given(dialogues(REDIS_REQUESTS, REDIS_REPLIES), st.integers(1, 20))
def test_redis_does_not_depend_on_cuts(segments: list[Segment], size: int) -> None:
    check_framing(RedisProtocol(), segments, (1, size))


@pytest.mark.parametrize("protocol", [HttpProtocol(), RedisProtocol()])
@given(segments=st.lists(st.tuples(st.booleans(), st.binary(max_size=200)), max_size=5), size=st.integers(1, 20))
def test_any_bytes_pass_unharmed(protocol: Protocol, segments: list[Segment], size: int) -> None:
    check_framing(protocol, segments, (1, size))
