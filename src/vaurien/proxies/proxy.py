"""One proxy in the running loop: its configuration, and a server while it is started."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from vaurien import events, options, plugins, tls
from vaurien.engine.connection.proxy_state import OpenConnection, ProxyState
from vaurien.engine.loop import hook_task
from vaurien.engine.loop.clock import Clock
from vaurien.engine.net import binding
from vaurien.engine.net.binding import Bind
from vaurien.engine.net.own_addresses import OwnAddresses
from vaurien.engine.net.routes import Routes
from vaurien.engine.policy.compiled_policy import CompiledPolicy
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.engine.policy.shared_counters import ProxyCounters
from vaurien.engine.relay.ending import Ending
from vaurien.engine.relay.traffic import ALL, Bytes, ConnectionInfo, Figures, ProxyTraffic
from vaurien.errors import BindError, ConfigError, OptionError, UnknownName, VaurienError
from vaurien.events import Observer
from vaurien.framing import Protocol
from vaurien.legacy.instances import ProxyView, instantiate
from vaurien.legacy.protocol import Transparent, Unframed
from vaurien.model import AUTO, TO_BACKEND, TO_CLIENT, Address, Direction, Fault, Policy, PolicyEdit, ProxyConfig
from vaurien.proxies.proxy_server import ProxyServer

if TYPE_CHECKING:
    from vaurien.engine.net.server_contexts import LoadAuthority, ServerContexts
    from vaurien.tls.authority import Authority

REBIND_INTERVAL = 1.0
"""Seconds until a port that could not be opened is tried again."""


class TcpProxy:
    """A proxy in the running event loop: its checked configuration, which starts, changes and stops a `ProxyServer`.

    It is not safe from other threads. Making one checks the whole *config* and raises what is wrong with it; nothing is
    opened before `start`. *observers* are called with every event, in the loop's thread. The decisions of *recorded*
    take the place of chance. *bind* makes its listening sockets, *ordinals* are the numbers of its connections, and
    *shared_counters* are those that it shares with other processes. *authority* gives what signs certificates; without
    it that is the one in a folder, see `ProxyConfig.tls_authority`.
    Clients of a forward proxy do not get to *interface*.
    """

    def __init__(
        self,
        config: ProxyConfig,
        *,
        observers: Sequence[Observer] = (),
        recorded: ReplayedDecisions | None = None,
        bind: Bind = binding.bind,
        ordinals: Sequence[int] = ALL,
        shared_counters: ProxyCounters | None = None,
        authority: LoadAuthority | None = None,
        interface: OwnAddresses | None = None,
    ) -> None:
        self.config = config
        """The configuration it runs with now; the port is the real one once it has started."""
        self._observers, self._recorded, self._shared_counters = observers, recorded, shared_counters
        self._interface = interface
        self._view = ProxyView(lambda: self.config)
        self._protocol, self._legacy_protocol = self._protocols(config)
        self._plan = CompiledPolicy(config.policy, self._protocol, self._instantiate, forward=config.backend.forward)
        self._check_tls(config.backend, self._plan)
        _check_forwarding(config)
        self._client_tls = _client_tls(config, self._protocol, authority)
        self._given = self._address = config.listen
        self._traffic = ProxyTraffic(ordinals)
        self._bind = bind
        self._server: ProxyServer | None = None
        self._starting = asyncio.Lock()
        self.remove_expired: Callable[[Fault], Awaitable[None]] = self._remove
        """Removes a fault whose time to live is over; a hub puts an edit of its configuration here."""
        self._removing: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> Address:
        """The address it listens on; the port is the real one once it has started."""
        return self._address

    @property
    def enabled(self) -> bool:
        """Whether it listens."""
        return self._server is not None and self._server.listening

    @property
    def connections(self) -> list[ConnectionInfo]:
        """The open connections, oldest first."""
        return [one.info for one in self.live]

    @property
    def live(self) -> list[OpenConnection]:
        """The open connections themselves, oldest first; `connections` describes them."""
        return self._server.connections if self._server is not None else []

    @property
    def state(self) -> ProxyState | None:
        """What the connections have in common; ``None`` before the start and after the end."""
        return self._server.state if self._server is not None else None

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
            self.traffic(TO_BACKEND),
            self.traffic(TO_CLIENT),
            self._traffic.exchanges + sum(one.exchanges for one in opened),
            self._traffic.lost,
            self._traffic.lost_because,
            self._traffic.encrypted,
            self._traffic.without_tls,
            self._traffic.handshakes_failed,
            self._traffic.handshake_error,
            self._traffic.undialled,
            self._traffic.dial_error,
            self.state.near_misses if self.state is not None else {},
        )

    def seconds_left(self, fault: str) -> float | None:
        """Seconds until the fault called *fault* removes itself; ``None`` when it does not, or the proxy is off."""
        return self._server.seconds_left(fault) if self._server is not None else None

    def traffic(self, direction: Direction) -> Bytes:
        """The bytes that went in a direction since the proxy was made, those of open connections included."""
        return self._traffic.with_open(direction, (one.meter for one in self.live))

    @property
    def plan(self) -> CompiledPolicy:
        """The current policy, ready to run."""
        return self._plan

    @property
    def backend(self) -> Address:
        """The address that new connections dial."""
        return self.config.backend

    @property
    def policy(self) -> Policy:
        """The current mix and faults."""
        return self._plan.policy

    # It starts, moves and stops.

    async def start(self) -> None:
        """Listen, and accept clients. A proxy keeps the port that it got first. Idempotent.

        Raises `BindError` naming the address and the system's reason.
        """
        async with self._starting:  # a second call, while a name resolves, must not open a second listener
            if self.enabled:
                return
            await self.prepare(self.config.backend)
            server = self._server = self._new_server()
            try:
                self._address = await server.listen(self.config.listen, self.config.backlog)
            except BaseException:
                self._server = None
                raise
            self._listens(server)

    async def prepare(self, backend: Address) -> None:
        """Make, outside of the loop, what the first client needs if *backend* is dialled for it. Idempotent."""
        protocol = self._protocol
        says_so = protocol.upgrades or bool(protocol.tls_request)
        if backend.tls is not None and self._client_tls is None and says_so:
            await asyncio.get_running_loop().run_in_executor(None, protocol.prepare_tls_words)

    def _new_server(self) -> ProxyServer:
        loop = asyncio.get_running_loop()
        state = ProxyState(
            loop,
            Clock(loop),
            self.config,
            self._protocol,
            self._legacy_protocol,
            self._plan,
            self._observers,
            self._traffic,
            self._recorded,
            self._shared_counters,
            self._interface,
        )
        state.client_tls = self._client_tls
        if self._client_tls is not None:
            self._client_tls.unusable = lambda reason, files: state.events.emit(
                events.Failed, connection=0, where="tls", error=reason, once=files
            )
        return ProxyServer(state, self._bind, self.config.max_connections, self._expire)

    def _listens(self, server: ProxyServer) -> None:
        listen = msgspec.structs.replace(self.config.listen, port=self._address.port)
        self.config = msgspec.structs.replace(self.config, listen=listen, enabled=True)
        server.follow_expiries(Policy())
        server.announce(self._address)
        for text in self._client_tls.warnings if self._client_tls is not None else ():
            server.state.events.emit(events.Failed, connection=0, where="tls", error=text, once=text)
        self._warn_of_backend(server)

    def _warn_of_backend(self, server: ProxyServer) -> None:
        backend = self.config.backend.tls
        if backend is not None:
            from vaurien.engine.net import tls_context  # imported only where TLS is used

            for text in tls_context.warnings(backend):
                server.state.events.emit(events.Failed, connection=0, where="tls", error=text, once=text)

    async def serves(self, listen: Address) -> bool:
        """Whether *listen* is the address it listens on: the same text, or another name of it."""
        known = (self._given, self.config.listen, self._address)
        return listen in known or await binding.same(listen, self._address)

    async def move(self, listen: Address) -> None:
        """Listen on *listen* instead, and drop all connections. Raises `BindError`, and then nothing has changed."""
        server = self._server
        if server is None or not server.listening:
            self._address = listen
            self._take(listen)
            return
        self._address = await server.move(self._address, listen, self.config.backlog)
        self._take(listen)
        self._listens(server)
        self.drop_connections()

    def _take(self, listen: Address) -> None:
        self._given = listen
        self.config = msgspec.structs.replace(self.config, listen=listen)

    async def stop(self, grace: float = 0.0) -> None:
        """Refuse new clients, give open connections *grace* seconds to end, then reset them. Idempotent."""
        server = self._server
        if server is None:
            return
        self.config = msgspec.structs.replace(self.config, enabled=False)
        await server.stop(grace)
        if self._server is server:
            self._server = None

    async def disable(self) -> None:
        """Refuse new clients and drop open connections. Idempotent; `start` ends it."""
        if self._server is not None:
            self._server.refuse()
        self.drop_connections()
        await self.stop()

    def disown(self) -> None:
        """Close this process's copies of the sockets: it was forked, and the proxy is its parent's.

        Nothing is sent, and the loop, whose epoll is the parent's too, is not touched. As long as a copy is open, a
        connection that the parent resets is not reset (socket(7), SO_LINGER).
        """
        if self._server is not None:
            self._server.disown()

    def drop_connections(self) -> None:
        """End every connection at once; peers see FIN, or RST if they sent bytes that were not read."""
        for connection in self.live:
            connection.reset(Ending.STOPPED, side="neither")

    def close_connection(self, number: int) -> None:
        """End connection *number* in order: sent bytes are delivered, then FIN. Raises `UnknownName`."""
        self._connection(number).close(Ending.CLOSED_BY_CONTROL)

    def reset_connection(self, number: int) -> None:
        """End connection *number* at once, with RST. Raises `UnknownName`."""
        self._connection(number).reset(Ending.RESET_BY_CONTROL)

    def _connection(self, number: int) -> OpenConnection:
        for connection in self.live:
            if connection.number == number:
                return connection
        raise UnknownName("connection", str(number), [str(one.number) for one in self.live])

    # Its configuration changes.

    def set_policy(self, policy: Policy) -> None:
        """Replace mix and faults: checked as a whole first, and in force for the next byte when this returns.

        Raises `UnknownName`, `OptionError` or `PluginError`, or `BindError` when its port was closed and cannot be
        opened, and then nothing has changed.
        """
        before = self.policy
        plan = CompiledPolicy(policy, self._protocol, self._instantiate, self._plan, forward=self.backend.forward)
        self._check_tls(self.backend, plan)
        if self._server is not None:
            self._server.check_port(plan)
        self._plan = plan
        self.config = msgspec.structs.replace(self.config, policy=policy)
        if self._server is not None:
            self._server.adopt(plan, before)

    def follow_observers(self) -> None:
        """Tell observers of exchanges from now on, or no more, as they want it."""
        if self.state is not None:
            self.state.follow_observers()

    def edit_policy(self, edit: PolicyEdit) -> None:
        """Replace the policy by what *edit* makes of it. Raises what *edit* raises, and as `set_policy`."""
        self.set_policy(edit(self.policy))

    def set_backend(self, backend: Address) -> None:
        """Dial *backend* for every connection from now on; open connections keep theirs. `prepare` it before.

        Raises `OptionError` for one that speaks TLS in a way that cannot be, see `BackendTls`.
        """
        self._check_tls(backend, self._plan)
        self.config = msgspec.structs.replace(self.config, backend=backend)
        if self._server is not None:
            self._server.dial(backend)
            self._warn_of_backend(self._server)

    def _expire(self, name: str) -> None:
        """Remove the fault *name*, whose time to live is over."""
        task = hook_task.start(asyncio.get_running_loop(), self._remove_or_retry(self.policy.fault(name)))
        if task is not None:
            self._removing.add(task)
            task.add_done_callback(self._removing.discard)

    async def _remove_or_retry(self, fault: Fault) -> None:
        try:
            await self.remove_expired(fault)
        except BindError as error:
            if self._server is not None:
                self._server.state.events.emit(events.Failed, connection=0, where="listen", error=str(error))
                self._server.expire_later(fault.name, REBIND_INTERVAL)

    async def _remove(self, fault: Fault) -> None:
        self.set_policy(self.policy.without_fault(fault.name))

    def _check_tls(self, backend: Address, plan: CompiledPolicy) -> None:
        """Raise `OptionError` for TLS to *backend* by files that are not there, or beside a legacy plugin of *plan*."""
        if plan.blocking or not isinstance(self._legacy_protocol, Transparent):
            reason = "a legacy plugin reads and writes the sockets itself"
            if backend.forward:
                raise OptionError("backend", str(backend), f"an address: {reason}")
            if backend.tls is not None:
                raise OptionError("backend", str(backend), f"one without TLS: {reason}")
            if self.config.tls:
                raise OptionError("tls", list(self.config.tls), f"no TLS with clients: {reason}")
        if backend.tls is not None:
            from vaurien.engine.net.tls_context import client_context  # imported only where TLS is used

            client_context(backend.tls)

    def _instantiate(self, plugin: plugins.Plugin, values: Mapping[str, Any]) -> Any:
        return instantiate(plugin, values, self._view)

    def _protocols(self, config: ProxyConfig) -> tuple[Protocol, Any]:
        """The protocol that marks messages, and the legacy protocol that moves the bytes in the blocking lane."""
        plugin = plugins.find(config.protocol, "protocol")
        if plugin.legacy:
            return Unframed(), self._instantiate(plugin, config.protocol_options)
        return protocol_of(config), Transparent(config.protocol, {"buffer": config.bufsize}, self._view)


def _client_tls(config: ProxyConfig, protocol: Protocol, authority: LoadAuthority | None) -> ServerContexts | None:
    """What TLS with the clients of *config* needs, its files read. Raises `OptionError`, `ConfigError`."""
    settings = config.client_tls
    if settings is None:
        return None
    if not settings.alpn:
        settings = msgspec.structs.replace(settings, alpn=protocol.alpn)
    from vaurien.engine.net.server_contexts import ServerContexts  # imported only where TLS is used

    def load() -> Authority:
        from vaurien.tls.authority import Authority  # and so is cryptography

        folder = tls.default_folder(os.environ) if settings.authority is None else Path(settings.authority)
        try:
            return Authority.load(folder)
        except ConfigError as error:
            if settings.authority is not None:
                wanted = f"a folder with an authority ({error})"
                raise OptionError("tls_authority", settings.authority, wanted) from None
            if settings.certificates == (AUTO,):
                raise OptionError("tls", AUTO, f"an authority of this user to sign with ({error})") from None
            raise

    return ServerContexts(settings, authority or functools.cache(load))


def _check_forwarding(config: ProxyConfig) -> None:
    """Raise `OptionError` for options of a forward proxy on another one, and for those that cannot be read."""
    Routes(config.route)
    if config.upstream is not None and not config.backend.forward:
        raise OptionError("upstream_proxy", config.upstream_proxy, "none unless the backend is 'forward'")
    if config.route and config.backend.forward:
        raise OptionError("route", list(config.route), "none where clients name their backends")


def own_faults(config: ProxyConfig) -> tuple[Fault, ...]:
    """The faults that options of the protocol of *config* set, which its policy does not have.

    None of a protocol that is not here, as in what a fleet wants of another node.
    """
    try:
        return protocol_of(config).own_faults
    except VaurienError:
        return ()


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
