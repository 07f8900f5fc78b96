"""Cut an event of a stream into two pieces."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.behaviors._events import EventBehavior, EventStream
from vaurien.framing.events import StreamEvent
from vaurien.hooks import Link
from vaurien.options import Count, Milliseconds, Option

_CONTINUES = range(0x80, 0xC0)
"""The bytes of a character of UTF-8 behind its first (RFC 3629, section 3)."""


_LOOKED_AT = 256
"""Bytes that are sent, by the piece, before other connections run."""


class StreamSplit(EventBehavior, frozen=True):
    """Send the events of a streamed answer behind *after* of them in two pieces each, the second *pause* later.

    The client reads the same bytes, but no read, and no chunk, ends where an event does. With *where* ``character`` the
    cut is in the middle of a character of UTF-8, in events that have one of several bytes: what decodes each read by
    itself breaks there.
    """

    after: Annotated[Count, Option("Events that pass before")] = 0
    where: Annotated[Literal["event", "character"], Option("What is cut in the middle")] = "event"
    pause: Annotated[Milliseconds, Option("How much later the second piece comes")] = 20.0

    @property
    def chunk_limit(self) -> int:
        """Each event is sent by itself."""
        return _LOOKED_AT

    async def pass_events(self, link: Link, stream: EventStream, events: list[StreamEvent]) -> None:
        """Cut them."""
        for event in events:
            stream.events += event.counts
            place = self._place(event.data) if event.counts and stream.events > self.after else 0
            late = max(0.0, stream.due - link.arrived_at)
            if not place:
                await self.send(link, stream.encoded([event.data]), late)
                continue
            if link.exchange is not None:
                link.exchange.hit()
            await self.send(link, stream.encoded([event.data[:place]]), late)
            late = max(0.0, link.now() - link.arrived_at, late) + self.pause / 1000
            stream.due = link.arrived_at + late
            await self.send(link, stream.encoded([event.data[place:]]), late)
        await self.send(
            link, stream.encoded(()) + (stream.end() if stream.ended else b""), max(0.0, stream.due - link.arrived_at)
        )

    def _place(self, data: bytes) -> int:
        """Where *data* is cut; 0: nowhere."""
        if self.where == "event":
            return len(data) // 2
        return next((place for place, byte in enumerate(data) if byte in _CONTINUES), 0)
