"""A worker process: connections of many proxies in one loop, steered by the control process over a channel.

It ends when the control process ends, also when that is killed: the channel's other end is closed then.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from vaurien import events, plugins
from vaurien.console import to_user
from vaurien.engine.connection.connection_events import describe
from vaurien.engine.loop import gc_tuning as collector
from vaurien.engine.loop.event_loop import loop_factory
from vaurien.engine.net.own_addresses import http_interface
from vaurien.engine.policy.shared_counters import ProxyCounters, SharedCounters
from vaurien.engine.relay.traffic import Figures
from vaurien.errors import PluginError, UnknownName, VaurienError
from vaurien.events import Event, Listening, PolicyChanged
from vaurien.model import Address
from vaurien.observers.lag import LoopLag
from vaurien.proxies.proxy import TcpProxy
from vaurien.workers import messages
from vaurien.workers.channel import Channel

_UNSENT_LIMIT = 8 * 2**20
"""Bytes of events that may wait for the control process. From there on the worker waits for it, and loses none."""

_IGNORED: frozenset[type[Event]] = frozenset({Listening, PolicyChanged})
"""Events of a worker's own proxies. The control process emits them, once for all workers."""

_BATCH_DELAY = 0.005
"""Seconds that an event may wait for others, because a message for each would cost more than all other work."""

ENDED = 0


class Worker:
    """The proxies of this process; *end* is its end of the channel."""

    def __init__(self, end: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = Channel(self._loop, end, self._received, _leave)
        self._events = EventSender(self._loop, self._channel)
        self._proxies: dict[int, TcpProxy] = {}
        self._counters: dict[int, ProxyCounters] = {}
        self._shared_counters: SharedCounters | None = None
        self._interface = http_interface()
        self._given: list[int] = []  # descriptors that came with the request at hand
        self._lag = LoopLag()
        self._tasks: set[asyncio.Task[None]] = set()
        self._verbs: Mapping[type[messages.WorkerMessage], Callable[[Any], Awaitable[object]]] = {
            messages.Prepare: self._start,
            messages.StartProxy: self._open,
            messages.StopProxy: self._shut,
            messages.MoveProxy: self._move,
            messages.SetPolicy: self._set_policy,
            messages.SetBackend: self._set_backend,
            messages.DropConnections: self._drop,
            messages.ListConnections: self._list,
            messages.EndConnection: self._end,
            messages.GetReport: self._report,
        }

    def _received(self, data: bytes, descriptors: list[int]) -> None:
        # A task begins where the one before it began to wait: requests take effect in the order of their arrival.
        task = self._loop.create_task(self._serve(messages.decode_request(data), descriptors))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, call: messages.NumberedRequest, descriptors: list[int]) -> None:
        self._given = descriptors
        try:
            answer = messages.reply(call.number, await self._verbs[type(call.request)](call.request))
        except VaurienError as error:
            answer = messages.WorkerReply(call.number, error=str(error))
        except Exception as error:  # a plugin's own code may run here; the control process reports it
            answer = messages.WorkerReply(call.number, error=describe(error))
        finally:
            for one in self._given:  # a proxy that could not be made has not taken them
                os.close(one)
        self._events.flush()  # events of before the reply arrive before it
        self._channel.send(messages.encode(answer))

    async def _start(self, request: messages.Prepare) -> None:
        for kind, name, module, path in request.registered:
            _register(kind, name, module, path)
        self._events.detailed = request.detailed
        self._events.ignores = _IGNORED.union(getattr(events, name) for name in request.ignored)
        self._events.followed = request.followed
        self._interface.assign(request.interface)
        for proxy in self._proxies.values():
            proxy.follow_observers()
        if self._shared_counters is None:
            [descriptor], self._given = self._given, []
            self._shared_counters = SharedCounters(descriptor)

    async def _open(self, request: messages.StartProxy) -> None:
        assert self._shared_counters is not None  # noqa: S101 - it came with the first message
        self._counters[request.proxy] = counters = ProxyCounters(
            self._shared_counters, str(request.proxy), request.generations
        )
        proxy = TcpProxy(
            request.config,
            observers=(self._events,),
            bind=self._bind,
            ordinals=range(request.first, sys.maxsize, request.step),
            shared_counters=counters,
            interface=self._interface,
        )
        await proxy.start()
        self._proxies[request.proxy] = proxy

    async def _bind(self, address: Address, backlog: int) -> list[socket.socket]:
        """The sockets that came along; the control process has bound them."""
        given, self._given = [socket.socket(fileno=one) for one in self._given], []
        for one in given:
            one.setblocking(False)
            one.listen(backlog)  # again, but when the worker before this one was made to refuse clients
        return given

    async def _shut(self, request: messages.StopProxy) -> Figures:
        proxy = self._proxies[request.proxy]
        await (proxy.disable() if request.drop else proxy.stop(request.grace))
        del self._proxies[request.proxy], self._counters[request.proxy]
        return proxy.figures

    async def _move(self, request: messages.MoveProxy) -> None:
        await self._proxies[request.proxy].move(request.listen)

    # A request about a proxy may arrive after the proxy was stopped: then there is nothing to do.

    async def _set_policy(self, request: messages.SetPolicy) -> None:
        if request.proxy in self._proxies:
            proxy, counters = self._proxies[request.proxy], self._counters[request.proxy]
            # A hook of a fault that is removed may run on for a while, and counts under the old generation.
            counters.marks = {**(counters.marks if proxy.figures.open else {}), **request.generations}
            proxy.set_policy(request.policy)

    async def _set_backend(self, request: messages.SetBackend) -> None:
        if request.proxy in self._proxies:
            proxy = self._proxies[request.proxy]
            await proxy.prepare(request.backend)
            proxy.set_backend(request.backend)

    async def _drop(self, request: messages.DropConnections) -> None:
        if request.proxy in self._proxies:
            self._proxies[request.proxy].drop_connections()

    async def _list(self, request: messages.ListConnections) -> object:
        return self._proxies[request.proxy].connections if request.proxy in self._proxies else []

    async def _end(self, request: messages.EndConnection) -> bool:
        if request.proxy not in self._proxies:
            return False
        proxy = self._proxies[request.proxy]
        try:
            (proxy.reset_connection if request.reset else proxy.close_connection)(request.number)
        except UnknownName:
            return False
        return True

    async def _report(self, _: messages.GetReport) -> messages.WorkerReport:
        return messages.WorkerReport(
            {number: proxy.figures for number, proxy in self._proxies.items()}, self._lag.take()
        )


