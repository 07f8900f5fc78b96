"""Send events of a stream in another order."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._events import EventBehavior, EventStream
from vaurien.framing.events import StreamEvent
from vaurien.hooks import Link
from vaurien.options import Count, Option, PositiveCount


class StreamReorder(EventBehavior, frozen=True):
    """Send the event after *after* others behind the *events* that follow it.

    The client reads the same events in another order: with *events* 1 two of them are swapped. When the stream ends
    before, the event comes last. It waits for the others, so it is late by as much as they are.
    """

    after: Annotated[Count, Option("Events that pass before")] = 1
    events: Annotated[PositiveCount, Option("Events that overtake it")] = 1

    def become(self, link: Link, stream: EventStream, event: StreamEvent) -> list[bytes]:
        """Keep it in its turn, until those before which it came have gone."""
        stream.events += event.counts
        if event.counts and stream.events == self.after + 1:
            stream.kept.append(event.data)
            return []
        if not (stream.kept and event.counts):
            return [event.data]
        if link.exchange is not None:
            link.exchange.hit()
        if stream.events <= self.after + self.events:
            return [event.data]
        kept, stream.kept = stream.kept, []
        return [event.data, *kept]
