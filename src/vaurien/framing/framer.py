"""Framing by two generators that read like blocking code, one for each direction.

Strategy: a side gives its generator the bytes as they come, and cuts them where it yields. A message that was seen
before, or is easily seen to be one whole, is recognized without waking it. What cannot be parsed ends all that: open
messages get their end mark, and the connection goes on in turns.
"""

from __future__ import annotations

import copy
import itertools
import operator
from collections import deque
from collections.abc import Callable, Generator
from typing import ClassVar, TypeAlias

from vaurien.errors import ParseError
from vaurien.framing.cache import SIZE_LIMIT, BoundedCache
from vaurien.framing.head import Head, Mark, Piece, Series
from vaurien.framing.reader import Reader, Step
from vaurien.framing.turns import Framing, Turns
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction

WAITING_LIMIT = 100_000
"""Requests that may wait for their response: ten times the pipeline that the page *Redis pipelining* advises (10k)."""

_ONE_MESSAGE = 3
"""Pieces of one message at most, if it came in one chunk: a head, a body, an end."""

VAIN_LIMIT = 64
"""Chunks that are learned in vain until only one in as many is: traffic that never repeats itself pays for little."""

# A member of an enum costs a look-up in its class each time; these are asked for at every step of every message.
_MORE, _ASIDE, _END = Step.MORE, Step.ASIDE, Step.END

_self_contained = operator.attrgetter("self_contained")

