"""An exchange as the engine keeps it, and as one fault sees it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, TypeVar

import msgspec

from vaurien import hooks
from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.policy.place import Place, place
from vaurien.framing import Head, Protocol, Reply

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection

S = TypeVar("S")


class Message(msgspec.Struct, frozen=True):
    """The bytes that follow are of a message in an exchange that *drawn* are in play for; *view* shows it to a fault.

    Without a *view* they are of no exchange, and the *number* is 0.
    """

    drawn: tuple[BoundFault, ...] = ()
    view: Callable[[BoundFault], ExchangeContext] | None = None
    number: int = 0


NO_MESSAGE = Message()

REPEAT_LIMIT = 2**20
"""Bytes of a request that are kept to be sent again."""


# Most exchanges are hit by nothing; they share what is empty.
_NO_FAULT: frozenset[str] = frozenset()
_NO_DIRECTION: frozenset[bool] = frozenset()


class Exchange:
    """A request and its response on their way through the proxy."""

    __slots__ = (
        "_copy",
        "_injected",
        "_swallowed",
        "asked",
        "done",
        "drawn",
        "heads",
        "hits",
        "number",
        "offset",
        "reply",
        "request",
        "response",
        "undecided",
    )

    def __init__(self, number: int, request: Head, offset: int) -> None:
        self.number = number
        self.offset = offset
        """Where the request begins in the client's stream."""
        self.request = request
        self.response: Head | None = None
        self.heads = [b"", request.data]
        """The heads of the response and of the request, as they are sent."""
        self.drawn: tuple[BoundFault, ...] = ()
        """The faults in play for it, in the order they act."""
        self.undecided: tuple[BoundFault, ...] = ()
        """Faults that ask about the response, which is not there yet."""
        self.asked = False
        """The request is through."""
        self.done = False
        """The response is through, or will not come."""
        self.reply: Reply | None = None
        """The answer of our own."""
        self.hits: frozenset[str] = _NO_FAULT
        self._swallowed: frozenset[bool] = _NO_DIRECTION
        self._injected: bytes = b""
        self._copy: bytearray | None = None  # of the request, when it is to be sent twice

    @property
    def place(self) -> Place:
        """Where it is, for the journal."""
        return place(True, self.offset)

    @property
    def answerable(self) -> bool:
        """Whether it ends without the backend, and the client is ready for that."""
        return self.swallows(True) and (self.asked or self.request.waits)

    @property
    def disturbed(self) -> bool:
        """Whether some of it is still to be swallowed."""
        return bool(self._swallowed) and not self.done

    def swallows(self, to_backend: bool) -> bool:
        """Whether the message of this direction goes nowhere."""
        return to_backend in self._swallowed

    def swallow(self) -> None:
        """Let the message at hand go nowhere; of a request that is needed, its response instead."""
        self._swallowed |= {self.response is None and not self.request.needed}

    def answers(self, response: Head) -> None:
        """*response* is the head of its response."""
        self.response, self.heads[False] = response, response.data

    def repeat(self) -> None:
        """Send the request twice."""
        self._copy = bytearray()

    def record(self, data: bytes) -> None:
        """*data* of the request is sent; keep it when it is to be sent twice, and not too long for that."""
        if self._copy is not None:
            self._copy = self._copy + data if len(self._copy) + len(data) <= REPEAT_LIMIT else None

    @property
    def copy(self) -> bytes:
        """The request to send again; empty: none."""
        return bytes(self._copy or b"")

    def twin(self) -> Exchange:
        """The same request, sent again: its response goes nowhere."""
        twin = Exchange(self.number, self.request, self.offset)
        twin.asked = True
        twin._swallowed |= {False}
        return twin

    def inject(self, data: bytes) -> None:
        """Put *data* into the middle of the head at hand."""
        self._injected = data

    def take_head(self, to_backend: bool) -> bytes:
        """The bytes to send as the head of this direction."""
        if self._injected and not to_backend:
            head, middle = self.heads[False], len(self.heads[False]) // 2
            self.heads[False] = head[:middle] + self._injected + head[middle:]
            self._injected = b""
        return self.heads[to_backend]


class ExchangeContext:
    """`hooks.Exchange`: an exchange as the fault *active* sees it, with the message *to_backend* at hand, or back."""

    __slots__ = ("_active", "_connection", "_exchange", "_protocol", "_to_backend")

    def __init__(
        self, active: BoundFault, exchange: Exchange, connection: Connection, protocol: Protocol, to_backend: bool
    ) -> None:
        self._active, self._exchange, self._connection, self._protocol = active, exchange, connection, protocol
        self._to_backend = to_backend

    @property
    def connection(self) -> hooks.Connection:
        """The connection, as this fault sees it."""
        return self._active

    @property
    def protocol(self) -> Protocol:
        """The proxy's protocol."""
        return self._protocol

    @property
    def number(self) -> int:
        """The ordinal on its connection."""
        return self._exchange.number

    @property
    def matched(self) -> bool:
        """Whether the fault names the exchanges that it acts on."""
        return self._active.entry.matcher.by_exchange

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
        return self._exchange.heads[self._to_backend]

    @property
    def random(self) -> Random:
        """The fault's generator."""
        return self._active.random

    def now(self) -> float:
        """Seconds on the engine's clock."""
        return self._active.now()

    async def sleep(self, seconds: float) -> None:
        """Wait; the rest of this direction waits too."""
        self._hit()
        await self._active.pause(seconds)

    async def client_gone(self) -> None:
        """Wait until the client has ended its stream."""
        self._hit()
        if not self._active.stopped:
            await self._connection.link(True).source_gone(self._active.wait_for)

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on this connection."""
        return self._active.state(behavior, factory)

    def shared(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on the whole proxy."""
        return self._active.shared(behavior, factory)

    def shared_number(
        self, behavior: hooks.Behavior, change: Callable[[float], float], *, first: float = 0.0, name: str = ""
    ) -> float:
        """Change a number of this fault's on the whole proxy."""
        return self._active.shared_number(behavior, change, first=first, name=name)

    def reply(self, reply: Reply) -> None:
        """Answer in place of the backend."""
        self._hit()
        self._exchange.reply = reply
        self._exchange.swallow()

    def drop(self) -> None:
        """Swallow the message at hand."""
        self._hit()
        self._exchange.swallow()

    def repeat(self) -> None:
        """Send the request twice."""
        self._hit()
        self._exchange.repeat()

    def change(self, head: bytes) -> None:
        """Send another head."""
        self._hit()
        self._exchange.heads[self._to_backend] = head

    def inject(self, data: bytes) -> None:
        """Put bytes into the message's head."""
        self._hit()
        self._exchange.inject(data)

    def close(self) -> None:
        """End the connection in order."""
        self._hit()
        self._connection.close(f"closed by {self._active.name}")

    def reset(self, side: hooks.Side = "both") -> None:
        """End the connection with RST."""
        self._hit()
        self._connection.reset(f"reset by {self._active.name}", side)

    def _hit(self) -> None:
        """Count once per exchange and fault."""
        if self._active.entry.key not in self._exchange.hits:
            self._exchange.hits |= {self._active.entry.key}
            self._active.hit(self._exchange.number, self._exchange.place)
