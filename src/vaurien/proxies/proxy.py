"""One proxy: a listener, a backend, a protocol, a policy."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from vaurien import events, options, plugins
from vaurien.engine.connection.connection import Connection
from vaurien.engine.connection.proxy_state import OpenConnection, ProxyState
from vaurien.engine.loop import hook_task
from vaurien.engine.loop.clock import Clock
from vaurien.engine.net import binding
from vaurien.engine.net.binding import Bind
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.net.fd_limit import IN_A_THREAD, IN_THE_LOOP, connections_possible
from vaurien.engine.net.listener import Listener
from vaurien.engine.policy.compiled_policy import CompiledPolicy
from vaurien.engine.policy.expiry import Expiries
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.engine.policy.shared_counters import ProxyCounters
from vaurien.engine.relay.ending import Ending
from vaurien.engine.relay.traffic import ALL, Bytes, ConnectionInfo, Figures, Traffic
from vaurien.errors import BindError, UnknownName
from vaurien.events import Observer
from vaurien.framing import Protocol
from vaurien.legacy.instances import ProxyView, instantiate
from vaurien.legacy.protocol import Transparent, Unframed
from vaurien.model import Address, Fault, Policy, PolicyEdit, ProxyConfig

REBIND_INTERVAL = 1.0
"""Seconds until a port that could not be opened is tried again."""

COMPLAINT_INTERVAL = 60.0
"""Seconds between two complaints about the same shortage."""


class Proxy:
    """A proxy in the running event loop; not safe from other threads.

    Making one checks the whole *config* and raises what is wrong with it; nothing is opened before `start`.
    *observers* are called with every event, in the loop's thread. With *recorded* no dice are thrown: what they said in
    an earlier run is done again. *bind* finds its listening sockets, *ordinals* are those that its connections get, and
    *page* is what it counts together with other processes.
    """

    def __init__(
        self,
        config: ProxyConfig,
        *,
        observers: Sequence[Observer] = (),
        recorded: ReplayedDecisions | None = None,
        bind: Bind = binding.bind,
        ordinals: Sequence[int] = ALL,
        page: ProxyCounters | None = None,
    ) -> None:
        self.config = config
        """As it is now: with the port, the backend, the policy and the state that it has come to have."""
        self._recorded = recorded
        self._observers = observers
        self._clock: Clock | None = None
        self._service: ProxyState | None = None
        self._view = ProxyView(lambda: self.config)
        self._protocol, self._mover = self._protocols(config)
        self._plan = CompiledPolicy(config.policy, self._protocol, self._instantiate)
        self._listener: Listener | None = None
        self._emptied: asyncio.Event = asyncio.Event()
        self._given = self._address = config.listen
        self._traffic = Traffic(ordinals)
        self._bind, self._page = bind, page
        self._ceiling: int | None = None
        self._silent_until = 0.0
        self._expiries = Expiries(self._expire)
        self.remove_expired: Callable[[Fault], Awaitable[None]] = self._remove
        """Removes a fault whose time to live is over; a hub puts an edit of its configuration here."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()

    @property
    def address(self) -> Address:
        """Where it listens; the port is the real one once it has started."""
        return self._address

    @property
    def enabled(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    @property
    def connections(self) -> list[ConnectionInfo]:
        """The open connections, oldest first."""
        return [one.info for one in self.live]

    @property
    def accepted(self) -> int:
        """How many connections were ever accepted."""
        return self._traffic.accepted

    @property
    def figures(self) -> Figures:
        """What has passed through it since it was made, with what is open."""
        opened = self.live
        return Figures(
            self.accepted,
            len(opened),
            sum(one.meter.held for one in opened),
            self.traffic(True),
            self.traffic(False),
        )

    def traffic(self, to_backend: bool) -> Bytes:
        """The bytes that went in a direction since the proxy was made, those of open connections included."""
        return self._traffic.with_open(to_backend, (one.meter for one in self.live))

    @property
    def plan(self) -> CompiledPolicy:
        """The policy of this moment, ready to run."""
        return self._plan

    @property
    def backend(self) -> Address:
        """What new connections dial."""
        return self.config.backend

    @property
    def policy(self) -> Policy:
        """The mix and the faults of this moment."""
        return self._plan.policy

    async def start(self) -> None:
        """Listen, and accept clients; once it has had a port it keeps it. Idempotent.

        Raises `BindError` naming the address and the system's reason.
        """
        async with self._starting:  # a second call, while a name resolves, must not open a second listener
            if self._listener is None:
                await self._start()

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._ceiling = self._possible()
        self._clock = clock = Clock(loop)
        self._service = service = ProxyState(
            loop,
            clock,
            self.config,
            self._protocol,
            self._mover,
            self._plan,
            self._observers,
            self._traffic,
            self._recorded,
            self._page,
        )
        listener = Listener(loop, clock, self._accepted, self._room, self._complain, self._bind)
        try:
            self._address = await listener.bind(self.config.listen, self.config.backlog)
        except BaseException:
            clock.close()
            self._service = self._clock = None
            raise
        service.on_connection_closed = self._connection_closed
        self._listens(listener)

    def _listens(self, listener: Listener) -> None:
        """*listener* has its address."""
        assert self._service is not None  # noqa: S101 - only a started proxy listens
        self._listener = listener
        if self._plan.closed:
            listener.refuse()
        listen = msgspec.structs.replace(self.config.listen, port=self._address.port)
        self.config = msgspec.structs.replace(self.config, listen=listen, enabled=True)
        self._let_expire(())
        self._service.events.emit(events.Listening, address=str(self._address), backend=str(self.backend))

    async def serves(self, listen: Address) -> bool:
        """Whether *listen* means where it listens, or would: the same text, or a name of the same address."""
        known = (self._given, self.config.listen, self._address)
        return listen in known or await binding.same(listen, self._address)

    async def move(self, listen: Address) -> None:
        """Listen on *listen* instead, and drop all connections. Raises `BindError`, and then nothing has changed."""
        old = self._listener
        if old is not None and self._service is not None and self._clock is not None:
            loop, clock = self._service.loop, self._clock
            new = Listener(loop, clock, self._accepted, self._room, self._complain, self._bind)
            self._address = await self._succeed(old, new, listen)
            self._take(listen)
            self._listens(new)
            self.drop_connections()
        else:
            self._address = listen
            self._take(listen)

    def _take(self, listen: Address) -> None:
        self._given = listen
        self.config = msgspec.structs.replace(self.config, listen=listen)

    async def _succeed(self, old: Listener, new: Listener, listen: Address) -> Address:
        """Have *new* listen, and then *old* no more: no moment without a listener, unless they are in conflict."""
        backlog = self.config.backlog
        try:
            address = await new.bind(listen, backlog)
        except BindError:
            if listen.port != self._address.port:
                raise
        else:
            old.close()
            return address
        old.close()
        try:
            return await new.bind(listen, backlog)
        except BindError:
            await old.bind(self.config.listen, backlog)
            raise

    async def stop(self, grace: float = 0.0) -> None:
        """Refuse new clients, give those that are here *grace* seconds to end, then reset them. Idempotent."""
        service, clock = self._service, self._clock
        if service is None or clock is None:
            return
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.config = msgspec.structs.replace(self.config, enabled=False)
        if service.connections and grace > 0:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), grace)
        for connection in list(service.connections.values()):
            connection.reset(Ending.STOPPED)
        service.pool.clear()
        await asyncio.sleep(0)  # cancelled hooks get their turn
        clock.close()
        if self._service is service:
            self._expiries.forget()
            self._service = self._clock = None

    async def disable(self) -> None:
        """Refuse new clients and drop those that are here. Idempotent; `start` takes it up again."""
        if self._listener is not None:
            self._listener.close()
        self.drop_connections()
        await self.stop()

    def disown(self) -> None:
        """Close this process's copies of the sockets: it was forked, and the proxy is its parent's.

        Nothing is sent, and the loop, whose epoll is the parent's too, is not touched. As long as a copy is open, a
        connection that the parent resets is not reset (socket(7), SO_LINGER).
        """
        if self._listener is not None:
            self._listener.disown()
        for connection in self.live:
            connection.disown()
        if self._service is not None:
            self._service.pool.clear()

    def drop_connections(self) -> None:
        """End every connection at once; peers see FIN, or RST where they have sent what was not read."""
        for connection in self.live:
            connection.reset(Ending.STOPPED, side="neither")

    def close_connection(self, number: int) -> None:
        """End connection *number* in order: what was sent is delivered, then FIN. Raises `UnknownName`."""
        self._connection(number).close(Ending.CLOSED_BY_CONTROL)

    def reset_connection(self, number: int) -> None:
        """End connection *number* at once, with RST. Raises `UnknownName`."""
        self._connection(number).reset(Ending.RESET_BY_CONTROL)

    def _connection(self, number: int) -> OpenConnection:
        for connection in self.live:
            if connection.number == number:
                return connection
        raise UnknownName("connection", str(number), [str(one.number) for one in self.live])

    @property
    def live(self) -> list[OpenConnection]:
        """The open connections themselves, oldest first; `connections` describes them."""
        return list(self._service.connections.values()) if self._service else []

    @property
    def state(self) -> ProxyState | None:
        """What the connections have in common; ``None`` before the start and after the end."""
        return self._service

    def set_policy(self, policy: Policy) -> None:
        """Replace mix and faults: checked as a whole first, and in force for the next byte when this returns.

        Raises `UnknownName`, `OptionError` or `PluginError`, or `BindError` when its port was closed and cannot be
        opened, and then nothing has changed.
        """
        before = self.policy
        plan = CompiledPolicy(policy, self._protocol, self._instantiate, self._plan)
        if self._listener is not None:
            self._listener.refuse() if plan.closed else self._listener.admit()
        self._plan = plan
        self.config = msgspec.structs.replace(self.config, policy=policy)
        self._ceiling = self._possible()
        if self._service is not None:
            self._service.adopt(plan)
            self._let_expire(before.faults)
            self._wake()
            faults = tuple(fault.name for fault in policy.faults)
            self._service.events.emit(events.PolicyChanged, mix=str(policy.mix), faults=faults)

    def _let_expire(self, before: Sequence[Fault]) -> None:
        assert self._clock is not None  # noqa: S101 - only a started proxy has a service
        self._expiries.follow(self._clock, before, self.policy.faults)

    def _expire(self, name: str) -> None:
        """Remove the fault *name*, whose time to live is over."""
        task = hook_task.start(asyncio.get_running_loop(), self._remove_or_retry(self.policy.fault(name)))
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _remove_or_retry(self, fault: Fault) -> None:
        try:
            await self.remove_expired(fault)
        except BindError as error:
            if self._service is not None and self._clock is not None:
                self._service.events.emit(events.Failed, connection=0, where="listen", error=str(error))
                self._expiries.later(self._clock, fault.name, REBIND_INTERVAL)

    async def _remove(self, fault: Fault) -> None:
        self.set_policy(self.policy.without_fault(fault.name))

    def edit_policy(self, edit: PolicyEdit) -> None:
        """Replace the policy by what *edit* makes of it. Raises what *edit* raises, and as `set_policy`."""
        self.set_policy(edit(self.policy))

    def set_backend(self, backend: Address) -> None:
        """Dial *backend* for every connection from now on; those that are open keep theirs."""
        self.config = msgspec.structs.replace(self.config, backend=backend)
        if self._service is not None:
            self._service.backend = backend
            self._service.pool.clear()

    def _instantiate(self, plugin: plugins.Plugin, values: Mapping[str, Any]) -> Any:
        return instantiate(plugin, values, self._view)

    def _protocols(self, config: ProxyConfig) -> tuple[Protocol, Any]:
        """The protocol that marks messages, and what moves the bytes in the blocking lane."""
        plugin = plugins.find(config.protocol, "protocol")
        if plugin.legacy:
            return Unframed(), self._instantiate(plugin, config.protocol_options)
        return protocol_of(config), Transparent(config.protocol, {"buffer": config.bufsize}, self._view)

    def _accepted(self, client: PlainEndpoint, peer: Any) -> None:
        assert self._service is not None  # noqa: S101 - only a started proxy accepts
        connection = Connection(self._service, client, peer)
        self._service.connections[connection.number] = connection
        connection.start()

    def _room(self) -> bool:
        count = len(self._service.connections) if self._service else 0
        if self._ceiling is not None and count >= self._ceiling:
            self._complain_now_and_then(f"too many open files for more than {self._ceiling} connections; clients wait")
            return False
        limit = self.config.max_connections
        return limit is None or count < limit

    def _possible(self) -> int | None:
        return connections_possible(IN_A_THREAD if self._plan.blocking else IN_THE_LOOP)

    def _complain_now_and_then(self, reason: str) -> None:
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + COMPLAINT_INTERVAL
            self._complain(reason)

    def _complain(self, reason: str) -> None:
        assert self._service is not None  # noqa: S101 - only a started proxy accepts
        self._service.events.emit(events.Failed, connection=0, where="accept", error=reason)

    def _wake(self) -> None:
        """There may be room for another client."""
        if self._listener is not None:
            self._listener.wake()

    def _connection_closed(self) -> None:
        self._wake()
        if self._service is None or not self._service.connections:
            self._emptied.set()


def protocol_of(config: ProxyConfig) -> Protocol:
    """The protocol that marks messages on the proxy of *config*; one without messages for a legacy plugin.

    Raises `UnknownName`, `OptionError` or `PluginError`.
    """
    plugin = plugins.find(config.protocol, "protocol")
    if plugin.legacy:
        return Unframed()
    owner = f"protocol {config.protocol!r}"
    protocol: Protocol = options.build(plugin.target, config.protocol_options, owner=owner)
    return protocol
