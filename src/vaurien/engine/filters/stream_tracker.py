"""Exchanges of protocols with streams: several at once, none of which waits for another.

Each piece names its stream. The pieces of one stream and direction are a lane::

    link ──► framing ──► piece ──┬─ of the connection (stream 0) ────────────────────────► sent at once
                                 ├─ of an exchange that no fault acts on ────────────────► sent at once
                                 └─ of one that is hit ──► lane: hooks, one piece after
                                                           the other; the link reads on ─► sent when its turn comes

Requests that are recognized, and answers to those that no fault acts on, are not even cut into pieces: they are drawn
for, answered and sent in one pass over their chunk (`Framing.pass_requests`).

So a hook that waits holds the pieces of its own exchange. Faults on bytes that are for single exchanges act on the text
of their messages, in their lane (`message_filter`); pieces of the connection itself have a lane too while a fault acts
on them (`Behavior.on_control`). A client's word that it sends no more requests waits for those that are held here: a
backend without an open exchange would end the connection before they come. What lanes hold is bounded: with more than
`HELD_LIMIT` bytes, or `LANE_LIMIT` lanes, in a direction its link reads no more until a lane goes on. A client that
gives an exchange up ends its lanes.

Answers of the proxy's own need not wait for other exchanges. The framing says how an exchange is aborted, and what is
sent in place of pieces that go nowhere.

What this does not do: faults on bytes that are for the connection act on the stream of bytes of the whole direction, as
they do everywhere; one that waits holds the direction.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeAlias

from vaurien import hooks
from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.filters.exchange import (
    NO_MESSAGE,
    ExchangeOwner,
    TrackedExchange,
    TrackedMessage,
)
from vaurien.engine.filters.exchange_draws import UNTOUCHED
from vaurien.engine.filters.exchange_tracker import (
    LONG,
    SPARED,
    ExchangeTracker,
    TrackedConnection,
    TrackedDirection,
    replying,
)
from vaurien.engine.filters.message_filter import MessageFilter, MessageFilters, Taker, acts_on_messages, is_control
from vaurien.engine.filters.message_stream import MessageStream, MessageWay
from vaurien.engine.policy.compiled_policy import CompiledFault
from vaurien.engine.relay.ending import Ending
from vaurien.framing import Framing, Head, Mark, Part, Piece
from vaurien.framing import Protocol as WireProtocol
from vaurien.framing.cache import COUNT_LIMIT
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction

HELD_LIMIT = 256 * 1024
"""Bytes that may wait in the lanes of a direction while its link reads on."""

LANE_LIMIT = 10_000
"""Streams of a direction on which hooks may wait while its link reads on: a hundred times what servers allow."""

ENDED_LIMIT = 1000
"""Exchanges that are remembered after they were aborted or answered here, for pieces that may still come."""
_Late: TypeAlias = deque[tuple[bytes, TrackedExchange | None]]
"""What is to go through the filters of a direction, and of which exchanges it is."""

_Messages: TypeAlias = dict[int, MessageFilters | MessageWay]
"""What acts on the text of a stream: faults on its message, or those on the messages inside of it."""

_LARGE = 16 * 1024
"""Bytes of a chunk above which frames are looked for that pass as they are: it has at least one of the usual size."""

_LET_GO = Part(Mark.BODY)
"""In the place of a piece: faults that have stopped send what they keep of the message."""


def _over() -> TrackedExchange:
    exchange = TrackedExchange(0, Head(request=True), 0)
    exchange.asked = exchange.done = True
    exchange.swallow_all()
    return exchange


_OVER = _over()
"""Stands for each exchange that has ended without the backend's knowledge, while its stream is remembered."""


class Lane:
    """The pieces of one stream, in one direction, that wait for a hook, and when they came."""

    __slots__ = ("pieces", "task")

    def __init__(self) -> None:
        self.pieces: deque[tuple[Head | Part, bytes, float]] = deque()
        self.task: asyncio.Task[None] | None = None


