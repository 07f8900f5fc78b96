"""What a link and an exchange have in common, as one fault sees them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol, TypeVar

from vaurien import hooks

S = TypeVar("S")


class FaultOnConnection(Protocol):
    """A fault on one connection: `BoundFault`, or a `FakeConnection` in a test."""

    @property
    def random(self) -> Random:
        """The fault's generator."""

    def now(self) -> float:
        """Seconds on the clock."""

    async def pause(self, seconds: float) -> None:
        """Make something *seconds* late."""

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on the connection."""

    def shared(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on the proxy."""

    def shared_number(
        self, behavior: hooks.Behavior, change: Callable[[float], float], *, first: float = 0.0, name: str = ""
    ) -> float:
        """Change a number of the fault's on the proxy."""

    def close_connection(self) -> None:
        """End the connection in order, because of the fault."""

    def reset_connection(self, side: hooks.Side = "both") -> None:
        """End the connection with RST, because of the fault."""


class FaultView:
    """A part of a connection as the fault *fault* sees it: the base of what links and exchanges are to hooks.

    Its first act is a hit of the fault (`mark_hit`); what an act is, each method says.
    """

    __slots__ = ()

    fault: FaultOnConnection

    def mark_hit(self) -> None:
        """The fault acts. It is counted once for each exchange, or chunk."""
        raise NotImplementedError

    @property
    def random(self) -> Random:
        """The fault's generator."""
        return self.fault.random

    def now(self) -> float:
        """Seconds on the clock."""
        return self.fault.now()

    async def sleep(self, seconds: float) -> None:
        """Wait, which is an act; what comes behind this part waits too."""
        self.mark_hit()
        await self.fault.pause(seconds)

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on the connection."""
        return self.fault.state(behavior, factory)

    def shared(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """The fault's state on the whole proxy."""
        return self.fault.shared(behavior, factory)

    def shared_number(
        self, behavior: hooks.Behavior, change: Callable[[float], float], *, first: float = 0.0, name: str = ""
    ) -> float:
        """Change a number of the fault's on the whole proxy."""
        return self.fault.shared_number(behavior, change, first=first, name=name)

    def close(self) -> None:
        """End the connection in order, which is an act."""
        self.mark_hit()
        self.fault.close_connection()

    def reset(self, side: hooks.Side = "both") -> None:
        """End the connection with RST, which is an act."""
        self.mark_hit()
        self.fault.reset_connection(side)
