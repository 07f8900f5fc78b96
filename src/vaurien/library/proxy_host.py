"""The loop that a proxy of the library lives in, and the calls that reach it from any thread.

caller's thread                     loop's thread
───────────────                     ─────────────
proxy.fault(…) ── call(function) ─► function()  ──►  Proxy.edit_policy
              ◄── its result ──────
                                    events ──► Record ──► until(…) wakes up
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from vaurien.config.schedule import Schedule
from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.own_addresses import OwnAddresses
from vaurien.errors import BindError, VaurienError
from vaurien.events import Event, Observer
from vaurien.library.record import Record
from vaurien.model import AUTO, Mix, ProxyConfig
from vaurien.proxies.proxy import TcpProxy, own_faults
from vaurien.scenario.player import Player

if TYPE_CHECKING:
    from vaurien.tls.authority import Authority

T = TypeVar("T")

CALL_TIMEOUT = 30.0
"""Seconds that the loop may take for a call of another thread. After that it is too busy, or does not run."""


class Watcher(Protocol):
    """An observer of one proxy that is also told when it begins and ends."""

    def __call__(self, event: Event) -> None:
        """Something happened."""

    def begin(self) -> None:
        """The proxy is about to start."""

    def show(self) -> None:
        """The proxy has started."""

    def end(self) -> None:
        """The proxy has stopped, or could not start."""


class Watching(Protocol):
    """Something that wants to know of all proxies of this process: the page that shows them."""

    interface: OwnAddresses
    """Where it listens, which clients of forward proxies do not get to."""

    def watch(self, host: ProxyHost) -> Watcher | None:
        """A watcher of *host*, if it wants one."""


watching: list[Watching] = []
"""What watches the proxies that are made from now on."""


class ProxyHost:
    """Runs the proxy of *config* in a loop, and *schedule*, which may come from a preset; has the proxy's `Record`.

    Its coroutines are for that loop. Making a host checks *config*, and raises what is wrong with it; nothing is opened
    before `start`.
    """

    def __init__(self, config: ProxyConfig, schedule: Schedule) -> None:
        self.record = Record(config.name)
        self.record.expect(config.policy.mix, *config.policy.faults)
        for step in schedule.steps:
            self.record.expect(step.mix or Mix(), *step.add)
        own = config.tls == (AUTO,) and config.tls_authority is None
        self._watchers = [watcher for one in watching if (watcher := one.watch(self)) is not None]
        observers: list[Observer] = [self.record, *self._watchers]
        self.proxy = TcpProxy(
            config,
            observers=observers,
            authority=_session_authority if own else None,
            interface=watching[0].interface if watching else None,
        )
        self.record.expect(Mix(), *own_faults(config))
        self.closed = self._starting = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = self._process = 0
        self._schedule = schedule
        self._waiting: list[Callable[[Exception], None]] = []
        self._playing = contextlib.ExitStack()

    @property
    def label(self) -> str:
        """Its name in errors."""
        return f"proxy {self.proxy.config.name!r}"

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._loop is not None

    @property
    def forked(self) -> bool:
        """Whether this is a process forked from the one that started it."""
        return self.started and self._process != os.getpid()

    @property
    def open(self) -> bool:
        """Whether there is something to close."""
        return self.started and not self.closed and not self.forked

    @property
    def in_loop_thread(self) -> bool:
        """Whether this is the thread of its loop."""
        return threading.get_ident() == self._thread

    def require_running(self) -> asyncio.AbstractEventLoop:
        """Its loop. Raises `VaurienError` before the start, after the end, and in a forked process."""
        if self.closed:
            raise VaurienError(
                f"{self.label} is closed; expected the call before the end of its block, or before close()"
            )
        if self._loop is None:
            raise VaurienError(f"{self.label} is not started; expected the call in its with block, or after start()")
        if self.forked:
            raise VaurienError(
                f"{self.label} belongs to process {self._process}; a forked process needs one of its own"
            )
        if self._loop.is_closed():
            raise VaurienError(f"{self.label}: its event loop is closed; expected its own close() before that")
        return self._loop

    def call(self, function: Callable[[], T]) -> T:
        """Call *function* in the loop's thread, and return or raise its result. Raises as `require_running`."""
        loop = self.require_running()
        if self.in_loop_thread:
            return function()
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(function())
            except BaseException as error:  # raised in the caller's thread
                done.set_exception(error)

        loop.call_soon_threadsafe(run)
        if not concurrent.futures.wait([done], CALL_TIMEOUT).done:
            done.cancel()
            raise VaurienError(
                f"{self.label}: its loop has not answered for {CALL_TIMEOUT:g} s; it is busy, or stopped"
            )
        return done.result()

    async def start(self) -> None:
        """Listen. Raises `BindError`."""
        if self.closed or self.started or self._starting:
            raise VaurienError(f"{self.label} was started already; expected a new one")
        self._starting = True
        for watcher in self._watchers:
            watcher.begin()
        try:
            await self.proxy.start()
        except BindError as error:
            self._end_watch()
            advice = "expected an address of this machine with a free port; port 0 takes one that is free"
            raise BindError(f"{error}; {advice}", address=error.address, reason=error.reason, step=error.step) from None
        except BaseException:
            self._end_watch()
            raise
        finally:
            self._starting = False
        self._loop = asyncio.get_running_loop()
        self._thread, self._process = threading.get_ident(), os.getpid()
        _started.add(self)
        for watcher in self._watchers:
            watcher.show()
        if self._schedule.steps:
            self._play(Clock(self._loop))

    def _play(self, clock: Clock) -> None:
        self._playing.callback(clock.close)
        player = Player(self._schedule, {self.proxy.config.name: self.proxy}, clock, [self.record])
        self._playing.callback(player.stop)
        player.start()

    async def stop(self, grace: float) -> None:
        """Refuse new clients, give open connections *grace* seconds to end, then reset them."""
        self.closed = True
        self._playing.close()
        for fail in self._waiting:
            fail(VaurienError(f"{self.label} was closed during the wait"))
        try:
            await self.proxy.stop(grace)
        finally:
            self._end_watch()

    def _end_watch(self) -> None:
        for watcher in self._watchers:
            watcher.end()

    async def until(self, reached: Callable[[], bool], timeout: float, what: Callable[[], str]) -> None:
        """Wait until *reached*, called after each event, is true. Raises TimeoutError, which says *what* is so instead.

        Raises `VaurienError` when it is closed meanwhile.
        """
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def look() -> None:
            if not done.done() and reached():
                done.set_result(None)

        def fail(error: Exception) -> None:
            if not done.done():
                done.set_exception(error)

        def late() -> None:
            fail(TimeoutError(f"{self.label}: {what()} after {timeout:g} s"))

        look()
        timer = loop.call_later(timeout, late)
        self._waiting.append(fail)
        try:
            with self.record.watched(look):
                await done
        finally:
            timer.cancel()
            self._waiting.remove(fail)

    async def until_open(self, count: int, timeout: float) -> None:
        """Wait until at least *count* connections are open, or none, if that is 0."""
        record = self.record
        wanted = f"at least {count}" if count else "none"
        await self.until(
            lambda: record.open >= count if count else not record.open,
            timeout,
            lambda: f"{record.open} connections are open, not {wanted},",
        )

    async def until_hit(self, fault: str, count: int, timeout: float) -> None:
        """Wait until *fault* has acted *count* times."""
        record = self.record
        await self.until(
            lambda: record.hits(fault) >= count,
            timeout,
            lambda: f"fault {fault!r} has acted {record.hits(fault)} times, not {count},",
        )


def _session_authority() -> Authority:
    from vaurien.library.session_authority import session_authority  # imported only where TLS is used

    return session_authority().authority


_started: weakref.WeakSet[ProxyHost] = weakref.WeakSet()


def _disown() -> None:
    """Close the sockets in a forked child: they are the parent's."""
    for host in _started:
        if not host.closed:
            host.proxy.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
