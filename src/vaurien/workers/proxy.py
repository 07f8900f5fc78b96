"""A proxy whose connections are spread over the workers, as the control process sees it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from vaurien import events
from vaurien.engine.net import binding
from vaurien.engine.policy.expiry import Expiries
from vaurien.engine.relay.traffic import ConnectionInfo, Figures
from vaurien.errors import OptionError, UnknownName, VaurienError
from vaurien.events import Event
from vaurien.model import Address, Fault, Policy, ProxyConfig
from vaurien.proxies.proxy import REBIND_INTERVAL, TcpProxy
from vaurien.workers import messages
from vaurien.workers.generations import GenerationCounter
from vaurien.workers.pool import WorkerPool, gathered
from vaurien.workers.process import WorkerProcess, value

ORDINAL_GAP = 100_000
"""Ordinals that are skipped when a worker died: more than it can have accepted since its last report."""


class WorkersProxy:
    """The proxy of *config*, with its connections in *workers*; a `vaurien.proxies.managed_proxy.ManagedProxy`.

    A proxy that limits its connections (`ProxyConfig.max_connections`) has all of them in one worker, which counts
    them. Raises what is wrong with *config*.
    """

    def __init__(self, config: ProxyConfig, workers: WorkerPool) -> None:
        self._workers = workers
        self._model = TcpProxy(config)  # never started: it checks policies and holds the current configuration
        workers.tell_again(config.name, connections=True)
        self._number = next(workers.numbers)
        alone = config.max_connections is not None
        self._indexes = [self._number % workers.count] if alone else list(range(workers.count))
        if self._is_closed_path:
            raise _no_closed_path(config.listen)
        self._given = self._address = config.listen
        self._sockets: dict[int, list[socket.socket]] = {}
        self._serving = False
        """Whether the workers have it, which includes the grace of its connections."""
        self._past = {index: Figures() for index in self._indexes}
        self._skipped = dict.fromkeys(self._indexes, 0)
        self._generations = GenerationCounter()
        self._generations.follow(self._model.plan.compiled_faults)
        self._starting = asyncio.Lock()
        self._expiries = Expiries(self._expire)
        self.remove_expired: Callable[[Fault], Awaitable[None]] = self._remove
        """Removes a fault whose time to live is over; the hub puts an edit of its configuration here."""

    @property
    def config(self) -> ProxyConfig:
        """The configuration it runs with now."""
        return self._model.config

    @property
    def address(self) -> Address:
        """The address it listens on; the port is the real one once it has started."""
        return self._address

    @property
    def enabled(self) -> bool:
        """Whether it listens."""
        return bool(self._sockets)

    @property
    def backend(self) -> Address:
        """What new connections dial."""
        return self.config.backend

    @property
    def policy(self) -> Policy:
        """The mix and the faults of this moment."""
        return self.config.policy

    @property
    def _is_closed_path(self) -> bool:
        """Whether a fault closes a Unix socket. The workers share one, and none of them can close it for all."""
        return self._model.plan.closed and self.config.listen.path is not None

    # Listening.

    async def start(self) -> None:
        """Listen, in all workers. Raises `BindError`."""
        async with self._starting:  # a second call, while a name resolves, must not open further listeners
            if not self.enabled:
                await self._start()

    async def _start(self) -> None:
        config = self.config
        self._workers.inform()
        found = await binding.bind_for(len(self._indexes), config.listen, config.backlog)
        self._take(config.listen, found)
        self._number = next(self._workers.numbers)  # no report about it from before it was stopped
        self._workers.tell_again(config.name, connections=False)
        self._serving = True
        self._workers.proxies[self._number] = self
        try:
            await gathered([self._send_open(one, self._workers.process(one)) for one in self._indexes], object)
        except VaurienError:
            await self.disable()
            raise
        self._listens()

    async def serves(self, listen: Address) -> bool:
        """Whether *listen* is the address it listens on, perhaps under another name."""
        known = (self._given, self.config.listen, self._address)
        return listen in known or await binding.same(listen, self._address)

    async def move(self, listen: Address) -> None:
        """Listen on *listen* instead, and drop all connections. Raises `BindError`, and then nothing has changed."""
        if not self.enabled:
            self._place(listen)
            self._address = listen
            return
        beside = listen.path is None and listen.port == self._address.port and not self._others_have(listen.port)
        found = await binding.bind_for(len(self._indexes), listen, self.config.backlog, beside=beside)
        before, old = self._address, self._sockets
        self._take(listen, found)
        self._workers.tell_again(self.config.name, connections=False)
        request = messages.MoveProxy(self._number, self.config.listen)
        processes = {one: self._workers.process(one) for one in self._indexes}
        answers = [process.ask(request, _descriptors(self._sockets[one])) for one, process in processes.items()]
        _close(old, before)
        try:
            await gathered(answers, object)
        except VaurienError:
            await self.disable()  # some workers listen on the new address and some on the old one
            raise
        self._listens()

    def _others_have(self, port: int) -> bool:
        """Whether another proxy here listens on *port* of any host: a second socket of ours would get its clients."""
        others = (other for other in self._workers.proxies.values() if other is not self)
        return any(other.address.port == port and other.address.path is None for other in others)

    async def stop(self, grace: float = 0.0) -> None:
        """Refuse new clients, give those that are here *grace* seconds to end, then reset them. Idempotent."""
        await self._shut(messages.StopProxy(self._number, grace))

    async def disable(self) -> None:
        """Refuse new clients and drop those that are here. Idempotent."""
        await self._shut(messages.StopProxy(self._number, drop=True))

    async def _shut(self, request: messages.StopProxy) -> None:
        if not self.enabled:
            return
        self._workers.proxies.pop(self._number, None)
        known = {one: self._workers.reported(one).figures.get(self._number, Figures()) for one in self._indexes}
        answers = {one: self._workers.process(one).ask(request) for one in self._indexes}
        _close(self._sockets, self._address)
        self._sockets = {}
        self._model.config = msgspec.structs.replace(self.config, enabled=False)
        self._expiries.follow(self._workers.clock, self.policy.faults, ())
        for index, answer in answers.items():
            try:
                self._past[index] += value(await answer, Figures)
            except VaurienError:  # it died, or did not have the proxy yet
                self._past[index] += known[index]
        self._serving = False

    def _take(self, listen: Address, found: list[list[socket.socket]]) -> None:
        """Take over the sockets that were *found* for *listen*."""
        self._sockets = dict(zip(self._indexes, found, strict=True))
        self._address = binding.bound(listen, found[0])
        self._place(listen)
        real = msgspec.structs.replace(listen, port=self._address.port)
        self._model.config = msgspec.structs.replace(self.config, listen=real, enabled=True)

    def _place(self, listen: Address) -> None:
        self._given = listen
        self._model.config = msgspec.structs.replace(self.config, listen=listen)

    def _listens(self) -> None:
        self._expiries.follow(self._workers.clock, (), self.policy.faults)
        self._emit(events.Listening, address=str(self._address), backend=str(self.backend))

    # Changes.

    async def follow_observers(self) -> None:
        """Tell the workers which details the observers want now."""
        await gathered(self._workers.inform(), object)

    async def set_policy(self, policy: Policy) -> None:
        """Replace mix and faults, in all workers. Raises what is wrong with *policy*, and then nothing has changed."""
        before = self.policy
        self._workers.inform()
        self._model.set_policy(policy)
        if self._is_closed_path:
            self._model.set_policy(before)
            raise _no_closed_path(self.config.listen)
        self._generations.follow(self._model.plan.compiled_faults)
        if not self._serving:
            return
        if self.enabled:
            self._expiries.follow(self._workers.clock, before.faults, policy.faults)
        try:
            await self._ask(messages.SetPolicy(self._number, _lasting(policy), self._generations.current))
        except VaurienError:  # some workers have it
            self._model.set_policy(before)
            self._generations.take_back()
            if self.enabled:
                self._expiries.follow(self._workers.clock, policy.faults, before.faults)
            await self._ask(messages.SetPolicy(self._number, _lasting(before), self._generations.current))
            raise
        self._emit(events.PolicyChanged, mix=str(policy.mix), faults=tuple(fault.name for fault in policy.faults))

    def _expire(self, name: str) -> None:
        """Remove the fault *name*, whose time to live is over."""
        self._workers.run(self._remove_or_retry(self.policy.fault(name)))

    async def _remove_or_retry(self, fault: Fault) -> None:
        try:
            await self.remove_expired(fault)
        except VaurienError as error:  # a port that was closed cannot be opened
            self._emit(events.Failed, connection=0, where="listen", error=str(error))
            self._expiries.later(self._workers.clock, fault.name, REBIND_INTERVAL)

    async def _remove(self, fault: Fault) -> None:
        await self.set_policy(self.policy.without_fault(fault.name))

    def seconds_left(self, fault: str) -> float | None:
        """Seconds until the fault called *fault* removes itself; ``None`` when it does not."""
        return self._expiries.left(self._workers.clock, fault)

    async def set_backend(self, backend: Address) -> None:
        """Dial *backend* from now on."""
        self._model.set_backend(backend)
        self._workers.tell_again(self.config.name, connections=False)
        await self._ask(messages.SetBackend(self._number, backend))

    async def drop_connections(self) -> None:
        """End every connection at once."""
        await self._ask(messages.DropConnections(self._number))

    async def _ask(self, request: messages.WorkerRequest, wanted: Any = object) -> list[Any]:
        """The replies of all workers; none while they do not have this proxy."""
        return await self._workers.ask(request, self._indexes, wanted) if self._serving else []

    # Connections.

    async def connections(self) -> list[ConnectionInfo]:
        """The open connections, oldest first. Each worker measures the age of its connections at its own moment."""
        found = await self._ask(messages.ListConnections(self._number), list[ConnectionInfo])
        return sorted((one for some in found for one in some), key=lambda one: -one.age)

    async def close_connection(self, number: int) -> None:
        """End connection *number* in order. Raises `UnknownName`."""
        await self._end(number, reset=False)

    async def reset_connection(self, number: int) -> None:
        """End connection *number* at once. Raises `UnknownName`."""
        await self._end(number, reset=True)

    async def _end(self, number: int, *, reset: bool) -> None:
        request = messages.EndConnection(self._number, number, reset)
        index = (number - 1) % self._workers.count
        found = await self._workers.ask(request, [index], bool) if self._serving and index in self._indexes else []
        if not any(found):
            raise UnknownName("connection", str(number), [str(one.number) for one in await self.connections()])

    async def figures(self) -> Figures:
        """The bytes and connections of all workers so far; of a worker that hangs those of its last report."""
        if self._serving:
            await self._workers.report()
        present = [self._workers.reported(one).figures.get(self._number, Figures()) for one in self._indexes]
        return sum(present if self._serving else (), sum(self._past.values(), Figures()))

    # Workers come and go.

    def lost(self, index: int, reason: str, known: messages.WorkerReport) -> None:
        """The worker *index* died; *known* is its last report."""
        if index not in self._indexes:
            return
        figures = known.figures.get(self._number, Figures())
        self._past[index] += msgspec.structs.replace(figures, open=0, waiting=0)
        self._skipped[index] += ORDINAL_GAP
        self._emit(events.WorkerDied, worker=index + 1, reason=reason)

    def take_up(self, index: int, process: WorkerProcess) -> None:
        """*process* takes the place of the worker *index*."""
        if index in self._indexes:
            self._send_open(index, process)

    def _send_open(self, index: int, process: WorkerProcess) -> Any:
        config = self.config
        share = max(1, config.pool_max_size // len(self._indexes))
        config = msgspec.structs.replace(config, policy=_lasting(config.policy), pool_max_size=share)
        count = self._workers.count
        first = index + 1 + (self._past[index].accepted + self._skipped[index]) * count
        return process.ask(
            messages.StartProxy(self._number, config, self._generations.current, first, count),
            _descriptors(self._sockets[index]),
        )

    def _emit(self, make: type[Event], **facts: Any) -> None:
        self._workers.emit(make(proxy=self.config.name, at=time.time(), **facts))


def _no_closed_path(listen: Address) -> OptionError:
    return OptionError("listen", str(listen), "host:port for a fault that closes the port, or one worker")


def _lasting(policy: Policy) -> Policy:
    """*policy* without times to live: they run out in the control process, once for all workers."""
    faults = tuple(msgspec.structs.replace(fault, ttl=None) for fault in policy.faults)
    return msgspec.structs.replace(policy, faults=faults)


def _descriptors(sockets: list[socket.socket]) -> list[int]:
    return [one.fileno() for one in sockets]


def _close(sockets: dict[int, list[socket.socket]], address: Address) -> None:
    for those in sockets.values():
        binding.close(those)
    binding.unlink(address)
