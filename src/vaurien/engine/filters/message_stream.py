"""Messages without an answer inside one stream, such as those of a WebSocket over HTTP/2 (RFC 8441).

The stream was opened by an exchange of its own. Its text is framed once more, and each message is an exchange, or a
part of that which has opened the stream (`Framing.parts`: a call of gRPC), in the lane of its direction::

    lane of the stream ──► text ──► framing inside ──► message ──► draw ──► hooks ──► faults on its bytes ──► text

What ends the connection where a WebSocket has one of its own ends the stream here, and no other. Between its messages
others may be put in, of the other direction's hooks for example; those wait until the message at hand is through. What
an incomplete message holds is given back to its sender as room in the windows, and bounded: with more than `HOLD_LIMIT`
bytes of a connection, what comes passes as it is.

What this does not do: it knows no protocol, and repeats no message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from vaurien import hooks
from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.filters.exchange import ExchangeOwner, TrackedExchange
from vaurien.engine.filters.message_filter import ConnectionView, MessageFilters, MessageOwner, acts_on_messages
from vaurien.framing import Framing, Head, Mark, Piece, Reply
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction

S = TypeVar("S")

HOLD_LIMIT = 8 * 2**20
"""Bytes of incomplete messages that are held for faults, on all streams of a connection."""


class StreamOwner(MessageOwner, Protocol):
    """The tracker of the connection, as a stream with messages sees it."""

    messages_held: int
    """Bytes of incomplete messages that are held, on all streams."""

    @property
    def live(self) -> bool:
        """A fault may be drawn for a message."""

    @property
    def message_faults(self) -> Sequence[BoundFault]:
        """The faults for messages without an answer."""

    def begin_message(self, head: Head) -> TrackedExchange | None:
        """Draw for the message that *head* begins; ``None``: no fault acts on it."""

    async def call_hook(self, fault: BoundFault, name: str, exchange: TrackedExchange, owner: ExchangeOwner) -> None:
        """Call a hook for *exchange*, which is *owner*'s."""

    def begin_part(self, head: Head, opened: TrackedExchange) -> TrackedExchange | None:
        """Draw for the message that *head* begins, a part of *opened*; ``None``: no fault acts on it."""

    def end_with(self, exchange: TrackedExchange, data: bytes) -> None:
        """End *exchange* with *data* behind what was sent of its response."""

    async def message_done(self, exchange: TrackedExchange, owner: ExchangeOwner) -> None:
        """A message is through."""

    def frame_messages(self, framing: Framing, direction: Direction, data: bytes) -> Sequence[Piece]:
        """The pieces of *data*; tells observers when *framing* loses track."""

    def has_left(self, exchange: TrackedExchange) -> bool:
        """Whether a hook has waited until the client gave *exchange* up."""

    def hang_up(self, exchange: TrackedExchange, reset: hooks.Side | None) -> None:
        """End the stream of *exchange* as if its peers had closed it, or with a *reset* towards a side."""


