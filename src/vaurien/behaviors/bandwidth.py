"""A narrow line."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from vaurien.hooks import Behavior, Link
from vaurien.options import Option

_KB = 1000
"""Bytes; Toxiproxy counts so too."""

_STEP = 0.005
"""Seconds' worth of bytes that leave at once: far below what a person or a time-out notices."""

_LAG = 0.01
"""Seconds between two chunks that are not idleness but the time it takes to get the next one; made up for."""


class _Bucket:
    """A token bucket, kept as the time when all that was asked of it has flowed: nothing has to be refilled."""

    __slots__ = ("_free_at",)

    def __init__(self) -> None:
        self._free_at = -math.inf

    def take(self, size: int, rate: float, burst: float, now: float) -> float:
        """When *size* bytes may go, at *rate* bytes a second; after a rest, *burst* bytes go at once."""
        if now - self._free_at > _LAG:
            self._free_at = max(self._free_at, now - burst / rate)
        self._free_at += size / rate
        return self._free_at


class Bandwidth(Behavior, frozen=True):
    """Let *rate* kilobytes pass a second, and no more, in each direction.

    Both peers see a slow line: bytes come steadily, in small steps, and who sends more than passes is held back by TCP,
    its window closing. Nothing is lost. With a *rate* of 0 nothing passes at all, as if the line were cut, until the
    rate is changed or the fault removed.

    *shared* says who shares the line: with ``connection`` each connection has one of its own, with ``client`` all
    connections from one address have one, with ``proxy`` all of them.
    """

    rate: Annotated[float, msgspec.Meta(ge=0), Option("Kilobytes (1000 bytes) a second; 0: nothing passes")] = 0.0
    burst: Annotated[float, msgspec.Meta(ge=0), Option("Kilobytes that pass at once after a rest")] = 0.0
    shared: Annotated[Literal["connection", "client", "proxy"], Option("Who shares the line")] = "connection"

    async def on_data(self, link: Link, data: bytes) -> None:
        """Let it pass in steps."""
        if self.rate == 0:
            await link.sleep(math.inf)
        rate, bucket = self.rate * _KB, self._bucket(link)
        step = max(1, int(rate * _STEP))
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            wait = bucket.take(len(piece), rate, self.burst * _KB, link.now()) - link.now()
            if wait > 0:
                await link.sleep(wait)
            await link.send(piece)

    def _bucket(self, link: Link) -> _Bucket:
        remember = link.state if self.shared == "connection" else link.shared
        buckets: dict[tuple[bool, str], _Bucket] = remember(self, dict)
        host = link.connection.peer.rpartition(":")[0] if self.shared == "client" else ""
        return buckets.setdefault((link.to_backend, host), _Bucket())
