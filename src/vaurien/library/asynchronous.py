"""A proxy for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import Any, Self, Unpack

from vaurien.engine.traffic import ConnectionInfo
from vaurien.errors import VaurienError
from vaurien.library.settings import Settings, Where
from vaurien.library.steered import TIMEOUT, Steered


class AsyncOutage:
    """An outage that begins when it is awaited or its ``async with`` block is entered, and ends with the block."""

    def __init__(self, proxy: AsyncProxy) -> None:
        self._proxy = proxy

    async def _begin(self) -> Self:
        self._proxy._check_loop()
        await self._proxy._core.down()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._begin().__await__()

    async def up(self) -> None:
        """End the outage, as `AsyncProxy.up`. Does nothing when the proxy is closed."""
        if not self._proxy._core.closed:
            await self._proxy.up()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.up()


class AsyncProxy(Steered):
    """A proxy in the running asyncio loop.

    ::

        async with vaurien.AsyncProxy(backend="127.0.0.1:6379", protocol="redis") as proxy:
            with proxy.fault("latency", latency=100):
                ...
            async with proxy.down():
                ...

    What waits is awaited, in this loop: beginning, ending, an outage, waiting for connections. The rest is as with
    `Proxy`, without ``await``, and from any thread. Under trio take `Proxy`, which has a thread of its own.
    """

    def __init__(self, backend: Where, **settings: Unpack[Settings]) -> None:
        super().__init__(backend, settings)

    async def start(self) -> Self:
        """Listen; clients may connect when this returns. Returns itself. Raises `BindError`."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise VaurienError("AsyncProxy needs a running asyncio loop; expected Proxy where there is none") from None
        await self._core.start()
        return self

    async def close(self, grace: float = 0.0) -> None:
        """Refuse new clients, give those that are here *grace* seconds to end, then reset them. Idempotent."""
        if self._core.open:
            self._check_loop()
            await self._core.stop(grace)
        self._core.closed = True

    def down(self) -> AsyncOutage:
        """Be gone, as a server that was stopped: clients are refused, open connections end, the port stays reserved.

        ``await`` it, or enter it with ``async with``. Open connections see FIN, or RST where they have sent what was
        not read. Ends with `up`, or with the block.
        """
        return AsyncOutage(self)

    async def up(self) -> None:
        """Listen again, on the same port, after `down`. Idempotent. Raises `BindError`."""
        self._check_loop()
        await self._core.up()

    async def wait_for_connections(self, count: int, timeout: float = TIMEOUT) -> list[ConnectionInfo]:
        """Wait until at least *count* connections are open, or none if that is 0, and return them.

        Raises TimeoutError, saying how many there are, after *timeout* seconds.
        """
        self._check_loop()
        await self._core.until_open(count, timeout)
        return self.connections

    async def wait_for_hits(self, fault: str, count: int = 1, timeout: float = TIMEOUT) -> None:
        """Wait until *fault* has acted *count* times. Raises `UnknownName`, and TimeoutError after *timeout*."""
        self._check_loop()
        await self._core.until_hit(fault, count, timeout)

    def _check_loop(self) -> None:
        """Raises `VaurienError` in another loop than the one it was started in."""
        if self._core.usable() is not asyncio.get_running_loop():
            raise VaurienError(f"{self._core.who} lives in another event loop; expected the one that started it")

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
