"""Cut a message of gRPC off."""

from __future__ import annotations

from typing import Annotated, ClassVar

from vaurien.behaviors._grpc import check_grpc, text_of_response
from vaurien.framing import Protocol
from vaurien.framing.grpc import PREFIX
from vaurien.hooks import Behavior, Link
from vaurien.options import Count, Option


class GrpcTruncate(Behavior, frozen=True):
    """Pass *after* messages of a response and the length of the next one, then its trailers, as if that were all.

    The client reads a message that ends before the length that it was promised, and a call that ended well all the
    same: it reports an internal error, or an unknown one. The backend has done its work and sees nothing of it.
    """

    of_messages: ClassVar[bool] = True

    after: Annotated[Count, Option("How many messages pass whole")] = 0

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols other than gRPC. Raises `OptionError`."""
        check_grpc("grpc_truncate", protocol)

    async def on_data(self, link: Link, data: bytes) -> None:
        """Pass what may pass."""
        found = await text_of_response(self, link, data)
        if found is None:
            return
        _, messages, text = found
        end = messages.until(text, self.after)
        if end is None:
            await link.send(text)
            return
        here = min(PREFIX - messages.beyond, len(text) - end)
        messages.beyond += here
        if end + here:
            await link.send(text[: end + here])
