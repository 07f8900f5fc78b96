"""The laws of framing, for any protocol and any bytes; for fuzzing and for the property tests.

1. Nothing is raised.
2. What is given back and what is held, joined, is what was fed; after the end of the stream nothing is held.
3. What is held, and what waits, is bounded.
4. In each direction a head comes before its end mark, and both before the next head.
5. Heads, bodies, end marks and what waits do not depend on how the bytes were cut.
6. Nor on whether a message is recognized or read.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from vaurien.framing import HEAD_LIMIT, WAITING_LIMIT, Framing, Head, Mark, Piece, Protocol

Segment: TypeAlias = tuple[bool, bytes]
"""Bytes and their direction: true is towards the backend."""

TURN = b"\n\xff\n"
"""What separates the segments of an input: the first goes to the backend, the second comes from it, and so on."""


class Transcript:
    """What a framing made of some segments: *events* by direction, comparable between different cuts."""

    def __init__(self, framing: Framing, *, calm: bool = False) -> None:
        self.framing = framing
        self.heads: list[object] = []
        """Whatever a protocol remembers of each head; it may depend on cuts."""
        self._calm = calm
        self.fed = {True: bytearray(), False: bytearray()}
        self.given = {True: bytearray(), False: bytearray()}
        self.events: dict[bool, list[tuple[object, ...]]] = {True: [], False: []}
        self._open = {True: False, False: False}

    def feed(self, to_backend: bool, data: bytes) -> None:
        self.fed[to_backend] += data
        lost = self.framing.lost
        pieces = self._recognized(to_backend, data) if self._calm else self.framing.feed(to_backend, data)
        self._add(to_backend, pieces, just_lost=lost != self.framing.lost)
        if self.framing.owed:
            self._add(not to_backend, self.framing.feed(not to_backend, b""), just_lost=False)
            assert not self.framing.owed
        assert self.framing.held(to_backend) <= HEAD_LIMIT
        assert len(self.framing.waiting) <= WAITING_LIMIT
        assert len(self.given[to_backend]) + self.framing.held(to_backend) == len(self.fed[to_backend])

    def _recognized(self, to_backend: bool, data: bytes) -> list[Piece]:
        """What the engine does while no fault is in play."""
        head = self.framing.recognize(to_backend, data)
        if head is None:
            return self.framing.feed(to_backend, data)
        body = data[len(head.data) :]
        end = Mark.REQUEST_END if to_backend else Mark.RESPONSE_END
        return [(head, head.data), *([(Mark.BODY, body)] if body else []), (end, b"")]

    def end(self, to_backend: bool) -> None:
        self._add(to_backend, self.framing.end(to_backend), just_lost=False)
        assert self.given[to_backend] == self.fed[to_backend]
        assert self.framing.held(to_backend) == 0

    def _add(self, to_backend: bool, pieces: list[Piece], *, just_lost: bool) -> None:
        for what, data in pieces:
            assert data or what is not Mark.BODY, "an empty body piece"
            self.given[to_backend] += data
            self._note(to_backend, what, data, framed=self.framing.lost is None or just_lost)
        assert self.fed[to_backend].startswith(bytes(self.given[to_backend]))

    def _note(self, to_backend: bool, what: Head | Mark, data: bytes, *, framed: bool) -> None:
        events = self.events[to_backend]
        if isinstance(what, Head):
            assert what.request == to_backend
            assert data == what.data
            assert not self._open[to_backend], "a head inside a message"
            self._open[to_backend] = True
            if framed and not (self.framing.lost and what in self.framing.waiting):  # else it is the fallback's
                events.append(("head", data, dict(what.fields), what.answered, what.waits))
                self.heads.append((type(what), {**msgspec.structs.asdict(what), "fields": None}))
        elif what is Mark.BODY:
            if events and events[-1][0] == "body":
                data = events.pop()[1] + data  # type: ignore[operator]
            events.append(("body", data))
        else:
            side = what is Mark.REQUEST_END  # of turns it comes with the response
            assert self._open[side], "an end mark outside a message"
            self._open[side] = False
            if framed:
                self.events[side].append(("end",))

    def framed(self) -> dict[bool, list[tuple[object, ...]]]:
        """The events that must not depend on cuts: all; of a lost connection heads and ends until then."""
        if self.framing.lost is None:
            return self.events
        return {side: [event for event in events if event[0] != "body"] for side, events in self.events.items()}

    def waiting(self) -> list[bytes]:
        """The requests that wait for a response; of a lost connection, none that its protocol knows of."""
        return [] if self.framing.lost else [head.data for head in self.framing.waiting]


def play(protocol: Protocol, segments: Iterable[Segment], *, calm: bool = False) -> Transcript:
    """Feed *segments*, then end both directions, and check laws 1 to 4. While *calm*, messages may be recognized."""
    transcript = Transcript(protocol.framer(), calm=calm)
    for to_backend, data in segments:
        transcript.feed(to_backend, data)
    transcript.end(True)
    transcript.end(False)
    return transcript


def recut(segments: Iterable[Segment], size: int) -> list[Segment]:
    """The same bytes in the same order, in pieces of *size* bytes."""
    return [(side, data[at : at + size]) for side, data in segments for at in range(0, len(data), size)]


def check(protocol: Protocol, segments: Sequence[Segment], sizes: Sequence[int] = (1, 2, 3, 7)) -> Transcript:
    """All laws: *segments* are framed as they are, and again in pieces of each of *sizes* bytes."""
    whole = play(protocol, segments)
    others = [play(protocol, recut(segments, size)) for size in sizes]
    calm = [play(protocol, segments, calm=True) for _ in range(2)]  # what the first one sees, the second one knows
    for other in others + calm:
        assert other.framing.lost == whole.framing.lost
        assert other.framed() == whole.framed()
        assert other.waiting() == whole.waiting()
    for other in calm:
        assert other.heads == whole.heads
    return whole


def fuzz(protocol: Protocol, seeds: Iterable[Sequence[bytes]]) -> None:
    """Run libFuzzer with the command line's arguments. *seeds* are dialogues: request, response, request…"""
    import atheris  # only where fuzzing is meant: the laws are also used by the tests

    def one_input(data: bytes) -> None:
        check(protocol, [(not number % 2, part) for number, part in enumerate(data.split(TURN))], sizes=(1, 5))

    with tempfile.TemporaryDirectory() as corpus:
        for number, dialogue in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(TURN.join(dialogue))
        atheris.Setup([*sys.argv, corpus], one_input)
        atheris.Fuzz()
