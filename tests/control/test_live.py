from __future__ import annotations

import asyncio
import json

from tests.control.test_events import accepted
from vaurien.control import live
from vaurien.control.events import RecentEvents
from vaurien.control.history import History
from vaurien.proxies.hub import Hub


def messages(chunk):
    """The messages of *chunk*: their kind, and their data."""
    found = []
    for text in chunk.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in text.split("\n"))
        found.append((fields["event"], json.loads(fields["data"])))
    return found


def following(play, number=0):
    """Run the coroutine function *play* with a function that gives the next messages, and what they come from."""

    async def whole():
        hub, recent, history = Hub(), RecentEvents(), History()
        stream = live.follow(hub, recent, history, number)

        async def more():
            return messages(await anext(stream))

        await play(more, recent, history)
        recent.close()
        async for _ in stream:
            continue
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())


def test_it_begins_with_the_run_and_goes_on_with_events_at_once():
    async def play(more, recent, history):
        assert await more() == [("Hello", {"run": recent.run})]
        recent(accepted(1))
        [(kind, data)] = await more()
        assert (kind, data["connection"]) == ("Accepted", 1)

    following(play)


def test_figures_come_each_second():
    async def play(more, recent, history):
        await more()
        [(kind, data)] = await more()
        assert (kind, data["proxies"], data["revision"]) == ("Figures", {}, 0)

    following(play)


def test_of_many_events_the_last_come_and_the_others_are_counted():
    async def play(more, recent, history):
        await more()
        for number in range(1, 1201):
            recent(accepted(number))
        [(first, skipped), *events] = await more()
        assert (first, skipped) == ("Skipped", {"count": 1200 - live.MOST})
        assert [data["connection"] for _, data in events] == list(range(1201 - live.MOST, 1201))

    following(play)


def test_all_that_was_missed_comes_first():
    async def play(more, recent, history):
        for number in range(1, 201):
            recent(accepted(number))
        [(kind, _), *events] = await more()
        assert kind == "Hello"
        assert [data["connection"] for _, data in events] == list(range(3, 201))

    following(play, number=2)


def test_events_between_two_writes_come_together():
    async def play(more, recent, history):
        await more()
        recent(accepted(1))
        await more()
        recent(accepted(2))
        asyncio.get_running_loop().call_later(live.PACE / 4, recent, accepted(3))
        assert [data["connection"] for kind, data in await more() if kind == "Accepted"] == [2, 3]

    following(play)


def test_a_number_of_another_run_is_no_number_of_this_one():
    async def play(more, recent, history):
        recent(accepted(1))
        [_, (kind, data)] = await more()
        assert (kind, data["connection"]) == ("Accepted", 1)

    following(play, number=7)


class CountingEvents(RecentEvents):
    """Counts how often a reader is woken."""

    def __init__(self):
        super().__init__()
        self.woken = 0

    def waking(self, news):
        def counted():
            self.woken += 1
            news()

        return super().waking(counted)


def test_events_that_come_before_the_next_write_wake_no_page():
    async def whole():
        recent = CountingEvents()
        stream = live.follow(Hub(), recent, History(), 0)
        assert [kind for kind, _ in messages(await anext(stream))] == ["Hello"]
        recent(accepted(1))
        assert [kind for kind, _ in messages(await anext(stream))] == ["Accepted"]
        waiting = asyncio.ensure_future(anext(stream))
        recent(accepted(2))
        for number in range(3, 503):
            await asyncio.sleep(0)
            recent(accepted(number))
        [(first, _), *events] = messages(await waiting)
        assert (first, len(events)) == ("Skipped", live.MOST)
        assert recent.woken <= 1
        await stream.aclose()

    asyncio.run(whole())
