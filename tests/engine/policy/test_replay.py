"""Decisions: each is told to observers that ask, the same seed makes the same ones, and they can be done again."""

from __future__ import annotations

from tests.legacy_plugins import Forward
from tests.running import backend, pair, read, running
from vaurien import plugins
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.events import Closed, Decided, Delayed, Injected
from vaurien.model import Fault, Scope, Stream, Window

FAULTS = (
    Fault(name="half", behavior="noop", probability=0.5),
    Fault(name="some", behavior="delay", options={"sleep": 0.001}, scope=Scope.EXCHANGE, probability=0.4),
    Fault(name="third", behavior="delay", options={"sleep": 0.001}, scope=Scope.EXCHANGE, window=Window(every=3)),
    Fault(name="sure", behavior="latency", stream=Stream.DOWNSTREAM, options={"latency": 0.1}),
)


class Details:
    """An observer that is told everything."""

    detailed = True

    def __init__(self):
        self.seen = []

    def __call__(self, event):
        self.seen.append(event)

    def of(self, kind):
        return [event for event in self.seen if isinstance(event, kind)]


def facts(events):
    """What *events* say, but for times."""
    return [
        (event.connection, event.fault, getattr(event, "drawn", "hit"), event.exchange, event.stream, event.offset)
        for event in events
    ]


def talk(seed, *, mix="", faults=FAULTS, recorded=None, connections=4, exchanges=6):
    """Play a client that asks several times on several connections; what a detailed observer was told."""
    details = Details()
    with backend() as listening:
        config = {"seed": seed, "observers": [details], "recorded": recorded}
        with running(listening.getsockname(), mix, *faults, **config) as proxy:
            for number in range(connections):
                with pair(proxy, listening) as (client, server):
                    for _ in range(exchanges):
                        client.sendall(b"ask")
                        assert read(server, 3).upper() == b"ASK"
                        server.sendall(b"answer")
                        assert read(client, 6).lower() == b"answer"
                proxy.events.wait(Closed, number + 1)
    return details


def test_the_same_seed_and_client_make_the_same_decisions_and_hits():
    first, again, other = (facts(talk(seed).of(Decided | Injected)) for seed in ("1", "1", "2"))
    assert first == again
    assert first != other


def test_recorded_decisions_are_done_again_whatever_the_seed():
    first = talk("1")
    recorded = ReplayedDecisions((one.connection, one.fault, one.drawn) for one in first.of(Decided))
    again = talk("2", recorded=recorded)
    assert facts(again.of(Injected)) == facts(first.of(Injected))
    assert facts(again.of(Decided)) == facts(first.of(Decided))
    assert any(one.drawn is True for one in first.of(Decided))


def test_shares_of_the_mix_are_decisions_too():
    first = talk("1", mix="30:latency,20:noop,20:latency", faults=())
    drawn = [one.drawn for one in first.of(Decided)]
    assert len(drawn) == 24
    assert {"latency", "latency 2", None} <= set(drawn)
    recorded = ReplayedDecisions((one.connection, one.fault, one.drawn) for one in first.of(Decided))
    again = talk("2", mix="30:latency,20:noop,20:latency", faults=(), recorded=recorded)
    assert [one.drawn for one in again.of(Decided)] == drawn


def test_what_was_not_recorded_is_not_hit():
    recorded = ReplayedDecisions([(1, "some", True), (1, "some", True)])
    hits = talk("1", faults=FAULTS[1:3], recorded=recorded).of(Injected)
    assert [(hit.connection, hit.exchange) for hit in hits] == [(1, 1), (1, 2)]


def test_a_decision_says_where_in_the_stream_it_was_made():
    decided = talk("1", faults=FAULTS[1:2], connections=1).of(Decided)
    assert [(one.exchange, one.stream, one.offset) for one in decided] == [
        (number, Stream.UPSTREAM, (number - 1) * 3) for number in range(1, 7)
    ]
    assert all(one.elapsed >= 0 for one in decided)


def test_a_chunk_is_where_it_begins():
    chunks = Fault(name="c", behavior="latency", options={"latency": 0.1}, scope=Scope.CHUNK, window=Window(every=2))
    details = talk("1", faults=(chunks,), connections=1, exchanges=2)
    places = {(one.stream, one.offset, one.drawn) for one in details.of(Decided)}
    assert {(stream, offset) for stream, offset, _ in places} == {
        (Stream.UPSTREAM, 0),
        (Stream.UPSTREAM, 3),
        (Stream.DOWNSTREAM, 0),
        (Stream.DOWNSTREAM, 6),
        (Stream.UPSTREAM, 6),  # the ends
        (Stream.DOWNSTREAM, 12),
    }
    hits = {(one.stream, one.offset) for one in details.of(Injected)}
    assert hits == {(stream, offset) for stream, offset, drawn in places if drawn}


def test_delays_are_told():
    slow = Fault(name="slow", behavior="delay", options={"sleep": 0.005})
    late = Fault(name="late", behavior="latency", options={"latency": 5}, stream=Stream.DOWNSTREAM)
    delays = talk("1", faults=(slow, late), connections=1, exchanges=3).of(Delayed)
    for name, count in (("slow", 3), ("late", 4)):  # three answers and the end
        seconds = [one.seconds for one in delays if one.fault == name]
        assert len(seconds) == count
        assert all(one >= 0.0049 for one in seconds)  # a timer may be some µs early


def test_an_observer_that_does_not_ask_is_not_told():
    with backend() as listening, running(listening.getsockname(), "", *FAULTS) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"ask")
            assert read(server, 3) == b"ask"
        proxy.events.wait(Closed)
        assert not proxy.events.of(Decided, Delayed)


def test_calls_of_a_handler_are_decisions_too():
    plugins.register("handler", Forward)
    first = talk("1", mix="50:forward", faults=(), connections=1)
    drawn = [one.drawn for one in first.of(Decided)]
    assert {"forward", None} <= set(drawn)
    recorded = ReplayedDecisions((one.connection, one.fault, one.drawn) for one in first.of(Decided))
    again = talk("2", mix="50:forward", faults=(), connections=1, recorded=recorded)
    assert [one.drawn for one in again.of(Decided)][: len(drawn)] == drawn
