"""Send events of a stream twice."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._events import EventBehavior, EventStream
from vaurien.framing.events import StreamEvent
from vaurien.hooks import Link
from vaurien.options import Count, Option, PositiveCount


class StreamDuplicate(EventBehavior, frozen=True):
    """Send *events* events of a streamed answer twice, after *after* of them.

    The client reads each of these events two times in a row, as after a reconnect that began too early. The others pass
    as they are.
    """

    after: Annotated[Count, Option("Events that pass before")] = 1
    events: Annotated[PositiveCount, Option("Events that are sent twice")] = 1

    def become(self, link: Link, stream: EventStream, event: StreamEvent) -> list[bytes]:
        """Send it twice in its turn."""
        return [event.data] * (2 if self.hits(link, stream, event, self.after, self.events) else 1)
