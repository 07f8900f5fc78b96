"""Statuses of one's choice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import backend, pair, read, running
from vaurien import options
from vaurien.behaviors.http_status import HttpStatus
from vaurien.errors import OptionError
from vaurien.model import Fault
from vaurien.protocols.http import HttpProtocol
from vaurien.protocols.http.head import Http1Request
from vaurien.protocols.tcp import Tcp
from vaurien.testing import FakeExchange


def reply(method: str = "GET", **values: Any) -> bytes:
    exchange = FakeExchange(
        request=Http1Request(request=True, method=method, persistent=False), protocol=HttpProtocol()
    )
    exchange.connection.clock.run(options.build(HttpStatus, values, owner="it").on_request(exchange))
    assert exchange.replied is not None
    return exchange.replied.data


def test_the_response_is_complete() -> None:
    assert reply(status=429, body=r"later\n", headers="Retry-After: 5, X: y") == (
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nX: y\r\n"
        b"Content-Length: 6\r\nConnection: close\r\n\r\nlater\n"
    )


def test_what_has_no_body_has_none() -> None:
    assert reply("HEAD", body="abc").endswith(b"Content-Length: 3\r\nConnection: close\r\n\r\n")
    assert b"Content-Length" not in reply(status=204)


def test_a_status_without_a_name_has_no_reason() -> None:
    assert reply(status=599).startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize(
    "values",
    [
        {"status": 100},
        {"status": 600},
        {"headers": "nonsense"},
        {"headers": ["A: b\r\nC: d"]},
        {"headers": "Content-Length: 5"},
        {"headers": "transfer-encoding: chunked"},
        {"status": 204, "body": "x"},
    ],
)
def test_what_would_be_no_response_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        options.build(HttpStatus, values, owner="it")


def test_it_is_for_http() -> None:
    HttpStatus().check(HttpProtocol())
    with pytest.raises(OptionError, match="a proxy whose protocol is http"):
        HttpStatus().check(Tcp())


def test_the_connection_stays_usable_and_the_backend_sees_nothing() -> None:
    fault = Fault(name="it", behavior="http_status", options={"status": 418, "body": "no"})
    request = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
    with backend() as listening, running(listening.getsockname(), "", fault, protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            expected = b"HTTP/1.1 418 I'm a Teapot\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nno"
            for number in range(2):
                client.sendall(request % number)
                assert read(client, len(expected)).lower() == expected.lower()
            proxy.set_policy("")
            client.sendall(request % 2)
            assert read(server, 7) == b"GET /2 "
