"""Put an error into a stream of events."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from vaurien.behaviors._events import EventBehavior, EventStream
from vaurien.framing.events import StreamEvent
from vaurien.hooks import Link
from vaurien.options import Count, Option, unescaped


class StreamError(EventBehavior, frozen=True):
    r"""Pass *after* events of a streamed answer, then send an event that says that something went wrong, and end it.

    The status was 200 and some of the answer is there already, so the client has to look into the stream for the error.
    *shape* says whose it is: ``openai`` (``data: {"error": {…}}``), ``anthropic`` (``event: error``), or ``text``,
    which is *text* alone, with ``\n``, ``\r``, ``\t``, ``\\`` and ``\xNN`` for bytes. Behind it the answer ends as one
    that is complete does, and the rest of the backend's goes nowhere; with *end* off it goes on.
    """

    after: Annotated[Count, Option("Events that pass before")] = 3
    shape: Annotated[Literal["openai", "anthropic", "text"], Option("Whose error it is")] = "openai"
    kind: Annotated[
        str, Option("The error's type; if none is given server_error of openai, and api_error of anthropic")
    ] = ""
    message: Annotated[str, Option("What it says")] = "The server had an error while processing your request."
    text: Annotated[str, Option("The bytes of the event, for the shape text; may have escapes such as \\n")] = ""
    end: Annotated[bool, Option("End the answer behind it")] = True

    async def pass_events(self, link: Link, stream: EventStream, events: list[StreamEvent]) -> None:
        """Put it in its place."""
        parts: list[bytes] = []
        for event in events:
            if event.counts and stream.events == self.after:
                parts.append(self._event())
                if link.exchange is not None and (parts[-1] or self.end):
                    link.exchange.hit()
                if self.end:
                    stream.over = True
                    break
            stream.events += event.counts
            parts.append(event.data)
        ends = stream.ended or stream.over
        await self.send(link, stream.encoded(parts) + (stream.end() if ends else b""))
        if stream.over and stream.ends_with_stream:
            link.close()

    def _event(self) -> bytes:
        if self.shape == "text":
            return unescaped(self.text)
        openai = self.shape == "openai"
        error = {"type": self.kind or ("server_error" if openai else "api_error"), "message": self.message}
        if openai:
            return b"data: %b\n\n" % json.dumps({"error": {**error, "code": None, "param": None}}).encode()
        return b"event: error\ndata: %b\n\n" % json.dumps({"type": "error", "error": error}).encode()
