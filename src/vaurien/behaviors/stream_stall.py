"""Stop a stream of events in the middle, with the connection up."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._events import EventBehavior, EventStream
from vaurien.framing.events import StreamEvent
from vaurien.hooks import Link
from vaurien.options import Count, Duration, Option

_EVER = 10.0**9
"""Seconds: 31 years."""


class StreamStall(EventBehavior, frozen=True):
    """Pass *after* events of a streamed answer, then send nothing more, while the connection stays up.

    The client has read a head and some events, and waits; only a time-out of its own between two events helps it. With
    *seconds* the stream goes on after so long, otherwise when the fault is removed. What the backend sends meanwhile is
    kept, up to the limit of a delay line (32 MiB); then it is not read. Answers that are no streams of events pass.
    """

    after: Annotated[Count, Option("Events that pass before")] = 3
    seconds: Annotated[Duration | None, Option("How long nothing passes; if not given, until it is removed")] = None

    def why_idle(self) -> str:
        return "seconds is 0" if self.seconds == 0 else ""

    async def pass_events(self, link: Link, stream: EventStream, events: list[StreamEvent]) -> None:
        """Pass those before the place now, and those behind it late."""
        passing: list[bytes] = []
        while events and not stream.due and not (events[0].counts and stream.events >= self.after):
            event = events.pop(0)
            stream.events += event.counts
            passing.append(event.data)
        if events and not stream.due:
            stream.due = link.now() + (_EVER if self.seconds is None else self.seconds)
            if link.exchange is not None and self.seconds != 0:
                link.exchange.hit()
        end = stream.end() if stream.ended else b""
        if not stream.due:
            await self.send(link, stream.encoded(passing) + end)
            return
        if passing or not events:
            await self.send(link, stream.encoded(passing))
        await self.send(link, stream.encoded(event.data for event in events) + end, stream.due - link.arrived_at)
