"""A proxy for plain synchronous code."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self, Unpack

from vaurien.engine.relay.traffic import ConnectionInfo
from vaurien.errors import VaurienError, known_keywords
from vaurien.library import loop_thread
from vaurien.library.base import TIMEOUT, BaseProxy
from vaurien.library.errors_at_caller import errors_at_caller
from vaurien.library.settings import KEYWORDS, AddressLike, Settings


class Proxy(BaseProxy):
    """A proxy in a thread of its own, for plain synchronous code.

    ``with`` starts it, and closes it at the end of the block::

        with vaurien.Proxy(backend="127.0.0.1:6379", protocol="redis") as proxy:
            client = redis.Redis.from_url(proxy.url("redis"))
            with proxy.fault("latency", latency=100):
                client.get("key")

    *settings* are the options of the command line, as keywords: *listen*, *protocol*, *protocol_options*, *mix*,
    *mix_options*, *faults*, *preset*, *seed*, *name*, *timeout*, *stay_connected*, *drain_timeout*,
    *max_connections*, *backlog*, *bufsize*, *pool_max_size*, *pool_timeout*, *route*, *upstream_proxy*,
    *accept_proxy_protocol*, *send_proxy_protocol*, and those of TLS with clients: *tls*,
    *tls_key*, *tls_passphrase_file*, *tls_authority*, *tls_client_ca*, *tls_client_certificate*, *tls_min_version*,
    *tls_max_version*, *tls_ciphers*, *tls_alpn*, *starttls*. With ``tls="auto"`` clients have to trust `ca_file`.

    It listens on a free port of 127.0.0.1 if not told otherwise. All proxies of a process share the thread, which is
    there while one of them is. After a fork the proxies are the parent's: in the child their sockets are closed, calls
    raise, and `close` does nothing; it can make its own.

    Raises `UnknownName` and `OptionError` for wrong arguments, before anything is opened.
    """

    @errors_at_caller
    @known_keywords(KEYWORDS)
    def __init__(self, backend: AddressLike, **settings: Unpack[Settings]) -> None:
        super().__init__(backend, settings)
        self._home: loop_thread.LoopThread | None = None
        self._closing = threading.Lock()

    @errors_at_caller
    def start(self) -> Self:
        """Listen; clients may connect when this returns. Returns itself. Raises `BindError`."""
        home = loop_thread.acquire()
        try:
            home.run(self._proxy_host.start())
        except BaseException:
            loop_thread.release(home)
            raise
        self._home = home
        return self

    def close(self, grace: float = 0.0) -> None:
        """Refuse new clients, give open connections *grace* seconds to end, then reset them. Idempotent."""
        if self._proxy_host.in_loop_thread and self._proxy_host.open:
            raise self._own_thread()
        with self._closing:
            home, self._home = self._home, None
        if home is not None and not self._proxy_host.forked:
            try:
                home.run(self._proxy_host.stop(grace))
            finally:
                loop_thread.release(home)
        self._proxy_host.closed = True

    @errors_at_caller
    def wait_for_connections(self, count: int, timeout: float = TIMEOUT) -> list[ConnectionInfo]:
        """Wait until at least *count* connections are open, or none if that is 0, and return them.

        Raises TimeoutError, saying how many there are, after *timeout* seconds.
        """
        self._waits.run(self._proxy_host.until_open(count, timeout))
        return self.connections

    @errors_at_caller
    def wait_for_hits(self, fault: str, count: int = 1, timeout: float = TIMEOUT) -> None:
        """Wait until *fault* has acted *count* times. Raises `UnknownName`, and TimeoutError after *timeout*."""
        self._waits.run(self._proxy_host.until_hit(fault, count, timeout))

    @property
    def _waits(self) -> loop_thread.LoopThread:
        """Where it lives, to wait there. Raises `VaurienError` in its own thread, and where it is not usable."""
        self._proxy_host.require_running()
        assert self._home is not None  # noqa: S101 - it is usable
        if self._proxy_host.in_loop_thread:
            raise self._own_thread()
        return self._home

    def _own_thread(self) -> VaurienError:
        return VaurienError(f"{self._proxy_host.label}: its own thread cannot wait for it; expected another thread")

    @errors_at_caller
    def __enter__(self) -> Self:
        return self.start()

    @errors_at_caller
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self.check_expected_hits()
        finally:
            self.close()
