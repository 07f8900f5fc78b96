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
from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import msgspec

from vaurien.errors import ParseError

if TYPE_CHECKING:
    from random import Random

HEAD_LIMIT = 64 * 1024
"""Bytes that may be held while a head is incomplete: eight times nginx's large_client_header_buffers (8k)."""


class Head(msgspec.Struct, eq=False):
    """A complete head. *fields* is what a matcher may ask (``method``, ``path``, ``command``, ``key``…).

    A request that no response follows (memcached ``noreply``) has *answered* false. One whose sender waits for a word
    before it sends the rest (HTTP's ``Expect: 100-continue``) has *waits* true: it can be answered before its end.
    *data* is set by the framer: the head's bytes. A protocol may subclass it to remember more for its error reply.
    """

    request: bool
    fields: Mapping[str, str] = MappingProxyType({})
    answered: bool = True
    waits: bool = False
    data: bytes = b""


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


class Step(enum.Enum):
    """What a generator of a `Framer` may yield besides a `Head`; the bytes read so far belong to what is yielded."""

    MORE = "more"
    """All bytes are read; go on when there are more. Only `Reader` yields this."""
    ASIDE = "aside"
    """A message that belongs to no exchange begins: a greeting, a push, an interim response."""
    END = "end"
    """The message that the last `Head` or `ASIDE` began ends here."""


Frames: TypeAlias = Generator[Head | Step, None, None]
"""A generator that reads one direction for ever; when it returns, the rest of the connection is opaque."""


class Reader:
    """The bytes of one direction as a protocol reads them: ``line = yield from read.line()``."""

    __slots__ = ("_buffer", "_given", "_position", "_skip", "ended")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0  # read up to here
        self._given = 0  # given back up to here; past the position only inside a message
        self._skip = 0  # bytes yet to come that nobody will look at
        self.ended = False

    def line(self, limit: int = HEAD_LIMIT) -> Generator[Step, None, bytes]:
        """The bytes up to and including the next LF. Raises `ParseError` when there is none within *limit* bytes."""
        scanned = 0
        while True:
            found = self._buffer.find(b"\n", self._position + scanned)
            if found >= 0 and found - self._position < limit:
                return self._take(found + 1 - self._position)
            scanned = len(self._buffer) - self._position
            if found >= 0 or scanned >= limit:
                raise ParseError(f"no end of line within {limit} bytes")
            yield from self._more()

    def exactly(self, count: int, limit: int = HEAD_LIMIT) -> Generator[Step, None, bytes]:
        """The next *count* bytes. Raises `ParseError` when that is more than *limit*: use `skip` for bodies."""
        if not 0 <= count <= limit:
            raise ParseError(f"a field of {count} bytes; at most {limit} are read")
        while len(self._buffer) - self._position < count:
            yield from self._more()
        return self._take(count)

    def peek(self, count: int) -> Generator[Step, None, bytes]:
        """The next *count* bytes without reading them; fewer at the end of the stream.

        Only for the first bytes of a message: inside one, its end must not depend on bytes that follow it.
        """
        while len(self._buffer) - self._position < count and not self.ended:
            yield Step.MORE
        return bytes(self._buffer[self._position : self._position + count])

    def skip(self, count: int) -> Generator[Step, None, None]:
        """Read *count* bytes that nobody looks at, however many: inside a message they are never held."""
        if count < 0:
            raise ParseError(f"a length of {count} bytes")
        here = min(count, len(self._buffer) - self._position)
        self._position += here
        self._skip = count - here
        while self._skip:
            yield from self._more()

    def until_eof(self) -> Generator[Step, None, None]:
        """Read everything up to the end of the stream, as HTTP/1.0 ends a body."""
        while not self.ended:
            self._position = len(self._buffer)
            yield Step.MORE
        self._position = len(self._buffer)

    def _more(self) -> Generator[Step, None, None]:
        if self.ended:
            raise ParseError("the stream ended inside a message")
        yield Step.MORE

    def _take(self, count: int) -> bytes:
        start = self._position
        self._position += count
        return bytes(self._buffer[start : self._position])

    # What follows is for `Framer` alone.

    def push(self, data: bytes) -> None:
        self._buffer += data
        if self._skip:
            here = min(self._skip, len(self._buffer) - self._position)
            self._position += here
            self._skip -= here

    def passes(self, size: int) -> bool:
        """Whether the next *size* bytes are all inside what is being skipped; counts them as read when they are."""
        if self._buffer or self._skip <= size:  # the last byte must wake the generator
            return False
        self._skip -= size
        return True

    def take_read(self) -> bytes:
        """The bytes read and not given back yet."""
        data = bytes(self._buffer[self._given : self._position])
        self._forget()
        return data

    def take_all(self) -> bytes:
        """Everything not given back yet, read or not; what is not read stays to be read."""
        data = bytes(self._buffer[self._given :])
        self._given = len(self._buffer)
        self._forget()
        return data

    def _forget(self) -> None:
        del self._buffer[: self._position]
        self._given = max(0, self._given - self._position)
        self._position = 0

    @property
    def held(self) -> int:
        return len(self._buffer) - self._given


class Framing:
    """What the engine needs of a framer: bytes in, pieces out, and the requests that wait for their response."""

    lost: str | None = None
    """Why the protocol lost track of this connection, which is framed as plain tcp since then; ``None``: it has not."""

    def __init__(self) -> None:
        self.waiting: deque[Head] = deque()

    def feed(self, to_backend: bool, data: bytes) -> list[Piece]:
        """Pieces of *data*, which arrived in the direction *to_backend*. Raises nothing, whatever the bytes."""
        raise NotImplementedError

    def end(self, to_backend: bool) -> list[Piece]:
        """The last pieces of a direction whose source has ended."""
        raise NotImplementedError

    @property
    def quiet(self) -> bool:
        """Whether no request waits for its response, and none is half sent."""
        return not self.waiting

    def withdraw(self, head: Head) -> None:
        """The request that *head* began does not reach the backend, so no response will come for it."""
        if head in self.waiting:
            self.waiting.remove(head)