class MessageStream:
    """The messages on the stream that *opened* has opened, and what their exchanges and faults see as their owner."""

    def __init__(self, owner: StreamOwner, opened: TrackedExchange, framing: Framing) -> None:
        self.owner, self.opened, self.framing = owner, opened, framing
        self.protocol = owner.protocol
        self.ways = (MessageWay(self, TO_CLIENT), MessageWay(self, TO_BACKEND))
        self.over = False
        """Nothing more is sent on it."""
        self._text_states: dict[tuple[str, Direction], list[object]] = {}
        self._states: dict[str, tuple[BoundFault, Any]] = {}  # of faults on this stream, by their keys

    def end(self) -> None:
        """The stream is over: what waits for its turn waits no more."""
        self.over = True
        for way in self.ways:
            way.abandon()

    # Faults that keep something.

    @property
    def let_go_due(self) -> bool:
        """A fault has stopped that may keep something."""
        return any(fault.stopped for fault, _ in self._states.values())

    async def let_go(self) -> None:
        """Let faults that have stopped send what they keep."""
        for key, (fault, _) in list(self._states.items()):
            if not fault.stopped:
                continue
            if "on_stop" in fault.compiled.hooks and not self.over:
                try:
                    await fault.behavior.on_stop(_OnStream(self, fault))
                except BaseException as error:  # the plugin's own code may raise anything
                    fault.handle_hook_error(error)
            self._states.pop(key, None)

    # What exchanges see (ExchangeOwner).

    def connection_of(self, fault: BoundFault) -> hooks.Connection:
        """The stream takes the place of the connection."""
        return _OnStream(self, fault)

    def state(self, fault: BoundFault, factory: Callable[[], S]) -> S:
        """The fault's state on this stream."""
        known = self._states.get(fault.compiled.key)
        state: S = factory() if known is None else known[1]
        self._states[fault.compiled.key] = fault, state
        return state

    async def client_gone(
        self, exchange: TrackedExchange, wait_for: Callable[[asyncio.Future[None]], Awaitable[None]]
    ) -> None:
        """Wait until the client has given the stream up."""
        await self.owner.client_gone(self.opened, wait_for)

    def close(self, exchange: TrackedExchange, fault: BoundFault) -> None:
        """End the stream in order."""
        self.owner.hang_up(self.opened, None)

    def reset(self, exchange: TrackedExchange, fault: BoundFault, side: hooks.Side) -> None:
        """End the stream as by a reset."""
        self.owner.hang_up(self.opened, side)

    def abort(self, exchange: TrackedExchange, fault: BoundFault, code: str | None) -> None:
        """End the stream by the protocol's own means, unless the client has: that passes."""
        if self.owner.has_left(self.opened):
            exchange.swallow_all()
            self.end()
        else:
            self.owner.abort(self.opened, fault, code)

    def finish(self, exchange: TrackedExchange, fault: BoundFault, data: bytes) -> None:
        """As `abort`: a message has no answer that could end so."""
        self.abort(exchange, fault, None)

    def say(self, data: bytes, direction: Direction) -> None:
        """Send *data* of the connection itself."""
        self.owner.say(data, direction)

    async def put_in(self, exchange: TrackedExchange, fault: BoundFault, data: bytes, direction: Direction) -> None:
        """Send *data* between two messages."""
        await self.ways[direction].put_in(data)

    async def answer(self, reply: Reply) -> None:
        """Send the client what the proxy says in place of a message."""
        if self.framing.parts:
            self.owner.end_with(self.opened, reply.data)
            return
        await self.ways[TO_CLIENT].put_in(reply.data)
        if reply.close:
            self.owner.hang_up(self.opened, None)

    # What faults on the bytes of a message see (MessageOwner).

    async def send_head(self, direction: Direction, exchange: TrackedExchange) -> None:
        """Send the head of a message."""
        await self.ways[direction].send(exchange.take_head(direction))

    async def send_text(self, direction: Direction, text: bytes, exchange: TrackedExchange) -> None:
        """Send *text*, for which there is room, through the faults on the text of the whole stream if there are any."""
        behind = self.ways[direction].behind
        if behind is not None:
            await behind.text(text, behind.now())
        elif not self.over:
            await self.owner.send_text(direction, text, self.opened)

    async def take_room(self, direction: Direction, exchange: TrackedExchange, size: int) -> int:
        """How many of *size* bytes may be sent now."""
        return size if self.ways[direction].behind else await self.owner.take_room(direction, self.opened, size)

    def look_again(self, direction: Direction, exchange: TrackedExchange) -> None:
        """The lane is that of the stream."""
        self.owner.look_again(direction, self.opened)

    def text_state(self, fault: BoundFault, direction: Direction) -> list[object]:
        """The messages of a direction share it, as on a connection of their own."""
        return self._text_states.setdefault((fault.compiled.key, direction), [])


