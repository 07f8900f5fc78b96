"""The page that shows the library's proxies while a program, such as a run of pytest, goes on.

It is the dashboard of the HTTP interface, before a hub in the thread of the synchronous proxies::

    test's thread or loop          the page's loop
    ─────────────────────          ────────────────────────────────────────────────
    ProxyHost ── events ─────────► recent events, figures, hits ──► /api/v1 ──► page
              ◄── questions ────── _ShownProxy, a proxy of the hub

A proxy belongs to the code that made it, so the interface only reads; the hub follows what that code changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from vaurien.control.app import app
from vaurien.control.asgi import ASGIApp, Receive, Scope, Send
from vaurien.control.events import RecentEvents
from vaurien.control.history import History
from vaurien.control.responses import error_response
from vaurien.control.server import Server
from vaurien.engine.net.own_addresses import http_interface
from vaurien.engine.relay.traffic import ConnectionInfo, Figures
from vaurien.errors import VaurienError
from vaurien.events import Decided, Delayed, Event, PolicyChanged
from vaurien.library import loop_thread, proxy_host
from vaurien.library.proxy_host import ProxyHost
from vaurien.model import Address, Fault, Policy, ProxyConfig
from vaurien.observers.hits import HitCounter
from vaurien.proxies.hub import Hub

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds that the loop of a proxy may take to say how it is."""


class Page:
    """The page at *listen*; proxies that are made after `open` are on it while they run. *seed* is that of the run."""

    def __init__(self, listen: Address, seed: str) -> None:
        self._listen = listen
        self._seed = seed
        self._recent, self.history, self._hits = RecentEvents(), History(), HitCounter()
        self._hub = Hub(make=self._make, hits=self._hits)
        self._home: loop_thread.LoopThread | None = None
        self._server: Server | None = None
        self._process = 0
        self.interface = http_interface()
        """Where the page is, which clients of forward proxies do not get to."""
        self._names: dict[str, ProxyHost] = {}
        self._naming = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> str:
        """Serve; returns the page's address. Raises `BindError`, and what is wrong with the address."""
        home = loop_thread.acquire()
        try:
            address = home.run(self._start())
        except BaseException:
            loop_thread.release(home)
            raise
        self._home, self._process = home, os.getpid()
        proxy_host.watching.append(self)
        return f"http://{address}/"

    async def _start(self) -> Address:
        served = app(
            self._hub,
            self._recent,
            self._listen,
            seed=self._seed,
            history=self.history,
            dashboard="read-only",
        )
        self._server = Server(_reading(served), self._listen)
        address = await self._server.start()
        self.interface.assign(self._server.names)
        return address

    def close(self) -> None:
        """Serve no more. Idempotent."""
        home, self._home = self._home, None
        if home is None or self._process != os.getpid():
            return
        proxy_host.watching.remove(self)
        try:
            home.run(self._stop())
        finally:
            loop_thread.release(home)

    async def _stop(self) -> None:
        self._recent.close()
        if self._server is not None:
            await self._server.stop()
        for task in self._tasks:
            task.cancel()

    # For the hosts of proxies, in any thread.

    def watch(self, host: ProxyHost) -> ShownEvents | None:
        """What is told the events of *host*; none in a process that was forked from the page's own."""
        return ShownEvents(self, host) if self._process == os.getpid() else None

    def take_name(self, host: ProxyHost) -> str:
        """A name for *host* that no other proxy on the page has: its own, with a number behind it where need be."""
        with self._naming:
            own = name = host.proxy.config.name
            number = 2
            while name in self._names:
                name, number = f"{own}-{number}", number + 1
            self._names[name] = host
            return name

    def tell(self, event: Event) -> None:
        """Show *event*."""
        self._call(lambda: self._take(event))

    def show(self, name: str) -> None:
        """Show the proxy that took *name*, which runs now."""
        self._call(lambda: self._begin(self._show(name)))

    def leave(self, name: str) -> None:
        """Show the proxy that took *name* no more."""
        self._call(lambda: self._begin(self._leave(name)))

    def _call(self, function: Callable[[], None]) -> None:
        home = self._home
        if home is None or self._process != os.getpid():
            return
        if threading.get_ident() == home.ident:
            function()
        else:
            home.loop.call_soon_threadsafe(function)

    # In the page's loop.

    def _take(self, event: Event) -> None:
        self.history(event)
        if not isinstance(event, Delayed):
            self._hits(event)
            self._recent(event)
        if isinstance(event, PolicyChanged) and event.proxy in self._hub.proxies:
            self._begin(self._follow(event.proxy))

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show(self, name: str) -> None:
        await self._hub.create(self._make_shown(name).config)

    async def _follow(self, name: str) -> None:
        """Have the configuration say what the proxy's own code has made of it."""
        host = self._names.get(name)
        if host is not None and name in self._hub.proxies:
            await self._hub.update_policy(name, lambda _: host.proxy.policy)

    async def _leave(self, name: str) -> None:
        if name in self._hub.proxies:
            await self._hub.delete(name)
        with self._naming:
            self._names.pop(name, None)

    def _make(self, config: ProxyConfig) -> ShownProxy:
        if config.name not in self._names:
            raise _refused()
        return self._make_shown(config.name)

    def _make_shown(self, name: str) -> ShownProxy:
        return ShownProxy(self._names[name], name)


