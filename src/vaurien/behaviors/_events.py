"""What behaviors on streams of events have in common: the answer is split into events, whatever carries it.

::

    chunks of an answer ──► codec ──► splitter ──► events ──► the behavior ──► codec ──► what the client gets

An answer is a stream of events by its own Content-Type (`vaurien.framing.events`), not by the request's. Others pass as
they are, and so do compressed ones; to keep answers from being compressed, the request goes on without Accept-Encoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

from vaurien.errors import OptionError
from vaurien.framing import Protocol
from vaurien.framing.body import BodyCodec
from vaurien.framing.events import EventSplitter, StreamEvent, kind_of
from vaurien.hooks import Behavior, Connection, Exchange, Link

_LOOKED_AT = 2048
"""Bytes that are split before other connections run."""

_REMEMBERED = 100
"""Answers of a connection that are remembered: with streams, several come at once."""


class EventStream:
    """One answer on its way; *events* is how many that count have passed a behavior."""

    def __init__(self, splitter: EventSplitter, codec: BodyCodec, head: bytes) -> None:
        self._splitter, self._codec, self._original = splitter, codec, head
        self._head = codec.head(head)  # until it is sent
        self._left = len(head)  # bytes of the head that are to come
        self.events = 0
        self.kept: list[bytes] = []
        """Events that wait for a later one."""
        self.due = 0.0
        """When what was sent last leaves, by the clock of the link, if that is late."""
        self.passing = self.lets_go = False
        """Some events are being sent; and the fault has stopped meanwhile."""
        self.over = False
        """The behavior has ended the answer: the rest goes nowhere."""

    @property
    def ended(self) -> bool:
        """The answer is through."""
        return self._codec.ended

    def is_other(self, data: bytes) -> bool:
        """*data* does not go on with the head that the response had: another fault has written one anew."""
        at = len(self._original) - self._left
        return self._left > 0 and not self._original.startswith(data[: self._left], at)

    def as_sent(self) -> EventStream | None:
        """The same answer as a fault of events before this one sends it; ``None``: as it came."""
        codec = self._codec.as_sent()
        return None if codec is None else EventStream(self._splitter, codec, self._codec.head(self._original))

    @property
    def part_of_head(self) -> bytes:
        """What has come, while that is less than the head."""
        return self._original[: len(self._original) - self._left]

    def take(self, data: bytes) -> list[StreamEvent]:
        """The events that end in *data*; of an answer that ends, what is behind the last one too."""
        skipped = min(self._left, len(data))
        self._left -= skipped
        if skipped == len(data):
            return []
        events = self._splitter.feed(self._codec.decode(data[skipped:] if skipped else data))
        return events + self.rest() if self.ended else events

    def rest(self) -> list[StreamEvent]:
        """What is behind the last event, when nothing more comes."""
        rest = self._splitter.rest()
        return [StreamEvent(rest, counts=False)] if rest else []

    def encoded(self, parts: Iterable[bytes]) -> bytes:
        """What is sent for *parts* of the body, each a chunk of its own where there are chunks; the head before it."""
        head = b""
        if not self._left:
            head, self._head = self._head, b""
        return head + b"".join(map(self._codec.encode, parts))

    def end(self) -> bytes:
        """What is sent at the end of the answer."""
        return self._codec.end()

    @property
    def ends_with_stream(self) -> bool:
        """The answer ends where the connection does."""
        return self._codec.ends_with_stream

    def release(self) -> bytes | None:
        """What is sent of all that is kept, so that the rest can pass as it comes; ``None``: it cannot."""
        kept, self.kept = b"".join(self.kept), []
        released = self._codec.release(kept + self._splitter.rest())
        return None if released is None else self.encoded(()) + released


class EventBehavior(Behavior, frozen=True):
    """Base of behaviors on events: `pass_events` gets them, and sends what it makes of them."""

    reads_content: ClassVar[bool] = True
    says_hits: ClassVar[bool] = True

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols whose answers have no type. Raises `OptionError`."""
        if "status" not in protocol.fields:
            name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()
            raise OptionError("behavior", name, "a proxy whose protocol is http, or another that has statuses")

    @property
    def chunk_limit(self) -> int:
        """A stream may consist of events of two bytes."""
        return _LOOKED_AT

    async def pass_events(self, link: Link, stream: EventStream, events: list[StreamEvent]) -> None:
        """Send what becomes of *events*, which have come together, and the end if the answer has ended."""
        parts = [part for event in events for part in self.become(link, stream, event)]
        if stream.ended:
            parts, stream.kept = parts + stream.kept, []
        await self.send(link, stream.encoded(parts) + (stream.end() if stream.ended else b""))

    async def send(self, link: Link, data: bytes, after: float = 0.0) -> None:
        """Send *data*, if that is something, *after* seconds from its arrival."""
        if data:
            await link.send(data, after)

    def become(self, link: Link, stream: EventStream, event: StreamEvent) -> list[bytes]:
        """What is sent for *event*: it, nothing, or several."""
        return [event.data]

    @staticmethod
    def hits(link: Link, stream: EventStream, event: StreamEvent, after: int, events: int) -> bool:
        """Count *event*; whether it is one of the *events* that come *after* the first: then it is a hit."""
        stream.events += event.counts
        hit = event.counts and after < stream.events <= after + events
        if hit and link.exchange is not None:
            link.exchange.hit()
        return hit

    async def on_data(self, link: Link, data: bytes) -> None:
        """Split the answer into events."""
        stream = self._stream(link, data)
        if stream is not None and stream.is_other(data):  # its codec is not that of what comes
            data = stream.part_of_head + data
            stream = self._reopen(link, stream, data)
        if stream is None:
            await link.send(data)
        elif stream.over:
            stream.take(data)  # to know when the answer has ended
        else:
            stream.passing = True
            try:
                await self.pass_events(link, stream, stream.take(data))
            finally:
                stream.passing = False
            if stream.lets_go:
                await self._let_go(link.connection, link, stream)

    async def on_eof(self, link: Link) -> None:
        """The answer has ended, where the protocol has streams; or the connection, and what has no other end."""
        exchange, streams = link.exchange, _streams(self, link)
        if exchange is not None:
            await self._flush(link, streams.get(exchange.number))
        elif not link.to_backend:
            for stream in list(streams.values()):
                if stream is not None and stream.ends_with_stream:
                    await self._flush(link, stream)

    async def _flush(self, link: Link, stream: EventStream | None) -> None:
        """Send what is kept, and what is behind the last event."""
        if stream is not None and not (stream.ended or stream.over):
            kept, stream.kept = stream.kept, []
            rest = [*kept, *(event.data for event in stream.rest())]
            if rest:
                await link.send(stream.encoded(rest), max(0.0, stream.due - link.now()))

    async def on_stop(self, connection: Connection) -> None:
        """Let go what is kept; the rest of the answer passes as it comes, unless it was ended."""
        link = connection.downstream
        for stream in _streams(self, link).values():
            if stream is not None and not stream.ended:
                if stream.passing:  # the rest goes behind the events that are being sent
                    stream.lets_go = True
                else:
                    await self._let_go(connection, link, stream)

    async def _let_go(self, connection: Connection, link: Link, stream: EventStream) -> None:
        if stream.ended:
            return
        released = None if stream.over else stream.release()
        if released is None:
            connection.close()
        elif released:
            await link.send(released)

    def _reopen(self, link: Link, stream: EventStream, data: bytes) -> EventStream | None:
        """The answer *stream* as it begins with *data*; ``None``: its rest passes as it comes."""
        other = _matching(stream, data)
        if link.exchange is not None:
            _streams(self, link)[link.exchange.number] = other
        return other

    def _stream(self, link: Link, data: bytes) -> EventStream | None:
        """The stream of events that *data* belongs to; ``None``: it is none, or passes as it comes."""
        exchange = link.exchange
        if link.to_backend or exchange is None or exchange.response is None:
            return None
        streams = _streams(self, link)
        if exchange.number not in streams:
            streams[exchange.number] = _opened(exchange, data)
            while len(streams) > _REMEMBERED:
                del streams[next(iter(streams))]
        return streams[exchange.number]


def _streams(behavior: Behavior, link: Link) -> dict[int, EventStream | None]:
    """The answers that the fault has seen, by the number of their exchange; ``None`` for those without events."""
    return link.state(behavior, dict)


def _opened(exchange: Exchange, data: bytes) -> EventStream | None:
    response = exchange.response
    if response is None:
        return None
    fields = response.fields
    kind = kind_of(fields.get("header.content-type", ""))
    if kind is None or fields.get("header.content-encoding", "identity") != "identity":
        return None
    codec = exchange.protocol.body(exchange.request, response)
    if codec is None or (kind == "array" and not codec.streamed):
        return None
    return _matching(EventStream(EventSplitter(kind), codec, exchange.head), data)


def _matching(stream: EventStream, data: bytes) -> EventStream | None:
    """The answer *stream* as it begins with *data*: as it came, or as another fault of events sends it.

    ``None``: it begins otherwise, because another fault has written its head, or this one came in the middle of it.
    """
    if not stream.is_other(data):
        return stream
    sent = stream.as_sent()
    return None if sent is None or sent.is_other(data) else sent
