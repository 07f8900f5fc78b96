"""What is counted of the hits of a fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.events import Accepted, Closed, Injected, PolicyChanged
from vaurien.observers.hits import FaultHits, HitCounter


def hit(connection, exchange=None, fault="slow", at=1.0, proxy="p"):
    return Injected(proxy=proxy, at=at, connection=connection, fault=fault, exchange=exchange)


def closed(connection, proxy="p"):
    return Closed(
        proxy=proxy, at=9, connection=connection, peer="", sent=0, received=0, end="client closed", duration=0
    )


def counted(*events):
    hits = HitCounter()
    for event in events:
        hits(event)
    return hits


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], FaultHits()),
        ([hit(1, at=2.0)], FaultHits(1, 1, 0, 2.0)),
        ([hit(1), hit(1), hit(2, at=3.0)], FaultHits(3, 2, 0, 3.0)),  # chunks
        ([hit(1, 1), hit(1, 2), hit(2, 1)], FaultHits(3, 2, 3, 1.0)),
        ([hit(1, 1), hit(1, 1)], FaultHits(2, 1, 1, 1.0)),
        ([hit(1, 1, "other"), hit(1, 1, proxy="other")], FaultHits()),
        ([hit(1, 1), closed(1), hit(1, 1)], FaultHits(2, 2, 2, 1.0)),  # a proxy that was started anew counts from 1
    ],
)
def test_hits_connections_and_exchanges(events, expected):
    assert counted(*events).of("p", "slow") == expected


def test_faults_that_are_gone_are_forgotten():
    hits = counted(hit(1, 1), hit(1, 1, "other"), hit(1, 1, proxy="q"))
    hits.keep("p", {"other"})
    assert [hits.of("p", name).hits for name in ("slow", "other")] == [0, 1]
    hits.forget("p")
    assert [hits.of("p", "other").hits, hits.of("q", "slow").hits] == [0, 1]
    hits(hit(1, 1, "other"))
    assert hits.of("p", "other") == FaultHits(1, 1, 1, 1.0)


def test_it_wants_no_other_events():
    assert {Accepted, PolicyChanged} <= HitCounter.ignores
    assert not {Injected, Closed} & HitCounter.ignores


occasions = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5), st.sampled_from("ab")))


@given(occasions)
def test_the_figures_are_those_of_sets(seen):
    """Exchanges of a connection come in order, as they do on the wire."""
    seen = sorted(seen)
    hits = counted(*(hit(connection, exchange, fault) for connection, exchange, fault in seen))
    for fault in "ab":
        mine = [one for one in seen if one[2] == fault]
        found = hits.of("p", fault)
        assert found.hits == len(mine)
        assert found.connections_hit == len({connection for connection, _, _ in mine})
        assert found.exchanges_hit == len(set(mine))
