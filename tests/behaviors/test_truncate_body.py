"""Bodies that end early."""

from __future__ import annotations

import pytest

from tests.running import backend, pair, read, read_all, running
from vaurien.behaviors.truncate_body import TruncateBody
from vaurien.errors import OptionError
from vaurien.model import Fault
from vaurien.protocols.http import HttpProtocol
from vaurien.protocols.tcp import Tcp

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("after", "response", "passes"),
    [
        (0, HEAD + b"0123456789", HEAD),
        (4, HEAD + b"0123456789", HEAD + b"0123"),
        (3, CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n", CHUNKED + b"a\r\n"),
    ],
)
@pytest.mark.parametrize("cut", [1000, 1, 45])
def test_the_head_and_so_much_of_the_body_pass(after: int, response: bytes, passes: bytes, cut: int) -> None:
    fault = Fault(name="it", behavior="truncate_body", options={"after": after})
    with backend() as listening, running(listening.getsockname(), "", fault, protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(REQUEST)
            server.recv(1000)
            for start in range(0, len(response), cut):
                server.sendall(response[start : start + cut])
            assert read_all(client) == passes


def test_a_shorter_body_passes_and_the_next_one_counts_anew() -> None:
    fault = Fault(name="it", behavior="truncate_body", options={"after": 10})
    with backend() as listening, running(listening.getsockname(), "", fault, protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            for _ in range(3):
                client.sendall(REQUEST)
                server.sendall(HEAD + b"0123456789")
                assert read(client, len(HEAD) + 10) == HEAD + b"0123456789"


def test_it_is_for_http() -> None:
    TruncateBody().check(HttpProtocol())
    with pytest.raises(OptionError, match="a proxy whose protocol is http"):
        TruncateBody().check(Tcp())
