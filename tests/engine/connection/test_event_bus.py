"""Events reach the observers that want them, and an observer that raises harms no other."""

from __future__ import annotations

import asyncio

from vaurien.engine.connection.event_bus import EventBus
from vaurien.events import Accepted, Closed, Delayed

LOOP = asyncio.new_event_loop()
LOOP.close()


class Observer:
    def __init__(self, *, ignores=(), detailed=False) -> None:
        self.ignores, self.detailed, self.seen = ignores, detailed, []

    def __call__(self, event) -> None:
        self.seen.append(type(event))


def test_each_observer_gets_what_it_wants() -> None:
    plain, picky, detailed = Observer(), Observer(ignores=(Accepted,)), Observer(detailed=True)
    bus = EventBus(LOOP, "web", [plain, picky, detailed])
    bus.emit(Accepted, connection=1, peer="x")
    bus.detail(Delayed, connection=1, fault="late", seconds=1.0)
    assert plain.seen == [Accepted]
    assert picky.seen == []
    assert detailed.seen == [Accepted, Delayed]


def test_an_event_that_no_observer_wants_is_not_made() -> None:
    bus = EventBus(LOOP, "web", [Observer(ignores=(Closed,))])
    bus.emit(Closed, no="such field")
    bus.detail(Delayed, no="such field")


def test_an_observer_that_raises_is_reported_and_the_next_one_is_told() -> None:
    def broken(event) -> None:
        raise ZeroDivisionError

    loop, complaints, other = asyncio.new_event_loop(), [], Observer()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    EventBus(loop, "web", [broken, other]).emit(Accepted, connection=1, peer="x")
    assert other.seen == [Accepted]
    assert "broken" in complaints[0]["message"]
    loop.close()
