"""Exchanges of protocols with streams: several at once, none of which waits for another.

Each piece names its stream. The pieces of one stream and side are a lane::

    link ──► framing ──► piece ──┬─ of the connection (stream 0) ────────────────────────► sent at once
                                 ├─ of an exchange that no fault acts on ────────────────► sent at once
                                 └─ of one that is hit ──► lane: hooks, one piece after
                                                           the other; the link reads on ─► sent when its turn comes

So a hook that waits holds the pieces of its own exchange. What lanes hold is bounded: with more than `HELD_LIMIT` bytes
in a side its link reads no more until a lane goes on.

Answers of the proxy's own need not wait for other exchanges. The framing says how an exchange is aborted, and what is
sent in place of pieces that go nowhere.

What this does not do: faults on bytes (`Behavior.on_data`) act on the stream of bytes of the whole side, as they
do everywhere; one that waits holds the side. A request is not repeated.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.filters.exchange import NO_MESSAGE, Exchange, Message
from vaurien.engine.filters.exchange_tracker import SPARED, ExchangeTracker, TrackedConnection, TrackedDirection
from vaurien.framing import Framing, Head, Mark, Part, Piece
from vaurien.framing import Protocol as WireProtocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction

HELD_LIMIT = 256 * 1024
"""Bytes that may wait in the lanes of a side while its link reads on."""


ENDED_LIMIT = 1000
"""Exchanges that are remembered after they were aborted, or answered here, for pieces that may still come for them."""


class Lane:
    """The pieces of one stream, in one side, that wait for a hook."""

    __slots__ = ("pieces",)

    def __init__(self) -> None:
        self.pieces: deque[Piece] = deque()


class StreamTracker(ExchangeTracker):
    """The exchanges of a connection on which several go on at once."""

    def __init__(
        self,
        connection: TrackedConnection,
        protocol: WireProtocol,
        framing: Framing,
        up: TrackedDirection,
        down: TrackedDirection,
    ) -> None:
        super().__init__(connection, protocol, framing, up, down)
        self._lanes: tuple[dict[int, Lane], dict[int, Lane]] = ({}, {})  # to the client, to the backend
        self._held = [0, 0]
        self._room: list[asyncio.Future[None] | None] = [None, None]
        self._exchanges: dict[int, Exchange] = {}
        self._gone: dict[int, asyncio.Future[None]] = {}  # done once the client has given the exchange up

    # What others want to know.

    @property
    def drained(self) -> bool:
        """Nothing changes when this tracker is forgotten: no exchange is to be swallowed or answered here."""
        return not any(self._lanes) and not any(exchange.disturbed for exchange in self._exchanges.values())

    @property
    def has_client_data(self) -> bool:
        """A request is half read, or waits for a hook."""
        return bool(self._lanes[TO_BACKEND]) or self.framing.held(TO_BACKEND) > 0

    @property
    def half_sent_request(self) -> bool:
        """The backend received part of a request it has not fully answered."""
        return any(one is SPARED or (one.forwarded and not one.done) for one in self._exchanges.values())

    def waits(self, direction: Direction) -> bool:
        """Pieces of a side wait here, while its link reads on."""
        return bool(self._lanes[direction])

    def held(self, direction: Direction) -> int:
        """Bytes of a side that wait here, while its link reads on."""
        return self._held[direction]

    # Pieces.

    def _pass(self, direction: Direction, pieces: list[Piece]) -> bytes:
        self._route(direction, pieces)
        self._flush()
        return b""

    async def _process(self, direction: Direction, pieces: list[Piece], first: int) -> None:
        self._route(direction, pieces[first:])
        self._flush()
        await self._until_room(direction)

    async def feed_end(self, direction: Direction) -> None:
        """The source of one side has ended; its end follows what waits in the lanes."""
        if direction is TO_BACKEND:
            for gone in self._gone.values():
                if not gone.done():
                    gone.set_result(None)
        while self._lanes[direction]:
            await self._progress(direction)
        await super().feed_end(direction)

    def _route(self, direction: Direction, pieces: list[Piece]) -> None:
        lanes = self._lanes[direction]
        for mark, piece in pieces:
            if self.connection.ending:
                return
            assert not isinstance(mark, Mark)  # noqa: S101 - a framing with streams names them
            stream = mark.stream
            if not stream:
                self._emit(direction, piece, None)
                continue
            if (
                direction is TO_BACKEND
                and stream in self._gone
                and isinstance(mark, Part)
                and mark.mark is Mark.ABORTED
            ):
                self._leave(stream)
            lane = lanes.get(stream)
            if lane is not None:
                lane.pieces.append((mark, piece))
                self._held[direction] += len(piece)
            elif not self._spared(direction, mark, piece):
                lanes[stream] = lane = Lane()
                lane.pieces.append((mark, piece))
                self._held[direction] += len(piece)
                self.connection_direction(direction).link.spawn(self._run(direction, stream, lane))
        if self._held[direction] > HELD_LIMIT:
            self.connection_direction(direction).link.run(self._until_room(direction))

    async def _run(self, direction: Direction, stream: int, lane: Lane) -> None:
        """Take the pieces of a lane, until none is left."""
        try:
            while lane.pieces and not self.connection.ending:
                mark, piece = lane.pieces.popleft()
                self._held[direction] -= len(piece)
                await self._take_piece(direction, stream, mark, piece)
        finally:
            self._lanes[direction].pop(stream, None)
            room, self._room[direction] = self._room[direction], None
            if room is not None and not room.done():
                room.set_result(None)
        self._flush()
        self.connection_direction(direction).link.progressed()

    async def _until_room(self, direction: Direction) -> None:
        while self._held[direction] > HELD_LIMIT:
            await self._progress(direction)

    async def _progress(self, direction: Direction) -> None:
        """Wait until a lane is through."""
        room = self._room[direction] or self.connection.loop.create_future()
        self._room[direction] = room
        await asyncio.shield(room)

    def _emit(self, direction: Direction, data: bytes, exchange: Exchange | None) -> None:
        """Send *data*, of *exchange*, or of the connection; it is behind what was sent before in its side."""
        if not data or self.connection.ending:
            return
        side = self.connection_direction(direction)
        if side.filters:
            self._flush()
            side.link.run(self._through_filters(direction, data, exchange))
        else:
            self._unsent[direction].append(data)

    async def _through_filters(self, direction: Direction, data: bytes, exchange: Exchange | None) -> None:
        first, link = self.connection_direction(direction).first, self.connection_direction(direction).link
        known = exchange is not None and exchange is not SPARED
        first.begin(Message(self, exchange, direction) if known and exchange is not None else NO_MESSAGE)
        await first.receive(data, link.clock.now())

    def _drop(self, direction: Direction, mark: Head | Part, data: bytes) -> None:
        """A piece goes nowhere."""
        for way, instead in zip(Direction, self.framing.swallowed(direction, mark, data), strict=True):
            self._emit(way, instead, None)

    # Exchanges.

    def _spared(self, direction: Direction, mark: Head | Part, piece: bytes) -> bool:
        """Take a piece of an exchange that no fault acts on; false: hooks have to see it."""
        if isinstance(mark, Head) and mark.request:
            drawn = self._draw(mark, self._count + 1) if self._draws else None
            if drawn is not None:
                self._decided.append((mark, drawn))
                return False
            self._count += 1
            self._exchanges[mark.stream] = SPARED
            self._emit(TO_BACKEND, self._rewritten(mark) if self._rewrites else piece, SPARED)
            return True
        exchange = self._exchanges.get(mark.stream)
        if exchange is not None and exchange is not SPARED:
            return False
        self._emit(direction, piece, exchange)
        if isinstance(mark, Part) and mark.mark in (Mark.RESPONSE_END, Mark.ABORTED):
            self._exchanges.pop(mark.stream, None)
        return True

    async def _take_piece(self, direction: Direction, stream: int, mark: Head | Mark | Part, piece: bytes) -> None:
        assert not isinstance(mark, Mark)  # noqa: S101 - a framing with streams names them
        if isinstance(mark, Head):
            await (self._request_head(mark) if mark.request else self._response_head(mark, piece))
            return
        exchange = self._exchanges.get(stream)
        if exchange is None or not exchange.swallows(direction):
            self._emit(direction, piece, exchange)
        else:
            self._drop(direction, mark, piece)
        if exchange is None or mark.mark is Mark.BODY:
            return
        if mark.mark is Mark.REQUEST_END:
            exchange.asked = True
            if exchange.answerable and not exchange.done:
                self._emit(TO_CLIENT, exchange.reply.data if exchange.reply is not None else b"", None)
                await self._done(exchange)
            elif not exchange.request.answered:
                await self._done(exchange)
        elif not exchange.done:
            await self._done(exchange)
        if mark.mark is Mark.ABORTED or (exchange.asked and exchange.done and not exchange.swallows(TO_BACKEND)):
            self._exchanges.pop(stream, None)
        if exchange.done:
            self._gone.pop(stream, None)
            self._forget_ended()

    def _forget_ended(self) -> None:
        """Forget the oldest exchanges that have ended without the backend's knowledge, if they are many."""
        if len(self._exchanges) <= 2 * ENDED_LIMIT:
            return
        ended = [stream for stream, exchange in self._exchanges.items() if exchange.done]
        for stream in ended[:-ENDED_LIMIT]:
            del self._exchanges[stream]

    async def _request_head(self, head: Head) -> None:
        exchange = self._exchanges[head.stream] = self._begin(head)
        for fault in exchange.drawn:
            if exchange.swallows(TO_BACKEND):
                break
            await self._hook(fault, "on_request", exchange)
        if exchange.swallows(TO_BACKEND):
            self.framing.withdraw(head)
            self._drop(TO_BACKEND, head, head.data)
            if exchange.answerable:  # before its end, for which it waits
                self._emit(TO_CLIENT, exchange.reply.data if exchange.reply is not None else b"", None)
                await self._done(exchange)
        else:
            exchange.forwarded = True
            self._emit(TO_BACKEND, exchange.take_head(TO_BACKEND), exchange)

    async def _response_head(self, head: Head, piece: bytes) -> None:
        exchange = self._exchanges.get(head.stream)
        if exchange is None or exchange is SPARED:
            self._emit(TO_CLIENT, piece, exchange)
            return
        if exchange.swallows(TO_CLIENT):
            self._drop(TO_CLIENT, head, piece)
            return
        exchange.answers(head)
        self._decide(exchange, head)
        for fault in exchange.drawn:
            if exchange.swallows(TO_CLIENT):
                break
            await self._hook(fault, "on_response", exchange)
        if not exchange.swallows(TO_CLIENT):
            self._emit(TO_CLIENT, exchange.take_head(TO_CLIENT), exchange)
            return
        self._drop(TO_CLIENT, head, piece)
        if exchange.reply is not None:
            self._emit(TO_CLIENT, exchange.reply.data, None)

    def _leave(self, stream: int) -> None:
        """The client has given the exchange of *stream* up."""
        gone = self._gone.get(stream)
        if gone is not None and not gone.done():
            gone.set_result(None)

    # For hooks.

    async def client_gone(
        self, exchange: Exchange, wait_for: Callable[[asyncio.Future[None]], Awaitable[None]]
    ) -> None:
        """Wait until the client has given *exchange* up, or its stream has ended."""
        stream = exchange.request.stream
        gone = self._gone.setdefault(stream, self.connection.loop.create_future())
        if self.up.link.ended and not gone.done():
            gone.set_result(None)
        await wait_for(gone)

    def abort(self, exchange: Exchange, fault: BoundFault) -> None:
        """End *exchange* by the protocol's own means; the others go on."""
        if exchange.done:
            return
        to_client, to_backend = self.framing.abort(exchange.request)
        if not exchange.forwarded:
            self.framing.withdraw(exchange.request)
        else:
            self._emit(TO_BACKEND, to_backend, None)
        self._emit(TO_CLIENT, to_client, None)
        exchange.swallow_all()
        exchange.done = True
        self._flush()
        self._forget_ended()
