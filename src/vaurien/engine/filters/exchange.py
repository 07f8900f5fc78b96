"""An exchange as the engine keeps it, and as one fault sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeVar

from vaurien import hooks
from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.filters.fault_context import FaultView
from vaurien.engine.policy.place import Place, place
from vaurien.framing import Head, Reply
from vaurien.framing import Protocol as WireProtocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction

S = TypeVar("S")

REPEAT_LIMIT = 2**20
"""Bytes of a request that are kept to be sent again."""


# Most exchanges are hit by nothing; they share what is empty.
_NO_FAULT: frozenset[str] = frozenset()
_NO_DIRECTION: frozenset[Direction] = frozenset()
_BOTH = frozenset(Direction)


class TrackedExchange:
    """A request and its response on their way through the proxy."""

    __slots__ = (
        "_copy",
        "_injected",
        "_swallowed",
        "asked",
        "asked_at_head",
        "began",
        "done",
        "drawn",
        "forwarded",
        "heads",
        "hits",
        "number",
        "offset",
        "repeats",
        "reply",
        "request",
        "response",
        "rewrite",
        "undecided",
    )

    def __init__(self, number: int, request: Head, offset: int) -> None:
        self.number = number
        self.offset = offset
        """Where the request begins in the client's stream."""
        self.request = request
        self.response: Head | None = None
        self.heads = [b"", request.outgoing]
        """The heads of the response and of the request, as they are sent: see `head`."""
        self.rewrite: Callable[[TrackedExchange], bytes] | None = None
        """Makes the request's head as it is sent; most requests that are answered here need none."""
        self.drawn: tuple[BoundFault, ...] = ()
        """The faults in play for it, in the order they act."""
        self.undecided: tuple[BoundFault, ...] = ()
        """Faults that ask about the response, which is not there yet."""
        self.began: float | None = None
        """When its request was recognized, if observers want to know of it."""
        self.asked_at_head = False
        """Its fault has seen the request's head before that had its turn."""
        self.asked = False
        """The request is through."""
        self.forwarded = False
        """Some of the request was sent towards the backend."""
        self.done = False
        """The response is through, or will not come."""
        self.reply: Reply | None = None
        """The answer of our own."""
        self.hits: frozenset[str] = _NO_FAULT
        self._swallowed: frozenset[Direction] = _NO_DIRECTION
        self._injected: bytes = b""
        self.repeats: tuple[Callable[[], None], ...] = ()
        """Its request is to be sent twice: these are called when it is."""
        self._copy: bytearray | None = None  # of the request, when it is to be sent twice

    def push(self) -> None:
        """It is a message that the backend sends by itself: there is no other."""
        self.response, self.heads[TO_CLIENT] = self.request, self.request.data

    @property
    def pushed(self) -> bool:
        """Whether it is a message that the backend sends by itself."""
        return self.response is self.request

    @property
    def passive(self) -> bool:
        """No fault acts on it, or may yet, and nothing of it is swallowed or kept."""
        return not (self.drawn or self.undecided or self._swallowed) and self._copy is None

    @property
    def simple_answer(self) -> bool:
        """Its own answer needs no hook, and ends nothing."""
        reply = self.reply
        if reply is not None and (reply.close or reply.at_end is not None):
            return False
        return not (self.drawn and any("on_done" in fault.compiled.hooks for fault in self.drawn))

    @property
    def place(self) -> Place:
        """Where it is, for the observers."""
        return place(TO_BACKEND, self.offset)

    @property
    def answerable(self) -> bool:
        """Whether it ends without the backend, and the client is ready for that."""
        return self.swallows(TO_BACKEND) and (self.asked or self.request.waits)

    @property
    def disturbed(self) -> bool:
        """Whether some of it is still to be swallowed."""
        return bool(self._swallowed) and not self.done

    def swallows(self, direction: Direction) -> bool:
        """Whether the message of this direction goes nowhere."""
        return direction in self._swallowed

    def swallow_all(self) -> None:
        """Let both messages go nowhere."""
        self._swallowed = _BOTH

    def swallow(self) -> None:
        """Let the message at hand go nowhere; of a request that is needed, its response instead."""
        self._swallowed |= {TO_BACKEND if self.response is None and not self.request.needed else TO_CLIENT}

    def answers(self, response: Head) -> None:
        """*response* is the head of its response."""
        self.response, self.heads[TO_CLIENT] = response, response.outgoing

    def repeat(self, sent: Callable[[], None]) -> None:
        """Send the request twice, and call *sent* when it is sent again."""
        self.repeats, self._copy = (*self.repeats, sent), bytearray()

    def repeated(self) -> None:
        """The request is sent again."""
        for sent in self.repeats:
            sent()

    def record(self, data: bytes) -> None:
        """*data* of the request is sent; keep it when it is to be sent twice, and not too long for that."""
        if self._copy is not None:
            self._copy = self._copy + data if len(self._copy) + len(data) <= REPEAT_LIMIT else None

    @property
    def copy(self) -> bytes:
        """The request to send again; empty: none."""
        return bytes(self._copy or b"")

    def twin(self) -> TrackedExchange:
        """The same request, sent again: its response goes nowhere."""
        twin = TrackedExchange(self.number, self.request, self.offset)
        twin.asked = True
        twin._swallowed |= {TO_CLIENT}
        return twin

    def inject(self, data: bytes) -> None:
        """Put *data* into the middle of the head at hand."""
        self._injected = data

    def take_injected(self) -> bytes:
        """The bytes to put into the message at hand; once."""
        data, self._injected = self._injected, b""
        return data

    def head(self, direction: Direction) -> bytes:
        """The head of this direction, as it is sent."""
        if direction is TO_BACKEND and self.rewrite is not None:
            self.heads[TO_BACKEND], self.rewrite = self.rewrite(self), None
        return self.heads[direction]

    def change(self, direction: Direction, head: bytes) -> None:
        """Send another head in this direction."""
        if direction is TO_BACKEND:
            self.rewrite = None
        self.heads[direction] = head

    def take_head(self, direction: Direction) -> bytes:
        """The bytes to send as the head of this direction."""
        if self._injected and direction is TO_CLIENT:
            head, middle = self.heads[TO_CLIENT], len(self.heads[TO_CLIENT]) // 2
            self.heads[TO_CLIENT] = head[:middle] + self._injected + head[middle:]
            self._injected = b""
        return self.head(direction)


