"""Many lanes at once, in threads that are switched all the time: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import sys
import threading

import pytest

from tests.legacy_plugins import ask
from tests.running import PATIENCE
from vaurien import events
from vaurien.model import Fault, Window

THREADS, TURNS = 16, 20


@pytest.fixture(autouse=True)
def _switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(proxy, turns):
    """Clients in threads of their own, each with *turns* on a connection; the answers of each."""
    answers: list[list[bytes]] = []

    def run():
        with proxy.connect() as client:
            answers.append([ask(client) for _ in range(turns)])

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(answers) == THREADS
    return answers


def test_each_turn_is_counted_and_told_once(serve):
    proxy = serve("100:forward")
    answers = together(proxy, TURNS)
    closed = proxy.events.wait(events.Closed, THREADS)
    assert {answer for each in answers for answer in each} == {b"HELLO"}
    assert [event.hits for event in closed] == [{"forward": TURNS}] * THREADS
    assert [(event.sent, event.received) for event in closed] == [(5 * TURNS, 5 * TURNS)] * THREADS
    told = [(event.connection, event.exchange) for event in proxy.events.of(events.Injected)]
    assert sorted(told) == sorted((event.connection, turn + 1) for event in closed for turn in range(TURNS))
    for event in closed:
        assert [turn for connection, turn in told if connection == event.connection] == [*range(1, TURNS + 1)]


def test_a_share_draws_the_same_in_threads_as_alone(serve):
    together_drawn, alone_drawn = [], []
    for drawn, clients in ((together_drawn, together), (alone_drawn, one_after_the_other)):
        proxy = serve("50:forward", seed="3")
        clients(proxy, TURNS)
        proxy.events.wait(events.Closed, THREADS)
        drawn += sorted((event.connection, event.exchange) for event in proxy.events.of(events.MixHit))
    assert together_drawn == alone_drawn


def one_after_the_other(proxy, turns):
    for _ in range(THREADS):
        with proxy.connect() as client:
            for _ in range(turns):
                ask(client)


def test_a_window_is_never_exceeded(serve):
    proxy = serve("", Fault("loud", "forward", window=Window(skip=2, every=3, count=3)))
    answers = together(proxy, 3)
    assert [set(each) for each in answers].count({b"HELLO"}) == 3
    hit = {event.connection for event in proxy.events.of(events.Injected)}
    assert len(hit) == 3
