"""Answer a call of gRPC with another content type."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._grpc import check_grpc
from vaurien.behaviors._http import check_headers
from vaurien.framing import Protocol
from vaurien.hooks import Behavior, Exchange
from vaurien.options import Option


class GrpcContentType(Behavior, frozen=True):
    """Say that the response has the content type *value*, as a gateway does that answers with a page of its own.

    The client takes the response for none of gRPC, and reports an unknown error, or what the status of HTTP stands for.
    The backend has done its work and sees nothing of it.
    """

    value: Annotated[str, Option("The content type")] = "text/html"

    def __post_init__(self) -> None:
        """Refuse what is no value of a header. Raises ValueError."""
        check_headers("value", [f"content-type: {self.value}"])

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols other than gRPC. Raises `OptionError`."""
        check_grpc("grpc_content_type", protocol)

    async def on_response(self, exchange: Exchange) -> None:
        """Change it."""
        if exchange.response is not None and "status" in exchange.response.fields:
            added = [("content-type", self.value)]
            exchange.change(exchange.protocol.changed_head(exchange.response, exchange.head, {"content-type"}, added))
