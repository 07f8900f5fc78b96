"""A proxy for asyncio."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self, Unpack

from vaurien.engine.relay.traffic import ConnectionInfo
from vaurien.errors import VaurienError, known_keywords
from vaurien.library.base import TIMEOUT, BaseProxy
from vaurien.library.errors_at_caller import awaited_errors_at_caller, errors_at_caller
from vaurien.library.settings import KEYWORDS, AddressLike, Settings


class AsyncProxy(BaseProxy):
    """A proxy in the running asyncio loop.

    ``async with`` starts it, and closes it at the end of the block::

        async with vaurien.AsyncProxy(backend="127.0.0.1:6379", protocol="redis") as proxy:
            with proxy.fault("latency", latency=100):
                ...
            with proxy.down():
                ...

    *settings* are the options of the command line, as keywords: *listen*, *protocol*, *protocol_options*, *mix*,
    *mix_options*, *faults*, *preset*, *seed*, *name*, *timeout*, *stay_connected*, *drain_timeout*,
    *max_connections*, *backlog*, *bufsize*, *pool_max_size*, *pool_timeout*, *route*, *upstream_proxy*,
    *accept_proxy_protocol*, *send_proxy_protocol*, and those of TLS with clients: *tls*,
    *tls_key*, *tls_passphrase_file*, *tls_authority*, *tls_client_ca*, *tls_client_certificate*, *tls_min_version*,
    *tls_max_version*, *tls_ciphers*, *tls_alpn*, *starttls*. With ``tls="auto"`` clients have to trust `ca_file`.

    Only what waits is awaited, in this loop: `start`, `close`, and the methods called ``wait_for``. All else, the
    faults too, is as with `Proxy`: in force when the call returns, and from any thread. Under trio take `Proxy`, which
    has a thread of its own.
    """

    @errors_at_caller
    @known_keywords(KEYWORDS)
    def __init__(self, backend: AddressLike, **settings: Unpack[Settings]) -> None:
        super().__init__(backend, settings)

    @awaited_errors_at_caller
    async def start(self) -> Self:
        """Listen; clients may connect when this returns. Returns itself. Raises `BindError`."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise VaurienError("AsyncProxy needs a running asyncio loop; expected Proxy where there is none") from None
        await self._proxy_host.start()
        return self

    @awaited_errors_at_caller
    async def close(self, grace: float = 0.0) -> None:
        """Refuse new clients, give open connections *grace* seconds to end, then reset them. Idempotent."""
        if self._proxy_host.open:
            self._check_loop()
            await self._proxy_host.stop(grace)
        self._proxy_host.closed = True

    @awaited_errors_at_caller
    async def wait_for_connections(self, count: int, timeout: float = TIMEOUT) -> list[ConnectionInfo]:
        """Wait until at least *count* connections are open, or none if that is 0, and return them.

        Raises TimeoutError, saying how many there are, after *timeout* seconds.
        """
        self._check_loop()
        await self._proxy_host.until_open(count, timeout)
        return self.connections

    @awaited_errors_at_caller
    async def wait_for_hits(self, fault: str, count: int = 1, timeout: float = TIMEOUT) -> None:
        """Wait until *fault* has acted *count* times. Raises `UnknownName`, and TimeoutError after *timeout*."""
        self._check_loop()
        await self._proxy_host.until_hit(fault, count, timeout)

    def _check_loop(self) -> None:
        """Raises `VaurienError` in another loop than the one it was started in."""
        if self._proxy_host.require_running() is not asyncio.get_running_loop():
            raise VaurienError(
                f"{self._proxy_host.label} lives in another event loop; expected the one that started it"
            )

    @awaited_errors_at_caller
    async def __aenter__(self) -> Self:
        return await self.start()

    @awaited_errors_at_caller
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.check_expected_hits()
        finally:
            await self.close()
