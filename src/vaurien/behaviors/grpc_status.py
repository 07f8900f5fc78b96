"""End a call of gRPC with a given status."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, ClassVar

import msgspec

from vaurien.behaviors._grpc import StatusName, check_grpc, text_of_response
from vaurien.framing import Protocol, Reply, grpc
from vaurien.hooks import Behavior, Exchange, Link
from vaurien.options import Count, Option


class GrpcStatus(Behavior, frozen=True):
    """End a call with the status *code*: instead of the backend's answer, or behind some messages of it.

    The client's call fails with that code and *message*, and its connection stays usable. Without *after* the backend
    does not see the call. With it, so many messages of the response pass, and then the call ends; the backend sees
    RST_STREAM(CANCEL). A response with fewer messages passes as it is.

    *details* are what rich errors carry (google.rpc.Status): each a type's URL and its message in base64, such as
    ``type.googleapis.com/google.rpc.RetryInfo=CgIIBQ==``. *pushback* tells a client with a retry policy how many
    milliseconds to wait before it tries again; below 0 it does not try again.
    """

    of_messages: ClassVar[bool] = True

    code: Annotated[StatusName, Option("The status")] = "UNAVAILABLE"
    message: Annotated[str, Option("What the error says")] = "by the proxy"
    details: Annotated[tuple[str, ...], Option("Details, each as TYPE-URL=BASE64")] = ()
    after: Annotated[Count | None, Option("After how many messages of the response; otherwise before the request")] = (
        None
    )
    pushback: Annotated[
        Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)] | None, Option("grpc-retry-pushback-ms: when to try again")
    ] = None

    def __post_init__(self) -> None:
        """Refuse details that are none. Raises ValueError."""
        for detail in self.details:
            _, equals, data = detail.partition("=")
            try:
                base64.b64decode(data, validate=True)
            except binascii.Error:
                equals = ""
            if not equals:
                raise ValueError(f"details as TYPE-URL=BASE64, not {detail!r}")

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols other than gRPC. Raises `OptionError`."""
        check_grpc("grpc_status", protocol)

    @property
    def acts_on_parts(self) -> bool:
        """Otherwise it counts by itself."""
        return self.after is None

    async def on_request(self, exchange: Exchange) -> None:
        """Answer in place of the backend."""
        if self.after is None:
            exchange.reply(self._end(exchange, begun=False))

    async def on_data(self, link: Link, data: bytes) -> None:
        """Pass what may pass, and end the call behind it."""
        if self.after is None:
            await link.send(data)
            return
        found = await text_of_response(self, link, data)
        if found is None:
            return
        exchange, messages, text = found
        end = messages.until(text, self.after)
        if end is None:
            await link.send(text)
            return
        if end:
            await link.send(text[:end])
        exchange.finish(self._end(exchange, begun=True))

    def _end(self, exchange: Exchange, *, begun: bool) -> Reply:
        status = grpc.StatusCode[self.code]
        given = [detail.partition("=")[::2] for detail in self.details]
        details = tuple((url, base64.b64decode(data)) for url, data in given)
        packed = grpc.status_details(status, self.message, details) if details else b""
        fields = grpc.trailers(status, self.message, details=packed, pushback=self.pushback)
        return exchange.protocol.trailers(exchange.request, fields, begun=begun)
