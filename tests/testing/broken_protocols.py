"""A small protocol that is right, and what can be wrong with it: each class breaks one law.

A request is a line ``get KEY`` or ``mute KEY``, which nothing answers; a response is ``ok SIZE`` and as many bytes, or
``err CODE``.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from typing import Annotated, Any

from vaurien.errors import ParseError
from vaurien.framing import (
    WAITING_LIMIT,
    Framer,
    Frames,
    Framing,
    Head,
    Mark,
    Piece,
    Protocol,
    Reader,
    Reply,
    Step,
)
from vaurien.model import TO_BACKEND, Direction
from vaurien.options import Option

CONVERSATIONS = [
    [b"get a\nget b\n", b"ok 2\nhi" + b"ok 0\n", b"mute c\nget d\n", b"err busy\n"],
    [b"get a\n", b"ok 3\nabc"],
]


class Lines(Framer):
    """The framing that is right."""

    def requests(self, read: Reader) -> Frames:
        while (yield from read.peek(1)):
            yield self.head((yield from read.line(1000)))
            yield Step.END

    def head(self, line: bytes) -> Head:
        word, _, key = line.strip().partition(b" ")
        if word not in (b"get", b"mute"):
            raise ParseError(f"not a request: {line!r}")
        return Head(True, {"key": key.decode(errors="replace")}, answered=word == b"get", self_contained=True)

    def responses(self, read: Reader) -> Frames:
        while (yield from read.peek(1)):
            word, _, size = (yield from read.line(1000)).strip().partition(b" ")
            if word not in (b"ok", b"err") or (word == b"ok" and not size.isdigit()):
                raise ParseError(f"not a response: {word!r}")
            yield Head(False, self_contained=bool(self.waiting and self.waiting[0].self_contained))
            if word == b"ok":
                yield from read.skip(int(size[:18]))
            yield Step.END

    def parse_whole(self, direction: Direction, data: bytes) -> Head | None:
        whole = direction and data.startswith(b"get ") and data.find(b"\n") == len(data) - 1
        head = self.head(data) if whole and len(data) <= 1000 else None
        if head is not None:
            head.data = data
        return head


class Right(Protocol, frozen=True):
    """What a protocol has to be."""

    error_codes = ("busy", "lost")
    fields = ("key",)

    greedy: Annotated[bool, Option("An option")] = False

    def framer(self) -> Framing:
        return Lines()

    def error_reply(self, head: Head, random: random.Random, code: str | None = None) -> Reply:
        if not head.answered:
            return Reply(b"")
        return Reply(f"err {code or random.choice(self.error_codes)}\n".encode())


BROKEN: list[tuple[type[Protocol], str]] = []
"""Protocols, and what `check_protocol` has to say of them."""


def broken(complaint: str) -> Callable[[type[Protocol]], type[Protocol]]:
    def add(protocol: type[Protocol]) -> type[Protocol]:
        BROKEN.append((protocol, complaint))
        return protocol

    return add


def framed(complaint: str) -> Callable[[type[Framing]], type[Framing]]:
    """What is wrong is the framer."""

    def add(framing: type[Framing]) -> type[Framing]:
        def framer(self: Protocol) -> Framing:
            return framing()

        doc = {"__doc__": "Framed wrongly.", "__module__": __name__, "framer": framer}
        BROKEN.append((type(Right)(framing.__name__, (Right,), doc), complaint))  # type: ignore[arg-type]
        return framing

    return add


@framed("Raises: law 1: ValueError was raised at .*not enough values")
class Raises(Lines):
    def head(self, line: bytes) -> Head:
        word, key = line.split()
        return Head(True, {"key": key.decode(errors="replace")}, answered=word == b"get")


@framed("Spins: law 1: RecursionError was raised .* reads nothing")
class Spins(Lines):
    def requests(self, read: Reader) -> Frames:
        yield from read.line()
        while True:
            yield Step.ASIDE


@framed(r"Hasty: law 5, on cuts: .*'slow'.*; not cut, it is .*'a'.* \(cut into pieces of 1 bytes\)")
class Hasty(Lines):
    """A short cut that does not say what the way around it says."""

    def requests(self, read: Reader) -> Frames:
        while (yield from read.peek(1)):
            short = read.match(SHORT)
            if short is None:
                yield from read.line(1000)
            yield Head(True, {"key": short[1].decode() if short else "slow"})
            yield Step.END


SHORT = re.compile(rb"get ([a-z])\n")


class Whole(Lines):
    """Reads whole lines, and holds the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = {True: b"", False: b""}

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        lines, newline, self.kept[direction] = (self.kept[direction] + data).rpartition(b"\n")
        return super().feed(direction, lines + newline)

    def end(self, direction: Direction) -> list[Piece]:
        rest, self.kept[direction] = self.kept[direction], b""
        return super().feed(direction, rest) + super().end(direction)

    def held(self, direction: Direction) -> int:
        return super().held(direction) + len(self.kept[direction])

    def try_whole(self, direction: Direction, data: bytes) -> Head | None:
        return None


