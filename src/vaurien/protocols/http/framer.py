"""Where the messages of HTTP/1 start and end (RFC 9112, section 6.3)."""

from __future__ import annotations

import re
from collections.abc import Generator

from vaurien.errors import ParseError
from vaurien.framing import HEAD_LIMIT, Framer, Frames, Head, Reader, Step
from vaurien.framing.reader import BEGINNING
from vaurien.framing.websocket import messages
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction
from vaurien.protocols.http import head as heads
from vaurien.protocols.http.head import Body, Length

# 16 digits are a 64-bit size; 4096 bytes of extensions are what Go's net/http takes for the whole line.
_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]{0,16}(?:;[^\r\n\x00]{0,4096})?\r\n")


def _small_chunks() -> re.Pattern[bytes]:
    """Matches whole chunks of 1 to 255 bytes, as many as there are: thousands of them may come in one read.

    Each has its size as its hexadecimal digits say, so the expression has all sizes in it.
    """

    def digit(value: int) -> str:
        return f"{value:x}" if value < 10 else f"[{value:x}{value:X}]"

    def data(size: int) -> str:
        return rf"\r\n[\x00-\xff]{{{size}}}\r\n"

    def longer(first: int) -> str:
        return "|".join(digit(second) + data(first * 16 + second) for second in range(16))

    sizes = "|".join(f"{digit(first)}(?:{data(first)}|{longer(first)})" for first in range(1, 16))
    return re.compile(f"(?:{sizes})++".encode())


_SMALL_CHUNKS = _small_chunks()


class HttpFramer(Framer):
    """Requests and responses by the rules of RFC 9112, section 6.3; what is ambiguous there is not framed at all."""

    asides_answer = True

    def __init__(self) -> None:
        super().__init__()
        self._connect: Head | None = None
        self._handshake: dict[str, str] = {}  # what messages of a WebSocket know of it
        self._extended = False  # a WebSocket whose messages an extension may have changed
        self._deciding: set[Direction] = set()  # the directions in which HTTP/2 may begin

    def parse_whole(self, direction: Direction, data: bytes) -> Head | None:
        line = (heads.REQUEST_LINE if direction is TO_BACKEND else heads.STATUS_LINE).match(data)
        end = data.find(b"\n\r\n", line.end() - 1) + 3 if line else 0
        if line is None or end < line.end():
            return None
        try:
            head, length = self._understood(line, data[line.end() : end])
        except ParseError:  # for the generator to say
            return None
        head.data = data[:end]
        return head if head.self_contained and length == len(data) - end else None

    def _understood(self, line: re.Match[bytes], block: bytes) -> tuple[Head, Length]:
        if line.re is heads.REQUEST_LINE:
            return heads.request(line, block)
        status, answer, length = heads.response(line, block, self.waiting[0])
        return answer, Body.UNTIL_EOF if status < 200 else length  # after an interim response or a switch more comes

    def requests(self, read: Reader) -> Frames:
        while first := (yield from read.peek(1)):
            if self._connect is not None and self._connect in self.waiting:
                return  # the tunnel's bytes, sent before the answer
            if self.one_way:
                self.other_direction_ready = False  # what was held behind the request is here
                yield from messages(read, upstream=True, known=self._handshake, extended=self._extended)
                return
            if first in b"\r\n":
                yield from _blank(read)
                continue
            if first == b"P" and (yield from self._begins(TO_BACKEND, read, b"PRI ")):  # no method (RFC 9113, 11.3)
                yield from self._hold_for_http2()
            if first[0] not in heads.METHOD_STARTS:
                raise ParseError(f"not a method of HTTP: it begins with {first!r}")
            head, length = heads.request(*(yield from _head(read, heads.REQUEST_LINE, heads.REQUEST_BEGIN)))
            if head.method == "CONNECT":
                self._connect = head
                self.stateless = False
            yield head
            yield from _body(read, length)
            yield Step.END

    def responses(self, read: Reader) -> Frames:
        while first := (yield from read.peek(1)):
            if first == b"\0" and not self.waiting and _is_settings((yield from self._peek(TO_CLIENT, read, 9))):
                yield from self._hold_for_http2()
            if first != b"H":
                raise ParseError(f"not a response of HTTP: it begins with {first!r}")
            parts = yield from _head(read, heads.STATUS_LINE, heads.STATUS_BEGIN)
            request = self.waiting[0] if self.waiting else None
            status, head, length = heads.response(*parts, request)
            aside = request is None or (status < 200 and status != 101)
            alone = len(self.waiting) == 1
            if status == 101 and not aside:
                head.closes = True  # for HTTP
            yield Step.ASIDE if aside else head
            tunnel = not aside and (status == 101 or (request is self._connect and status < 300))
            if not tunnel:
                yield from _body(read, length)
            yield Step.END
            if tunnel:
                self.frame_on()
            if tunnel and alone and request is not None and heads.is_websocket(request, head):
                self._handshake = {name: request.fields[name] for name in ("path", "host")}
                self._extended = "header.sec-websocket-extensions" in head.fields
                self.one_way, self.stateless = True, False
                yield from messages(read, upstream=False, known=self._handshake, extended=self._extended)
                return
            if status == 101 and head.fields.get("header.upgrade", "").lower() == "h2c" and request is not None:
                yield from self._hold_for_http2(request.fields.get("header.http2-settings", ""))
            if tunnel:
                self.stop_framing()
                return

    def _peek(self, direction: Direction, read: Reader, count: int) -> Generator[Step, None, bytes]:
        self._deciding.add(direction)
        data = yield from read.peek(count)
        self._deciding.discard(direction)
        return data

    def _begins(self, direction: Direction, read: Reader, text: bytes) -> Generator[Step, None, bool]:
        """Whether what comes begins with *text*; not one byte more is held to know it."""
        for count in range(1, len(text) + 1):
            if (yield from self._peek(direction, read, count)) != text[:count]:
                return False
        return True

    def _hold_for_http2(self, settings: str | None = None) -> Frames:
        """Leave everything that follows to HTTP/2, after an upgrade with the client's *settings*."""
        from vaurien.protocols.http2.framer import Http2Framer  # most connections need none

        self._deciding.clear()  # what came from the other side, too little to decide by, is for HTTP/2 as well
        if self.successor is None:
            self.successor = framer = Http2Framer()
            if settings is not None:
                framer.upgraded(settings)
        while True:
            yield Step.MORE

    def release(self, direction: Direction) -> bytes:
        return b"" if direction in self._deciding else super().release(direction)


