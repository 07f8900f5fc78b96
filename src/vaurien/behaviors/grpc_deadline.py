"""Hold a call of gRPC until its deadline has passed."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._grpc import check_grpc
from vaurien.framing import Protocol, grpc
from vaurien.hooks import Behavior, Exchange
from vaurien.options import Duration, Option


class GrpcDeadline(Behavior, frozen=True):
    """Hold a call until the deadline that its client has set (``grpc-timeout``) has passed, and *margin* more.

    The client reports that the deadline is exceeded, and gives the call up. The backend sees nothing of a call that is
    given up. With *before* false it is the response that is held: the backend has done its work, and the client does
    not know. A call without a deadline passes as it is.
    """

    margin: Annotated[Duration, Option("How much longer")] = 1.0
    before: Annotated[bool, Option("Hold the request; otherwise the response")] = True

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols other than gRPC. Raises `OptionError`."""
        check_grpc("grpc_deadline", protocol)

    async def on_request(self, exchange: Exchange) -> None:
        """Hold the request."""
        if self.before:
            await self._hold(exchange)

    async def on_response(self, exchange: Exchange) -> None:
        """Hold the response."""
        if not self.before:
            await self._hold(exchange)

    async def _hold(self, exchange: Exchange) -> None:
        timeout = grpc.timeout(exchange.request.fields.get("header.grpc-timeout", ""))
        if timeout is not None:
            await exchange.sleep(timeout + self.margin)