class AnsweredExchange(TrackedExchange):
    """One that a fault has answered with *reply*, of which nothing but that is left to be done.

    One object may stand for several that have the same reply.
    """

    __slots__ = ("answer",)

    # They are many, and nothing else of them is ever asked for.
    asked = True
    number = offset = 0
    request = Head(request=True)
    drawn = undecided = ()
    hits = _NO_FAULT
    began = None
    forwarded = False
    repeats = ()
    _swallowed = _BOTH

    def __init__(self, reply: Reply) -> None:
        self.reply, self.answer = reply, reply.data

    @property
    def disturbed(self) -> bool:
        """It is to be answered here."""
        return True


class ExchangeOwner(Protocol):
    """The exchange tracker, as the exchange of a hook sees it."""

    protocol: WireProtocol

    async def client_gone(
        self, exchange: TrackedExchange, wait_for: Callable[[asyncio.Future[None]], Awaitable[None]]
    ) -> None:
        """Wait, by *wait_for*, until the client has ended its stream, or *exchange*."""

    def connection_of(self, fault: BoundFault) -> hooks.Connection:
        """The connection, or what takes its place for an exchange, as *fault* sees it."""

    def state(self, fault: BoundFault, factory: Callable[[], S]) -> S:
        """The state of *fault* there."""

    def close(self, exchange: TrackedExchange, fault: BoundFault) -> None:
        """End the connection of *exchange* in order, because of *fault*."""

    def reset(self, exchange: TrackedExchange, fault: BoundFault, side: hooks.Side) -> None:
        """End the connection of *exchange* with RST, because of *fault*."""

    def abort(self, exchange: TrackedExchange, fault: BoundFault, code: str | None) -> None:
        """End *exchange* by the protocol's own means, or the connection, because of *fault*."""

    def finish(self, exchange: TrackedExchange, fault: BoundFault, data: bytes) -> None:
        """End *exchange* with *data* behind its response, or the connection, because of *fault*."""

    async def put_in(self, exchange: TrackedExchange, fault: BoundFault, data: bytes, direction: Direction) -> None:
        """Send *data* of *fault*, which acts on *exchange*, between two messages without an answer."""

    def say(self, data: bytes, direction: Direction) -> None:
        """Send *data* of the connection itself."""


class TrackedMessage:
    """A message of an exchange, on its way in one direction: filters are told of it before its bytes."""

    __slots__ = ("_direction", "_exchange", "_owner", "number")

    def __init__(self, owner: ExchangeOwner, exchange: TrackedExchange, direction: Direction) -> None:
        self._owner, self._exchange, self._direction = owner, exchange, direction
        self.number = exchange.number

    def drawn_for(self, fault: BoundFault) -> bool:
        """Whether *fault* was drawn for the exchange."""
        return fault in self._exchange.drawn

    def seen_by(self, fault: BoundFault) -> ExchangeContext | None:
        """The exchange, as *fault* sees it."""
        return ExchangeContext(fault, self._exchange, self._owner, self._direction)


class _NoMessage(TrackedMessage):
    """Bytes of no exchange, or of one that no fault acts on."""

    __slots__ = ()

    def __init__(self) -> None:
        self.number = 0

    def drawn_for(self, fault: BoundFault) -> bool:
        return False

    def seen_by(self, fault: BoundFault) -> ExchangeContext | None:
        return None


