"""Events and figures in one stream, for pages that people look at.

Unlike the stream of events alone it is thinned: no person reads ten thousand lines a second, and to write them to each
page would cost the proxies more than their own work.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec

from vaurien.control.events import HEARTBEAT, RecentEvents
from vaurien.control.history import History
from vaurien.proxies.hub import Hub

PACE = 0.2
"""Seconds from one write of events to the next; the first of them goes out at once."""

MOST = 50
"""Events in one write."""


async def follow(
    hub: Hub, recent: RecentEvents, history: History, number: int, *, heartbeat: float = HEARTBEAT
) -> AsyncIterator[bytes]:
    """The events after event *number*, and a ``Figures`` each second, as server-sent events, until *recent* is closed.

    What was missed comes at once. Of more than `MOST` events later the last come, behind a ``Skipped`` that says how
    many were left out.
    """
    news = asyncio.Event()
    ticks = history.number
    number = recent.known(number)
    loop = asyncio.get_running_loop()
    next_write = loop.time()
    with history.watched(hub, news.set):
        missed = recent.messages(number)
        number = recent.last
        yield b"".join([b"event: Hello\ndata: %s\n\n" % msgspec.json.encode({"run": recent.run}), *missed])
        while not recent.closed:
            news.clear()
            pieces = []
            if history.number > ticks:
                ticks = history.number
                pieces.append(b"event: Figures\ndata: %s\n\n" % history.latest)
            if recent.last > number and loop.time() >= next_write:
                fresh = recent.messages(number, MOST)
                if skipped := recent.last - number - len(fresh):
                    pieces.append(b'event: Skipped\ndata: {"count":%d}\n\n' % skipped)
                pieces += fresh
                number, next_write = recent.last, loop.time() + PACE
            if pieces:
                yield b"".join(pieces)
            behind = recent.last > number  # then time alone matters: events that come meanwhile would wake it in vain
            try:
                with contextlib.nullcontext() if behind else recent.waking(news.set):
                    async with asyncio.timeout(next_write - loop.time() if behind else heartbeat):
                        await news.wait()
            except TimeoutError:
                if not behind:
                    yield b":\n\n"
