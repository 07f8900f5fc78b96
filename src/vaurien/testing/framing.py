"""The laws of framing, for any protocol and any bytes.

1. Whatever the bytes, nothing is raised, and nothing is yielded without reading.
2. What is given back and what is held, joined, is what was fed; after the end of the stream nothing is held.
3. What is held, and what waits, is bounded.
4. In each direction, on each stream, a head comes before its end mark, and both before the next head.
5. Heads, bodies, end marks and what waits do not depend on how the bytes were cut.
6. Nor on whether a message is recognized (`Framer.parse_whole`), passes unseen (`Framing.pass_inside`), or is read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeAlias

import msgspec

from vaurien.framing import (
    HEAD_LIMIT,
    WAITING_LIMIT,
    Framer,
    Frames,
    Framing,
    Head,
    Mark,
    Part,
    Piece,
    Protocol,
    Reader,
    Step,
    Turns,
)
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction

Segment: TypeAlias = tuple[bool | Direction, bytes]
"""Bytes and their direction: true is towards the backend."""

Event: TypeAlias = tuple[Any, ...]

LONGEST = 400
"""Characters of a difference that a message shows."""


class Transcript:
    """What *protocol* made of some segments on a connection of its own.

    *events* are heads, bodies and ends by direction, comparable between different cuts; *cut* says in words how the
    bytes were cut, for the message of an error. While *recognizing*, whole messages may be recognized, as the
    engine does while no fault is in play.
    """

    def __init__(self, protocol: Protocol, cut: str = "not cut", *, recognizing: bool = False) -> None:
        self.framing = _watched(protocol.framer())
        self.protocol, self.cut = protocol, cut
        self.events: dict[Direction, list[Event]] = {direction: [] for direction in Direction}
        self.heads: list[object] = []
        """Whatever a protocol remembers of each head; it may depend on cuts."""
        self.requests: list[tuple[Head, int]] = []
        """Each request's head, and how many bytes went to the backend before it."""
        self.fed = {direction: bytearray() for direction in Direction}
        self.given = {direction: bytearray() for direction in Direction}
        self._recognizing = recognizing
        self._turns = isinstance(self.framing, Turns)  # whose heads are whatever came at once
        self._open: set[tuple[Direction, int]] = set()  # directions and streams in which a message has begun

    def feed(self, direction: Direction, data: bytes) -> None:
        """Feed *data*, and check laws 1 to 4."""
        self.fed[direction] += data
        lost = self.framing.lost
        self._add(direction, self._pieces(direction, data), just_lost=lost != self.framing.lost)
        if self.framing.other_direction_ready:
            self._add(direction.back, self._pieces(direction.back, b""), just_lost=False)
            if self.framing.other_direction_ready:
                self.fail("`other_direction_ready` is not settled by feeding the other direction")
        held, waiting = self.framing.held(direction), len(self.framing.waiting)
        if held > HEAD_LIMIT:
            self.fail(f"law 3: {held} bytes are held; at most {HEAD_LIMIT} may be")
        if waiting > WAITING_LIMIT:
            self.fail(f"law 3: {waiting} requests wait; at most {WAITING_LIMIT} may")
        given, fed = len(self.given[direction]), len(self.fed[direction])
        if given + held != fed:
            self.fail(f"law 2: {given} bytes given back and {held} held are not {fed} fed")

    def end(self, direction: Direction) -> None:
        """The stream of a direction ends: everything is given back."""
        self._add(direction, self._pieces(direction, None), just_lost=False)
        missing = bytes(self.fed[direction][len(self.given[direction]) :])
        if missing or self.framing.held(direction):
            self.fail(f"law 2: {short(missing)} was not given back at the end of the stream")

    def fail(self, what: str) -> NoReturn:
        """Raise AssertionError with *what*, the protocol and the cut."""
        __tracebackhide__ = True
        raise AssertionError(f"{type(self.protocol).__name__}: {what} ({self.cut})")

    def framed(self) -> dict[Direction, list[Event]]:
        """The events that must not depend on cuts: all; of a lost connection heads and ends until then."""
        if self.framing.lost is None:
            return self.events
        return {side: [event for event in events if event[0] != "body"] for side, events in self.events.items()}

    def waiting(self) -> list[bytes]:
        """The requests that wait for a response; of a lost connection, none that its protocol knows of."""
        if self.framing.lost:
            return []
        return [b"" if self._turns else head.data for head in self.framing.waiting]

    def agree(self, other: Transcript, law: str) -> None:
        """Raise AssertionError, naming *law*, unless *other* found the same."""
        if self._found() == other._found():
            return
        for side, word in ((TO_BACKEND, "to the backend"), (TO_CLIENT, "to the client")):
            for number, (mine, others) in enumerate(_pairs(self.framed()[side], other.framed()[side]), 1):
                if mine != others:
                    other.fail(f"{law}: event {number} {word} is {short(others)}; {self.cut}, it is {short(mine)}")
        if self.framing.lost != other.framing.lost:
            other.fail(f"{law}: it is lost for {other.framing.lost!r}; {self.cut}, for {self.framing.lost!r}")
        other.fail(f"{law}: {short(other.waiting())} wait; {self.cut}, {short(self.waiting())}")

    def _found(self) -> tuple[object, ...]:
        return self.framing.lost, self.framed(), self.waiting()

    def _pieces(self, direction: Direction, data: bytes | None) -> list[Piece]:
        """The pieces of *data*, or those of the end of the stream."""
        try:
            if data is None:
                return self.framing.end(direction)
            recognized = self._unread(direction, data) if self._recognizing and data else []
            return recognized or self.framing.feed(direction, data)
        except Exception as error:  # law 1: whatever a framer raises is wrong
            shown = "the end of the stream" if data is None else short(data)
            what = f"law 1: {type(error).__name__} was raised at {shown}: {error} ({self.cut})"
            raise AssertionError(f"{type(self.protocol).__name__}: {what}") from error

    def _unread(self, direction: Direction, data: bytes) -> list[Piece]:
        """What the engine does while no fault is in play; nothing, where it has to read."""
        if self.framing.pass_inside(direction, len(data)):
            return [(Mark.BODY, data)]
        head = self.framing.try_whole(direction, data)
        if head is None:
            return []
        body = data[len(head.data) :]
        end = Mark.REQUEST_END if direction is TO_BACKEND else Mark.RESPONSE_END
        return [(head, head.data), *([(Mark.BODY, body)] if body else []), (end, b"")]

    def _add(self, direction: Direction, pieces: list[Piece], *, just_lost: bool) -> None:
        for what, data in pieces:
            self._note(direction, what, data, framed=self.framing.lost is None or just_lost)
            at = len(self.given[direction])
            self.given[direction] += data
            fed = self.fed[direction][at : at + len(data)]
            if fed != data:
                self.fail(f"law 2: {short(data)} is given back for {short(bytes(fed))}")

    def _note(self, direction: Direction, what: Head | Mark | Part, data: bytes, *, framed: bool) -> None:
        stream = 0 if isinstance(what, Mark) else what.stream
        mark = what.mark if isinstance(what, Part) else what
        if isinstance(mark, Head):
            self._note_head(direction, mark, data, framed)
        elif mark is Mark.BODY:
            if not data:
                self.fail("a piece of a body is empty")
            self._note_body(direction, data)
        else:
            if data:  # with streams
                self._note_body(direction, data)
            self._note_end(direction, mark, stream, framed)

    def _note_end(self, direction: Direction, mark: Mark, stream: int, framed: bool) -> None:
        if mark is Mark.ABORTED:
            self._open -= {(side, stream) for side in Direction}
            self.events[direction].append(("aborted", stream))
            return
        side = TO_BACKEND if mark is Mark.REQUEST_END else TO_CLIENT  # of turns it comes with the response
        if (side, stream) not in self._open:
            self.fail("law 4: an end mark comes outside a message")
        self._open.remove((side, stream))
        if framed:
            self.events[side].append(("end", stream))

    def _note_head(self, direction: Direction, head: Head, data: bytes, framed: bool) -> None:
        if bool(head.request) is not (direction is TO_BACKEND):
            self.fail("a head says that it is of the other direction")
        if head.data != data:
            self.fail(f"the `data` of a head, {short(head.data)}, is not its bytes, {short(data)}")
        if (direction, head.stream) in self._open:
            self.fail(f"law 4: a head, {short(data)}, comes before the end of a message")
        self._open.add((direction, head.stream))
        if not framed or (self.framing.lost and head in self.framing.waiting):  # it is the fallback's
            return
        if direction is TO_BACKEND:
            self.requests.append((head, len(self.given[TO_BACKEND])))
        shown = b"" if self._turns else data
        leaves = b"" if self._turns else head.outgoing
        self.events[direction].append(("head", shown, dict(head.fields), head.answered, head.waits, leaves))
        self.heads.append((type(head), {**msgspec.structs.asdict(head), "fields": None}))
        if self._turns:
            self._note_body(direction, data)

    def _note_body(self, direction: Direction, data: bytes) -> None:
        events = self.events[direction]
        if events and events[-1][0] == "body":
            data = events.pop()[1] + data
        events.append(("body", data))