NO_MESSAGE: TrackedMessage = _NoMessage()


class AskedRequest(FaultView):
    """`hooks.Request`: requests of *protocol*, one after the other, as faults see them that only reply."""

    __slots__ = ("fault", "matched", "protocol", "request")

    request: Head

    def __init__(self, protocol: WireProtocol) -> None:
        self.protocol = protocol

    def ask(self, fault: BoundFault, request: Head) -> None:
        """It is *request* from here on, as *fault* sees it."""
        self.fault: BoundFault = fault
        self.request = request
        self.matched = fault.compiled.matcher.by_exchange


class ExchangeContext(FaultView):
    """`hooks.Exchange`: an exchange as *fault* sees it, with the message *direction*, or back, at hand."""

    __slots__ = ("_direction", "_exchange", "_owner", "fault")

    def __init__(
        self, fault: BoundFault, exchange: TrackedExchange, owner: ExchangeOwner, direction: Direction
    ) -> None:
        self.fault: BoundFault = fault
        self._exchange, self._owner, self._direction = exchange, owner, direction

    @property
    def connection(self) -> hooks.Connection:
        """The connection, as this fault sees it."""
        return self._owner.connection_of(self.fault)

    @property
    def protocol(self) -> WireProtocol:
        """The proxy's protocol."""
        return self._owner.protocol

    @property
    def number(self) -> int:
        """The ordinal on its connection."""
        return self._exchange.number

    @property
    def matched(self) -> bool:
        """Whether the fault names the exchanges that it acts on."""
        return self.fault.compiled.matcher.by_exchange

    @property
    def request(self) -> Head:
        """The request's head."""
        return self._exchange.request

    @property
    def response(self) -> Head | None:
        """The response's head."""
        return self._exchange.response

    @property
    def head(self) -> bytes:
        """The head at hand, as it is sent."""
        return self._exchange.head(self._direction)

    async def client_gone(self) -> None:
        """Wait until the client has ended its stream."""
        self.mark_hit()
        if not self.fault.stopped:
            await self._owner.client_gone(self._exchange, self.fault.wait_for)

    def reply(self, reply: Reply) -> None:
        """Answer in place of the backend."""
        hooks.expect_reply("reply", reply)
        self.mark_hit()
        self._exchange.reply = reply
        self._exchange.swallow()

    def drop(self) -> None:
        """Swallow the message at hand."""
        self.mark_hit()
        self._exchange.swallow()

    def repeat(self) -> None:
        """Send the request twice."""
        self._exchange.repeat(self.mark_hit)

    def change(self, head: bytes) -> None:
        """Send another head."""
        hooks.expect_bytes("change", head)
        if head != self.head:
            self.mark_hit()
            self._exchange.change(self._direction, head)

    def inject(self, data: bytes) -> None:
        """Put bytes into the message's head."""
        hooks.expect_bytes("inject", data)
        if data:
            self.mark_hit()
        self._exchange.inject(data)

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on the connection."""
        return self._owner.state(self.fault, factory)

    def close(self) -> None:
        """End the connection in order."""
        self.mark_hit()
        self._owner.close(self._exchange, self.fault)

    def reset(self, side: hooks.Side = "both") -> None:
        """End the connection with RST."""
        self.mark_hit()
        self._owner.reset(self._exchange, self.fault, side)

    def abort(self, code: str | None = None) -> None:
        """End the exchange by the protocol's own means, or the connection."""
        self.mark_hit()
        self._owner.abort(self._exchange, self.fault, code)

    def finish(self, reply: Reply) -> None:
        """End the exchange with *reply*."""
        hooks.expect_reply("finish", reply)
        self.mark_hit()
        self._owner.finish(self._exchange, self.fault, reply.data)

    def say(self, data: bytes, side: Literal["client", "backend"] = "client") -> None:
        """Send *data* of the connection itself to a side."""
        hooks.expect_bytes("say", data)
        self.mark_hit()
        self._owner.say(data, TO_BACKEND if side == "backend" else TO_CLIENT)

    async def put_in(self, data: bytes, side: Literal["client", "backend"] = "client") -> None:
        """Send *data* to a side between two messages without an answer."""
        hooks.expect_bytes("put_in", data)
        self.mark_hit()
        await self._owner.put_in(self._exchange, self.fault, data, TO_BACKEND if side == "backend" else TO_CLIENT)

    def hit(self) -> None:
        """The fault acts."""
        self.mark_hit()

    def mark_hit(self) -> None:
        """Count a hit, once for each exchange and fault."""
        key = self.fault.compiled.key
        if key not in self._exchange.hits:
            self._exchange.hits |= {key}
            self.fault.count_hit(self._exchange.number, self._exchange.place)
