"""End a call of gRPC without its status."""

from __future__ import annotations

from typing import ClassVar

from vaurien.behaviors._grpc import check_grpc
from vaurien.framing import Protocol, Reply, http2
from vaurien.hooks import Behavior, Link


class GrpcNoTrailers(Behavior, frozen=True):
    """Pass the messages of a response, and end its stream without trailers.

    The client reads all messages and never learns whether the call has succeeded: it reports an unknown or an internal
    error. The backend has done its work and sees nothing of it. A call that fails before its first message, whose
    status comes without one, passes as it is.
    """

    of_messages: ClassVar[bool] = True

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols other than gRPC. Raises `OptionError`."""
        check_grpc("grpc_no_trailers", protocol)

    async def on_eof(self, link: Link) -> None:
        """End the stream instead."""
        exchange = link.exchange
        if link.to_backend or exchange is None or exchange.response is None:
            return
        if "grpc_status" not in exchange.response.fields:
            exchange.finish(Reply(http2.data(exchange.request.stream, b"", end=True)))
