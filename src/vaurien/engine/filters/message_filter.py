"""Faults on the body of one message, where the protocol has streams.

The bytes of a direction are frames of many streams there, and cutting them anywhere would break the connection for all
of them. So a fault that is for single exchanges gets the text of a message, without frames, and what it sends is put
into frames again::

    lane of a stream ──► head ──► hooks ──► the head, whole, once as many bytes were sent
                    ──► text ──► hooks ──► frames of what was sent
                    ──► end  ──► on_eof ─► the end, with its trailers

A hook that waits holds its lane: the message, and no other. Closing the link ends the exchange, not the connection. An
alarm that goes off has its turn in the lane before the pieces that wait there. Behaviors with `text_only` do not see
the head: they may send more or less than they get, and what is of the head is known by its length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from vaurien import hooks
from vaurien.engine.filters.bound_fault import BoundFault, Interrupted
from vaurien.engine.filters.exchange import ExchangeContext, ExchangeOwner, TrackedExchange
from vaurien.engine.filters.fault_context import FaultView
from vaurien.engine.loop.clock import Timer
from vaurien.engine.policy.place import place
from vaurien.framing import Mark, Part
from vaurien.framing import Protocol as WireProtocol
from vaurien.model import TO_BACKEND, Address, Direction, Scope

S = TypeVar("S")


def acts_on_messages(fault: BoundFault) -> bool:
    """Whether *fault* acts on the text of single messages."""
    compiled = fault.compiled
    single = compiled.per_exchange or compiled.of_messages
    return single and compiled.handles("on_data", "on_eof")


class MessageOwner(ExchangeOwner, Protocol):
    """The tracker, as a message's filters see it."""

    async def send_text(self, direction: Direction, text: bytes, exchange: TrackedExchange) -> None:
        """Send *text* of *exchange*, for which there is room; returns when the destination takes more."""

    async def send_head(self, direction: Direction, exchange: TrackedExchange) -> None:
        """Send the head of *exchange*; returns when the destination takes more."""

    async def take_room(self, direction: Direction, exchange: TrackedExchange, size: int) -> int:
        """How many of *size* bytes of text may be sent now; waits until the receiver takes some."""

    def look_again(self, direction: Direction, exchange: TrackedExchange) -> None:
        """Have the lane of the stream of *exchange* let go of what need not be held, when its turn comes."""

    def text_state(self, fault: BoundFault, direction: Direction) -> list[object]:
        """Where the state of *fault* on a new message of *direction* is kept: one, or none yet."""


class Taker(Protocol):
    """A filter, or what is behind the last one."""

    async def receive(self, data: bytes, at: float) -> None:
        """Take *data*, which arrived at the time *at*."""


