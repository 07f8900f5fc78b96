"""Reading ahead: what a source sends while hooks wait for its end, which comes behind that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from vaurien.engine.filters.filter import Sink

if TYPE_CHECKING:
    from vaurien.engine.relay.link import Link

LIMIT = 8 * 1024 * 1024
"""Bytes that may be read ahead; with more the end of the stream is not seen."""

WaitFor: TypeAlias = Callable[[asyncio.Future[None]], Awaitable[None]]
"""Waits for a future, as long as the hook that waits is not called off."""


class ReadAhead:
    """What *link* has read of its source while its bytes cannot go on. A link makes one when a hook first asks."""

    __slots__ = ("_farewells", "_kept", "_link", "_owes", "_watching")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._kept = b""
        self._owes = False  # bytes, or the end, may have been read and not gone on
        self._watching = 0  # hooks that wait
        self._farewells: list[asyncio.Future[None]] = []  # what they wait for

    @property
    def wanted(self) -> bool:
        """Whether to read more."""
        return self._watching > 0 and len(self._kept) < LIMIT

    def keep(self, data: bytes) -> None:
        """*data* was read."""
        self._kept += data

    async def source_gone(self, wait_for: WaitFor) -> None:
        """Wait, by *wait_for*, until the source ends or fails."""
        self._watching += 1
        self._owes = True
        gone = self._link.loop.create_future()
        self._farewells.append(gone)
        if self._link.ended:
            self.tell()
        self._link.loop.call_soon(self._link.update)  # once this link is known to be busy
        try:
            await wait_for(gone)
        finally:
            self._watching -= 1

    def tell(self) -> None:
        """The source has ended or failed, or nobody will see whether it does."""
        farewells, self._farewells = self._farewells, []
        for gone in farewells:
            if not gone.done():  # its fault may just have been removed
                gone.set_result(None)

    def take(self) -> Coroutine[Any, Any, None] | None:
        """What lets go on what was read, on the way that it would have gone; ``None``: nothing was."""
        if not (self._kept or (self._owes and self._link.ended)):
            return None
        data, self._kept = self._kept, b""
        self._owes = False
        return self._catch_up(data)

    async def _catch_up(self, data: bytes) -> None:
        receiver = self._link.intake or Sink(self._link)
        if data:
            await receiver.receive(data, self._link.clock.now())
        if self._link.ended:
            await receiver.receive_end(self._link.clock.now())