def _is_settings(data: bytes) -> bool:
    """Whether *data* is the header of a frame SETTINGS, with which a server of HTTP/2 begins."""
    return data[3:4] == b"\x04" and data[5:9] == bytes(4)


def _head(
    read: Reader, first: re.Pattern[bytes], begin: re.Pattern[bytes]
) -> Generator[Step, None, tuple[re.Match[bytes], bytes]]:
    """The *first* line and the field lines. What does not *begin* such a line is found out by its first bytes."""
    line = yield from read.line(begin=begin)
    match = first.fullmatch(line)
    if match is None:
        wrong = (line[:count] for count in range(1, BEGINNING) if begin.fullmatch(line, 0, count) is None)
        raise ParseError(f"not the first line of an HTTP/1 message: {next(wrong, line[:BEGINNING])!r}")
    return match, (yield from read.block(HEAD_LIMIT - len(line)))


def _blank(read: Reader) -> Frames:
    """An empty line before a request, which a server ignores (RFC 9112, section 2.2)."""
    yield from read.line(2)
    yield Step.ASIDE
    yield Step.END


def _body(read: Reader, length: Length) -> Generator[Step, None, None]:
    if isinstance(length, int):
        if length:
            yield from read.skip(length)
    elif length is Body.CHUNKED:
        yield from _chunks(read)
    else:
        yield from read.until_eof()


def _chunks(read: Reader) -> Generator[Step, None, None]:
    """Chunks and the trailer section (RFC 9112, section 7.1)."""
    size = -1
    while size:
        read.match(_SMALL_CHUNKS)
        line = read.match(_CHUNK_LINE) or _CHUNK_LINE.fullmatch((yield from read.line()))
        if line is None:
            raise ParseError("not the first line of a chunk")
        size = int(line[1], 16)
        if size:
            yield from read.skip(size)
            if (yield from read.exactly(2)) != b"\r\n":
                raise ParseError(f"a chunk that is not {size} bytes long")
    if heads.FIELD_LINES.fullmatch((yield from read.block())) is None:
        raise ParseError("not a trailer section")
