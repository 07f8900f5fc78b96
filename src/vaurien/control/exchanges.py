"""The last exchanges of the proxies that people look at: what was asked, what came back, how late, and what hit.

A proxy makes an event of each exchange only while it is looked at; otherwise nothing is made, and nothing is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence

import msgspec

from vaurien.control.events import HEARTBEAT, RecentEvents
from vaurien.errors import VaurienError
from vaurien.events import Exchanged
from vaurien.proxies.hub import Hub

CAPACITY = 500
"""Exchanges of a proxy that are remembered while it is looked at."""

PACE = 0.25
"""Seconds from one write to the next."""

MOST = 100
"""Exchanges in one write: more than that no person reads."""


class ExchangeBatch(msgspec.Struct, frozen=True):
    """Exchanges that have ended, the oldest first, and how many were *skipped* before them."""

    exchanges: Sequence[Exchanged]
    skipped: int = 0


class _Log:
    """The exchanges of one proxy, and those that wait for the next."""

    def __init__(self) -> None:
        self.last: deque[Exchanged] = deque(maxlen=CAPACITY)
        self.count = 0
        self.news: set[Callable[[], None]] = set()

    def since(self, number: int) -> ExchangeBatch:
        """Those behind the one of this *number*; of more than `MOST` the last."""
        fresh = min(self.count - number, len(self.last), MOST)
        return ExchangeBatch(list(self.last)[len(self.last) - fresh :], self.count - number - fresh)


class Exchanges:
    """Remembers exchanges of the proxies that are followed."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}

    @property
    def followed(self) -> Collection[str]:
        """The names of these proxies."""
        return self._logs.keys()

    def __call__(self, event: Exchanged) -> None:
        """Remember *event*."""
        log = self._logs.get(event.proxy)
        if log is not None:
            log.last.append(event)
            log.count += 1
            for news in log.news:
                news()

    @contextlib.contextmanager
    def _watched(self, proxy: str, news: Callable[[], None]) -> Iterator[_Log]:
        log = self._logs.setdefault(proxy, _Log())
        log.news.add(news)
        try:
            yield log
        finally:
            log.news.discard(news)
            if not log.news:
                del self._logs[proxy]

    async def follow(
        self, hub: Hub, recent: RecentEvents, proxy: str, *, heartbeat: float = HEARTBEAT
    ) -> AsyncIterator[bytes]:
        """The exchanges of *proxy* as server-sent events, an `ExchangeBatch` each.

        The last ones that another reader has followed come first. It ends when the proxy is gone,
        or *recent* closed.
        """
        news = asyncio.Event()
        try:
            with recent.waking(news.set), self._watched(proxy, news.set) as log:
                await follow_observers(hub, [proxy])
                number = max(0, log.count - MOST)
                yield b":\n\n"
                while proxy in hub.proxies and not recent.closed:
                    news.clear()
                    if log.count > number:
                        batch, number = log.since(number), log.count
                        yield b"event: Exchanges\ndata: %s\n\n" % msgspec.json.encode(batch)
                        await asyncio.sleep(PACE)
                    else:
                        try:
                            async with asyncio.timeout(heartbeat):
                                await news.wait()
                        except TimeoutError:
                            yield b":\n\n"
        finally:
            await follow_observers(hub, [proxy])


async def follow_observers(hub: Hub, names: Collection[str]) -> None:
    """Have the proxies *names* ask their observers anew which details they want."""
    for proxy in [hub.proxies[name] for name in names if name in hub.proxies]:
        with contextlib.suppress(VaurienError):  # a worker that dies is told when it is replaced
            await proxy.follow_observers()
