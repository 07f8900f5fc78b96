"""Change bytes at random."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from vaurien.hooks import Behavior, Link
from vaurien.options import Option, Size

_KB = 1000

_CHANGES = 500
"""Bytes that are changed, on average, before other connections run."""

_NEVER = 1 << 62
"""An offset that no stream gets to."""


class _Place:
    """Where a direction is in its stream, and where the next byte is to be changed."""

    __slots__ = ("offset", "rate", "target")

    def __init__(self) -> None:
        self.offset = 0
        self.target = -1
        self.rate = -1.0  # that the target was drawn with


class Corrupt(Behavior, frozen=True):
    """Change some of the bytes on their way, at random; none is lost or added.

    The peer that receives gets as many bytes as were sent, some of them wrong. TCP's checksum does not help: it is
    computed anew behind the proxy. *mode* says what becomes of a byte: ``flip`` turns one of its bits round, ``zero``
    makes it 0, ``random`` makes it another one. *first* and *last* are offsets in a direction's stream, counted from 0
    when the fault began on the connection; bytes before and behind them are left alone.
    """

    rate: Annotated[
        float, msgspec.Meta(ge=0, le=_KB), Option("Bits (flip) or bytes to change in each 1000 bytes, on average")
    ] = 1.0
    first: Annotated[Size, Option("Offset of the first byte that may change")] = 0
    last: Annotated[Size | None, Option("Offset of the last byte that may change; none: no last one")] = None
    mode: Annotated[Literal["flip", "zero", "random"], Option("What a changed byte becomes")] = "flip"

    def __post_init__(self) -> None:
        """Refuse a window without a byte. Raises ValueError."""
        if self.last is not None and self.last < self.first:
            raise ValueError(f"last to be first, {self.first}, or more")

    def why_idle(self) -> str:
        return "" if self.rate else "rate is 0"

    @property
    def chunk_limit(self) -> int | None:
        """So many bytes that about `_CHANGES` of them are changed."""
        return int(min(_CHANGES * _KB / self.rate, _NEVER)) if self.rate else None

    async def on_data(self, link: Link, data: bytes) -> None:
        """Change some of it."""
        place = link.state(self, _Place)
        begin, place.offset = place.offset, place.offset + len(data)
        if place.rate != self.rate or place.target < max(begin, self.first):
            place.rate, place.target = self.rate, max(begin, self.first) + self._gap(link)
        end = place.offset if self.last is None else min(place.offset, self.last + 1)
        changed = bytearray(data) if place.target < end else data
        while place.target < end:
            assert isinstance(changed, bytearray)  # noqa: S101 - made so above
            changed[place.target - begin] = self._spoil(changed[place.target - begin], link)
            place.target += 1 + self._gap(link)
        await link.send(data if changed is data else bytes(changed))

    def _gap(self, link: Link) -> int:
        """How many bytes pass unharmed before the next: the geometric distribution, so cuts make no difference."""
        chance = self.rate / _KB
        if chance in (0.0, 1.0):
            return 0 if chance else _NEVER
        return int(min(math.log(1.0 - link.random.random()) / math.log1p(-chance), _NEVER))

    def _spoil(self, byte: int, link: Link) -> int:
        if self.mode == "flip":
            return byte ^ (1 << link.random.randrange(8))
        return 0 if self.mode == "zero" else (byte + link.random.randrange(1, 256)) % 256