class _Out:
    """Behind the faults on pieces of the connection, and of streams, that are no text."""

    __slots__ = ("_direction", "_exchange", "_tracker")

    def __init__(self, tracker: StreamTracker, direction: Direction, exchange: TrackedExchange | None) -> None:
        self._tracker, self._direction, self._exchange = tracker, direction, exchange

    async def receive(self, data: bytes, at: float) -> None:
        """Send *data*."""
        await self._tracker.send_message(self._direction, data, self._exchange)


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
        self._goes_on = [False, False]  # `_go_on` runs
        self._late: tuple[_Late, _Late] = (deque(), deque())
        self._room: list[asyncio.Future[None] | None] = [None, None]
        self._ended = [False, False]  # the source
        self._end_due = [False, False]  # and its end is not passed on yet
        self._exchanges: dict[int, TrackedExchange] = {}
        self._messages: tuple[_Messages, _Messages] = ({}, {})
        self.messages_held = 0  # bytes of incomplete messages inside of streams
        self._opened: dict[int, asyncio.Future[None]] = {}  # done once a receiver may take more of a stream
        self._gone: dict[int, asyncio.Future[None]] = {}  # done once the client has given the exchange up
        self._controls: tuple[BoundFault, ...] = ()  # faults on what is of the connection itself
        self._sent_as: dict[Head, bytes] = {}  # heads of spared requests, and what leaves of them
        self._draws_at_once = False
        """Nothing but the mix is drawn for a request, if anything is, and no hook sees what is of the connection."""
        self._last_words: deque[tuple[Part, bytes]] = deque()  # of the client; requests before them are held

    def follow_policy(self, down: TrackedDirection, up: TrackedDirection) -> None:
        super().follow_policy(down, up)
        faults = self.connection.bound_faults.values()
        self._controls = tuple(
            fault
            for fault in faults
            if fault.hit and not fault.compiled.of_mix and fault.compiled.handles("on_control")
        )
        for direction in Direction:
            for stream, filters in list(self._messages[direction].items()):
                if filters.let_go_due:
                    self._put_first(direction, stream, _LET_GO)
        self._sent_as.clear()
        self.framing.forget_leaving()
        hooks_see = bool(self._controls) or self._listing or self._refusals_count or not self.keep_alive
        self._draws_at_once = not hooks_see and (self._draws.mix_alone or not self._tracks)
        self.framing.spare, self.framing.answer_at_head = (
            (None, None) if self._controls else (self._spare, self._answer_at_head)
        )
        self.framing.answer_alike = None if self._controls or self._listing else self._answer_alike

    # What others want to know.

    @property
    def drained(self) -> bool:
        """Nothing changes when this tracker is forgotten: no exchange is to be swallowed or answered here."""
        return (
            not any(self._lanes)
            and not any(self._end_due)
            and not any(exchange.disturbed for exchange in self._exchanges.values())
        )

    @property
    def has_client_data(self) -> bool:
        """A request is half read, or waits for a hook."""
        return bool(self._lanes[TO_BACKEND]) or self.framing.held(TO_BACKEND) > 0

    @property
    def half_sent_request(self) -> bool:
        """The backend received part of a request it has not fully answered."""
        known = self._exchanges.values()
        return self.framing.sparing or any(one is SPARED or (one.forwarded and not one.done) for one in known)

    def waits(self, direction: Direction) -> bool:
        """Pieces of a direction, or its end, wait here, while its link reads on."""
        return bool(self._lanes[direction]) or (self._end_due[direction] and not self.connection.ending)

    def held(self, direction: Direction) -> int:
        """Bytes of a direction that wait here, while its link reads on."""
        return self._held[direction]

    # Pieces.

    def take_requests(self, chunk: memoryview) -> bytes | memoryview:
        if len(chunk) > _LARGE and not (self.up.filters or self.connection.ending):
            leaving, chunk = self._pass_bulk(TO_BACKEND, chunk)
            if not chunk:
                return leaving
        at_once = self._draws_at_once and not (self.up.filters or self.down.filters or self.connection.ending)
        if not at_once or len(chunk) > _LARGE:
            return self._take_all(TO_BACKEND, chunk)
        draw = (self._draws.next_share or self._draws.begin_mix()) if self._tracks else None
        self._offset = self._fed
        try:
            size, spared, sent = self.framing.pass_requests(chunk.tobytes(), self._leaves, draw, self._hit)
        except Exception as error:  # the protocol's own code may raise anything
            self.connection.protocol_failed(error)
            return b""
        self._count += spared
        self._fed += size
        answers = self._unsent[TO_CLIENT]
        if answers:
            self._forget_ended()
        if size == len(chunk) and not self._unsent[TO_BACKEND]:
            if answers:
                self._send(self.down, answers)
            return sent
        self._emit(TO_BACKEND, sent, None)
        return self._take_all(TO_BACKEND, chunk[size:])

    def take_responses(self, chunk: memoryview) -> bytes | memoryview:
        if self.down.filters or self.connection.ending:
            return self._take_all(TO_CLIENT, chunk)
        if len(chunk) > _LARGE:
            leaving, chunk = self._pass_bulk(TO_CLIENT, chunk)
            if not chunk:
                return leaving
            if len(chunk) > _LARGE:
                return self._take_all(TO_CLIENT, chunk)
        data = chunk.tobytes()
        size = self.framing.pass_responses(data)
        if size == len(data) and not self._unsent[TO_CLIENT]:
            return data
        self._emit(TO_CLIENT, data[:size], None)
        return self._take_all(TO_CLIENT, chunk[size:])

    def _pass_bulk(self, direction: Direction, chunk: memoryview) -> tuple[memoryview, memoryview]:
        """Take the bulk at the front of *chunk*; returns what of it is still to be sent, and what is left to take."""
        link = self.connection_direction(direction).link
        size, leaving, before = self.framing.pass_bulk(direction, chunk)
        rest = chunk[size:]
        link.expect_bulk(copied=bool(rest))
        if direction is TO_BACKEND:
            self._fed += size
        if not (before or rest):
            return chunk[:leaving], rest
        if size:
            link.write_both(before, chunk[:leaving])
        return chunk[:0], rest

    def _take_all(self, direction: Direction, chunk: memoryview) -> bytes:
        pieces = self._pieces(direction, chunk.tobytes())
        if not self._route(direction, pieces):
            self.connection_direction(direction).link.run(self._go_on(direction, pieces))
            return b""
        self._flush()
        self._flush_other(direction)
        return b""

    async def _go_on(self, direction: Direction, pieces: Iterator[Piece], *, done: bool = False) -> None:
        """Take the rest of *pieces*, and let other connections run in between.

        Meanwhile it sends what goes through the filters: as hooks behind this one they would be thousands.
        """
        late = self._late[direction]
        self._goes_on[direction] = True
        try:
            while (not done or late) and not self.connection.ending:
                self._flush()
                if not done:
                    await asyncio.sleep(0)
                    done = self._route(direction, pieces)
                while late:
                    await self._through_filters(direction, *late.popleft())
        finally:
            self._goes_on[direction] = False
            while late:  # the link is stopped: what was sent before still gets its turn
                self.connection_direction(direction).link.run(self._through_filters(direction, *late.popleft()))
        self._flush()
        self._flush_other(direction)
        await self._until_room(direction)

    async def feed(self, direction: Direction, data: bytes) -> None:
        await self._take_within_hook(direction, self._pieces(direction, data))

    async def _process(self, direction: Direction, pieces: list[Piece], first: int, *, more: bool = False) -> None:
        await self._take_within_hook(direction, iter(pieces[first:]))

    async def _take_within_hook(self, direction: Direction, pieces: Iterator[Piece]) -> None:
        """Take *pieces* within a hook on the bytes of *direction*, which sends what goes through the filters itself.

        As hooks of its own that would come behind this one, and behind what is sent by it later.
        """
        self._goes_on[direction] = True
        done = self._route(direction, pieces)
        if not done or self._late[direction]:
            await self._go_on(direction, pieces, done=done)
            return
        self._goes_on[direction] = False
        self._flush()
        self._flush_other(direction)
        await self._until_room(direction)

    async def feed_end(self, direction: Direction) -> None:
        """The source of one direction has ended; its end follows what waits in the lanes."""
        if direction is TO_BACKEND:
            for gone in self._gone.values():
                if not gone.done():
                    gone.set_result(None)
        self._ended[direction] = True
        self._end_due[direction] = self._end_waits(direction)
        self._end_if_due(direction.back)  # which waits for no room any more
        if not self._end_due[direction]:  # to wait here would keep what comes before it from going through filters
            await super().feed_end(direction)

    def _end_waits(self, direction: Direction) -> bool:
        """Whether something is to go before the end of *direction*: from a lane, or once its receiver makes room."""
        return bool(self._lanes[direction]) or (
            not self._ended[direction.back] and self.framing.waits_for_room(direction)
        )

    def _end_if_due(self, direction: Direction) -> None:
        """Pass the end of *direction* on, if that has come and waits for nothing any more."""
        if self._end_due[direction] and not (self.connection.ending or self._end_waits(direction)):
            self._end_due[direction] = False
            self.connection_direction(direction).link.run(self.feed_end(direction))

    def _flush_other(self, direction: Direction) -> None:
        super()._flush_other(direction)
        self._end_if_due(direction.back)

    def _lose(self, reason: str) -> None:
        self._lost, self._recognized_until = True, self._count
        self.connection.journal.lost(reason)

    def _pieces(self, direction: Direction, data: bytes) -> Iterator[Piece]:
        """The pieces of *data*; each is on its way before the framing looks at those behind it."""
        if direction is TO_BACKEND:
            self._offset = self._fed - self.framing.held(TO_BACKEND)
            if not self._fed:
                self._look_for_tls(direction, data)
            self._fed += len(data)
        try:
            yield from self.framing.pieces(direction, data)
        except Exception as error:  # the protocol's own code may raise anything
            self.connection.protocol_failed(error)

    def _route(self, direction: Direction, pieces: Iterator[Piece]) -> bool:
        """Take *pieces*; false: the first of them have taken long, and others are still to come."""
        link = self.connection_direction(direction).link
        clock = link.clock
        began = clock.now()
        lanes = self._lanes[direction]
        for mark, piece in pieces:
            if self.connection.ending:
                return True
            assert not isinstance(mark, Mark)  # noqa: S101 - a framing with streams names them
            stream = mark.stream
            if self._decided and isinstance(mark, Head) and mark.request:  # the framing has asked, and it is hit
                self._exchanges[stream] = self._exchange(mark, self._decided.popleft()[1])
            lane = lanes.get(stream) if lanes else None
            if self._opened and isinstance(mark, Part) and not mark.payload:
                self._wake(stream)
            if direction is TO_BACKEND and isinstance(mark, Part) and mark.mark is Mark.ABORTED:
                if stream in self._gone:
                    self._leave(stream)
                elif stream in self._lanes[TO_CLIENT] or lane is not None:
                    self._give_up(stream)
                    lane = None
            if not stream and isinstance(mark, Part) and mark.last and self._holds_requests:
                self._last_words.append((mark, piece))
            elif lane is not None and self._overtakes(direction, mark):
                exchange = self._exchanges.get(stream)
                if exchange is not None and exchange.swallows(direction):
                    self._drop(direction, mark, piece)
                else:
                    self._emit(direction, piece if mark.instead is None else mark.instead, exchange)
            elif lane is not None:
                self._queue(direction, lane, mark, piece)
            elif not self._spared(direction, mark, piece):
                self._open_lane(direction, stream, mark, piece, began)
            if direction is TO_BACKEND:
                self._offset += len(piece)
            if clock.now() - began > LONG:
                return False
        if self.framing.lost is not None and not self._lost:
            self._lose(self.framing.lost)
        if self.framing.says:
            client_told, backend_told = self.framing.take_said()
            self._emit(TO_CLIENT, client_told, None)
            self._emit(TO_BACKEND, backend_told, None)
        if self.framing.ended_by_protocol:
            self._flush()
            self.connection.close(Ending.PROTOCOL_ERROR)
        elif self._is_full(direction):
            self.connection_direction(direction).link.run(self._until_room(direction))
        return True

    def _overtakes(self, direction: Direction, mark: Head | Part) -> bool:
        """Whether a piece need not wait for those of its stream: a promise, whose stream goes on by itself.

        Nor need windows wait for the messages of their stream, for the other side may wait for them.
        """
        if isinstance(mark, Part) and mark.promises:
            return True
        if not (isinstance(mark, Part) and isinstance(self._messages[direction].get(mark.stream), MessageWay)):
            return False
        exchange = self._exchanges.get(mark.stream)
        drawn = exchange.drawn if exchange is not None else ()
        return is_control(mark) and not any(fault.compiled.handles("on_control") for fault in (*self._controls, *drawn))

    def _put_first(self, direction: Direction, stream: int, mark: Part) -> None:
        """Have the lane of *stream* take *mark* before the pieces that wait there."""
        if self.connection.ending:
            return
        lane = self._lanes[direction].get(stream)
        if lane is not None:
            lane.pieces.appendleft((mark, b"", 0.0))
            return
        self._open_lane(direction, stream, mark, b"", 0.0)
        self._flush()

    def _open_lane(self, direction: Direction, stream: int, mark: Head | Part, piece: bytes, at: float) -> None:
        self._lanes[direction][stream] = lane = Lane()
        link = self.connection_direction(direction).link
        lane.task = link.spawn(self._run(direction, stream, lane, mark, piece, at))

    def _queue(self, direction: Direction, lane: Lane, mark: Head | Part, piece: bytes) -> None:
        lane.pieces.append((mark, piece, self.connection_direction(direction).link.clock.now()))
        self._held[direction] += len(piece)

    async def _run(
        self, direction: Direction, stream: int, lane: Lane, mark: Head | Part, piece: bytes, at: float
    ) -> None:
        """Take the piece that begins a lane, and those that come while it waits, until none is left."""
        try:
            await self._take_piece(direction, stream, mark, piece, at)
            while lane.pieces and not self.connection.ending:
                mark, piece, at = lane.pieces.popleft()
                self._held[direction] -= len(piece)
                await self._take_piece(direction, stream, mark, piece, at)
        finally:
            if self._lanes[direction].get(stream) is lane:
                del self._lanes[direction][stream]
            self._pass_last_words()
            room, self._room[direction] = self._room[direction], None
            if room is not None and not room.done():
                room.set_result(None)
            at_once = lane.task is None  # within the callback of its piece, which sends what there is
            if not (at_once or self.connection.ending):
                self._flush()
                self._end_if_due(direction)
        if not at_once:
            self.connection_direction(direction).link.progressed()

    @property
    def _holds_requests(self) -> bool:
        """A request waits here of which the backend knows nothing."""
        held = (self._exchanges.get(stream) for stream in self._lanes[TO_BACKEND])
        return any(one is not None and not (one is SPARED or one.forwarded or one.swallows(TO_BACKEND)) for one in held)

    def _pass_last_words(self) -> None:
        """Pass on that no more requests come, once none before that is held."""
        while self._last_words and not (self._holds_requests or self.connection.ending):
            mark, piece = self._last_words.popleft()
            lane = self._lanes[TO_BACKEND].get(0)
            if lane is not None:
                self._queue(TO_BACKEND, lane, mark, piece)
            elif not self._spared(TO_BACKEND, mark, piece):
                self._open_lane(TO_BACKEND, 0, mark, piece, self.up.link.clock.now())

    def _give_up(self, stream: int) -> None:
        """The client has given the exchange of *stream* up: hooks that wait for it have nothing to wait for."""
        exchange = self._exchanges.get(stream)
        self._opened.pop(stream, None)
        self._forget_messages(stream)
        for direction in Direction:
            lane = self._lanes[direction].pop(stream, None)
            if lane is None:
                continue
            for mark, piece, _ in lane.pieces:
                self._held[direction] -= len(piece)
                self._drop(direction, mark, piece)
            lane.pieces.clear()
            if lane.task is not None:
                lane.task.cancel()
        if exchange is not None and exchange is not SPARED and not exchange.forwarded:
            exchange.swallow_all()
            self._close_exchange(exchange)

    def _is_full(self, direction: Direction) -> bool:
        return self._held[direction] > HELD_LIMIT or len(self._lanes[direction]) > LANE_LIMIT

    async def _until_room(self, direction: Direction) -> None:
        while self._is_full(direction):
            await self._progress(direction)

    async def _progress(self, direction: Direction) -> None:
        """Wait until a lane is through."""
        room = self._room[direction] or self.connection.loop.create_future()
        self._room[direction] = room
        await asyncio.shield(room)

    def _emit(self, direction: Direction, data: bytes, exchange: TrackedExchange | None) -> None:
        """Send *data*, of *exchange*, or of the connection; it is behind what was sent before in its direction."""
        if not data or self.connection.ending:
            return
        if direction is TO_BACKEND:
            if exchange is not None and exchange.repeats:
                exchange.record(data)
            if self.framing.renumbers:
                data = self.framing.renumbered(data)
        way = self.connection_direction(direction)
        if not way.filters or self._goes_past(way, exchange):
            self._unsent[direction].append(data)
        else:
            self._flush()
            if self._goes_on[direction]:
                self._late[direction].append((data, exchange))
            else:
                way.link.run(self._through_filters(direction, data, exchange))

    def _goes_past(self, way: TrackedDirection, exchange: TrackedExchange | None) -> bool:
        """Whether no filter of *way* acts on bytes of *exchange*."""
        if way.link.hook_running or not self._passes(way):
            return False
        return exchange is None or exchange is SPARED

    async def _through_filters(self, direction: Direction, data: bytes, exchange: TrackedExchange | None) -> None:
        first, link = self.connection_direction(direction).first, self.connection_direction(direction).link
        known = exchange is not None and exchange is not SPARED
        first.begin(TrackedMessage(self, exchange, direction) if known and exchange is not None else NO_MESSAGE)
        await first.receive(data, link.clock.now())

    def _drop(self, direction: Direction, mark: Head | Part, data: bytes) -> None:
        """A piece goes nowhere."""
        client_told, backend_told = self.framing.swallowed(direction, mark, data)
        self._say(TO_CLIENT, client_told)
        self._say(TO_BACKEND, backend_told)

    def _say(self, direction: Direction, data: bytes) -> None:
        """Send *data*, which neither side has sent."""
        if data:
            self._emit(direction, self.framing.own(direction, data), None)

    # Exchanges.

    def _spare(self, head: Head, behind: int) -> bytes | None:
        """What leaves of *head*, so far *behind* the last piece, if no fault acts on its exchange."""
        if self._decided:  # see `_hit`
            return None
        if self._tracks:
            draws = self._draws
            if draws.mix_alone:
                share = (draws.next_share or draws.begin_mix())()
                drawn = None if share is None else draws.hit(share, self._count + 1)
            else:
                drawn = draws.draw(head, self._count + 1, self._offset + behind)
            if drawn is not None:
                self._decided.append((head, drawn))
                return None
        if head.negotiates:  # messages may follow
            self._decided.append((head, UNTOUCHED))
            return None
        self._count += 1
        return self._leaves(head)

    def _leaves(self, head: Head) -> bytes:
        """What leaves of *head*, of an exchange that no fault acts on."""
        if not self._heads.differ:
            return head.outgoing
        sent = self._sent_as.get(head)
        if sent is None:
            if len(self._sent_as) >= COUNT_LIMIT:
                self._sent_as.clear()
            sent = self._sent_as[head] = self._heads.sent(head)
        return sent

    def _answer_at_head(self, head: Head, behind: int) -> bool:
        """Whether the request of *head*, so far *behind* the last piece, is answered by the one fault drawn for it.

        The same as in its lane comes of it, in a fifth of the calls.
        """
        drawn = self._decided[-1][1]
        fault = replying(drawn) if drawn is not None and self._asks_at_once else None
        if fault is None:
            return False
        self._decided.pop()
        exchange = self._exchange(head, drawn, behind)
        if self._ask_for_reply(fault, exchange) is None:
            exchange.asked_at_head = True
            self._exchanges[head.stream] = exchange
            return False
        self._answer_here(exchange)
        self._close_exchange(exchange)
        self._exchanges[head.stream] = _OVER
        self._forget_ended()
        return True

    def _answer_alike(self, head: Head, stream: int, behind: int) -> bool:
        """As `_answer_at_head`, in fewer calls: with an answer made once for all requests that *head* stands for."""
        drawn = self._decided[-1][1]
        fault = replying(drawn) if drawn is not None and self._asks_at_once else None
        answers = self._answers(fault, head) if fault is not None else ()
        if fault is None or not answers:
            return False
        self._decided.pop()
        answered = self._answer_one_of(answers, fault, 0, behind)
        self._exchanges[stream] = _OVER
        self._say(TO_CLIENT, self.framing.answer_on(stream, answered.answer))
        self._forget_ended()
        return True

    def _hit(self, share: CompiledFault, head: Head, stream: int, behind: int, spared: int) -> bool | None:
        """Whether the request of *head* is answered, for which *share* was drawn, behind so many that were *spared*.

        ``None``: it is spared as well. False: it is decided, and has its turn next.
        """
        drawn = self._draws.hit(share, self._count + spared + 1)
        if drawn is None:
            return None
        fault = drawn[0][0]  # the mix alone is drawn
        answers = self._answers(fault, head) if fault.compiled.only_replies and not fault.stopped else ()
        if not answers:
            self._decided.append((head, drawn))
            return False
        answered = self._answer_one_of(answers, fault, spared, behind)
        self._exchanges[stream] = _OVER
        self._unsent[TO_CLIENT].append(self.framing.answer_on(stream, answered.answer))
        return True

    def _spared(self, direction: Direction, mark: Head | Part, piece: bytes) -> bool:
        """Take a piece of an exchange that no fault acts on; false: hooks have to see it."""
        stream = mark.stream
        if self._controls and isinstance(mark, Part) and is_control(mark):
            return False
        if not stream:
            self._emit(direction, piece if mark.instead is None else mark.instead, None)
            return True
        if isinstance(mark, Head) and mark.request:
            if stream in self._exchanges:
                return False
            drawn = self._draws.draw(mark, self._count + 1, self._offset) if self._tracks else None
            if drawn is not None or mark.negotiates:
                self._exchanges[stream] = self._exchange(mark, drawn)
                return False
            self._count += 1
            self._exchanges[stream] = SPARED
            self.framing.opened(mark)
            self._emit(TO_BACKEND, self._heads.sent(mark) if self._heads.differ else mark.outgoing, SPARED)
            return True
        exchange = self._exchanges.get(stream)
        if exchange is not None and exchange is not SPARED:
            if isinstance(mark, Part) and exchange.done and exchange.swallows(direction):
                self._drop_rest(direction, exchange, mark, piece)
                return True
            return False
        self._emit(direction, piece if mark.instead is None else mark.instead, exchange)
        if isinstance(mark, Part) and mark.mark in (Mark.RESPONSE_END, Mark.ABORTED):
            self._exchanges.pop(stream, None)
        return True

    def _drop_rest(self, direction: Direction, exchange: TrackedExchange, mark: Part, piece: bytes) -> None:
        """Take a piece that comes behind the end of an exchange, and goes nowhere."""
        if piece:
            self._drop(direction, mark, piece)
        if mark.mark is not Mark.BODY:
            self._messages[direction].pop(mark.stream, None)
            exchange.asked = exchange.asked or mark.mark is Mark.REQUEST_END
            self._forget(exchange, mark)

    def _forget(self, exchange: TrackedExchange, mark: Part) -> None:
        """Forget what is known of *exchange*, whose message has ended by *mark*, as far as nothing more can come."""
        stream = mark.stream
        over = exchange.asked and exchange.done
        if mark.mark is Mark.ABORTED or (over and not exchange.swallows(TO_BACKEND)):
            self._exchanges.pop(stream, None)
        elif over and stream in self._exchanges:
            self._exchanges[stream] = _OVER
        if exchange.done:
            self._gone.pop(stream, None)
            self._forget_ended()

    async def _take_piece(self, direction: Direction, stream: int, mark: Head | Part, piece: bytes, at: float) -> None:
        if isinstance(mark, Head):
            await (self._request_head(mark, at) if mark.request else self._response_head(mark, piece, at))
            return
        exchange = self._exchanges.get(stream)
        if mark is _LET_GO:
            await self._let_go(direction, stream)
            return
        if exchange is not None and exchange.swallows(direction):
            self._drop(direction, mark, piece)
        elif self._unknown_there(direction, exchange) and (is_control(mark) or mark.mark is Mark.ABORTED):
            pass  # to name an idle stream would be an error of the connection (RFC 9113, section 5.1)
        elif is_control(mark):
            await self._control(direction, piece if mark.instead is None else mark.instead, exchange)
        elif exchange is not None and stream in self._messages[direction] and mark.mark is not Mark.ABORTED:
            await self._text(direction, exchange, mark, piece, at)
        else:
            self._emit(direction, piece if mark.instead is None else mark.instead, exchange)
        if exchange is None or exchange is SPARED or mark.mark is Mark.BODY:
            return
        self._messages[direction].pop(stream, None)
        if mark.mark is Mark.ABORTED:
            self._forget_messages(stream)
        if mark.mark is Mark.REQUEST_END:
            exchange.asked = True
            if exchange.copy and (again := self.framing.again(exchange.copy)):
                exchange.repeated()
                self._emit(TO_BACKEND, again, None)
            if exchange.answerable and not exchange.done:
                self._answer_here(exchange)
                await self._done(exchange)
            elif not exchange.request.answered:
                await self._done(exchange)
        elif not exchange.done:
            await self._done(exchange)
        self._forget(exchange, mark)

    @staticmethod
    def _unknown_there(direction: Direction, exchange: TrackedExchange | None) -> bool:
        """Whether the backend has not been sent the head of *exchange*."""
        if exchange is None or exchange is SPARED:
            return False
        return direction is TO_BACKEND and not exchange.forwarded

    async def _control(self, direction: Direction, data: bytes, exchange: TrackedExchange | None) -> None:
        """Let the faults on pieces that are no text act on one."""
        of_exchange: Iterable[BoundFault] = ()
        if exchange is not None and exchange is not SPARED:
            of_exchange = (fault for fault in exchange.drawn if fault.compiled.handles("on_control"))
        faults = dict.fromkeys((*self._controls, *of_exchange))
        behind: Taker = _Out(self, direction, exchange)
        for fault in reversed([fault for fault in faults if fault.compiled.fault.stream.includes(direction)]):
            mine = exchange if fault.compiled.per_exchange else None
            behind = MessageFilter(fault, mine, self, direction, behind, "on_control")
        await behind.receive(data, self.connection_direction(direction).link.clock.now())

    async def _text(self, direction: Direction, exchange: TrackedExchange, mark: Part, piece: bytes, at: float) -> None:
        """Let the faults on the text of a message act on a piece of it, and on its end."""
        filters = self._messages[direction][mark.stream]
        try:
            if mark.payload:
                await filters.text(self.framing.text(direction, mark, piece), at)
            if mark.mark is not Mark.BODY:
                await filters.finish(at)
        finally:  # also when the client gives the exchange up while a hook waits
            if mark.payload:
                for side, back in zip(Direction, self.framing.replaced(direction, mark), strict=True):
                    self._say(side, back)
        if mark.mark is Mark.BODY or exchange.swallows(direction) or not filters.begun:
            return
        end = self.framing.body(mark.stream, b"", end=True) if mark.payload else piece
        if not mark.payload and mark.instead is not None:
            end = mark.instead
        if not end:  # the head was the end
            return
        self._emit(direction, end, exchange)

    async def _let_go(self, direction: Direction, stream: int) -> None:
        filters = self._messages[direction].get(stream)
        if filters is not None:
            await filters.let_go()

    def _forget_ended(self) -> None:
        """Forget the oldest exchanges that have ended without the backend's knowledge, if they are many."""
        if len(self._exchanges) <= 2 * ENDED_LIMIT:
            return
        ended = [stream for stream, exchange in self._exchanges.items() if exchange.done]
        has_messages = any(self._messages)
        for stream in ended[:-ENDED_LIMIT]:
            del self._exchanges[stream]
            if has_messages:
                self._forget_messages(stream)

    def _forget_messages(self, stream: int) -> None:
        for messages in self._messages:
            forgotten = messages.pop(stream, None)
            if isinstance(forgotten, MessageWay):
                forgotten.stream.end()

    async def _request_head(self, head: Head, at: float) -> None:
        exchange = self._exchanges.get(head.stream)
        if exchange is None:
            exchange = self._exchanges[head.stream] = self._begin(head)
        for fault in () if exchange.asked_at_head else exchange.drawn:
            if exchange.swallows(TO_BACKEND):
                break
            await self._hook(fault, "on_request", exchange)
        if exchange.done:
            return
        if exchange.swallows(TO_BACKEND):
            self.framing.withdraw(head)
            self._drop(TO_BACKEND, head, head.data)
            if exchange.answerable:  # before its end, for which it waits
                self._answer_here(exchange)
                await self._done(exchange)
        else:
            if self._draws.part_faults:
                self._look_inside(exchange, None)
            await self._send_head(TO_BACKEND, exchange, at)

    def _look_inside(self, exchange: TrackedExchange, response: Head | None) -> None:
        """Frame the text of the stream of *exchange*, if there are messages in it."""
        inside = None if exchange.done else self.framing.inside(exchange.request, response)
        if inside is not None:
            messages = MessageStream(self, exchange, inside)
            for direction in Direction:
                self._messages[direction][exchange.request.stream] = messages.ways[direction]

    def _answer_here(self, exchange: TrackedExchange) -> None:
        if exchange.reply is not None:
            self._say(TO_CLIENT, self.framing.answer(exchange.request, exchange.reply.data))

    async def _send_head(self, direction: Direction, exchange: TrackedExchange, at: float) -> None:
        """Send the head, through the faults on its message if there are any."""
        faults = [
            fault
            for fault in exchange.drawn
            if acts_on_messages(fault) and fault.compiled.fault.stream.includes(direction) and not fault.stopped
        ]
        if not faults:
            self._emit_head(direction, exchange)
            return
        filters = MessageFilters(self, exchange, direction, faults)
        way = self._messages[direction].get(exchange.request.stream)
        if isinstance(way, MessageWay):
            way.behind = filters
        else:
            self._messages[direction][exchange.request.stream] = filters
        await filters.head(exchange.head(direction), at)

    def _emit_head(self, direction: Direction, exchange: TrackedExchange) -> None:
        if direction is TO_BACKEND:
            exchange.forwarded = True
            self.framing.opened(exchange.request)
        elif isinstance(way := self._messages[TO_CLIENT].get(exchange.request.stream), MessageWay):
            way.stream.framing.answering = True
        self._emit(direction, exchange.take_head(direction), exchange)
        self._pass_last_words()

    async def _response_head(self, head: Head, piece: bytes, at: float) -> None:
        exchange = self._exchanges.get(head.stream)
        if exchange is None or exchange is SPARED:
            self._emit(TO_CLIENT, head.outgoing, exchange)
            return
        if exchange.swallows(TO_CLIENT):
            self._drop(TO_CLIENT, head, piece)
            return
        exchange.answers(head)
        self._draws.decide(exchange, head)
        for fault in exchange.drawn:
            if exchange.swallows(TO_CLIENT):
                break
            await self._hook(fault, "on_response", exchange)
        if not exchange.swallows(TO_CLIENT):
            if any(fault.compiled.reads_content for fault in exchange.drawn):
                opened = self.protocol.open_head(exchange.request, head, exchange.heads[TO_CLIENT])
                exchange.heads[TO_CLIENT] = opened
            if injected := exchange.take_injected():
                exchange.change(TO_CLIENT, self.framing.injected(head, exchange.head(TO_CLIENT), injected))
            await self._send_head(TO_CLIENT, exchange, at)
            self._look_inside(exchange, head)
            return
        self._drop(TO_CLIENT, head, piece)
        if exchange.reply is not None and not exchange.done:
            self._answer_here(exchange)

    def _leave(self, stream: int) -> None:
        """The client has given the exchange of *stream* up."""
        gone = self._gone.get(stream)
        if gone is not None and not gone.done():
            gone.set_result(None)

    def end(self) -> None:
        for exchange in self._exchanges.values():
            if exchange is not SPARED:
                self._close_exchange(exchange)

    # For hooks.

    async def client_gone(
        self, exchange: TrackedExchange, wait_for: Callable[[asyncio.Future[None]], Awaitable[None]]
    ) -> None:
        """Wait until the client has given *exchange* up, or its stream has ended."""
        stream = exchange.request.stream
        gone = self._gone.setdefault(stream, self.connection.loop.create_future())
        if self.up.link.ended and not gone.done():
            gone.set_result(None)
        await wait_for(gone)

    def say(self, data: bytes, direction: Direction) -> None:
        """Send *data* of the connection itself."""
        self._say(direction, data)
        self._flush()

    def abort(self, exchange: TrackedExchange, fault: BoundFault, code: str | None) -> None:
        """End *exchange* by the protocol's own means; the others go on."""
        if not exchange.done:
            client_told, backend_told = self.framing.abort(exchange.request, code)
            self._end(exchange, client_told, backend_told)

    def finish(self, exchange: TrackedExchange, fault: BoundFault, data: bytes) -> None:
        """End *exchange* with *data* behind its response."""
        self.end_with(exchange, data)

    def end_with(self, exchange: TrackedExchange, data: bytes) -> None:
        """As `finish`, without a fault of its own."""
        if not exchange.done:
            client_told, backend_told = self.framing.finish(exchange.request, data)
            self._end(exchange, client_told, backend_told)

    def _end(self, exchange: TrackedExchange, client_told: bytes, backend_told: bytes) -> None:
        if not exchange.forwarded:
            self.framing.withdraw(exchange.request)
        else:
            self._say(TO_BACKEND, backend_told)
        self._say(TO_CLIENT, client_told)
        exchange.swallow_all()
        self._wake(exchange.request.stream)
        self._close_exchange(exchange)
        self._flush()
        self._forget_messages(exchange.request.stream)
        self._forget_ended()

    def has_left(self, exchange: TrackedExchange) -> bool:
        """Whether a hook has waited until the client gave *exchange* up."""
        gone = self._gone.get(exchange.request.stream)
        return gone is not None and gone.done()

    def hang_up(self, exchange: TrackedExchange, reset: hooks.Side | None) -> None:
        """End the stream of *exchange* as if its peers had closed it, or with a *reset* towards a side."""
        if not exchange.done:
            self._end(exchange, *self.framing.hang_up(exchange.request, reset))

    # For messages inside of a stream.

    @property
    def live(self) -> bool:
        """A fault may be drawn for a message."""
        return self._draws.live

    @property
    def message_faults(self) -> list[BoundFault]:
        """The faults for messages without an answer."""
        return [fault for fault in self.connection.bound_faults.values() if fault.eligible and fault.compiled.one_way]

    def begin_message(self, head: Head) -> TrackedExchange | None:
        """The exchange that *head* begins; ``None``: no fault acts on it."""
        drawn = self._draws.draw(head, self._count + 1, self._offset) if self._tracks else None
        if drawn is None:
            self._count += 1
            return None
        exchange = self._exchange(head, drawn)
        exchange.rewrite = None
        return exchange

    def begin_part(self, head: Head, opened: TrackedExchange) -> TrackedExchange | None:
        """The message of *opened* that *head* begins, as an exchange that is none; ``None``: no fault acts on it."""
        drawn = self._draws.draw_part(head, opened.number, opened.offset)
        if not drawn:
            return None
        exchange = TrackedExchange(opened.number, head, opened.offset)
        exchange.drawn = drawn
        return exchange

    async def message_done(self, exchange: TrackedExchange, owner: ExchangeOwner) -> None:
        """A message is through."""
        exchange.asked = True
        self._close_exchange(exchange)
        for fault in exchange.drawn:
            await self.call_hook(fault, "on_done", exchange, owner)

    def frame_messages(self, framing: Framing, direction: Direction, data: bytes) -> list[Piece]:
        """The pieces of *data*; tells observers when *framing* loses track."""
        lost = framing.lost
        try:
            pieces = framing.feed(direction, data)
        except Exception as error:  # the protocol's own code may raise anything
            self.connection.protocol_failed(error)
            return []
        if framing.lost is not None and lost is None:
            self.connection.journal.lost(framing.lost)
        return pieces

    def look_again(self, direction: Direction, exchange: TrackedExchange) -> None:
        """Have the lane of the stream of *exchange* let go of what need not be held."""
        self._put_first(direction, exchange.request.stream, _LET_GO)

    # For faults on messages.

    async def send_head(self, direction: Direction, exchange: TrackedExchange) -> None:
        """Send the head of *exchange*; returns when the destination takes more."""
        self._emit_head(direction, exchange)
        await self._until_taken(direction)

    async def send_message(self, direction: Direction, data: bytes, exchange: TrackedExchange | None) -> None:
        """Send *data*; returns when the destination takes more."""
        self._emit(direction, data, exchange)
        await self._until_taken(direction)

    async def send_text(self, direction: Direction, text: bytes, exchange: TrackedExchange) -> None:
        """Send *text* in the body of a message; returns when the destination takes more."""
        await self.send_message(direction, self.framing.body(exchange.request.stream, text), exchange)

    async def _until_taken(self, direction: Direction) -> None:
        link = self.connection_direction(direction).link
        self._flush()
        if link.full:
            await link.room()

    async def take_room(self, direction: Direction, exchange: TrackedExchange, size: int) -> int:
        """How many of *size* bytes of text may be sent now; waits until the receiver takes some, or *exchange* ends."""
        stream = exchange.request.stream
        while not exchange.swallows(direction):
            taken = self.framing.take_room(direction, stream, size)
            if taken:
                return taken
            self._flush()
            opened = self._opened.setdefault(stream, self.connection.loop.create_future())
            await asyncio.shield(opened)
        return 0

    def _wake(self, stream: int) -> None:
        """Let go on what waits for room on *stream*; of 0, on all of them."""
        for one in (stream,) if stream else tuple(self._opened):
            opened = self._opened.pop(one, None)
            if opened is not None and not opened.done():
                opened.set_result(None)

    def text_state(self, fault: BoundFault, direction: Direction) -> list[object]:
        """Each message has a state of its own."""
        return []
