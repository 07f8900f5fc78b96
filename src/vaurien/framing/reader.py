"""The bytes of one direction as a protocol's generator reads them: like blocking code, without I/O."""

from __future__ import annotations

import enum
import re
from collections.abc import Generator
from typing import Literal, TypeAlias

from vaurien.errors import ParseError

HEAD_LIMIT = 64 * 1024
"""Bytes that may be held while a head is incomplete: eight times nginx's large_client_header_buffers (8k)."""

BEGINNING = 80
"""Bytes of a line that are looked at before it is complete; what is wrong behind them is seen at its end."""


class Step(enum.Enum):
    """What a generator of a `Framer` may yield besides a `Head`; the bytes read so far belong to what is yielded."""

    MORE = "more"
    """All bytes are read; go on when there are more. Only `Reader` yields this."""
    ASIDE = "aside"
    """A message that belongs to no exchange begins: a greeting, a push, an interim response."""
    END = "end"
    """The message that the last `Head` or `ASIDE` began ends here."""


# A member of an enum costs a look-up in its class each time; this one is asked for at every chunk.
MORE: Literal[Step.MORE] = Step.MORE
More: TypeAlias = Literal[Step.MORE]


class Reader:
    """The bytes of one direction as a protocol reads them: ``line = yield from read.line()``."""

    # Bytes, not a bytearray: most heads come whole in one chunk, which is then given back as it came, without a copy.
    __slots__ = ("_at", "_data", "_given", "_skip", "ended")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0  # read up to here
        self._given = 0  # given back up to here; past what is read only inside a message
        self._skip = 0  # bytes to come that no framer looks at
        self.ended = False

    def line(self, limit: int = HEAD_LIMIT, begin: re.Pattern[bytes] | None = None) -> Generator[More, None, bytes]:
        """The bytes up to and including the next LF. Raises `ParseError` when there is none within *limit* bytes.

        *begin* matches every beginning of a line that is wanted. What does not begin so is returned at once, as it is,
        for another protocol may never send an LF.
        """
        scanned = 0
        while True:
            found = self._data.find(b"\n", self._at + scanned)
            if found >= 0 and found - self._at < limit:
                return self._take(found + 1)
            scanned = len(self._data) - self._at
            if found >= 0 or scanned >= limit:
                raise ParseError(f"no end of line within {limit} bytes")
            if begin is not None:
                if begin.fullmatch(self._data, self._at, self._at + BEGINNING) is None:
                    return self._take(len(self._data))
                begin = begin if scanned < BEGINNING else None
            yield from self._more()

    def block(self, limit: int = HEAD_LIMIT) -> Generator[More, None, bytes]:
        """The lines up to and including the next empty one, each ended by LF or CR LF; it may be the very next.

        Raises `ParseError` when there is none within *limit* bytes.
        """
        scanned = 0
        while True:
            end = self._empty_line(scanned)
            if 0 <= end - self._at <= limit:
                return self._take(end)
            length = len(self._data) - self._at
            if end >= 0 or length >= limit:
                raise ParseError(f"no empty line within {limit} bytes")
            scanned = max(0, length - 2)  # what was seen may end inside LF CR LF
            yield from self._more()

    def exactly(self, count: int, limit: int = HEAD_LIMIT) -> Generator[More, None, bytes]:
        """The next *count* bytes. Raises `ParseError` when that is more than *limit*: use `skip` for bodies."""
        if not 0 <= count <= limit:
            raise ParseError(f"a field of {count} bytes; at most {limit} are read")
        while len(self._data) - self._at < count:
            yield from self._more()
        return self._take(self._at + count)

    def peek(self, count: int) -> Generator[More, None, bytes]:
        """The next *count* bytes without reading them; fewer at the end of the stream.

        Only for the first bytes of a message: inside one, its end must not depend on bytes that follow it.
        """
        while len(self._data) - self._at < count and not self.ended:
            yield MORE
        return self._data[self._at : self._at + count]

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Read what *pattern* matches of the bytes that are here already, or read nothing.

        A short cut for what mostly comes in one chunk; what it reads must be what the way around it would read.
        """
        match = pattern.match(self._data, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def skip(self, count: int) -> Generator[More, None, None]:
        """Skip *count* bytes, however many: inside a message they are never held."""
        if count < 0:
            raise ParseError(f"a length of {count} bytes")
        here = min(count, len(self._data) - self._at)
        self._at += here
        self._skip = count - here
        while self._skip:
            yield from self._more()

    def skip_line(self) -> Generator[More, None, None]:
        """Read up to and including the next LF, however far it is: inside a message the line is never held."""
        while True:
            end = self._data.find(b"\n", self._at) + 1
            self._at = end or len(self._data)
            if end:
                return
            yield from self._more()

    def past(self, delimiter: bytes) -> Generator[More, None, None]:
        """Read up to and including the next *delimiter*, however far: inside a message nothing of it is held."""
        while (found := self._data.find(delimiter, self._at)) < 0:
            self._at = max(self._at, len(self._data) - len(delimiter) + 1)  # it may have begun
            yield from self._more()
        self._at = found + len(delimiter)

    def unread(self, count: int) -> None:
        """Take back the last *count* bytes read, if nothing was yielded since."""
        self._at -= count

    def until_eof(self) -> Generator[More, None, None]:
        """Read everything up to the end of the stream, as HTTP/1.0 ends a body."""
        while not self.ended:
            self._at = len(self._data)
            yield MORE
        self._at = len(self._data)

    def _empty_line(self, scanned: int) -> int:
        """Where the next empty line ends, or -1; *scanned* bytes after the position are known not to end one."""
        data, start = self._data, self._at + scanned
        if not scanned and data.startswith((b"\n", b"\r\n"), start):
            return start + (1 if data.startswith(b"\n", start) else 2)
        long = data.find(b"\n\r\n", start)
        short = data.find(b"\n\n", start, long + 1 if long >= 0 else len(data))
        if short >= 0:
            return short + 2
        return long + 3 if long >= 0 else -1

    def _more(self) -> Generator[More, None, None]:
        if self.ended:
            raise ParseError("the stream ended inside a message")
        yield MORE

    def _take(self, end: int) -> bytes:
        start, self._at = self._at, end
        return self._data[start:end]

    # What follows is for `Framer` alone.

    def push(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data
        if self._skip:
            here = min(self._skip, len(self._data) - self._at)
            self._at += here
            self._skip -= here

    def skips(self, size: int) -> bool:
        """Whether the next *size* bytes are all inside what is being skipped."""
        return not self._data and self._skip > size

    def passes(self, size: int) -> bool:
        """Whether the next *size* bytes are all inside what is being skipped; counts them as read when they are."""
        if self._data or self._skip <= size:  # the last byte must wake the generator
            return False
        self._skip -= size
        return True

    def take_read(self) -> bytes:
        """The bytes read and not given back yet."""
        start, end = self._given, self._at
        if start >= end:
            return b""
        self._given = end
        return self._data[start:end]

    def take_all(self) -> bytes:
        """Everything not given back yet, read or not; what is not read stays to be read."""
        start, self._given = self._given, len(self._data)
        return self._data[start:]

    def drop(self) -> bytes:
        """Everything not given back yet, which will not be read any more."""
        data = self.take_all()
        self._data, self._at, self._given = b"", 0, 0
        return data

    def forget(self) -> None:
        """Let go of what is both read and given back; once per chunk, because it copies the rest."""
        done = self._at if self._at < self._given else self._given
        self._data = self._data[done:]
        self._at -= done
        self._given -= done

    @property
    def held(self) -> int:
        return len(self._data) - self._given
