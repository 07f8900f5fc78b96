"""Leave events out of a stream."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._events import EventBehavior, EventStream
from vaurien.framing.events import StreamEvent
from vaurien.hooks import Link
from vaurien.options import Count, Option, PositiveCount


class StreamDrop(EventBehavior, frozen=True):
    """Leave *events* events out of a streamed answer, after *after* of them.

    The client reads a stream that is whole as HTTP sees it, and lacks some events in the middle. Comments and the
    others pass as they are.
    """

    after: Annotated[Count, Option("Events that pass before")] = 1
    events: Annotated[PositiveCount, Option("Events that are left out")] = 1

    def become(self, link: Link, stream: EventStream, event: StreamEvent) -> list[bytes]:
        """Leave it out in its turn."""
        return [] if self.hits(link, stream, event, self.after, self.events) else [event.data]
