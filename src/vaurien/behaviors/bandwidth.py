"""Limit the rate at which bytes pass."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import msgspec

from vaurien.hooks import Behavior, Link
from vaurien.options import MOST, Option

_KB = 1000
"""Bytes; Toxiproxy counts so too."""

_Kilobytes: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=MOST)]

_STEP = 0.005
"""Seconds' worth of bytes that leave at once: far below what a person or a time-out notices."""

_LONGEST = 1 << 20
"""Bytes of the longest step."""

_SENDS = 64
"""Pieces that are sent before other connections run, when a burst lets them all pass at once."""

_LAG = 0.01
"""Seconds between two chunks that are not idleness but the time it takes to get the next one; made up for."""


class _Bucket:
    """A token bucket, kept as the time when all that was asked of it has flowed: nothing has to be refilled."""

    __slots__ = ("_free_at",)

    def __init__(self) -> None:
        self._free_at = -math.inf

    def change(self, flow: Callable[[float], float]) -> float:
        """When the bytes of *flow* may go."""
        self._free_at = flow(self._free_at)
        return self._free_at


def _flow(free_at: float, *, size: int, rate: float, burst: float, now: float) -> float:
    """When *size* bytes may go, at *rate* bytes a second, if all before them has flowed at *free_at*.

    After a rest, *burst* bytes go at once.
    """
    if now - free_at > _LAG:
        free_at = max(free_at, now - burst / rate)
    return free_at + size / rate


class Bandwidth(Behavior, frozen=True):
    """Let *rate* kilobytes pass a second, and no more, in each direction.

    Both peers see a slow line: bytes come steadily, in small steps, and a faster sender is held back by TCP, its window
    closing. Nothing is lost. With a *rate* of 0 nothing passes at all, as if the line were cut, until the rate is
    changed or the fault removed.

    *shared* says which connections share a line: with ``connection`` each has one of its own, with ``client`` those
    from one address share one, with ``proxy`` all do.
    """

    rate: Annotated[
        float, msgspec.Meta(ge=0, le=MOST), Option("Kilobytes (1000 bytes) a second; 0: nothing passes")
    ] = 0.0
    burst: Annotated[_Kilobytes, Option("Kilobytes that pass at once after a rest")] = 0.0
    shared: Annotated[Literal["connection", "client", "proxy"], Option("Connections that share a line")] = "connection"

    @property
    def chunk_limit(self) -> int:
        """So many steps."""
        return self._step * _SENDS

    @property
    def _step(self) -> int:
        """Bytes that leave at once."""
        return max(1, int(min(self.rate * _KB * _STEP, _LONGEST)))

    async def on_data(self, link: Link, data: bytes) -> None:
        """Let it pass in steps."""
        if self.rate == 0:
            await link.sleep(math.inf)
        rate, burst, change, step = self.rate * _KB, self.burst * _KB, self._line(link), self._step
        free = 0  # where those begin that may go and are not sent
        for start in range(0, len(data), step):
            size = min(step, len(data) - start)
            flow = functools.partial(_flow, size=size, rate=rate, burst=burst, now=link.now())
            wait = change(flow) - link.now()
            if wait > 0:
                if free < start:
                    await link.send(data[free:start])
                await link.sleep(wait)
                await link.send(data[start : start + size])
                free = start + size
        if free < len(data):
            await link.send(data[free:])

    def _line(self, link: Link) -> Callable[[Callable[[float], float]], float]:
        """What changes the time when all that this line was asked for has flowed."""
        if self.shared == "connection":
            return link.state(self, _Bucket).change
        host = link.connection.peer.rpartition(":")[0] if self.shared == "client" else ""
        return functools.partial(link.shared_number, self, first=-math.inf, name=f"{link.to_backend} {host}")