def transcribe(
    protocol: Protocol, segments: Iterable[Segment], cut: str = "not cut", *, recognizing: bool = False
) -> Transcript:
    """Feed *segments*, then end both directions, and check laws 1 to 4."""
    transcript = Transcript(protocol, cut, recognizing=recognizing)
    for to_backend, data in segments:
        transcript.feed(Direction(to_backend), data)
    transcript.end(TO_BACKEND)
    transcript.end(TO_CLIENT)
    return transcript


def recut(segments: Iterable[Segment], size: int) -> list[Segment]:
    """The same bytes in the same order, in pieces of *size* bytes."""
    return [(side, data[at : at + size]) for side, data in segments for at in range(0, len(data), size)]


def check_framing(protocol: Protocol, segments: Sequence[Segment], sizes: Sequence[int] = (1, 2, 3, 7)) -> Transcript:
    """Raise AssertionError, naming law and cut, unless *protocol* keeps all laws of framing for *segments*.

    They are framed as they are, again in pieces of each of *sizes* bytes, and as the engine does without faults. They
    may be any bytes, so this is what a property test or a fuzzer wants to call. Returns what was made of them uncut.
    """
    whole = transcribe(protocol, segments)
    for size in sizes:
        cut = f"cut into pieces of {size} bytes"
        whole.agree(transcribe(protocol, recut(segments, size), cut), "law 5, on cuts")
    for size in sizes[:1]:
        cut = f"cut into pieces of {size} bytes, unread where it can be"
        whole.agree(transcribe(protocol, recut(segments, size), cut, recognizing=True), "law 6, on recognition")
    for again in ("recognized where it can be", "recognized a second time"):  # what the first one sees is known then
        recognized = transcribe(protocol, segments, again, recognizing=True)
        whole.agree(recognized, "law 6, on recognition")
        for number, (read, seen) in enumerate(_pairs(whole.heads, recognized.heads), 1):
            if read != seen:
                recognized.fail(f"law 6, on recognition: head {number} is {short(seen)}, and read {short(read)}")
    return whole


def _pairs(mine: Sequence[Any], others: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return itertools.zip_longest(mine, others, fillvalue="nothing")


def short(value: object) -> str:
    """*value* for a message, without its middle if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def _watched(framing: Framing) -> Framing:
    """*framing*, whose generators may not yield for ever without reading: that would hang a test, and a proxy."""
    for side in framing._sides if isinstance(framing, Framer) else ():
        side._frames = _stepping(side._frames, side.read)
    return framing


def _stepping(frames: Frames, read: Reader) -> Frames:
    steps = 0
    for step in frames:
        steps = 0 if step is Step.MORE else steps + 1
        if steps > 4 * len(read._data) + 100:  # a message is a byte at least, and has three steps at most
            raise RecursionError(f"it yields {step!r} again and again, and reads nothing")
        yield step