class ShownEvents:
    """An observer of the proxy of *host*: tells *page* what happens to it, in the page's loop."""

    ignores = frozenset({Decided})

    def __init__(self, page: Page, host: ProxyHost) -> None:
        self._page, self._host = page, host
        self._name = ""

    @property
    def detailed(self) -> bool:
        """Whether someone looks, and so wants to know delays."""
        return self._page.history.detailed

    def __call__(self, event: Event) -> None:
        """Tell of *event*, under the proxy's name on the page."""
        if self._name != event.proxy:
            event = msgspec.structs.replace(event, proxy=self._name)
        self._page.tell(event)

    def begin(self) -> None:
        """The proxy is about to start."""
        self._name = self._page.take_name(self._host)

    def show(self) -> None:
        """The proxy has started."""
        self._page.show(self._name)

    def end(self) -> None:
        """The proxy has stopped, or could not start."""
        self._page.leave(self._name)


class ShownProxy:
    """The proxy of *host*, called *name* on the page: a `ManagedProxy` that starts and ends with its own code."""

    def __init__(self, host: ProxyHost, name: str) -> None:
        self._host, self._proxy, self._name = host, host.proxy, name
        self._figures = Figures()
        self.remove_expired: Callable[[Fault], Awaitable[None]] = self._remove_nothing

    async def _remove_nothing(self, _: Fault) -> None:
        """The proxy does that by itself."""

    @property
    def config(self) -> ProxyConfig:
        """The configuration it runs with now."""
        return msgspec.structs.replace(self._proxy.config, name=self._name, policy=self._proxy.policy)

    @property
    def address(self) -> Address:
        """The address it listens on."""
        return self._proxy.address

    @property
    def enabled(self) -> bool:
        """Whether it listens."""
        return self._proxy.enabled

    @property
    def backend(self) -> Address:
        """The address that new connections dial."""
        return self._proxy.backend

    @property
    def policy(self) -> Policy:
        """Its current mix and faults."""
        return self._proxy.policy

    def seconds_left(self, fault: str) -> float | None:
        """Seconds until the fault called *fault* removes itself."""
        return self._proxy.seconds_left(fault)

    async def start(self) -> None:
        """It runs already."""

    async def stop(self, grace: float = 0.0) -> None:
        """It goes on: its own code stops it."""

    async def disable(self) -> None:
        """As `stop`."""

    async def set_policy(self, policy: Policy) -> None:
        """It has *policy* already: the configuration follows it."""

    async def follow_observers(self) -> None:
        """Ask the observers anew which details they want."""
        with contextlib.suppress(VaurienError):
            await self._ask(self._proxy.follow_observers)

    async def serves(self, listen: Address) -> bool:
        """Whether it listens on *listen*."""
        return listen == self.address

    async def move(self, listen: Address) -> None:
        """Raises `VaurienError`."""
        raise _refused()

    async def set_backend(self, backend: Address) -> None:
        """Raises `VaurienError`."""
        raise _refused()

    async def drop_connections(self) -> None:
        """Raises `VaurienError`."""
        raise _refused()

    async def close_connection(self, number: int) -> None:
        """Raises `VaurienError`."""
        raise _refused()

    async def reset_connection(self, number: int) -> None:
        """Raises `VaurienError`."""
        raise _refused()

    async def connections(self) -> list[ConnectionInfo]:
        """The open connections, oldest first; none while its loop does not answer."""
        try:
            return await self._ask(lambda: self._proxy.connections)
        except VaurienError:
            return []

    async def figures(self) -> Figures:
        """Its connections and bytes so far; the last ones that were known while its loop does not answer."""
        with contextlib.suppress(VaurienError):
            self._figures = await self._ask(lambda: self._proxy.figures)
        return self._figures

    async def _ask(self, function: Callable[[], T]) -> T:
        """The result of *function* in the proxy's loop. Raises `VaurienError` when that does not answer."""
        loop = self._host.require_running()
        if loop is asyncio.get_running_loop():
            return function()

        async def called() -> T:
            return function()

        asked = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(called(), loop))
        try:
            async with asyncio.timeout(PATIENCE):
                return await asked
        except TimeoutError:
            raise VaurienError(f"proxy {self._name!r}: its loop has not answered for {PATIENCE:g} s") from None


def _refused() -> VaurienError:
    return VaurienError("the proxies here belong to the code that made them, which alone may change them")


def _reading(app: ASGIApp) -> ASGIApp:
    """*app*, of which nothing can be asked but to read."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method", "GET") in ("GET", "HEAD"):
            await app(scope, receive, send)
        else:
            await error_response(403, str(_refused()))(scope, receive, send)

    return served
