"""End a stream of events in the middle."""

from __future__ import annotations

from typing import Annotated, Literal

from vaurien.behaviors._events import EventBehavior, EventStream
from vaurien.framing.events import StreamEvent
from vaurien.hooks import Link
from vaurien.options import Count, Option


class StreamCut(EventBehavior, frozen=True):
    """End a streamed answer after *after* of its events, or without *after*, before the last one.

    The last event is the one by which a stream says that it is complete: ``data: [DONE]``, ``message_stop``,
    ``"done": true``. *how* says what the client sees: ``clean``, the end of an answer that looks complete, and the
    connection stays usable; ``fin``, the end of the connection in the middle of the answer; ``rst``, a reset. With
    *after* 0 and ``clean`` it is an empty answer with the status 200, which many clients take for one. The rest of the
    backend's answer is read and goes nowhere, with ``fin`` and ``rst`` its connection ends. On HTTP/2 these two end the
    stream alone (RST_STREAM), and a clean end comes when the backend's does.
    """

    after: Annotated[Count | None, Option("Events that pass; if not given, all but the last of a complete stream")] = (
        None
    )
    how: Annotated[Literal["clean", "fin", "rst"], Option("How the answer ends")] = "clean"

    async def pass_events(self, link: Link, stream: EventStream, events: list[StreamEvent]) -> None:
        """Pass those before the place."""
        passing: list[bytes] = []
        for event in events:
            if event.counts and (event.last if self.after is None else stream.events >= self.after):
                stream.over = True
                break
            stream.events += event.counts
            passing.append(event.data)
        if not stream.over:
            await self.send(link, stream.encoded(passing) + (stream.end() if stream.ended else b""))
            return
        if link.exchange is not None:
            link.exchange.hit()
        clean = self.how == "clean"
        await self.send(link, stream.encoded(passing) + (stream.end() if clean else b""))
        if self.how == "rst":
            link.reset("client")
        elif not clean or stream.ends_with_stream:
            link.close()
