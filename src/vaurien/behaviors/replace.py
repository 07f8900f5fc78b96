"""Replace a pattern in the stream."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from vaurien import patterns
from vaurien.hooks import Behavior, Connection, Link
from vaurien.options import Option, unescaped

_REACH = 256
"""Bytes that a match of a regular expression may have, when it does not lie in one chunk."""

_LONGEST = 4096
"""Bytes of a pattern: at the end of each chunk all its beginnings are looked for, a millisecond for so many."""

_LOOKED_AT = 16 * 1024
"""Bytes that are looked at before other connections run."""

_SEARCHED = 512
"""The same with a regular expression, which may match at each of them, and be expanded."""

_PUT_IN = 64 * 1024
"""Bytes that are put in before other connections run, if each byte is replaced."""

_PATIENCE = 0.01
"""Seconds that the beginning of a match waits for more: longer than the parts of one message are apart, on a LAN."""


class Replace(Behavior, frozen=True):
    r"""Put *by* in the place of every *pattern* in the stream, also where the pattern comes in several pieces.

    The peer that receives gets other bytes than were sent, and maybe another number of them: lengths that a protocol
    announces are not mended. In *pattern* and *by*, ``\n``, ``\r``, ``\t``, ``\\`` and ``\xNN`` stand for bytes.

    With *regex* the pattern is a regular expression of Python's ``re`` for bytes, and *by* may name its groups
    (``\1``, ``\g<name>``). A match that does not come in one piece may have 256 bytes.

    An expression that takes too long for the bytes that come ends the connection, and the log says so.

    A pattern that is no expression may have 4096 bytes.

    Bytes that may be the beginning of a match wait for more, 10 ms at most; with *regex* those are the last 256.

    With HTTP/2 and gRPC it acts on the text of messages, each by itself, without their headers and trailers: frames and
    windows stay right, whatever is put in.
    """

    of_messages: ClassVar[bool] = True
    text_only: ClassVar[bool] = True
    says_hits: ClassVar[bool] = True

    pattern: Annotated[str, Option("What to look for; nothing is replaced while it is empty")] = ""
    by: Annotated[str, Option("What to put in its place")] = ""
    regex: Annotated[bool, Option("The pattern is a regular expression")] = False

    def __post_init__(self) -> None:
        """Refuse what is no regular expression, or finds nothing. Raises ValueError."""
        if not self.regex:
            length = len(unescaped(self.pattern))
            if length > _LONGEST:
                raise ValueError(f"pattern of at most {_LONGEST} bytes, this one has {length}")
            unescaped(self.by)  # now, not in a hook: it takes a while if it is long
            return
        try:
            pattern = patterns.compile(self.pattern.encode())
            patterns.bounded("it", pattern.sub, self.by.encode(), b"")  # parses the template
            found = patterns.bounded("it", patterns.finds, pattern.match, b"")
        except (ValueError, re.error, IndexError, RecursionError, patterns.TooSlow) as error:
            raise ValueError(f"pattern and by of a regular expression ({error})") from None
        if self.pattern and found:
            raise ValueError("pattern to match at least one byte")

    def why_idle(self) -> str:
        return "" if self.pattern else "pattern is empty"

    @property
    def chunk_limit(self) -> int:
        """As much as can be replaced at once."""
        return max(1, min(_SEARCHED if self.regex else _LOOKED_AT, _PUT_IN // max(1, len(self.by))))

    async def on_data(self, link: Link, data: bytes) -> None:
        """Replace what is whole, keep what may become so."""
        kept = self._kept(link)
        if not self.pattern:
            await self._send(link, data, final=True)
            return
        await self._send(link, data, final=False)
        if kept:
            link.alarm(_PATIENCE)

    async def on_alarm(self, link: Link) -> None:
        """The end of the match does not come."""
        await self._send(link, b"", final=True)

    async def on_eof(self, link: Link) -> None:
        """Nothing more will come."""
        await self._send(link, b"", final=True)

    async def on_stop(self, connection: Connection) -> None:
        """Nothing more is replaced."""
        for link in (connection.upstream, connection.downstream):
            kept = self._kept(link)
            rest = bytes(kept)
            kept.clear()
            if rest:
                await link.send(rest)

    async def _send(self, link: Link, data: bytes, *, final: bool) -> None:
        """Send what was kept and *data*, replaced, and keep what may become a match, unless this is *final*."""
        kept = self._kept(link)
        whole = bytes(kept) + data
        done, rest = self._replaced(whole, final) if self.pattern else (whole, b"")
        kept[:] = rest
        if done + rest != whole:
            link.hit()
        if done:
            await link.send(done)

    def _replaced(self, data: bytes, final: bool) -> tuple[bytes, bytes]:
        if self.regex:
            expression = patterns.compile(self.pattern.encode())
            what = f"the regular expression {self.pattern!r}"
            return patterns.bounded(what, _substituted, data, expression, self.by.encode(), final)
        pattern = unescaped(self.pattern)
        *found, rest = data.split(pattern)
        keep = 0 if final else _beginning(rest, pattern)
        return unescaped(self.by).join([*found, rest[: len(rest) - keep]]), rest[len(rest) - keep :]

    def _kept(self, link: Link) -> bytearray:
        return link.state(self, bytearray)


def _beginning(data: bytes, pattern: bytes) -> int:
    """How many bytes at the end of *data* may be the beginning of *pattern*."""
    longest = min(len(data), len(pattern) - 1)
    return next((size for size in range(longest, 0, -1) if pattern.startswith(data[-size:])), 0)


def _substituted(data: bytes, pattern: re.Pattern[bytes], by: bytes, final: bool) -> tuple[bytes, bytes]:
    """*data* with its matches replaced, and its end that is to be looked at again when there is more."""
    limit = len(data) if final else max(0, len(data) - _REACH)
    count = place = 0
    for match in pattern.finditer(data):
        if match.start() >= limit and not final:
            break
        count, place = count + 1, match.end()
    replaced = pattern.sub(by, data, count) if count else data  # which parses the template once, `expand` each time
    limit = max(limit, place)
    return replaced[: len(replaced) - (len(data) - limit)], data[limit:]