class MessageWay:
    """One direction of a stream with messages."""

    def __init__(self, stream: MessageStream, direction: Direction) -> None:
        self.behind: MessageFilters | None = None
        """Faults on the text of the whole stream."""
        self.stream, self._direction = stream, direction
        self._turn = asyncio.Lock()  # a message is being sent, or something between two
        self._sending = False  # it is the message of this lane
        self._exchange: TrackedExchange | None = None  # the message at hand, if faults act on it
        self._filters: MessageFilters | None = None
        self._held = 0
        self._ended = False
        self._let_go_later = False

    # What the lane does with it.

    async def text(self, data: bytes, at: float) -> None:
        """Take text of the stream."""
        framing = self.stream.framing
        await self._take_all(self.stream.owner.frame_messages(framing, self._direction, data), at)
        if framing.other_direction_ready:
            self.stream.owner.look_again(self._direction.back, self.stream.opened)
        await self._hold()

    async def finish(self, at: float) -> None:
        """This direction of the stream ends."""
        await self._take_all(self.stream.framing.end(self._direction), at)
        for fault in self.stream.owner.message_faults:
            if "on_eof" in fault.compiled.hooks and not (fault.stopped or self.stream.over):
                try:
                    await fault.behavior.on_eof(_WayOfStream(self.stream, fault, self._direction))
                except BaseException as error:  # the plugin's own code may raise anything
                    fault.handle_hook_error(error)
        if self.behind is not None:
            await self.behind.finish(at)
        self._ended = True
        self.abandon()

    @property
    def begun(self) -> bool:
        """The head of the stream's own message was sent."""
        return self.behind is None or self.behind.begun

    @property
    def let_go_due(self) -> bool:
        """Something is held, or kept by a fault, that need not be any more."""
        of_message = any(each is not None and each.let_go_due for each in (self._filters, self.behind))
        return of_message or self.stream.let_go_due or (self._held > 0 and not self.stream.owner.live)

    async def let_go(self) -> None:
        """Send what is held or kept for nothing, or until now."""
        for filters in (self._filters, self.behind):
            if filters is not None:
                await filters.let_go()
        if self._sending:  # nothing may come between the parts of a message
            self._let_go_later = True
            return
        await self.stream.let_go()
        await self.text(b"", 0.0)

    def abandon(self) -> None:
        """Nothing more is sent: what waits for its turn waits no more."""
        self.stream.owner.messages_held -= self._held
        self._held = 0
        self._let_others()

    async def _take_all(self, pieces: Sequence[Piece], at: float) -> None:
        for mark, piece in pieces:
            if self.stream.over:
                return
            if isinstance(mark, Head):
                await (self._begin(mark, at) if mark.one_way else self.send(piece))
            elif mark is Mark.BODY:
                await self._body(piece, at)
            else:
                await self._end(at)

    async def _begin(self, head: Head, at: float) -> None:
        owner, opened = self.stream.owner, self.stream.opened
        exchange = owner.begin_part(head, opened) if self.stream.framing.parts else owner.begin_message(head)
        self._exchange = exchange
        if exchange is None:
            await self.send(head.data)
            return
        if not head.request:
            exchange.push()
        for fault in exchange.drawn:
            if exchange.swallows(self._direction):
                break
            await self.stream.owner.call_hook(fault, "on_request", exchange, self.stream)
        if self.stream.over or exchange.swallows(self._direction):
            return
        faults = [
            fault
            for fault in exchange.drawn
            if acts_on_messages(fault) and fault.compiled.fault.stream.includes(self._direction) and not fault.stopped
        ]
        if faults:
            self._filters = MessageFilters(self.stream, exchange, self._direction, faults)
            await self._filters.head(exchange.head(self._direction), at)
        else:
            await self.send(exchange.take_head(self._direction))

    async def _body(self, piece: bytes, at: float) -> None:
        if self._filters is not None:
            await self._filters.text(piece, at)
        elif self._exchange is None or not self._exchange.swallows(self._direction):
            await self.send(piece)

    async def _end(self, at: float) -> None:
        exchange, self._exchange = self._exchange, None
        filters, self._filters = self._filters, None
        if filters is not None:
            await filters.finish(at)
        self._let_others()
        if exchange is not None:
            if exchange.reply is not None and not self.stream.over:
                await self.stream.answer(exchange.reply)
            await self.stream.owner.message_done(exchange, self.stream)
        if self._let_go_later:
            self._let_go_later = False
            await self.stream.let_go()

    async def _hold(self) -> None:
        """Count what is held of a message, and send it where nothing needs it whole, or it is too much."""
        framing, owner = self.stream.framing, self.stream.owner
        held = framing.held(self._direction)
        if held and (not owner.live or owner.messages_held - self._held + held > HOLD_LIMIT):
            await self.send(framing.release(self._direction))
            held = framing.held(self._direction)
        if not (self.stream.over or self._ended):
            owner.messages_held += held - self._held
            self._held = held

    # What is sent.

    async def send(self, data: bytes) -> None:
        """Send *data*, of the message at hand."""
        if data and not self._sending:
            await self._turn.acquire()
            self._sending = True
        await self._write(data)

    async def put_in(self, data: bytes) -> None:
        """Send *data*, whole frames, behind the message at hand."""
        async with self._turn:
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        stream = self.stream
        while data and not (stream.over or self._ended):
            size = await stream.take_room(self._direction, stream.opened, len(data))
            part, data = data[:size], data[size:]
            if not size:
                return
            await stream.send_text(self._direction, part, stream.opened)

    def _let_others(self) -> None:
        if self._sending:
            self._sending = False
            self._turn.release()