class MessageFilter(FaultView):
    """One fault's place on one message, or (without an exchange) on what is of the connection."""

    __slots__ = (
        "_alarm",
        "_behind",
        "_chunk",
        "_exchange",
        "_hit",
        "_hook",
        "_owner",
        "_ringing",
        "_sent",
        "_states",
        "at",
        "direction",
        "fault",
        "head",
        "rang",
    )

    def __init__(
        self,
        fault: BoundFault,
        exchange: TrackedExchange | None,
        owner: MessageOwner,
        direction: Direction,
        behind: Taker,
        hook: str,
    ) -> None:
        self.fault: BoundFault = fault
        self._exchange, self._owner, self.direction, self._behind, self._hook = exchange, owner, direction, behind, hook
        self._chunk: bytes | None = None
        self._sent = 0
        self._hit = False
        self._states = owner.text_state(fault, direction)
        self._alarm: Timer | None = None
        self._ringing = False
        self.rang = False
        """The alarm went off, and the behavior has not acted on that yet."""
        self.head = 0
        """Bytes of the head that are to come, and go past the behavior."""
        self.at = 0.0

    # What the behavior sees (hooks.Link).

    @property
    def to_backend(self) -> bool:
        """The direction."""
        return self.direction is TO_BACKEND

    @property
    def connection(self) -> hooks.Connection:
        """The connection, as this fault sees it."""
        return self.fault

    @property
    def exchange(self) -> hooks.Exchange | None:
        """The exchange that the message is of."""
        if self._exchange is None:
            return None
        return ExchangeContext(self.fault, self._exchange, self._owner, self.direction)

    @property
    def arrived_at(self) -> float:
        """When the chunk at hand arrived."""
        return self.at

    async def send(self, data: bytes, after: float = 0.0) -> None:
        """Pass *data* on, now or *after* seconds from its arrival; what comes behind it waits."""
        if after > 0.0 or (data is not self._chunk and data != self._chunk):
            hooks.expect_bytes("send", data)
            self.mark_hit()
        if after > 0.0:
            due = self.at + after
            self.fault.delayed(max(0.0, due - self.now()))
            await self._wait_until(due)
        self._sent += len(data)
        await self._behind.receive(data, self.at)

    async def _wait_until(self, due: float) -> None:
        """As on a delay line: what waits keeps its time when the fault is changed, and goes on when it is removed."""
        while not self.fault.stopped and not self._ended:
            try:
                await self.fault.wait_until(due)
            except Interrupted as interrupted:
                self.fault.handle_hook_error(interrupted)
            else:
                return

    def alarm(self, seconds: float) -> None:
        """Call `on_alarm` after *seconds*, between two pieces of the message."""
        self._silence()
        if not (self.fault.stopped or self._ended):
            self._alarm = self.fault.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._exchange is not None and not self._ended:
            self.rang = True
            self._owner.look_again(self.direction, self._exchange)

    def _silence(self) -> None:
        self.rang = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on this message; of the connection's own pieces, in this direction."""
        if self._exchange is None:
            return self.fault.link_state(self.direction, factory)
        if not self._states:
            self._states.append(factory())
        state: S = self._states[0]  # type: ignore[assignment]
        return state

    def close(self) -> None:
        """End the exchange."""
        self._end()

    def reset(self, side: hooks.Side = "both") -> None:
        """End the exchange: its end is at once anyway."""
        self._end()

    def _end(self) -> None:
        if self._exchange is None:
            self.mark_hit()
            self.fault.close_connection()
        else:
            self.mark_hit()
            self._owner.abort(self._exchange, self.fault, None)

    def mark_hit(self) -> None:
        """Count a hit, once for each exchange, or piece of the connection; not for a behavior that says it itself."""
        if not (self.fault.compiled.says_hits or self._ringing):
            self.hit()

    def hit(self) -> None:
        """Count a hit, once for each exchange, or piece of the connection."""
        if self._exchange is not None:
            ExchangeContext(self.fault, self._exchange, self._owner, self.direction).mark_hit()
        elif not self._hit and not self.fault.stopped:
            self._hit = True
            self.fault.count_hit(None, place(self.direction, 0))

    # What the engine does with it.

    async def receive(self, data: bytes, at: float) -> None:
        """Let the behavior act on *data*, in pieces of the length that it asks for."""
        if self.head:
            here = min(self.head, len(data))
            self.head -= here
            await self._behind.receive(data[:here], at)
            data = data[here:]
        limit = self.fault.compiled.chunk_limit if self._hook == "on_data" else None
        if limit is None or len(data) <= limit:
            await self._receive(data, at)
        else:
            for start in range(0, len(data), limit):
                await self._receive(data[start : start + limit], at)

    async def _receive(self, data: bytes, at: float) -> None:
        self.at, self._hit = at, False
        while data and not self._ended:
            if self.fault.stopped or (self._rolls and not self.fault.roll(None, place(self.direction, 0))):
                await self._behind.receive(data, at)
                return
            self._chunk, self._sent = data, 0
            try:
                await getattr(self.fault.behavior, self._hook)(self, data)
                if not self._sent:
                    self.mark_hit()  # it was swallowed
            except BaseException as error:  # the plugin's own code may raise anything
                if not self.fault.handle_hook_error(error):
                    return
                data = data[self._sent :]  # the fault was changed or removed: what is left meets it again
            else:
                return
            finally:
                self._chunk = None

    @property
    def _rolls(self) -> bool:
        return self.fault.compiled.fault.scope is Scope.CHUNK

    async def finish(self, at: float) -> None:
        """The message ends: let the behavior act on that."""
        self._silence()
        self.at = at
        again = "on_eof" in self.fault.compiled.hooks
        while again and not self.fault.stopped and not self._ended:
            try:
                await self.fault.behavior.on_eof(self)
                again = False
            except BaseException as error:  # the plugin's own code may raise anything
                again = self.fault.handle_hook_error(error)

    @property
    def keeps(self) -> bool:
        """The behavior may keep something of the message, to send it when its fault stops."""
        return bool(self._states) and "on_stop" in self.fault.compiled.hooks

    @property
    def let_go_due(self) -> bool:
        """`let_go` is to be called."""
        return self.rang or (self.fault.stopped and self.keeps)

    async def let_go(self) -> None:
        """The alarm went off: let the behavior act. Or its fault has stopped: let it send what it keeps."""
        rang, self.rang = self.rang, False
        if rang and not self.fault.stopped:
            await self._act_on_alarm()
        if not (self.fault.stopped and self.keeps) or self._ended:
            return
        try:
            await self.fault.behavior.on_stop(_OfMessage(self))
        except BaseException as error:  # the plugin's own code may raise anything
            self.fault.handle_hook_error(error)
        self._states.clear()

    async def _act_on_alarm(self) -> None:
        if self._ended:
            return
        self.at, self._ringing = self.now(), True
        try:
            await self.fault.behavior.on_alarm(self)
        except BaseException as error:  # the plugin's own code may raise anything
            self.fault.handle_hook_error(error)
        finally:
            self._ringing = False

    @property
    def _ended(self) -> bool:
        return self._exchange is not None and self._exchange.swallows(self.direction)


