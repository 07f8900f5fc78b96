"""The answer is lost, and nothing else."""

from __future__ import annotations

import pytest

from tests.running import backend, pair, read, running
from vaurien.behaviors.drop_response import DropResponse
from vaurien.events import Injected
from vaurien.model import Fault
from vaurien.testing import FakeExchange

REQUEST = b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
SWALLOWED, PASSED = b":1\r\n", b":2\r\n"


def test_it_drops_the_response() -> None:
    exchange = FakeExchange()
    exchange.connection.clock.run(DropResponse().on_response(exchange))
    assert exchange.dropped


@pytest.mark.parametrize("protocol", ["tcp", "redis"])
def test_the_backend_has_done_it_and_the_client_does_not_know(protocol: str) -> None:
    fault = Fault(name="it", behavior="drop_response")
    with backend() as listening, running(listening.getsockname(), "", fault, protocol=protocol) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(REQUEST)
            assert read(server, len(REQUEST)) == REQUEST
            server.sendall(SWALLOWED)
            proxy.events.wait(Injected)
            proxy.set_policy("")
            client.sendall(REQUEST)
            assert read(server, len(REQUEST)) == REQUEST
            server.sendall(PASSED)
            assert read(client, len(PASSED)) == PASSED