class Turns(Framing):
    """Plain tcp: a request is what the client sends until the backend answers, a response what it answers.

    What a backend sends before the client has said anything (a greeting) belongs to no exchange.
    """

    def feed(self, to_backend: bool, data: bytes) -> list[Piece]:
        if to_backend:
            return self._request(data)
        return self._response(data)

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
    def quiet(self) -> bool:
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
    """

    def __init__(self) -> None:
        super().__init__()
        self._sides = {True: _Side(self.requests, True), False: _Side(self.responses, False)}
        self._fallback: Framing | None = None

    def requests(self, read: Reader) -> Frames:
        """Read the client's bytes."""
        raise NotImplementedError

    def responses(self, read: Reader) -> Frames:
        """Read the backend's bytes."""
        raise NotImplementedError

    def feed(self, to_backend: bool, data: bytes) -> list[Piece]:
        if self._fallback is not None:
            return self._fallback.feed(to_backend, data)
        return self._run(self._sides[to_backend], data)

    def end(self, to_backend: bool) -> list[Piece]:
        if self._fallback is not None:
            return self._fallback.end(to_backend)
        side = self._sides[to_backend]
        side.read.ended = True
        return self._run(side, b"")

    @property
    def quiet(self) -> bool:
        """Whether both directions are between two messages."""
        return self._fallback is None and not self.waiting and all(side.between for side in self._sides.values())

    def opaque(self) -> None:
        """From here on nothing is framed in either direction: both sides speak something else (TLS, a tunnel)."""
        for side in self._sides.values():
            side.opaque = True

    def _run(self, side: _Side, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        try:
            side.feed(data, pieces, self.waiting)
        except ParseError as error:
            if not side.read.ended:
                self._lose(str(error))
            pieces.extend(self._leftovers(side))
        return pieces

    def _lose(self, reason: str) -> None:
        self.lost = reason
        self._fallback = Turns()

    def _leftovers(self, side: _Side) -> list[Piece]:
        rest = side.read.take_all()
        if not rest:
            return []
        if self._fallback is None:
            return [(Mark.BODY, rest)]
        return self._fallback.feed(side.to_backend, rest)


class _Side:
    """One direction of a `Framer`: drives its generator and cuts the bytes where it says."""

    def __init__(self, frames: object, to_backend: bool) -> None:
        self.read = Reader()
        self.to_backend = to_backend
        self.opaque = False
        self._open = False  # a message has begun: its bytes need not be held
        self._head: Head | None = None
        self._frames: Frames = frames(self.read)  # type: ignore[operator]
        self._end_mark = Mark.REQUEST_END if to_backend else Mark.RESPONSE_END

    @property
    def between(self) -> bool:
        """Whether no message has begun that has not ended."""
        return not self._open and not self.opaque and not self.read.held

    def feed(self, data: bytes, pieces: list[Piece], waiting: deque[Head]) -> None:
        if self.opaque or (data and self._open and self.read.passes(len(data))):
            pieces.append((Mark.BODY, data))
            return
        self.read.push(data)
        self._drive(pieces, waiting)
        if self._open or self.opaque:
            self._body(self.read.take_all(), pieces)

    def _drive(self, pieces: list[Piece], waiting: deque[Head]) -> None:
        while not self.opaque:
            try:
                step = next(self._frames)
            except StopIteration:
                self.opaque = True
                return
            if step is Step.MORE:
                return
            self._mark(step, pieces, waiting)

    def _mark(self, step: Head | Step, pieces: list[Piece], waiting: deque[Head]) -> None:
        data = self.read.take_read()
        if isinstance(step, Head):
            step.data, self._open, self._head = data, True, step
            pieces.append((step, data))
            if step.request and step.answered:
                waiting.append(step)
        elif step is Step.ASIDE:
            self._open = True
            self._body(data, pieces)
        else:
            self._close(data, pieces, waiting)

    def _close(self, data: bytes, pieces: list[Piece], waiting: deque[Head]) -> None:
        self._open = False
        self._body(data, pieces)
        head, self._head = self._head, None
        if head is None:
            return
        pieces.append((self._end_mark, b""))
        if not self.to_backend and waiting:
            waiting.popleft()

    def _body(self, data: bytes, pieces: list[Piece]) -> None:
        if data:
            pieces.append((Mark.BODY, data))


class Protocol(msgspec.Struct, frozen=True, eq=False, forbid_unknown_fields=True):
    """Base class of protocols. Its fields are its options; one instance serves all connections of a proxy.

    Two options have a meaning for the engine where a protocol declares them: *keep_alive* off ends a connection after
    its first exchange; *reuse_socket* on gives the backend's socket to the next client once an exchange is complete.
    """

    error_codes: ClassVar[tuple[str, ...]] = ()
    """What `error_reply` takes as *code*; empty for a protocol without a language of errors."""

    fields: ClassVar[tuple[str, ...]] = ()
    """The names in `Head.fields` that a match may use; one that ends in a dot is a prefix (``header.``)."""

    def framer(self) -> Framing:
        """A new framing, for one connection."""
        return Turns()

    def error_reply(self, head: Head, random: Random, code: str | None = None) -> Reply:
        """What a backend of this protocol would answer to the request *head* when it fails.

        *code* is one of `error_codes`; ``None`` takes one of them by chance. A protocol without a language of errors
        answers 1000 random bytes, as the original did.
        """
        return Reply(random.randbytes(1000))
