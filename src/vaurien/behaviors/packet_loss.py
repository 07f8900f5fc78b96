"""Do to a stream what lost packets do to it."""

from __future__ import annotations

from typing import Annotated

from vaurien.behaviors._end import delay_end
from vaurien.hooks import Behavior, Link
from vaurien.options import Milliseconds, Option, Ratio

_SEGMENT = 1460
"""Bytes in a TCP segment over Ethernet (RFC 6691: 1500 less two headers of 20)."""

_SEGMENTS = 45
"""Segments before other connections run: each may be drawn for, and sent, by itself."""

_RETRIES = 15
"""Retransmissions after which the segment arrives in any case; Linux gives up there (tcp_retries2)."""

_LONGEST = 120.0
"""Seconds, the longest retransmission time-out (Linux's TCP_RTO_MAX; RFC 6298 allows 60 or more)."""


class _Segment:
    """Whether the last segment of a direction was *lost*; ``None`` before the first."""

    __slots__ = ("lost",)

    def __init__(self) -> None:
        self.lost: bool | None = None


class PacketLoss(Behavior, frozen=True):
    """Do to a stream what lost packets do: some of it arrives late, and everything behind it waits.

    A proxy cannot lose packets, only bytes, and a TCP stream never lacks bytes: its sender sends a lost segment again
    after a time-out. So that is what the peers see. Of the segments of 1460 bytes a share of *loss_rate* is lost; such
    a segment arrives *rto* milliseconds later, when it is lost again, twice as long after that, and so on (RFC 6298).
    The stream stops meanwhile, then comes in a burst. No byte is deleted, and the order is kept. The end of the stream
    is a segment, too, and may be lost like others.

    Loss comes in bursts with a *correlation*: the chance that a segment is lost after a lost one is that much nearer to
    1, and after another that much nearer to 0 (Gilbert's model); the share of lost segments stays *loss_rate*.
    """

    loss_rate: Annotated[Ratio, Option("Share of segments that are lost, from 0 to 1")] = 0.0
    correlation: Annotated[Ratio, Option("How much loss comes in bursts, from 0 to 1")] = 0.0
    rto: Annotated[Milliseconds, Option("Retransmission time-out; doubles while the loss lasts")] = 200.0

    def why_idle(self) -> str:
        return "" if self.loss_rate else "loss_rate is 0"

    @property
    def chunk_limit(self) -> int:
        """So many segments."""
        return _SEGMENTS * _SEGMENT

    async def on_data(self, link: Link, data: bytes) -> None:
        """Let lost segments be late."""
        intact = 0
        for start in range(0, len(data), _SEGMENT):
            late = self._late(link)
            if late:
                if intact < start:
                    await link.send(data[intact:start])
                intact = start + _SEGMENT
                await link.send(data[start:intact], after=late)
        if intact < len(data):
            await link.send(data[intact:] if intact else data)

    async def on_eof(self, link: Link) -> None:
        """Let a lost end be late."""
        await delay_end(link, self._late(link))

    def _late(self, link: Link) -> float:
        """Seconds that the next segment is late."""
        before = link.state(self, _Segment)
        lost = before.lost = self._lost(link, before.lost)
        late, timeout = 0.0, self.rto / 1000
        for _ in range(_RETRIES):
            if not lost:
                break
            late += timeout
            timeout = min(2 * timeout, max(_LONGEST, self.rto / 1000))
            lost = self._lost(link, True)
        return late

    def _lost(self, link: Link, before: bool | None) -> bool:
        """Whether a segment is lost, when the one before it was, or was not, or there was none."""
        pull = 0.0 if before is None else self.correlation * (before - self.loss_rate)
        return link.random.random() < self.loss_rate + pull
