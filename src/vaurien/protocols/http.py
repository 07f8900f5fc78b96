"""HTTP/1.0 and HTTP/1.1 (RFC 9112); after CONNECT or Upgrade the connection is an opaque tunnel."""

from __future__ import annotations

import functools
import http
import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated

from vaurien.errors import ParseError
from vaurien.framing import HEAD_LIMIT, Framer, Frames, Framing, Head, Protocol, Reader, Reply, Step
from vaurien.framing.cache import BoundedCache
from vaurien.options import Option
from vaurien.protocols import _http_head as heads
from vaurien.protocols._http_head import Body, Length, Request
from vaurien.protocols._options import BUFFER, Buffer, KeepAlive, ReuseSocket

if TYPE_CHECKING:
    from random import Random

    from vaurien.model import Address

_REASONS = {str(status.value): status.phrase for status in http.HTTPStatus if status >= 400}
_BY_CHANCE = ("500", "501", "502", "503", "504")
"""Those that any request may meet; the others are for who asks for them."""

# 16 digits are a 64-bit size; 4096 bytes of extensions are what Go's net/http takes for the whole line.
_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]{0,16}(?:;[^\r\n\x00]{0,4096})?\r\n")

_HOST = re.compile(rb"(\nhost:[ \t]*)(?:[^\r\n]|\r?\n[ \t])*", re.IGNORECASE)
_TARGET = re.compile(rb"(\S+ https?://(?:[^@/?#\s]*@)?)[^/?#\s]*", re.IGNORECASE)


class Http(Protocol, frozen=True):
    """HTTP/1.0 and 1.1. An exchange is a request and its final response; pipelined requests are paired in order.

    An error is a complete response with its own status, so the client can keep the connection; it is closed when
    the client asked for that, or when a body it announced (``Expect: 100-continue``) was not read.
    """

    error_codes = tuple(_REASONS)
    fields = ("method", "path", "host", "header.", "status")
    response_fields = ("status",)

    overwrite_host_header: Annotated[bool, Option("Send the backend's address as Host, not what the client sent")] = (
        True
    )
    keep_alive: KeepAlive = True
    reuse_socket: ReuseSocket = False
    buffer: Buffer = BUFFER

    def framer(self) -> Framing:
        """A framer of HTTP/1."""
        return HttpFramer()

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """A response with the status *code*, by chance a 50x. Raises `OptionError` for another code than these."""
        code = random.choice(_BY_CHANCE) if code is None else code
        self.check_code(code)
        status = f"{code} {_REASONS[code]}"
        body = f"{status if message is None else message}\n".encode()
        close = not (self.keep_alive and isinstance(head, Request) and head.persistent) or head.waits
        lines = (
            f"HTTP/1.1 {status}",
            "Content-Type: text/plain",
            f"Content-Length: {len(body)}",
            f"Connection: {'close' if close else 'keep-alive'}",
        )
        sent = b"" if isinstance(head, Request) and head.method == "HEAD" else body
        return Reply("\r\n".join([*lines, "", ""]).encode() + sent, close)

    def rewrite(self, head: Head, backend: Address) -> bytes | None:
        """The request with *backend* as its Host, and as the host of an absolute URI, unless that is switched off."""
        if not (self.overwrite_host_header and isinstance(head, Request)) or head.method == "CONNECT" or backend.path:
            return None
        host = _authority(backend)
        line, lf, fields = head.data.partition(b"\n")
        absolute = _TARGET.match(line)
        if absolute is not None:
            line = absolute[1] + host + line[absolute.end() :]
        data = line + _hosted(lf + fields, host)
        return None if data == head.data else data


_HOSTED: BoundedCache[bytes] = BoundedCache()  # a client's fields are mostly the same, whatever it asks for


def _hosted(fields: bytes, host: bytes) -> bytes:
    """*fields*, which begin with the LF before them, with *host* as their Host."""
    key = host + fields
    hosted = _HOSTED.get(key)
    if hosted is None:
        hosted = _HOST.sub(lambda found: found[1] + host, fields)
        _HOSTED.add(key, hosted)
    return hosted


@functools.lru_cache  # asked at every request, and there are few backends
def _authority(address: Address) -> bytes:
    """*address* as in a URI: without the port that is the scheme's own (RFC 9110, section 4.2.3)."""
    host, _, port = str(address).rpartition(":")
    host = host or "localhost"
    return (host if port == "80" else f"{host}:{port}").encode("ascii" if host.isascii() else "idna")


class HttpFramer(Framer):
    """Requests and responses by the rules of RFC 9112, section 6.3; what is ambiguous there is not framed at all."""

    def __init__(self) -> None:
        super().__init__()
        self._connect: Head | None = None

    def parse_whole(self, to_backend: bool, data: bytes) -> Head | None:
        line = (heads.REQUEST_LINE if to_backend else heads.STATUS_LINE).match(data)
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
        status, head, length = heads.response(line, block, self.waiting[0])
        return head, Body.UNTIL_EOF if status < 200 else length  # after an interim response or a switch more comes

    def requests(self, read: Reader) -> Frames:
        while first := (yield from read.peek(1)):
            if self._connect is not None and self._connect in self.waiting:
                return  # the tunnel's bytes, sent before the answer
            if first in b"\r\n":
                yield from _blank(read)
                continue
            if first[0] not in heads.METHOD_STARTS:
                raise ParseError(f"not a method of HTTP: it begins with {first!r}")
            head, length = heads.request(*(yield from _head(read, heads.REQUEST_LINE)))
            if head.method == "CONNECT":
                self._connect = head
                self.stateless = False
            yield head
            yield from _body(read, length)
            yield Step.END

    def responses(self, read: Reader) -> Frames:
        while first := (yield from read.peek(1)):
            if first != b"H":
                raise ParseError(f"not a response of HTTP: it begins with {first!r}")
            parts = yield from _head(read, heads.STATUS_LINE)
            request = self.waiting[0] if self.waiting else None
            status, head, length = heads.response(*parts, request)
            aside = request is None or (status < 200 and status != 101)
            yield Step.ASIDE if aside else head
            tunnel = not aside and (status == 101 or (request is self._connect and status < 300))
            if not tunnel:
                yield from _body(read, length)
            yield Step.END
            if tunnel:
                self.stop_framing()
                return


def _head(read: Reader, first: re.Pattern[bytes]) -> Generator[Step, None, tuple[re.Match[bytes], bytes]]:
    """The *first* line and the field lines. Another protocol's first line is found out before a second is awaited."""
    line = yield from read.line()
    match = first.fullmatch(line)
    if match is None:
        raise ParseError(f"not the first line of an HTTP/1 message: {line[:80]!r}")
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
