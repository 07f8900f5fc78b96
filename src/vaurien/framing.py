"""How a protocol marks messages in a stream of bytes, without I/O and without changing a byte.

A framer is fed the bytes of both directions as they arrive and gives them back as *pieces*: the same bytes in the same
order, cut where messages start and end. It holds back only the bytes of a head that is not complete yet; those of a
body are given back at once. So for each direction, always::

    joined(pieces given back) + held == joined(bytes fed)

A protocol is written as two generators that read like blocking code (see `Reader`); `Turns` is the framing of plain
tcp, and what every protocol falls back to when it meets bytes that are not its own.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import msgspec

from vaurien.cache import SIZE_LIMIT, BoundedCache
from vaurien.errors import ParseError
from vaurien.reader import HEAD_LIMIT, Reader, Step

if TYPE_CHECKING:
    from random import Random

    from vaurien.model import Address

__all__ = [
    "HEAD_LIMIT",
    "WAITING_LIMIT",
    "Framer",
    "Frames",
    "Framing",
    "Head",
    "Mark",
    "Piece",
    "Protocol",
    "Reader",
    "Reply",
    "Step",
    "Turns",
]
WAITING_LIMIT = 100_000
"""Requests that may wait for their response: ten times the pipeline that the page *Redis pipelining* advises (10k)."""


class Head(msgspec.Struct, eq=False):
    """A complete head. *fields* is what a matcher may ask (``method``, ``path``, ``command``, ``key``…).

    A request that no response follows (memcached ``noreply``) has *answered* false. One whose sender waits for a word
    before it sends the rest (HTTP's ``Expect: 100-continue``) has *waits* true: it can be answered before its end.
    One whose response shows that earlier requests get none (what ends a series of memcached's quiet commands) has
    *needed* true: it reaches the backend even when the proxy answers it, or the client would wait for ever.
    One whose message means the same wherever it begins, while the framer is `Framer.stateless`, has *self_contained*
    true; of a request this includes that its response can be read without knowing which request it answers.
    *data* is set by the framer: the head's bytes. A protocol may subclass it to remember more for its error reply.
    """

    request: bool
    fields: Mapping[str, str] = MappingProxyType({})
    answered: bool = True
    waits: bool = False
    data: bytes = b""
    needed: bool = False
    self_contained: bool = False


class Reply(msgspec.Struct, frozen=True):
    """An answer made by the proxy: *data* goes to the client, and with *close* the connection ends after it."""

    data: bytes
    close: bool = False


class Mark(enum.Enum):
    """What a piece is, when it is not a head."""

    BODY = "body"
    """More bytes of the message that the last head of this direction began, or of no message at all."""
    REQUEST_END = "request end"
    RESPONSE_END = "response end"


Piece: TypeAlias = tuple[Head | Mark, bytes]


# A member of an enum costs a look-up in its class each time; these are asked for at every step of every message.
_MORE, _ASIDE, _END = Step.MORE, Step.ASIDE, Step.END

Frames: TypeAlias = Generator[Head | Step, None, None]
"""A generator that reads one direction for ever; when it returns, the rest of the connection is opaque."""


class Framing:
    """What the engine needs of a framer: bytes in, pieces out, and the requests that wait for their response."""

    lost: str | None = None
    """Why the protocol lost track of this connection, which is framed as plain tcp since then; ``None``: it has not."""

    owed: bool = False
    """The last `feed` set bytes free that are held back in the other direction: feed that one ``b""`` to get them."""

    def __init__(self) -> None:
        self.waiting: deque[Head] = deque()

    def feed(self, to_backend: bool, data: bytes) -> list[Piece]:
        """Pieces of *data*, which arrived in the direction *to_backend*. Raises nothing, whatever the bytes."""
        raise NotImplementedError

    def recognize(self, to_backend: bool, data: bytes) -> Head | None:
        """The head of *data*, if that is seen to be one whole message; then it is taken, and not to be fed any more.

        It is the head of every such message: nobody may change it, and only exchanges without a fault may have it.
        """
        return None

    def end(self, to_backend: bool) -> list[Piece]:
        """The last pieces of a direction whose source has ended."""
        raise NotImplementedError

    def held(self, to_backend: bool) -> int:
        """How many bytes of the direction *to_backend* were fed and not given back yet."""
        return 0

    def answered_anew(self) -> None:
        """Another backend answers from here on: the end of the last one's stream is forgotten."""

    @property
    def idle(self) -> bool:
        """Whether no request waits for its response, and none is half sent."""
        return not self.waiting

    def withdraw(self, head: Head) -> None:
        """The request that *head* began does not reach the backend, so no response will come for it."""
        if head in self.waiting:
            self.waiting.remove(head)

    def repeat(self, head: Head) -> bool:
        """The request that *head* began is sent again: one more response will come. False if it is answered already."""
        if head not in self.waiting:
            return False
        self.waiting.insert(self.waiting.index(head), head)
        return True


class Turns(Framing):
    """Plain tcp: a request is what the client sends until the backend answers, a response what it answers.

    What a backend sends before the client has said anything (a greeting) belongs to no exchange.
    """

    def feed(self, to_backend: bool, data: bytes) -> list[Piece]:
        if not data:
            return []
        return self._request(data) if to_backend else self._response(data)

    _asked = _answering = False

    def _request(self, data: bytes) -> list[Piece]:
        if self._asked:
            return [(Mark.BODY, data)]
        pieces = self._finish()
        head = Head(request=True, waits=True, data=data)  # where it ends is not known before the answer comes
        self._asked = True
        self.waiting.append(head)
        return [*pieces, (head, data)]

    def _response(self, data: bytes) -> list[Piece]:
        if not self._asked:
            return [(Mark.BODY, data)]
        self._asked, self._answering = False, True
        return [(Mark.REQUEST_END, b""), (Head(request=False, data=data), data)]

    @property
    def idle(self) -> bool:
        """Whether the backend was the last to speak."""
        return not self._asked

    def _finish(self) -> list[Piece]:
        if not self._answering:
            return []
        self._answering = False
        self.waiting.popleft()
        return [(Mark.RESPONSE_END, b"")]

    def end(self, to_backend: bool) -> list[Piece]:
        return [] if to_backend else self._finish()

    def withdraw(self, head: Head) -> None:
        super().withdraw(head)
        self._asked = self._answering = False


class Framer(Framing):
    """The framing of one connection by two generators, `requests` and `responses`, that may share attributes.

    Subclasses yield a `Head` when a head is complete and `Step.END` when the message is; `waiting` holds the heads of
    the requests that have no complete response yet, oldest first, so a response can ask what it answers.

    When a generator raises `ParseError` the connection is `lost`: open messages get their end mark, `waiting` is empty,
    and turns begin. The end of the stream inside a message is not that: the message has no end mark then.

    Between two messages a generator must remember nothing but what it keeps in attributes: messages that the framer
    recognizes do not wake it.
    """

    stateless: bool = True
    """Whether no earlier message has a say in what the next ones mean."""

    _known: ClassVar[tuple[BoundedCache[Head], BoundedCache[Head]]]

    def __init_subclass__(cls) -> None:
        cls._known = (BoundedCache(), BoundedCache())

    def __init__(self) -> None:
        super().__init__()
        self._sides = (
            _Side(self.responses, Mark.RESPONSE_END, self.waiting),
            _Side(self.requests, Mark.REQUEST_END, self.waiting),
        )
        self._fallback: Framing | None = None

    def requests(self, read: Reader) -> Frames:
        """Read the client's bytes."""
        raise NotImplementedError

    def responses(self, read: Reader) -> Frames:
        """Read the backend's bytes."""
        raise NotImplementedError

    def feed(self, to_backend: bool, data: bytes) -> list[Piece]:
        side = self._sides[to_backend]
        pieces: list[Piece] = []
        if side.opaque:
            self._pass(side, data, pieces)
            return pieces
        try:
            framed = side.feed(data, pieces)
        except ParseError as error:
            framed = side.read.ended
            if not framed:
                self._lose(str(error))
        if not framed:
            self._pass(side, b"", pieces)
            other = self._sides[not to_backend]
            self.owed = other.opaque and other.read.held > 0
        return pieces

    def recognize(self, to_backend: bool, data: bytes) -> Head | None:
        waiting = self.waiting
        if not self.stateless or not self._sides[to_backend].ready or len(data) > SIZE_LIMIT:
            return None
        if len(waiting) >= WAITING_LIMIT if to_backend else not (waiting and waiting[0].self_contained):
            return None
        known = self._known[to_backend]
        head = known.get(data)
        if head is None:
            head = self.parse_whole(to_backend, data)
            if head is None:
                return None
            known.add(data, head)
        if to_backend:
            waiting.append(head)
        else:
            waiting.popleft()
        return head

    def parse_whole(self, to_backend: bool, data: bytes) -> Head | None:
        """The head of *data*, with its `data`, if that is easily seen to be one whole and *self_contained* message.

        A short cut for what most chunks are: it must say what the generator would say, and may always say ``None``.
        Asked only between two messages while the framer is `stateless`; a response answers the oldest that waits.
        """
        return None

    def end(self, to_backend: bool) -> list[Piece]:
        side = self._sides[to_backend]
        between = side.between
        side.read.ended = True
        pieces = self.feed(to_backend, b"")
        side.opaque = not between  # an end inside a message leaves the other side with something that is no message
        rest = side.read.take_all()
        if rest:
            pieces.append((Mark.BODY, rest))
        if self._fallback is not None:
            pieces.extend(self._fallback.end(to_backend))
        return pieces

    def answered_anew(self) -> None:
        side = _Side(self.responses, Mark.RESPONSE_END, self.waiting)
        side.opaque = self._sides[True].opaque
        side.ready = not side.opaque
        self._sides = (side, self._sides[True])

    def held(self, to_backend: bool) -> int:
        return self._sides[to_backend].read.held

    def withdraw(self, head: Head) -> None:
        if self._fallback is not None:
            self._fallback.withdraw(head)
        else:
            super().withdraw(head)

    @property
    def idle(self) -> bool:
        """Whether both directions are between two messages."""
        return self._fallback is None and not self.waiting and all(side.between for side in self._sides)

    def opaque(self) -> None:
        """From here on nothing is framed in either direction: both sides speak something else (TLS, a tunnel)."""
        for side in self._sides:
            side.opaque, side.ready = True, False

    def _lose(self, reason: str) -> None:
        self.lost = reason
        self.waiting.clear()
        self._fallback = Turns()
        self._fallback.waiting = self.waiting
        self.opaque()

    def _pass(self, side: _Side, data: bytes, pieces: list[Piece]) -> None:
        """What is done with *data* of a side that is not framed any more."""
        held = side.close(pieces)
        if held:
            self.owed = False
            data = held + data
        if self._fallback is not None:
            pieces.extend(self._fallback.feed(side is self._sides[True], data))
        elif data:
            pieces.append((Mark.BODY, data))


class _Side:
    """One direction of a `Framer`: drives its generator and cuts the bytes where it says."""

    __slots__ = ("_answers", "_end_mark", "_frames", "_head", "_open", "_waiting", "opaque", "read", "ready")

    def __init__(self, frames: Callable[[Reader], Frames], end_mark: Mark, waiting: deque[Head]) -> None:
        self.read = Reader()
        self.opaque = False
        self.ready = True
        """The next byte begins a message."""
        self._end_mark = end_mark
        self._waiting = waiting
        self._open = False  # a message has begun: its bytes need not be held
        self._head: Head | None = None  # that began it; None: it belongs to no exchange
        self._answers: Head | None = None  # the request that a response answers
        self._frames = frames(self.read)

    @property
    def between(self) -> bool:
        """Whether no message has begun that has not ended."""
        return not self._open and not self.opaque and not self.read.held

    def feed(self, data: bytes, pieces: list[Piece]) -> bool:
        """Add the pieces of *data*. Returns False when this side is not framed any more."""
        read = self.read
        if self._open and data and read.passes(len(data)):
            pieces.append((Mark.BODY, data))
            return True
        self.ready = False
        read.push(data)
        for step in self._frames:
            if step is _MORE:
                break
            self._mark(step, pieces)
        else:
            self.opaque = True
        if self._open:
            rest = read.take_all()
            if rest:
                pieces.append((Mark.BODY, rest))
        read.forget()
        self.ready = self.between
        return not self.opaque

    def close(self, pieces: list[Piece]) -> bytes:
        """Leave off framing: an open message ends here. Returns the bytes that were held back."""
        if self._head is not None:
            self._end(pieces)
        self._open = False
        return self.read.take_all()

    def _mark(self, step: Head | Step, pieces: list[Piece]) -> None:
        data = self.read.take_read()
        if step is _END or step is _ASIDE:
            self._open = step is _ASIDE
            if data:
                pieces.append((Mark.BODY, data))
            if self._head is not None:
                self._end(pieces)
        elif isinstance(step, Head):
            step.data, self._open, self._head = data, True, step
            pieces.append((step, data))
            self._pair(step)

    def _pair(self, head: Head) -> None:
        waiting = self._waiting
        if not head.request:
            self._answers = waiting[0] if waiting else None
        elif head.answered:
            if len(waiting) >= WAITING_LIMIT:
                raise ParseError(f"more than {WAITING_LIMIT} requests wait for their response")
            waiting.append(head)

    def _end(self, pieces: list[Piece]) -> None:
        pieces.append((self._end_mark, b""))
        self._head = None
        if self._answers is not None:  # by identity: it may have been withdrawn meanwhile
            if self._waiting and self._waiting[0] is self._answers:
                self._waiting.popleft()
            self._answers = None


class Protocol(msgspec.Struct, frozen=True, eq=False, forbid_unknown_fields=True):
    """Base class of protocols. Its fields are its options; one instance serves all connections of a proxy.

    Two options have a meaning for the engine where a protocol declares them: *keep_alive* off ends a connection after
    its first exchange; *reuse_socket* on gives the backend's socket to the next client once an exchange is complete.
    """

    error_codes: ClassVar[tuple[str, ...]] = ()
    """What `error_reply` takes as *code*; empty for a protocol without a language of errors."""

    fields: ClassVar[tuple[str, ...]] = ()
    """The names in `Head.fields` that a match may use; one that ends in a dot is a prefix (``header.``)."""

    response_fields: ClassVar[tuple[str, ...]] = ()
    """Those of `fields` that only a response has."""

    def framer(self) -> Framing:
        """A new framing, for one connection."""
        return Turns()

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """What a backend of this protocol would answer to the request *head* when it fails.

        *code* is one of `error_codes`; ``None`` takes one of them by chance. *message* is what the error says, instead
        of its usual words. A protocol without a language of errors answers 1000 random bytes, as the original did.
        """
        return Reply(random.randbytes(1000))

    def rewrite(self, head: Head, backend: Address) -> bytes | None:
        """What is sent to *backend* instead of the request *head*; ``None``: the head as it came."""
        return None
