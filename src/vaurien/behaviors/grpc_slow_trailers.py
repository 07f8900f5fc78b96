"""Let the status of a call of gRPC come late."""

from __future__ import annotations

from typing import Annotated, ClassVar

from vaurien.behaviors._grpc import check_grpc
from vaurien.framing import Protocol
from vaurien.hooks import Behavior, Exchange, Link
from vaurien.options import Duration, Option


class GrpcSlowTrailers(Behavior, frozen=True):
    """Pass the messages of a response at once, and its trailers later.

    The client has its answer and waits for the status: a unary call returns late, or runs into its deadline although
    the backend has answered in time. The backend sees nothing of it.
    """

    of_messages: ClassVar[bool] = True

    delay: Annotated[Duration, Option("How long the trailers wait")] = 1.0

    def why_idle(self) -> str:
        return "" if self.delay else "delay is 0"

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols other than gRPC. Raises `OptionError`."""
        check_grpc("grpc_slow_trailers", protocol)

    async def on_response(self, exchange: Exchange) -> None:
        """Wait, if the head of the response is its trailers."""
        if self.delay and exchange.response is not None and "grpc_status" in exchange.response.fields:
            await exchange.sleep(self.delay)

    async def on_eof(self, link: Link) -> None:
        """Wait with the trailers."""
        exchange = link.exchange
        if link.to_backend or exchange is None or exchange.response is None or not self.delay:
            return
        if "grpc_status" not in exchange.response.fields:
            await link.sleep(self.delay)
