"""Behaviors that measure the engine rather than themselves."""

from __future__ import annotations

from vaurien.behaviors.bandwidth import Bandwidth
from vaurien.hooks import Behavior, Link

__all__ = ["LATENCY", "Bandwidth", "Late", "Pass"]

LATENCY = 0.01
"""Seconds that `Late` adds."""


class Pass(Behavior, frozen=True):
    """Pass every chunk on: what a hook costs that does nothing."""

    async def on_data(self, link: Link, data: bytes) -> None:
        """Pass *data* on."""
        await link.send(data)


class Late(Behavior, frozen=True):
    """Let every chunk leave `LATENCY` seconds after it came."""

    async def on_data(self, link: Link, data: bytes) -> None:
        """Put *data* on the delay line."""
        await link.send(data, after=LATENCY)