class ConnectionView(FaultView):
    """What takes the place of the connection for a fault, as far as it is the connection's own."""

    __slots__ = ("fault",)

    def __init__(self, fault: BoundFault) -> None:
        self.fault: BoundFault = fault

    @property
    def number(self) -> int:
        """The ordinal on its proxy."""
        return self.fault.number

    @property
    def peer(self) -> str:
        """The client's address."""
        return self.fault.peer

    @property
    def protocol(self) -> WireProtocol:
        """The protocol of the proxy."""
        return self.fault.protocol

    def redirect(self, backend: Address) -> None:
        """Dial *backend* instead."""
        self.fault.redirect(backend)


class _OfMessage(ConnectionView):
    """The connection of one message, for a fault that lets go of what it keeps of that: its end is the exchange's."""

    __slots__ = ("_message",)

    def __init__(self, message: MessageFilter) -> None:
        super().__init__(message.fault)
        self._message = message

    @property
    def upstream(self) -> hooks.Link:
        return self._message if self._message.to_backend else self.fault.upstream

    @property
    def downstream(self) -> hooks.Link:
        return self.fault.downstream if self._message.to_backend else self._message

    def close(self) -> None:
        self._message.close()

    def reset(self, side: hooks.Side = "both") -> None:
        self._message.reset(side)


class _Frames:
    """Behind the last filter: puts what it is sent into frames."""

    __slots__ = ("_direction", "_exchange", "_owner", "head")

    def __init__(self, owner: MessageOwner, exchange: TrackedExchange, direction: Direction) -> None:
        self._owner, self._exchange, self._direction = owner, exchange, direction
        self.head = 0
        """Bytes of the head that were not sent yet."""

    async def receive(self, data: bytes, at: float) -> None:
        """Send *data*: text, but for the bytes of a head that is not sent yet, which leaves whole."""
        if self._exchange.swallows(self._direction):
            return
        if self.head:
            here = min(self.head, len(data))
            self.head -= here
            data = data[here:]
            if not self.head:
                await self._owner.send_head(self._direction, self._exchange)
        while data:
            size = await self._owner.take_room(self._direction, self._exchange, len(data))
            if self._exchange.swallows(self._direction):
                return
            part, data = data[:size], data[size:]
            await self._owner.send_text(self._direction, part, self._exchange)


class MessageFilters:
    """The filters on one message of *exchange*, in order of the *faults*."""

    __slots__ = ("_filters", "_first", "_frames")

    def __init__(
        self, owner: MessageOwner, exchange: TrackedExchange, direction: Direction, faults: Sequence[BoundFault]
    ) -> None:
        self._frames = _Frames(owner, exchange, direction)
        behind: Taker = self._frames
        self._filters: list[MessageFilter] = []
        for fault in reversed(faults):
            behind = MessageFilter(fault, exchange, owner, direction, behind, "on_data")
            self._filters.insert(0, behind)
        self._first = behind

    def now(self) -> float:
        """The time, by the clock of the faults."""
        return self._filters[0].now()

    @property
    def begun(self) -> bool:
        """The head was sent."""
        return not self._frames.head

    async def head(self, data: bytes, at: float) -> None:
        """Take the head."""
        self._frames.head = len(data)
        for each in self._filters:
            if each.fault.behavior.text_only:
                each.head = len(data)
        await self._first.receive(data, at)

    async def text(self, data: bytes, at: float) -> None:
        """Take text of the body."""
        await self._first.receive(data, at)

    @property
    def let_go_due(self) -> bool:
        """`let_go` is to be called."""
        return any(each.let_go_due for each in self._filters)

    async def let_go(self) -> None:
        """Let faults send what they keep, if they have stopped or their alarm went off."""
        for each in self._filters:
            await each.let_go()

    async def finish(self, at: float) -> None:
        """The message ends."""
        for each in self._filters:
            await each.finish(at)


def is_control(mark: Part) -> bool:
    """Whether a piece is neither text of a message nor an end."""
    return mark.mark is Mark.BODY and not mark.payload
