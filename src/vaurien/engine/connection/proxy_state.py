"""What all connections of one proxy share."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vaurien.engine.connection.event_bus import EventBus
from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.backend_pool import Pool
from vaurien.engine.net.endpoint import Endpoint, PlainEndpoint
from vaurien.engine.net.reset_watch import ResetWatcher
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.engine.policy.shared_counters import ProxyCounters
from vaurien.engine.policy.shared_state import SharedState
from vaurien.engine.relay.traffic import Traffic
from vaurien.events import Failed, Observer
from vaurien.framing import Protocol
from vaurien.legacy.protocol import Transparent
from vaurien.model import Address, ProxyConfig

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection

_OF_EACH = "shared() is per worker process; use shared_number(), or run with --workers 1"

BUFFER = 256 * 1024
"""Bytes read at once. Measured: bulk throughput grows up to here, and a longer read keeps other connections waiting."""


_views: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = weakref.WeakKeyDictionary()
"""One buffer for each loop is enough: a chunk is read into it and sent from it before anything else runs there."""


def _view(loop: asyncio.AbstractEventLoop) -> memoryview:
    if loop not in _views:
        _views[loop] = memoryview(bytearray(BUFFER))
    return _views[loop]


def _plain(endpoint: PlainEndpoint) -> Endpoint:
    return endpoint


class ProxyState:
    """The plan of this moment, the connections, and what they need of the world."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        config: ProxyConfig,
        protocol: Protocol,
        mover: Any,
        plan: CompiledPolicy,
        observers: Sequence[Observer],
        traffic: Traffic | None = None,
        recorded: ReplayedDecisions | None = None,
        page: ProxyCounters | None = None,
    ) -> None:
        self.loop, self.clock, self.config = loop, clock, config
        self.protocol = protocol
        self.forgets = not isinstance(loop, asyncio.BaseEventLoop)
        """Whether the loop tells only once of a socket with an error, as libuv does, also when there are bytes to read
        before it: one that is not asked again would never tell of a reset."""
        self.mover = mover
        """What moves the bytes in the blocking lane: the proxy's classic protocol, or a `Transparent`."""
        self.plan = plan
        self.blocking = self._blocks(plan)
        """Whether a plugin of the original is in play: for whatever can be read it is drawn which lane it needs."""
        self.reuses = protocol.reuse_socket
        """Whether a backend's socket may outlive its client."""
        self.backend: Address = config.backend
        self.events = EventBus(loop, config.name, observers)
        """What happens on the proxy, for its observers."""
        self.chance = Chance(config.seed, config.name, clock.now, recorded, page)
        """The draws of all connections."""
        self.shared = SharedState(page, self._not_shared)
        """What faults remember for all connections."""
        self.traffic = traffic or Traffic()
        self.view = _view(loop)
        """The buffer of the direct lane."""
        self.hangups = ResetWatcher(loop, clock)
        """What tells of a reset after the end of a stream."""
        self.pool = Pool(clock, config.pool_max_size, config.pool_timeout)
        self.wrap_backend: Callable[[PlainEndpoint], Endpoint] = _plain
        """Makes the endpoint of a backend's socket that was just dialled."""
        self.connections: dict[int, Connection] = {}
        self.forgotten: Callable[[], None] = lambda: None
        """Called when a connection is over."""
        self.chance.follow(plan)

    def _not_shared(self, fault: str) -> None:
        self.events.emit(Failed, connection=0, where=fault, error=_OF_EACH)

    def _blocks(self, plan: CompiledPolicy) -> bool:
        return plan.blocking or not isinstance(self.mover, Transparent)

    def calls(self, entry: CompiledFault | None) -> bool:
        """Whether what was drawn is called in the blocking lane: a plugin of the original, or its classic protocol."""
        return entry.blocking if entry is not None else not isinstance(self.mover, Transparent)

    def adopt(self, plan: CompiledPolicy) -> None:
        """Work by *plan* from the next byte on; the state of faults that are gone is forgotten."""
        self.plan, self.blocking = plan, self._blocks(plan)
        self.chance.follow(plan)
        self.shared.follow(plan)
        for connection in list(self.connections.values()):
            connection.adopt()

    def forget(self, connection: Connection) -> None:
        """*connection* is over."""
        del self.connections[connection.number]
        self.traffic.add(connection.meter)
        self.forgotten()
