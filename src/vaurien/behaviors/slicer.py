"""Cut the stream into small pieces."""

from __future__ import annotations

from typing import Annotated

from vaurien.hooks import Behavior, Link
from vaurien.options import Microseconds, Option, PositiveSize, Size

_PIECES = 64
"""Pieces that are sent before other connections run."""


class Slicer(Behavior, frozen=True):
    """Cut what is sent into small pieces, written one by one.

    The peer that receives gets the same bytes in more, smaller reads; taking one read for one message fails.
    A piece is *average_size* bytes long, give or take *size_variation*, at least one byte, and the next one follows
    *delay* microseconds later. Without a *delay* the receiving system may join pieces before they are read.
    """

    average_size: Annotated[PositiveSize, Option("Bytes in a piece, on average")] = 1024
    size_variation: Annotated[Size, Option("How many bytes more or less; at most the average")] = 0
    delay: Annotated[Microseconds, Option("The time between two pieces")] = 0.0

    def __post_init__(self) -> None:
        """Refuse pieces of less than no bytes. Raises ValueError."""
        if self.size_variation > self.average_size:
            raise ValueError(f"size_variation to be at most average_size, {self.average_size}")

    @property
    def chunk_limit(self) -> int:
        """So many pieces."""
        return self.average_size * _PIECES

    async def on_data(self, link: Link, data: bytes) -> None:
        """Cut it."""
        shortest, longest = max(1, self.average_size - self.size_variation), self.average_size + self.size_variation
        start, random = 0, link.random
        while start < len(data):
            if start and self.delay:
                await link.sleep(self.delay / 1e6)
            size = random.randint(shortest, longest) if shortest < longest else longest
            await link.send(data[start : start + size])
            start += size
