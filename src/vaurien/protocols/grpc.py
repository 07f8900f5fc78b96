"""gRPC over HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vaurien.framing import Framing, Head, Reply
from vaurien.framing import grpc as rpc
from vaurien.framing import http2 as h2
from vaurien.protocols.http2 import Http2Framer, Http2Protocol
from vaurien.protocols.http2.blocks import Block, encode

if TYPE_CHECKING:
    from vaurien.chance import Random


class GrpcProtocol(Http2Protocol, frozen=True):
    """gRPC over HTTP/2. An exchange is a call, of any kind: unary, or with streams of messages in either direction.

    An error is the status of a call, with ``UNAVAILABLE`` unless a code says otherwise: a response without messages
    ("trailers only"). The client keeps its connection, and its other calls go on. A fault whose match names the number
    or the direction of a message acts on single messages of a call, in place of the whole call. With the protocol
    ``http2`` faults match on what is HTTP's of a call, and answer as HTTP.
    """

    error_codes = tuple(rpc.StatusCode.__members__)[1:]
    fields = (
        *("service", "method", "path", "host", "authority", "metadata.", "header.", "status", "grpc_status"),
        *("direction", "number"),
    )
    response_fields = ("status", "grpc_status")
    part_fields = ("direction", "number")

    def framer(self) -> Framing:
        """A framing of HTTP/2 with the fields of gRPC."""
        return GrpcFramer()

    def codes_by_chance(self, head: Head) -> Sequence[str]:
        """The one that is no matter of chance."""
        return ("UNAVAILABLE",)

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """A status without messages. Raises `OptionError` for another code than these."""
        code = "UNAVAILABLE" if code is None else code
        self.check_code(code)
        fields = rpc.trailers(rpc.StatusCode[code], f"{code} by the proxy" if message is None else message)
        return self.trailers(head, fields, begun=False)

    def trailers(self, head: Head, fields: Sequence[tuple[bytes, bytes]], *, begun: bool) -> Reply:
        begun = begun or (isinstance(head, rpc.GrpcMessage) and head.call is not None and head.call.answering)
        return Reply(h2.on_stream(head.stream, _trailers(tuple(fields), begun=begun)))


@functools.lru_cache(maxsize=256)  # a fault gives mostly the same status
def _trailers(fields: tuple[tuple[bytes, bytes], ...], *, begun: bool) -> tuple[bytes, ...]:
    """The frames of the end of a call, on any stream."""
    first = () if begun else ((b":status", b"200"), (b"content-type", b"application/grpc"))
    return h2.around_streams(h2.headers(0, encode((*first, *fields)), end=True))


class GrpcFramer(Http2Framer):
    """The framing of HTTP/2, with the fields of calls."""

    def inside(self, request: Head, response: Head | None) -> Framing | None:
        """The messages of a call. A WebSocket is none."""
        return rpc.CallFramer(request) if response is None else None

    def request_fields(self, block: Block) -> Mapping[str, str]:
        fields = dict(super().request_fields(block))
        service, _, method = fields["path"].removeprefix("/").rpartition("/")
        metadata = {f"metadata.{name.removeprefix('header.')}": value for name, value in block.fields.items()}
        return {**fields, **metadata, "service": service, "method": method}

    def response_fields(self, block: Block) -> Mapping[str, str]:
        fields = dict(super().response_fields(block))
        status = fields.get("header.grpc-status", "")
        if status:
            fields["grpc_status"] = rpc.name(status)
        return fields
