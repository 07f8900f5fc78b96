"""How often a fault has hit, and tests that fail because it has not."""

from __future__ import annotations

import asyncio

import pytest

import vaurien
from tests.library.conftest import says
from vaurien.errors import OptionError, UnknownName
from vaurien.library.hits import NotHit


def test_hits_know_what_was_hit(backend, connect):
    with vaurien.Proxy(backend, faults=["latency latency=0.1"]) as proxy:
        assert (proxy.hits("latency"), proxy.hits("latency").last_hit) == (0, None)
        assert says(connect(proxy)) == b"hello"
        assert says(connect(proxy)) == b"hello"
        hits = proxy.expect("latency", at_least=2)
        assert hits == proxy.hits()["latency"] >= 2
        assert (hits.connections_hit, hits.exchanges_hit) == (2, 0)
        assert hits.last_hit == max(event.at for event in proxy.events if getattr(event, "fault", "") == "latency")


def test_expect_says_how_near_it_came(backend, connect):
    with vaurien.Proxy(backend, protocol="http", faults=["delay sleep=0.001 name=slow match.path=/other"]) as proxy:
        with pytest.raises(NotHit, match="hit 0 times, expected 1 or more: no connection has come since it was set"):
            proxy.expect("slow")
        says(connect(proxy), b"GET /this HTTP/1.1\r\n\r\n")
        with pytest.raises(AssertionError, match=r"match.path=/other fits none of 1 exchange; seen: path '/this'"):
            proxy.expect("slow")
        with pytest.raises(UnknownName, match="did you mean 'slow'"):
            proxy.expect("slowly")


def test_encrypted_connections_are_named(backend, connect):
    with vaurien.Proxy(backend, protocol="http", faults=["delay match.path=/"]) as proxy:
        says(connect(proxy), b"\x16\x03\x01\x02\x00")
        with pytest.raises(NotHit, match="1 connection encrypted, which hides the requests; give"):
            proxy.expect("delay")


def test_more_hits_than_expected(backend, connect):
    with vaurien.Proxy(backend, faults=["latency latency=0.1"]) as proxy:
        assert says(connect(proxy)) == b"hello"
        with pytest.raises(NotHit, match=r"times, expected 0 to 1: it hit 1 of 1 connection$"):
            proxy.expect("latency", at_least=0, at_most=1)


def test_the_end_of_a_block_fails_without_the_hits_that_a_fault_expects(backend):
    with pytest.raises(NotHit, match="fault 'latency' of proxy 'vaurien' hit 0 times, expected 1 or more: no connec"):
        with vaurien.Proxy(backend, faults=["latency latency=1 expect_hits=1.."]) as proxy:
            assert "not started" not in repr(proxy)
    assert "closed" in repr(proxy)


def test_a_fault_that_was_removed_is_still_expected(backend, connect):
    with pytest.raises(NotHit, match="fault 'slow' of proxy"):
        with vaurien.Proxy(backend) as proxy:
            with proxy.fault("latency", latency=1, name="slow", expect_hits="1.."):
                pass
            assert says(connect(proxy)) == b"hello"


def test_what_went_wrong_before_comes_first(backend):
    with pytest.raises(ZeroDivisionError):
        with vaurien.Proxy(backend, faults=["latency latency=1 expect_hits=1.."]):
            raise ZeroDivisionError


def test_a_share_of_the_mix_can_be_required(backend):
    with pytest.raises(NotHit, match="fault 'delay' of proxy"):
        with vaurien.Proxy(backend, mix="1:delay") as proxy:
            proxy.require_hits("delay", "1..")


def test_the_asynchronous_one_fails_too(backend):
    async def run():
        async with vaurien.AsyncProxy(backend, faults=["latency latency=1 expect_hits=1.."]):
            pass

    with pytest.raises(NotHit):
        asyncio.run(run())


def test_a_preset_is_added_and_taken_back(backend, connect):
    with vaurien.Proxy(backend, protocol="http") as proxy:
        with proxy.preset("http.maintenance") as change:
            assert [fault.name for fault in change.value] == ["http.maintenance"]
            answer = says(connect(proxy), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert proxy.expect("http.maintenance").exchanges_hit == 1
        assert proxy.faults() == ()
        with pytest.raises(OptionError, match="a proxy whose protocol is postgres, not http"):
            proxy.preset("postgres.deadlock")
        with pytest.raises(OptionError, match="one without a schedule"):
            proxy.preset("brown-out")
        with pytest.raises(UnknownName, match=r"did you mean 'http\.maintenance'"):
            proxy.preset("http.maintenence")


@pytest.mark.parametrize("text", ["", "..", "x", "1-2", "-1..", "5..2", "1...2", "9" * 19])
def test_what_is_no_range(backend, text):
    with pytest.raises(OptionError, match="expect_hits"):
        vaurien.Proxy(backend, faults=[{"behavior": "latency", "expect_hits": text}])
