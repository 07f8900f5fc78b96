"""Slow a stream of events down."""

from __future__ import annotations

from typing import Annotated

import msgspec

from vaurien.behaviors._events import EventBehavior, EventStream
from vaurien.framing.events import StreamEvent
from vaurien.hooks import Link
from vaurien.options import Duration, Option

_Rate = Annotated[float, msgspec.Meta(ge=0, le=10**6)]


_LOOKED_AT = 512
"""Bytes that are sent, by the event, before other connections run."""


class StreamSlow(EventBehavior, frozen=True):
    """Pass at most *rate* events of a streamed answer in a second, the first one *first* seconds late.

    Events are what language models send a token, or a few, in. The client reads the head at once, then the events,
    whole and in order, with a pause between two; nothing is lost. The backend is not slowed down until 32 MiB wait.
    """

    rate: Annotated[_Rate, Option("Events a second; 0: as fast as they come")] = 10.0
    first: Annotated[Duration, Option("How late the first event is")] = 0.0

    def why_idle(self) -> str:
        return "" if self.rate or self.first else "rate and first are 0"

    @property
    def chunk_limit(self) -> int:
        """Each event is sent by itself."""
        return _LOOKED_AT

    async def pass_events(self, link: Link, stream: EventStream, events: list[StreamEvent]) -> None:
        """Give each its time."""
        early = stream.encoded(())
        if early:
            await self.send(link, early)
        for event in events:
            if event.counts:
                gap = self.first if not stream.events else 1 / self.rate if self.rate else 0.0
                stream.events += 1
                earliest = link.arrived_at if stream.events == 1 else stream.due
                stream.due = max(link.arrived_at, earliest + gap)
                if stream.due > link.arrived_at and link.exchange is not None:
                    link.exchange.hit()
            await self.send(link, stream.encoded([event.data]), max(0.0, stream.due - link.arrived_at))
        if stream.ended:
            await self.send(link, stream.end(), max(0.0, stream.due - link.arrived_at))
