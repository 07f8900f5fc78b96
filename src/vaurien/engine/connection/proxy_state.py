"""What all connections of one proxy share."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from vaurien import framing, hooks
from vaurien.engine.connection.event_bus import EventBus
from vaurien.engine.loop import hook_watch
from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.backend_pool import Pool
from vaurien.engine.net.endpoint import Endpoint, PlainEndpoint
from vaurien.engine.net.own_addresses import OwnAddresses, http_interface
from vaurien.engine.net.reset_watch import ResetWatcher
from vaurien.engine.net.routes import Routes
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.near_misses import NearMisses
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.engine.policy.shared_counters import ProxyCounters
from vaurien.engine.policy.shared_state import SharedState
from vaurien.engine.relay.ending import Ending
from vaurien.engine.relay.read_buffer import Beginnings
from vaurien.engine.relay.traffic import ConnectionInfo, Meter, ProxyTraffic
from vaurien.events import Failed, Observer
from vaurien.legacy.protocol import Transparent
from vaurien.model import Address, ProxyConfig

if TYPE_CHECKING:
    from vaurien.engine.net.server_contexts import ServerContexts

_OF_EACH = "shared() is per worker process; use shared_number(), or run with --workers 1"
_GIVE_WAY = "expected `await`, as in `await link.sleep(1)` or `await asyncio.to_thread(function)`"

BUFFER = 256 * 1024
"""Bytes read at once. Measured: bulk throughput grows up to here, and a longer read keeps other connections waiting."""


_buffers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Beginnings] = weakref.WeakKeyDictionary()
"""One buffer for each loop is enough: a chunk is read into it and sent from it before anything else runs there."""


def _beginnings(loop: asyncio.AbstractEventLoop) -> Beginnings:
    if loop not in _buffers:
        _buffers[loop] = Beginnings(memoryview(bytearray(BUFFER)))
    return _buffers[loop]


class OpenConnection(Protocol):
    """A connection, as its proxy sees it."""

    number: int
    meter: Meter

    @property
    def exchanges(self) -> int:
        """How many requests were recognized so far."""

    @property
    def info(self) -> ConnectionInfo:
        """What others may know of it now."""

    def adopt(self) -> None:
        """The proxy has another policy."""

    def adopt_later(self) -> None:
        """The proxy has another policy, which may wait for bytes where nothing is under way."""

    def close(self, outcome: Ending) -> None:
        """End in order."""

    def reset(self, outcome: Ending, *, side: hooks.Side | Literal["neither"] = "both") -> None:
        """End at once."""

    def disown(self) -> None:
        """Close the sockets and leave the loop alone."""


class ProxyState:
    """What all connections of one proxy share: its policy of this moment, the draws, the counts and the events."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        config: ProxyConfig,
        protocol: framing.Protocol,
        legacy_protocol: Any,
        plan: CompiledPolicy,
        observers: Sequence[Observer],
        traffic: ProxyTraffic | None = None,
        recorded: ReplayedDecisions | None = None,
        shared_counters: ProxyCounters | None = None,
        interface: OwnAddresses | None = None,
    ) -> None:
        self.loop, self.clock, self.config = loop, clock, config
        self.protocol = protocol
        self.edge_triggered = not isinstance(loop, asyncio.BaseEventLoop)
        """The loop reports a socket with an error once only, as libuv does, also when there are bytes to read before
        the error: a link that does not read on by itself would never see the reset."""
        self.legacy_protocol = legacy_protocol
        """Moves the bytes in the blocking lane: the proxy's legacy protocol, or a `Transparent`."""
        self.plan = plan
        self.blocking = self._blocks(plan)
        """A legacy plugin is in play: a draw decides, for each readable chunk, which lane it needs."""
        self.reuse_socket = protocol.reuse_socket and config.send_proxy_protocol == "no"
        """A backend's socket may outlive its client, unless its backend was told whose it is."""
        self.backend: Address = config.backend
        self.listening = OwnAddresses("loop", "this is the proxy itself")
        """Where the proxy listens."""
        self._itself = (self.listening,)
        self._not_for_clients = (self.listening, interface or http_interface())
        self.routes = Routes(config.route)
        """Backends of clients that ask for certain server names."""
        self.events = EventBus(loop, config.name, observers)
        """What happens on the proxy, for its observers."""
        self.chance = Chance(config.seed, config.name, clock.now, recorded, shared_counters)
        """The draws of all connections."""
        self.shared = SharedState(shared_counters, self._not_shared)
        """What faults remember for all connections."""
        self.traffic = traffic or ProxyTraffic()
        self.beginnings = _beginnings(loop)
        """Those of `buffer`."""
        self.buffer = self.beginnings.buffer
        """Links read into it."""
        self.reset_watch = ResetWatcher(loop, clock)
        """Reports resets that come behind the end of a stream."""
        self.pool = Pool(clock, config.pool_max_size, config.pool_timeout)
        self.wrap_backend: Callable[[PlainEndpoint], Endpoint] | None = None
        """Makes the endpoint of a backend's socket that was just dialled; ``None``: the socket is its own."""
        self.client_tls: ServerContexts | None = None
        """What TLS with clients needs; ``None``: they speak plain text."""
        self.negotiates_tls = bool(protocol.tls_request) and config.starttls
        """TLS is agreed upon first, in the words of the protocol."""
        self.upgrades = protocol.upgrades and config.starttls
        """TLS may begin in the middle of a connection."""
        self.connections: dict[int, OpenConnection] = {}
        self.deferred = 0
        """Connections that have put off the plan until there are bytes."""
        self.on_connection_closed: Callable[[], None] = lambda: None
        """Called when a connection is over."""
        self.lists_exchanges = self.events.followed
        """An observer wants to know each exchange."""
        self.chance.follow(plan)
        self._watch_hooks(plan)

    def close(self) -> None:
        """All connections are over, and there will be no others."""
        self.pool.clear()
        self.clock.close()
        hook_watch.watch_of(self.loop).follow(self, (), self._hook_blocked)

    def _watch_hooks(self, plan: CompiledPolicy) -> None:
        plugins = [(compiled.name, compiled.instance) for compiled in plan.compiled_faults if compiled.needs_task]
        hook_watch.watch_of(self.loop).follow(self, plugins, self._hook_blocked)

    def _hook_blocked(self, fault: str, where: str) -> None:
        error = f"a hook holds up all connections: over {hook_watch.BLOCKED * 1000:g} ms at {where}; {_GIVE_WAY}"
        self.events.emit(Failed, connection=0, where=f"behavior {fault}", error=error)

    def _not_shared(self, fault: str) -> None:
        self.events.emit(Failed, connection=0, where=fault, error=_OF_EACH, once=f"shared {fault}")

    def _blocks(self, plan: CompiledPolicy) -> bool:
        return plan.blocking or not isinstance(self.legacy_protocol, Transparent)

    def own(self, way: tuple[OwnAddresses, ...]) -> tuple[OwnAddresses, ...]:
        """What is not dialled: the proxy itself, and the proxies of the *way* that a client has come.

        Where clients of a forward proxy choose the server, it is not the program's HTTP interface.
        """
        if self.backend.forward and self.config.upstream is None:
            return self._not_for_clients
        return (self.listening, *way) if way else self._itself

    @property
    def reads_opening(self) -> bool:
        """Whether a client says something that is for the proxy, or that something depends on."""
        if self.backend.forward or self.config.accept_proxy_protocol:
            return True
        return self.client_tls is None and self.reads_hello

    @property
    def reads_hello(self) -> bool:
        """Whether something depends on a client's ClientHello."""
        return self.plan.reads_hello or bool(self.routes)

    @property
    def answers_tls_requests(self) -> bool:
        """Whether faults answer what clients of this protocol say about TLS first."""
        return bool(self.protocol.tls_request) and self.plan.answers_tls_requests

    @property
    def opens_tls(self) -> bool:
        """TLS begins with both sides in the middle of a connection, once they agree on it."""
        return self.client_tls is not None and self.upgrades

    def needs_thread(self, compiled: CompiledFault | None) -> bool:
        """Whether a turn for which *compiled* was drawn needs the blocking lane: for a legacy plugin, or protocol."""
        return compiled.blocking if compiled is not None else not isinstance(self.legacy_protocol, Transparent)

    def adopt(self, plan: CompiledPolicy) -> None:
        """Work by *plan* from the next byte on; the state of faults that are gone is forgotten."""
        self.plan, self.blocking = plan, self._blocks(plan)
        self.chance.follow(plan)
        self._watch_hooks(plan)
        self.shared.follow(plan)
        for connection in list(self.connections.values()):
            if plan.may_wait and not self.blocking:
                connection.adopt_later()
            else:
                connection.adopt()

    def follow_observers(self) -> None:
        """Tell observers of exchanges, or no more, as they want it now."""
        if self.lists_exchanges != self.events.followed:
            self.lists_exchanges = not self.lists_exchanges
            self.adopt(self.plan)

    @property
    def near_misses(self) -> dict[str, NearMisses]:
        """Why faults did not hit, by their keys. Connections that have put off the plan are known to each fault."""
        found, more = self.chance.near_misses, NearMisses(connections=self.deferred)
        return found | {key: found[key] + more for key in self._keys_in_play} if self.deferred else found

    def count_for_faults(self) -> None:
        """A connection is over that has put off the plan to its end."""
        for key in self._keys_in_play:
            self.chance.near_misses[key].connections += 1

    @property
    def _keys_in_play(self) -> list[str]:
        return [compiled.key for compiled in self.plan.relevant if not compiled.blocking]

    def forget(self, connection: OpenConnection) -> None:
        """*connection* is over."""
        del self.connections[connection.number]
        self.traffic.add(connection.meter, connection.exchanges)
        self.on_connection_closed()
