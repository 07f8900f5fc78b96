"""Events as they happen, for readers over HTTP, and the last of them for readers that come later."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

import msgspec

from vaurien.events import Event, Failed, PolicyChanged

CAPACITY = 1000
"""Events that are remembered: some hundred connections, a few hundred kilobytes."""

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, which finds out about readers that have gone (the HTML standard,
section 9.2.7, advises 15)."""


LARGEST = 4 * 2**20
"""Characters of texts in the events that are remembered: a caller can give a proxy a name of a megabyte."""


def _size(event: Event) -> int:
    size = len(event.proxy)
    if isinstance(event, PolicyChanged):
        size += len(event.mix) + sum(map(len, event.faults))
    elif isinstance(event, Failed):
        size += len(event.error)
    return size


class _Remembered:
    """An event, and its number."""

    __slots__ = ("_message", "event", "number")

    def __init__(self, number: int, event: Event) -> None:
        self.number, self.event = number, event
        self._message: bytes | None = None

    def message(self) -> bytes:
        """It as a server-sent event."""
        if self._message is None:
            kind = str(self.event.__struct_config__.tag).encode()
            self._message = b"id: %d\nevent: %s\ndata: %s\n\n" % (self.number, kind, msgspec.json.encode(self.event))
        return self._message


class RecentEvents:
    """An observer that remembers the last *capacity* events, numbered from 1, and wakes readers that wait for the next.

    Readers look into the one memory at their own pace: one that is too slow misses events, and delays no other.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._events: deque[_Remembered] = deque(maxlen=capacity)
        self._last = 0
        self._size = 0
        self._news: set[Callable[[], None]] = set()
        self._closed = False
        self.run = secrets.token_hex(8)
        """Tells this run of the program from others: numbers of events begin anew with each."""

    def __call__(self, event: Event) -> None:
        """Remember *event*."""
        if len(self._events) == self._events.maxlen:
            self._forget_oldest()
        self._events.append(_Remembered(self._last + 1, event))
        self._size += _size(event)
        while self._size > LARGEST and len(self._events) > 1:
            self._forget_oldest()
        self._last += 1
        self._wake()

    def _forget_oldest(self) -> None:
        self._size -= _size(self._events.popleft().event)

    def close(self) -> None:
        """End what `follow` yields."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        for news in self._news:
            news()

    @property
    def last(self) -> int:
        """The number of the last event."""
        return self._last

    @property
    def closed(self) -> bool:
        """Whether there will be no more."""
        return self._closed

    @contextlib.contextmanager
    def waking(self, news: Callable[[], None]) -> Iterator[None]:
        """Call *news* meanwhile for each event, and for the end."""
        self._news.add(news)
        try:
            yield
        finally:
            self._news.discard(news)

    def known(self, number: int) -> int:
        """*number*, or 0 if there was no such event yet: it is of an earlier run, of which nothing is known."""
        return 0 if number > self._last else number

    def messages(self, number: int, most: int | None = None) -> list[bytes]:
        """The events after event *number* that are remembered, at most the last *most*, as server-sent events.

        Each is encoded once, for all readers.
        """
        return [one.message() for one in self._after(number, most)]

    def _after(self, number: int, most: int | None = None) -> Iterable[_Remembered]:
        count = min(self._last - min(number, self._last), len(self._events))
        wanted = count if most is None else min(count, most)
        return itertools.islice(self._events, len(self._events) - wanted, None)

    async def follow(
        self, number: int = 0, *, proxy: str | None = None, heartbeat: float = HEARTBEAT
    ) -> AsyncIterator[bytes]:
        """The events after event *number*, of *proxy* or of all, as server-sent events, until `close`.

        A number that there was not yet is of an earlier run of the program, of which nothing is known: all come.
        """
        number = self.known(number)
        news = asyncio.Event()
        with self.waking(news.set):
            while not self._closed:
                news.clear()
                for one in list(self._after(number)):
                    number = one.number
                    if proxy in (None, one.event.proxy):
                        yield one.message()
                try:
                    async with asyncio.timeout(heartbeat):
                        await news.wait()
                except TimeoutError:
                    yield b":\n\n"