Frames: TypeAlias = Generator[Head | Step, None, None]
"""A generator that reads one direction for ever; when it returns, the rest of the connection is unframed."""


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
    _series: ClassVar[tuple[BoundedCache[Series], BoundedCache[Series]]]

    def __init_subclass__(cls) -> None:
        cls._known = (BoundedCache(), BoundedCache())
        cls._series = (BoundedCache(), BoundedCache())

    def __init__(self) -> None:
        super().__init__()
        self._sides = (
            _Side(self.responses, Mark.RESPONSE_END, self.waiting),
            _Side(self.requests, Mark.REQUEST_END, self.waiting),
        )
        self._fallback: Framing | None = None
        self._vain = 0  # chunks that were learned since one was recognized

    def requests(self, read: Reader) -> Frames:
        """Read the client's bytes."""
        raise NotImplementedError

    def responses(self, read: Reader) -> Frames:
        """Read the backend's bytes."""
        raise NotImplementedError

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        side = self._sides[direction]
        if self.one_request and direction is TO_BACKEND:
            side.stops = True
        pieces: list[Piece] = []
        learns = side.ready and self.stateless and len(data) <= SIZE_LIMIT
        if side.unframed:
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
            other = self._sides[direction.back]
            self.other_direction_ready = other.unframed and other.read.held > 0
        if learns and side.ready and self.stateless and len(pieces) > _ONE_MESSAGE:
            self._learn(direction, data, pieces)
        return pieces

    def _learn(self, direction: Direction, data: bytes, pieces: list[Piece]) -> None:
        """Remember the messages of *data*, if each of them means the same wherever it begins."""
        self._vain += 1
        if self._vain > VAIN_LIMIT and self._vain % VAIN_LIMIT:
            return
        heads: list[Head] = []
        wholes: list[bytes] = []
        inside = False
        for mark, piece in pieces:
            if isinstance(mark, Head):
                if not mark.self_contained or mark.closes:
                    return
                if direction is TO_BACKEND and (mark.waits or mark.needed or not mark.answered):
                    return
                heads.append(copy.copy(mark))  # the head at hand belongs to its exchange
                wholes.append(piece)
                inside = True
            elif mark is not Mark.BODY:
                inside = False
            elif not inside:  # of no exchange
                return
            else:
                wholes[-1] += piece
        self._series[direction].add(data, Series(tuple(heads), tuple(wholes)))

    def try_series(self, direction: Direction, data: bytes) -> Series | None:
        if not self.stateless or not self._sides[direction].ready or self.one_request:
            return None
        series = self._series[direction].get(data)
        if series is None:
            return None
        self._vain = 0
        waiting, count = self.waiting, len(series.heads)
        if direction is TO_BACKEND:
            return series if len(waiting) + count <= WAITING_LIMIT else None
        if len(waiting) < count or not all(map(_self_contained, itertools.islice(waiting, count))):
            return None
        return series

    def try_whole(self, direction: Direction, data: bytes) -> Head | None:
        waiting, side = self.waiting, self._sides[direction]
        if not (side.ready and self.stateless):
            return None
        up = direction is TO_BACKEND
        if up:
            if self.one_request or len(waiting) >= WAITING_LIMIT:  # its side has to stop behind the one
                return None
        elif not (waiting and waiting[0].self_contained):
            return None
        head = self._known[direction].get(data) or self._learn_whole(direction, data)
        if head is None:
            return None
        if up:
            waiting.append(head)
        else:
            waiting.popleft()
        if head.closes:
            side.closing = True
        return head

    @property
    def at_rest(self) -> bool:
        down, up = self._sides
        between = down.ready and up.ready and self.stateless and not (self.waiting or self.one_request)
        return between and type(self).try_whole is Framer.try_whole

    def known(self, direction: Direction) -> BoundedCache[Head]:
        return self._known[direction]

    def _learn_whole(self, direction: Direction, data: bytes) -> Head | None:
        if len(data) > SIZE_LIMIT or data in self._series[direction]:
            return None
        head = self.parse_whole(direction, data)
        if head is not None and head.self_contained:
            self._known[direction].add(data, head)
        return head

    def parse_whole(self, direction: Direction, data: bytes) -> Head | None:
        """The head of *data*, with its `data`, if that is easily seen to be one whole and *self_contained* message.

        A short cut for what most chunks are: it must say what the generator would say, and may always say ``None``.
        Asked only between two messages while the framer is `stateless`; a response answers the oldest that waits.
        """
        return None

    def end(self, direction: Direction) -> list[Piece]:
        side = self._sides[direction]
        between = side.between
        side.read.ended = True
        pieces = self.feed(direction, b"")
        side.unframed = not between  # an end inside a message leaves the other side with something that is no message
        rest = side.read.take_all()
        if rest and not side.stopped:  # what comes behind the one request has no answer
            pieces.append((Mark.BODY, rest))
        if self._fallback is not None:
            pieces.extend(self._fallback.end(direction))
        return pieces

    def release(self, direction: Direction) -> bytes:
        side = self._sides[direction]
        return b"" if side.unframed or side.stopped or self.tls else side.release()

    def is_released(self, direction: Direction) -> bool:
        return self._sides[direction].released

    def backend_replaced(self) -> None:
        side = _Side(self.responses, Mark.RESPONSE_END, self.waiting)
        side.unframed = self._sides[TO_BACKEND].unframed
        side.ready = not side.unframed
        self._sides = (side, self._sides[TO_BACKEND])

    def inside_message(self, direction: Direction, size: int) -> bool:
        return self._sides[direction].read.skips(size)

    def pass_inside(self, direction: Direction, size: int) -> bool:
        known = type(self).feed is Framer.feed and not self.one_request
        return known and self._sides[direction].passes(size)

    def held(self, direction: Direction) -> int:
        return self._sides[direction].read.held

    def withdraw(self, head: Head) -> None:
        if self._fallback is not None:
            self._fallback.withdraw(head)
        else:
            super().withdraw(head)

    @property
    def idle(self) -> bool:
        """Whether both directions are between two messages."""
        return self._fallback is None and not self.waiting and all(side.between for side in self._sides)

    @property
    def reusable(self) -> bool:
        """Whether another client may use the backend's connection: the framer is `idle`, and neither side ends it."""
        return self.idle and not any(side.closing for side in self._sides)

    @property
    def answered_whole(self) -> bool:
        down, up = self._sides
        settled = up.stopped and down.between and not (self.waiting or up.unframed)
        return settled and not (down.closing or up.closing)

    @property
    def holds_behind(self) -> bool:
        up = self._sides[TO_BACKEND]
        return up.stopped and up.read.held > 0

    def take_behind(self) -> bytes:
        return self._sides[TO_BACKEND].read.drop()

    def frame_on(self) -> None:
        """With `one_request`: both sides have changed what they speak, and what the client sends belongs to that."""
        if self.one_request:
            up = self._sides[TO_BACKEND]
            self.one_request = up.stops = up.stopped = False
            self.other_direction_ready = up.read.held > 0

    def agree_on_tls(self) -> bool:
        """Both sides begin TLS behind the message at hand. False where nothing is framed from there."""
        self.tls = "agreed" if self.opens_tls else "encrypted"
        if not self.opens_tls:
            self.stop_framing()
        return self.opens_tls

    def pass_tls(self) -> None:
        super().pass_tls()
        self.stop_framing()

    def until_tls(self) -> Frames:
        """Read nothing before TLS has begun, if that is agreed upon."""
        while self.tls == "agreed":
            yield _MORE

    def begin_tls(self) -> bytes:
        self.tls = ""
        return self._sides[TO_BACKEND].read.drop()

    def stop_framing(self) -> None:
        """From here on nothing is framed in either direction: both sides speak something else (TLS, a tunnel)."""
        for side in self._sides:
            side.unframed, side.ready = True, False

    def _lose(self, reason: str) -> None:
        self.lost = reason
        self.waiting.clear()
        self._fallback = Turns()
        self._fallback.waiting = self.waiting
        self.stop_framing()

    def _pass(self, side: _Side, data: bytes, pieces: list[Piece]) -> None:
        """What is done with *data* of a side that is not framed any more."""
        held = side.close(pieces)
        if held:
            self.other_direction_ready = False
            data = held + data
        if self._fallback is not None:
            pieces.extend(self._fallback.feed(TO_BACKEND if side is self._sides[TO_BACKEND] else TO_CLIENT, data))
        elif data:
            pieces.append((Mark.BODY, data))


