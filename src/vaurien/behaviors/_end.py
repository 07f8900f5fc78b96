"""The end of a stream that comes late, for the behaviors that delay it."""

from __future__ import annotations

from vaurien.hooks import Link


async def delay_end(link: Link, seconds: float) -> None:
    """Let the end of a stream, which `on_eof` has at hand, leave *seconds* after it arrived.

    Whether that is a hit depends on *seconds* alone: a machine that is too busy to wait in time must not make another
    run of the same seed.
    """
    if seconds > 0:
        await link.sleep(max(0.0, link.arrived_at + seconds - link.now()))
