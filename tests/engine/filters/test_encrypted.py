"""TLS that passes through a proxy of a protocol without TLS of its own is told as what it is."""

from __future__ import annotations

import pytest

from tests.running import backend, pair, read, running
from tests.tls.test_client_hello import HELLO
from vaurien.events import Closed, Encrypted, Failed, ProtocolLost
from vaurien.model import Fault, Scope

HINTS = {
    "http": "ask for http:// instead of https://",
    "http2": "ask for http:// instead of https://",
    "redis": "connect to redis:// instead of rediss://",
    "memcache": "",
}
NO_SIGHT = "cannot see its requests; give the proxy a certificate (tls)"


@pytest.mark.parametrize("protocol", HINTS)
@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_it_passes_and_is_told_once(protocol: str, size: int) -> None:
    fault = Fault("late", "latency", {"latency": 1}, scope=Scope.EXCHANGE)
    with backend() as listening, running(listening.getsockname(), "100:error", fault, protocol=protocol) as proxy:
        for _ in range(2):
            with pair(proxy, listening) as (client, server):
                for at in range(0, len(HELLO), size):
                    client.sendall(HELLO[at : at + size])
                assert read(server, len(HELLO)) == HELLO
                server.sendall(b"\x16\x03\x03\0\x02ab")
                assert read(client, 7) == b"\x16\x03\x03\0\x02ab"
        proxy.events.wait(Closed, 2)
        advice = f", or {HINTS[protocol]}" if HINTS[protocol] else ""
        assert [event.reason for event in proxy.events.of(Encrypted)] == [
            f"connection 1 is encrypted: the 100:error, late of this proxy {NO_SIGHT}{advice}"
        ]
        assert proxy.events.of(ProtocolLost, Failed) == []


@pytest.mark.parametrize("data", [b"\x16\x04\0\0\0\r\n", b"\x17\x03\x03\0\1a\r\n"])
def test_what_only_looks_like_it_is_told_as_lost(data: bytes) -> None:
    with backend() as listening, running(listening.getsockname(), protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(data)
            assert read(server, len(data)) == data
        proxy.events.wait(Closed)
        assert len(proxy.events.of(ProtocolLost)) == 1
        assert proxy.events.of(Encrypted) == []
