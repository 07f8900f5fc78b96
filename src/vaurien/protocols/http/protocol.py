"""HTTP/1.0 and HTTP/1.1 (RFC 9112); after CONNECT or an upgrade the connection is a tunnel, unless to WebSocket."""

from __future__ import annotations

import functools
import http
import re
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Annotated, ClassVar

from vaurien.framing import Framing, Head, Protocol, Reply
from vaurien.framing import http2 as h2
from vaurien.framing.body import BodyCodec
from vaurien.framing.cache import BoundedCache
from vaurien.model import Address, Fault
from vaurien.options import Option
from vaurien.protocols._http import BY_CHANCE, REASONS, WITHOUT_BODY, authority, closing_reply
from vaurien.protocols._options import BUFFER, HEADER_FAULTS, Buffer, HeaderFaults, KeepAlive, ReuseSocket
from vaurien.protocols.http import head as heads
from vaurien.protocols.http.body import ChunkedBody, MeasuredBody
from vaurien.protocols.http.framer import HttpFramer
from vaurien.protocols.http.head import Body, Http1Request

if TYPE_CHECKING:
    from vaurien.chance import Random

_HOST = re.compile(rb"(\nhost:[ \t]*)(?:[^\r\n]|\r?\n[ \t])*", re.IGNORECASE)
_TARGET = re.compile(rb"(\S+ https?://(?:[^@/?#\s]*@)?)[^/?#\s]*", re.IGNORECASE)


class HttpProtocol(Protocol, frozen=True):
    """HTTP/1.0 and 1.1. An exchange is a request and its final response; pipelined requests are paired in order.

    An error is a complete response with its own status, so the client can keep the connection; it is closed when
    the client asked for that, or when a body it announced (``Expect: 100-continue``) was not read. After an upgrade to
    WebSocket, each message, of either side, is an exchange of its own without an answer; an error closes with 1011.
    """

    frames_one_request: ClassVar[bool] = True
    plain_hint: ClassVar[str] = "ask for http:// instead of https://"
    error_codes = tuple(REASONS)
    abort_codes = tuple(h2.Code.__members__)
    fields = ("method", "path", "host", "header.", "status", "opcode", "direction", "number", "text")
    response_fields = ("status",)
    content_fields = frozenset({"text"})

    overwrite_host_header: Annotated[bool, Option("Send the backend's address as Host, not what the client sent")] = (
        True
    )
    keep_alive: KeepAlive = True
    reuse_socket: ReuseSocket = False
    buffer: Buffer = BUFFER
    header_faults: HeaderFaults = False

    @property
    def own_faults(self) -> tuple[Fault, ...]:
        """What the header faults need."""
        return HEADER_FAULTS if self.header_faults else ()

    def with_streams(self) -> Protocol:
        """HTTP/2, for a client that begins with it, or asks for it by an upgrade."""
        from vaurien.protocols.http2 import Http2Protocol  # it is needed where HTTP/2 is spoken, and needs this one

        return Http2Protocol(overwrite_host_header=self.overwrite_host_header, header_faults=self.header_faults)

    def framer(self) -> Framing:
        """A framer of HTTP/1."""
        return HttpFramer()

    def codes_by_chance(self, head: Head) -> Sequence[str]:
        """The 50x."""
        return BY_CHANCE

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """A response with the status *code*, by chance a 50x. Raises `OptionError` for another code than these."""
        code = random.choice(self.codes_by_chance(head)) if code is None else code
        self.check_code(code)
        if head.one_way:
            return closing_reply(message or REASONS[code])
        close = not (self.keep_alive and isinstance(head, Http1Request) and head.persistent) or head.waits
        return _error(code, message, close, not (isinstance(head, Http1Request) and head.method == "HEAD"))

    def response(self, head: Head, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
        """A complete response, after which the connection ends where the client could not use it any more."""
        if head.one_way:
            return closing_reply(REASONS.get(str(status), ""))
        close = not (self.keep_alive and isinstance(head, Http1Request) and head.persistent) or head.waits
        return _response(status, headers, body, close, not (isinstance(head, Http1Request) and head.method == "HEAD"))

    def changed_head(self, head: Head, data: bytes, gone: Set[str], added: Sequence[tuple[str, str]]) -> bytes:
        line, end, fields = data.partition(b"\n")
        kept = _fields_of(frozenset(gone)).sub(b"", fields) if gone else fields
        blank = b"\r\n" if kept.endswith(b"\r\n") else b"\n"
        new = b"".join(f"{name}: {value}\r\n".encode() for name, value in added)
        return line + end + kept.removesuffix(blank) + new + blank

    def body(self, request: Head, response: Head) -> BodyCodec | None:
        """Chunks; a body with a length is sent in chunks instead, if both sides are of HTTP/1.1."""
        length = heads.body_length(request, response)
        if length is Body.CHUNKED:
            return ChunkedBody()
        if length is Body.UNTIL_EOF:
            return BodyCodec()
        old = request.data.partition(b"\n")[0].rstrip().endswith(b"HTTP/1.0") or response.data.startswith(b"HTTP/1.0")
        return None if old or not length else MeasuredBody(length)

    @property
    def rewrites(self) -> bool:
        """Only to overwrite the Host."""
        return self.overwrite_host_header

    def rewrite(self, head: Head, backend: Address) -> bytes | None:
        """The request with *backend* as its Host, and as the host of an absolute URI, unless that is switched off."""
        if (
            not (self.overwrite_host_header and isinstance(head, Http1Request))
            or head.method == "CONNECT"
            or backend.path
        ):
            return None
        host = authority(backend)
        line, lf, fields = head.data.partition(b"\n")
        absolute = _TARGET.match(line)
        if absolute is not None:
            line = absolute[1] + host + line[absolute.end() :]
        data = line + _hosted(lf + fields, host)
        return None if data == head.data else data


@functools.lru_cache  # a mix of errors says few things, and each very often
def _error(code: str, message: str | None, close: bool, with_body: bool) -> Reply:
    text = f"{code} {REASONS[code]}" if message is None else message
    return _response(int(code), [("Content-Type", "text/plain")], f"{text}\n".encode(), close, with_body)


def _response(status: int, headers: Sequence[tuple[str, str]], body: bytes, close: bool, with_body: bool) -> Reply:
    lines = [f"HTTP/1.1 {status} {_reason(status)}", *(f"{name}: {value}" for name, value in headers)]
    if status not in WITHOUT_BODY:
        lines.append(f"Content-Length: {len(body)}")
    lines.append(f"Connection: {'close' if close else 'keep-alive'}")
    return Reply("\r\n".join([*lines, "", ""]).encode() + (body if with_body else b""), close)


def _reason(status: int) -> str:
    """The reason phrase, which may be empty (RFC 9112, section 4)."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


@functools.lru_cache
def _fields_of(names: frozenset[str]) -> re.Pattern[bytes]:
    """Finds the field lines of *names*, in any case, with those folded behind them (RFC 9112, section 5.2)."""
    any_name = "|".join(map(re.escape, sorted(names)))
    return re.compile(rf"(?im)^(?:{any_name}):[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*\r?\n".encode("latin-1"))


_HOSTED: BoundedCache[bytes] = BoundedCache()  # a client's fields are mostly the same, whatever it asks for


def _hosted(fields: bytes, host: bytes) -> bytes:
    """*fields*, which begin with the LF before them, with *host* as their Host."""
    key = host + fields
    hosted = _HOSTED.get(key)
    if hosted is None:
        hosted = _HOST.sub(lambda found: found[1] + host, fields)
        _HOSTED.add(key, hosted)
    return hosted