@framed("Hoards: law 3: [0-9]+ bytes are held; at most 65536 may be")
class Hoards(Whole):
    """Waits for the end of a line, however far it is."""


@framed("Forgets: law 2: b'.*' was not given back at the end of the stream")
class Forgets(Whole):
    """Keeps what it held at the end."""

    def end(self, direction: Direction) -> list[Piece]:
        return []


@framed("Swallows: law 2: 6 bytes given back and 0 held are not 12 fed")
class Swallows(Lines):
    """Drops the second request of a chunk."""

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        return super().feed(direction, data[:6] if direction is TO_BACKEND else data)


@framed("Shouts: law 2: b'GET A.n' is given back for b'get a.n'|Shouts: the `data` of a head")
class Shouts(Lines):
    """Changes bytes."""

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        return [(what, piece.upper()) for what, piece in super().feed(direction, data)]


@framed("Reversed: a head says that it is of the other direction")
class Reversed(Lines):
    """Takes requests for responses."""

    def head(self, line: bytes) -> Head:
        return Head(False)


@framed("Airy: a piece of a body is empty")
class Airy(Lines):
    """Gives back pieces with nothing in them."""

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        return [*super().feed(direction, data), (Mark.BODY, b"")]


@framed("Hurried: law 4: an end mark comes outside a message")
class Hurried(Lines):
    """Ends twice."""

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        return [*super().feed(direction, data), (Mark.REQUEST_END, b"")]


@framed("Owing: `other_direction_ready` is not settled by feeding the other direction")
class Owing(Lines):
    """Always has something for the other direction, and never gives it."""

    other_direction_ready = True


@framed("Crowd: law 3: 100001 requests wait; at most 100000 may")
class Crowd(Lines):
    """Has no bound for requests that wait."""

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        pieces = super().feed(direction, data)
        if len(data) > 4000:
            self.waiting.extend([Head(True)] * (WAITING_LIMIT + 1))
        return pieces


@framed("Vague: law 5, on cuts: it is lost for 'no request in 1 bytes'; not cut, for 'no request in [0-9]+ bytes'")
class Vague(Lines):
    """Says something else of the same bytes, when they come otherwise."""

    size = 0

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        self.size = len(data)
        return super().feed(direction, data)

    def _lose(self, reason: str) -> None:
        super()._lose(f"no request in {self.size} bytes")


@framed(r"Careless: law 5, on cuts: \[\] wait; not cut, \[b'get d.n'\]")
class Careless(Lines):
    """Forgets who waits when a single byte comes."""

    def feed(self, direction: Direction, data: bytes) -> list[Piece]:
        if direction is TO_BACKEND and data == b"\n" and len(self.waiting) > 1:
            self.waiting.clear()
        return super().feed(direction, data)


@framed("Blind: no request is found in any conversation")
class Blind(Lines):
    """Takes all requests for something that belongs to no exchange."""

    def parse_whole(self, direction: Direction, data: bytes) -> Head | None:
        return None

    def requests(self, read: Reader) -> Frames:
        while (yield from read.peek(1)):
            yield from read.line(1000)
            yield Step.ASIDE
            yield Step.END

    def responses(self, read: Reader) -> Frames:
        while (yield from read.peek(1)):
            yield from read.line(1000)
            yield Step.ASIDE
            yield Step.END