class EventSender:
    """An observer that sends the events of connections to the control process, those of some milliseconds at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: Channel) -> None:
        self._loop, self._channel = loop, channel
        self.detailed = False
        self.followed: Collection[str] = ()
        self.ignores = _IGNORED
        self._happened: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Send *event* soon."""
        if not self._happened:
            self._loop.call_later(_BATCH_DELAY, self.flush)
        self._happened.append(event)

    def flush(self) -> None:
        """Send the events that wait."""
        if self._happened:
            happened, self._happened = self._happened, []
            self._channel.send(messages.encode_events(happened))
            if self._channel.unsent > _UNSENT_LIMIT:
                self._channel.flush()


def _register(kind: plugins.Kind, name: str, module: str, path: str) -> None:
    try:
        target = functools.reduce(getattr, path.split("."), plugins.import_module(module))
        plugins.register(kind, target, name)
    except Exception as error:  # the plugin's own code runs here and may raise anything
        raise PluginError(f"{kind} {name!r} ({module}.{path}) does not import in a worker: {error}") from error


def _leave() -> None:
    """End at once: the control process is gone, and a legacy plugin's thread may be in a call that never returns."""
    os._exit(ENDED)


async def _work(end: socket.socket) -> None:
    worker = Worker(end)
    collector.spare()
    await asyncio.get_running_loop().create_future()
    del worker


def main() -> None:
    """Run a worker: the arguments are the descriptor of the channel's end, the kind of loop, and the lines' form."""
    to_user.json = sys.argv[3] == "json"
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # they are for the control process, which then steers the workers
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    end = socket.socket(fileno=int(sys.argv[1]))
    with asyncio.Runner(loop_factory=loop_factory(sys.argv[2] == "uvloop")) as runner:
        runner.run(_work(end))


if __name__ == "__main__":
    main()