class _StreamView(ConnectionView):
    """What the connection, and its directions, have in common for a fault on a stream."""

    __slots__ = ("_stream",)

    def __init__(self, stream: MessageStream, fault: BoundFault) -> None:
        super().__init__(fault)
        self._stream = stream

    def mark_hit(self) -> None:
        if not self.fault.compiled.says_hits:
            self.hit()

    def hit(self) -> None:
        self.fault.count_hit()

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        return self._stream.state(self.fault, factory)

    def close(self) -> None:
        self.mark_hit()
        self._stream.owner.hang_up(self._stream.opened, None)

    def reset(self, side: hooks.Side = "both") -> None:
        self.mark_hit()
        self._stream.owner.hang_up(self._stream.opened, side)


class _OnStream(_StreamView):
    """A stream as the `hooks.Connection` of a fault."""

    __slots__ = ()

    @property
    def upstream(self) -> hooks.Link:
        return _WayOfStream(self._stream, self.fault, TO_BACKEND)

    @property
    def downstream(self) -> hooks.Link:
        return _WayOfStream(self._stream, self.fault, TO_CLIENT)

    def seal(
        self, kind: int, body: bytes, sequence: int, *, handshake: bool = False, server_random: bytes = b""
    ) -> bytes:
        return b""  # it is about messages, not about records


class _WayOfStream(_StreamView):
    """A direction of a stream as the `hooks.Link` of a fault: what it sends comes between two messages."""

    __slots__ = ("_direction",)

    def __init__(self, stream: MessageStream, fault: BoundFault, direction: Direction) -> None:
        super().__init__(stream, fault)
        self._direction = direction

    @property
    def to_backend(self) -> bool:
        return self._direction is TO_BACKEND

    @property
    def connection(self) -> hooks.Connection:
        return _OnStream(self._stream, self.fault)

    @property
    def exchange(self) -> hooks.Exchange | None:
        return None

    @property
    def arrived_at(self) -> float:
        return self.fault.now()

    async def send(self, data: bytes, after: float = 0.0) -> None:
        hooks.expect_bytes("send", data)
        self.mark_hit()
        if after > 0.0:
            await self.fault.pause(after)
        await self._stream.ways[self._direction].put_in(data)

    def alarm(self, seconds: float) -> None:
        raise NotImplementedError("nothing of a message is kept between two")