@framed("Diary: law 3: [0-9]+ bytes more are kept after 256 times the exchange")
class Diary(Lines):
    """Remembers every key there was."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    def head(self, line: bytes) -> Head:
        head = super().head(line)
        self.keys.append(head.fields["key"] + "!")
        return head


@framed("Endless: law 4: a head, b'get b.n', comes before the end of a message")
class Endless(Lines):
    """Never says where a request ends."""

    def requests(self, read: Reader) -> Frames:
        while (yield from read.peek(1)):
            yield self.head((yield from read.line(1000)))


@framed("Mistakes: law 6, on recognition: .*(recognized where it can be|each message for itself)")
class Mistakes(Lines):
    """Sees something else in a whole message than when it reads."""

    def parse_whole(self, direction: Direction, data: bytes) -> Head | None:
        head = super().parse_whole(direction, data)
        return Head(True, {"key": "?"}, self_contained=True, data=data) if head else None


@framed("Stumbles: law 1: UnicodeDecodeError was raised at .*recognized")
class Stumbles(Lines):
    """Raises where it should say that it does not know."""

    def parse_whole(self, direction: Direction, data: bytes) -> Head | None:
        return super().parse_whole(direction, data) if data.decode("ascii") else None


@framed("Shares: connections share no state: .*on connection 1 of two at a time")
class Shares(Lines):
    """Numbers the requests of all connections."""

    count = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        type(self).count = itertools.count()

    def head(self, line: bytes) -> Head:
        head = super().head(line)
        return Head(True, {"key": f"{next(self.count)}"}, answered=head.answered)

    def parse_whole(self, direction: Direction, data: bytes) -> Head | None:
        return None


@framed("Strict: a conversation of its own is lost: not a request: b'mute c.n'")
class Strict(Lines):
    """Knows one request only."""

    def head(self, line: bytes) -> Head:
        if not line.startswith(b"get "):
            raise ParseError(f"not a request: {line!r}")
        return super().head(line)


@framed("Waits: requests in a conversation have no response: .*get d")
class Waits(Lines):
    """Takes every request for one that is answered."""

    def head(self, line: bytes) -> Head:
        return Head(True, super().head(line).fields)


@framed("Undeclared: a head has the field 'word', which is not in `fields`: key")
class Undeclared(Lines):
    def head(self, line: bytes) -> Head:
        head = super().head(line)
        return Head(True, {"word": "get"}, answered=head.answered, self_contained=True)


@broken("Unfinished: the error by chance for b'get a.n' is .*: heads 0, ends 0; expected one whole response")
class Unfinished(Right, frozen=True):
    """An error without its end."""

    def error_reply(self, head: Head, random: random.Random, code: str | None = None) -> Reply:
        return Reply(b"err " + (code or "busy").encode() if head.answered else b"")


@broken("Foreign: the error by chance .* which its own framer cannot read: not a response: b'HTTP/1.1'")
class Foreign(Right, frozen=True):
    """An error of another protocol."""

    def error_reply(self, head: Head, random: random.Random, code: str | None = None) -> Reply:
        return Reply(b"HTTP/1.1 503 No\n")


@broken("Talkative: the error by chance for b'mute c.n' is b'err busy.n': heads 1, ends 1; expected no response")
class Talkative(Right, frozen=True):
    """Answers where nobody waits."""

    def error_reply(self, head: Head, random: random.Random, code: str | None = None) -> Reply:
        return Reply(b"err busy\n")


@broken("Moody: the error by chance .* with the same seed")
class Moody(Right, frozen=True):
    """Throws dice of its own."""

    def error_reply(self, head: Head, random: Any, code: str | None = None) -> Reply:
        return Reply(f"err {next(MOODS)}\n".encode())


MOODS = itertools.count()


@broken("Rewrites: b'get a.n' is rewritten as b'host x.nget a.n', which is not one head")
class Rewrites(Right, frozen=True):
    """Sends another backend a line too many."""

    def rewrite(self, head: Head, backend: Any) -> bytes | None:
        return b"host x\n" + head.data


@broken("Undocumented has no docstring")
class Undocumented(Right, frozen=True):
    pass


@broken("Unhelpful: option size has no help")
class Unhelpful(Right, frozen=True):
    """An option that says nothing of itself."""

    size: int = 1


@broken("Loud: option Size is not in lower case")
class Loud(Right, frozen=True):
    """An option that no flag can be made of."""

    Size: Annotated[int, Option("Bytes")] = 1


@broken("Nested: option greetings does not survive text: ")
class Nested(Right, frozen=True):
    """An option that no command line can give."""

    greetings: Annotated[dict[str, str], Option("What it says first")] = {}


@broken("Codes.error_codes is not a tuple of different names: busy")
class Codes(Right, frozen=True):
    """A tuple without its comma."""

    error_codes = "busy"  # type: ignore[assignment]


@broken(r"Extra.response_fields has \['status'\], which `fields` has not")
class Extra(Right, frozen=True):
    """Fields that cannot be asked."""

    response_fields = ("status",)
