"""Facts of a thread reach the loop in order, all of them, and it is seldom woken for them."""

from __future__ import annotations

import threading

from tests.engine.blocking.fakes import FakeClock
from vaurien.engine.blocking.lane_events import INTERVAL, MANY, LaneEvents


class Loop:
    """A loop that is woken when `run` is called."""

    def __init__(self):
        self.clock, self.woken, self.told = FakeClock(), [], []
        self.events = LaneEvents(self.clock, self.woken.append)

    def note(self, *facts):
        for fact in facts:
            self.events.note(lambda fact=fact: self.told.append(fact))

    def run(self):
        while self.woken:
            self.woken.pop(0)()


def test_the_first_fact_is_told_at_once():
    loop = Loop()
    loop.note("first")
    assert len(loop.woken) == 1
    loop.run()
    assert loop.told == ["first"]


def test_later_facts_wake_the_loop_no_more_than_once_a_second():
    loop = Loop()
    loop.note("first")
    loop.run()
    loop.note(*range(MANY - 1))
    assert loop.woken == []
    loop.clock.advance(INTERVAL)
    assert loop.told == ["first", *range(MANY - 1)]
    loop.note("again")
    assert loop.woken == []
    loop.clock.advance(2 * INTERVAL)
    assert loop.told[-1] == "again"


def test_after_a_quiet_second_the_next_fact_is_told_at_once():
    loop = Loop()
    loop.note("first")
    loop.run()
    loop.clock.advance(INTERVAL)
    loop.note("second")
    loop.run()
    assert loop.told == ["first", "second"]


def test_many_facts_wake_the_loop_before_the_second_is_over():
    loop = Loop()
    loop.note("first")
    loop.run()
    loop.note(*range(MANY))
    loop.run()
    assert len(loop.told) == MANY + 1


def test_at_the_end_everything_is_told_and_no_timer_left():
    loop = Loop()
    loop.note("first")
    loop.run()
    loop.note("last")
    loop.events.close()
    assert loop.told == ["first", "last"]
    loop.clock.advance(10 * INTERVAL)
    assert loop.told == ["first", "last"]


def test_no_fact_is_lost_between_two_threads():
    told, wakes = [], []
    wanted = threading.Semaphore(0)
    events = LaneEvents(FakeClock(), lambda tell: (wakes.append(tell), wanted.release()))
    count = 5000

    def note():
        for fact in range(count):
            events.note(lambda fact=fact: told.append(fact))

    thread = threading.Thread(target=note)
    thread.start()
    while thread.is_alive():
        if wanted.acquire(timeout=0.001):
            wakes.pop(0)()
    thread.join()
    events.close()
    assert told == list(range(count))
