from __future__ import annotations

import pytest

from tests.running import backend, pair, running
from vaurien.config.fault import parse, text, without_effect
from vaurien.errors import OptionError
from vaurien.model import Fault, Scope


def test_a_fault_that_is_switched_off_does_nothing_and_keeps_its_place():
    slow = Fault(name="slow", behavior="latency", options={"latency": 1})
    off = Fault(name="ends", behavior="limit_data", options={"bytes": 0}, enabled=False)
    with backend() as listening, running(listening.getsockname(), "", off, slow) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"hello")
            assert server.recv(5) == b"hello"
        assert [fault.name for fault in proxy.call(lambda: proxy.proxy.policy.faults)] == ["ends", "slow"]


def test_a_fault_is_switched_on_and_off_under_a_live_connection():
    off = Fault(name="stop", behavior="limit_data", options={"bytes": 0}, enabled=False)
    with backend() as listening, running(listening.getsockname(), "", off) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"hello")
            assert server.recv(5) == b"hello"
            proxy.set_policy("", Fault(name="stop", behavior="limit_data", options={"bytes": 0}))
            client.sendall(b"again")
            assert server.recv(5) == b""


def test_what_is_wrong_with_a_fault_is_wrong_too_while_it_is_off():
    with backend() as listening, running(listening.getsockname()) as proxy:
        with pytest.raises(OptionError, match="expected no choice of chunks"):
            proxy.set_policy("", Fault(name="a", behavior="delay", scope=Scope.CHUNK, enabled=False))


def test_it_says_so_itself():
    fault = parse("latency latency=5 enabled=no")
    assert not fault.enabled
    assert text(fault) == "latency enabled=no latency=5"
    assert without_effect(fault) == "it is switched off"
