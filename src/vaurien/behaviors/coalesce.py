"""Gather small writes into large ones."""

from __future__ import annotations

from typing import Annotated, ClassVar

from vaurien.hooks import Behavior, Connection, Link
from vaurien.options import BufferSize, Milliseconds, Option

_WRITES = 64
"""Writes before other connections run."""


class Coalesce(Behavior, frozen=True):
    """Gather small writes into large ones.

    The peer that receives gets the same bytes in fewer, larger reads: several messages at once, or one and a half.
    Bytes wait until there are *size* of them, and go on in writes of that size; what is less goes on *wait*
    milliseconds after the first of it arrived, or at the end of the stream.

    With HTTP/2 and gRPC those are the frames of all streams, as they are. A fault that matches exchanges gathers the
    text of their messages, each by itself, in fewer frames DATA.
    """

    text_only: ClassVar[bool] = True

    size: Annotated[BufferSize, Option("Bytes to gather")] = 65536
    wait: Annotated[Milliseconds, Option("How long the first of them waits at most")] = 20.0

    @property
    def chunk_limit(self) -> int:
        """So many writes."""
        return self.size * _WRITES

    async def on_data(self, link: Link, data: bytes) -> None:
        """Gather it."""
        gathered = self._gathered(link)
        if not gathered:
            link.alarm(self.wait / 1000)
        gathered += data
        while len(gathered) >= self.size:
            full = bytes(gathered[: self.size])
            del gathered[: self.size]
            link.alarm(self.wait / 1000)  # what is left has just arrived
            await link.send(full)

    async def on_alarm(self, link: Link) -> None:
        """It has waited long enough."""
        await self._flush(link)

    async def on_eof(self, link: Link) -> None:
        """Nothing more will come."""
        await self._flush(link)

    async def on_stop(self, connection: Connection) -> None:
        """Nothing more is gathered."""
        for link in (connection.upstream, connection.downstream):
            await self._flush(link)

    async def _flush(self, link: Link) -> None:
        gathered = self._gathered(link)
        if gathered:
            data = bytes(gathered)
            gathered.clear()
            await link.send(data)

    def _gathered(self, link: Link) -> bytearray:
        return link.state(self, bytearray)
