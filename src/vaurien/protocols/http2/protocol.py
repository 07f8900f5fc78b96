"""HTTP/2 (RFC 9113) without TLS, by prior knowledge."""

from __future__ import annotations

import functools
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Annotated, ClassVar

from vaurien.framing import Framing, Head, Protocol, Reply
from vaurien.framing import http2 as h2
from vaurien.framing.body import BodyCodec, FramedBody
from vaurien.framing.cache import SIZE_LIMIT, BoundedCache
from vaurien.framing.events import kind_of
from vaurien.options import Option
from vaurien.protocols._http import BY_CHANCE, REASONS, WITHOUT_BODY, authority, closing_reply
from vaurien.protocols._options import HEADER_FAULTS, HeaderFaults
from vaurien.protocols.http2.blocks import Field, decode_stateless, encode
from vaurien.protocols.http2.framer import Http2Framer, Http2Request, rebuilt, split_head

if TYPE_CHECKING:
    from vaurien.chance import Random
    from vaurien.model import Address, Fault


class Http2Protocol(Protocol, frozen=True):
    """HTTP/2, by prior knowledge. An exchange is a stream: its request and its final response.

    A fault that waits holds its own stream, and no other. An error is a complete response on its stream; whatever the
    client has not sent of the request is not needed any more (RST_STREAM with NO_ERROR). ``abort`` ends the stream
    (RST_STREAM), not the connection. Streams that the backend pushes belong to no exchange. On a stream with a
    WebSocket (RFC 8441) each message, of either side, is an exchange of its own without an answer; an error closes the
    WebSocket with 1011, and ends the stream.
    """

    alpn: ClassVar[tuple[str, ...]] = ("h2",)
    plain_hint: ClassVar[str] = "ask for http:// instead of https://"
    error_codes = tuple(REASONS)
    abort_codes = tuple(h2.Code.__members__)
    fields: ClassVar[tuple[str, ...]] = (
        *("method", "path", "host", "authority", "header.", "status"),
        *("opcode", "direction", "number", "text"),
    )
    response_fields: ClassVar[tuple[str, ...]] = ("status",)
    content_fields: ClassVar[frozenset[str]] = frozenset({"text"})

    overwrite_host_header: Annotated[
        bool, Option("Send the backend's address as :authority, not what the client sent")
    ] = True

    header_faults: HeaderFaults = False

    @property
    def own_faults(self) -> tuple[Fault, ...]:
        """What the header faults need."""
        return HEADER_FAULTS if self.header_faults else ()

    def framer(self) -> Framing:
        """A framing of HTTP/2."""
        return Http2Framer()

    def codes_by_chance(self, head: Head) -> Sequence[str]:
        """The 50x; none where no number is drawn."""
        return () if head.one_way else BY_CHANCE

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """A response with the status *code*, by chance a 50x. Raises `OptionError` for another code than these."""
        if code is None:
            code = random.choice(BY_CHANCE)
        else:
            self.check_code(code)
        if head.one_way:
            return closing_reply(message or REASONS[code])
        text = f"{code} {REASONS[code]}\n" if message is None else f"{message}\n"
        return self.response(head, int(code), _PLAIN_TEXT, text.encode())

    def response(self, head: Head, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
        """A response on the stream of *head*."""
        if head.one_way:
            return closing_reply(REASONS.get(str(status), ""))
        length = None if status in WITHOUT_BODY else len(body)
        if isinstance(head, Http2Request) and head.method == "HEAD":
            body = b""
        made = _response if len(body) <= SIZE_LIMIT else _response.__wrapped__
        return Reply(h2.on_stream(head.stream, made(status, tuple(headers), length, body)))

    def changed_head(self, head: Head, data: bytes, gone: Set[str], added: Sequence[tuple[str, str]]) -> bytes:
        flags, stream, before, block = split_head(data)
        headers = decode_stateless(block).headers
        kept = [field for field in headers if field[0].decode("latin-1").lower() not in gone]
        kept += ((name.lower().encode(), value.encode()) for name, value in added)
        return data if tuple(kept) == headers else rebuilt(h2.HEADERS, flags, stream, before, encode(kept))

    def body(self, request: Head, response: Head) -> BodyCodec | None:
        """The text of its frames."""
        return FramedBody(streamed="header.content-length" not in response.fields)

    def open_head(self, request: Head, response: Head, data: bytes) -> bytes:
        """Without the length of a stream of events. An array is none if its length was known."""
        fields = response.fields
        if "header.content-length" not in fields or (isinstance(request, Http2Request) and request.method == "HEAD"):
            return data
        streamed = kind_of(fields.get("header.content-type", "")) in ("sse", "lines")
        return self.changed_head(response, data, {"content-length"}, ()) if streamed else data

    @property
    def rewrites(self) -> bool:
        """Only to overwrite the authority."""
        return self.overwrite_host_header

    def rewrite(self, head: Head, backend: Address) -> bytes | None:
        """The request with *backend* as its authority, and as its host if it has one."""
        if (
            not (self.overwrite_host_header and isinstance(head, Http2Request))
            or head.method == "CONNECT"
            or backend.path
        ):
            return None
        flags, stream, before, block = split_head(head.outgoing)
        name = authority(backend)
        key = name + block
        changed = _REWRITTEN.get(key)
        if changed is None:
            headers = decode_stateless(block).headers
            changed = encode((name_, name if name_ in _AUTHORITIES else value) for name_, value in headers)
            _REWRITTEN.add(key, changed)
        return rebuilt(h2.HEADERS, flags, stream, before, changed)


@functools.lru_cache(maxsize=256)  # a fault gives mostly the same answer
def _response(status: int, headers: tuple[tuple[str, str], ...], length: int | None, body: bytes) -> tuple[bytes, ...]:
    """The frames of a response of its own, on any stream."""
    fields: list[Field] = [(b":status", b"%d" % status)]
    fields += ((name.lower().encode(), value.encode()) for name, value in headers)
    if length is not None:
        fields.append((b"content-length", b"%d" % length))
    made = h2.headers(0, encode(fields), end=not body)
    return h2.around_streams(made + h2.data(0, body, end=True) if body else made)


_PLAIN_TEXT = (("content-type", "text/plain"),)
_AUTHORITIES = (b":authority", b"host")
_REWRITTEN: BoundedCache[bytes] = BoundedCache()  # a client's fields are mostly the same, whatever it asks for