class _Side:
    """One direction of a `Framer`: drives its generator and cuts the bytes where it says."""

    __slots__ = (
        "_answers",
        "_end_mark",
        "_frames",
        "_head",
        "_open",
        "_waiting",
        "closing",
        "read",
        "ready",
        "released",
        "stopped",
        "stops",
        "unframed",
    )

    def __init__(self, frames: Callable[[Reader], Frames], end_mark: Mark, waiting: deque[Head]) -> None:
        self.read = Reader()
        self.unframed = False
        self.ready = True
        """The next byte begins a message."""
        self.closing = False
        """A message said that no other follows it."""
        self.released = False
        """Bytes of a head were given back before it was complete."""
        self.stops = self.stopped = False
        """It reads no further behind the message at hand; and has come there."""
        self._end_mark = end_mark
        self._waiting = waiting
        self._open = False  # a message has begun: its bytes need not be held
        self._head: Head | None = None  # that began it; None: it belongs to no exchange
        self._answers: Head | None = None  # the request that a response answers
        self._frames = frames(self.read)

    @property
    def between(self) -> bool:
        """Whether no message has begun that has not ended."""
        return not self._open and not self.unframed and not self.read.held and not self.released

    def passes(self, size: int) -> bool:
        """Whether the next *size* bytes are all inside the message that has begun; they are taken when they are."""
        return self._open and not self.unframed and self.read.passes(size)

    def feed(self, data: bytes, pieces: list[Piece]) -> bool:
        """Add the pieces of *data*. Returns False when this side is not framed any more."""
        read = self.read
        if data and self.passes(len(data)):
            pieces.append((Mark.BODY, data))
            return True
        self.ready = False
        read.push(data)
        for step in () if self.stopped else self._frames:
            if step is _MORE:
                break
            self._mark(step, pieces)
            if self.stops and step is _END:
                self.stopped = True
                break
        else:
            self.unframed = not self.stopped
        if self._open:
            rest = read.take_all()
            if rest:
                pieces.append((Mark.BODY, rest))
        read.forget()
        self.ready = self.between and not self.stopped
        return not self.unframed

    def release(self) -> bytes:
        """Give back the bytes that are held."""
        data = self.read.take_all()
        if data:
            self.released, self.ready = True, False
        return data

    def close(self, pieces: list[Piece]) -> bytes:
        """Leave off framing: an open message ends here. Returns the bytes that were held back."""
        if self._head is not None:
            self._end(pieces)
        self._open = self.released = False
        return self.read.take_all()

    def _mark(self, step: Head | Step, pieces: list[Piece]) -> None:
        data = self.read.take_read()
        if step is _END or step is _ASIDE:
            self._open = step is _ASIDE
            if self.released:
                self.released = False
            if data:
                pieces.append((Mark.BODY, data))
            if self._head is not None:
                self._end(pieces)
        elif isinstance(step, Head):
            step.data, self._open, self._head = data, True, step
            if self.released:
                step.released, self.released = True, False
            pieces.append((step, data))
            if step.closes:
                self.closing = True
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
