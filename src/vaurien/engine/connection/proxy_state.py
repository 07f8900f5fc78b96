"""What all connections of one proxy share."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.backend_pool import Pool
from vaurien.engine.net.reset_watch import ResetWatcher
from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.engine.policy.shared_counters import ProxyCounters
from vaurien.engine.policy.window_counter import SharedWindowCounter, WindowCounter
from vaurien.engine.relay.traffic import Traffic
from vaurien.events import Event, Failed, Observer
from vaurien.framing import Protocol
from vaurien.legacy.protocol import Transparent
from vaurien.model import Address, ProxyConfig, Window

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection

S = TypeVar("S")

_ALWAYS = Window()

_OF_EACH = "its shared state is one for each worker, not one for the whole proxy; expected shared_number, or one worker"

BUFFER = 256 * 1024
"""Bytes read at once. Measured: bulk throughput grows up to here, and a longer read keeps other connections waiting."""


_views: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = weakref.WeakKeyDictionary()
"""One buffer for each loop is enough: a chunk is read into it and sent from it before anything else runs there."""


def _view(loop: asyncio.AbstractEventLoop) -> memoryview:
    if loop not in _views:
        _views[loop] = memoryview(bytearray(BUFFER))
    return _views[loop]


class _Told(dict[type[Event], tuple[Observer, ...]]):
    """For each kind of event those of *observers* that do not ignore it."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        super().__init__()
        self._observers = tuple(observers)

    def __missing__(self, kind: type[Event]) -> tuple[Observer, ...]:
        found = tuple(one for one in self._observers if kind not in getattr(one, "ignores", ()))
        self[kind] = found
        return found


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
        self.told = _Told(observers)
        """For each kind of event the observers that it is for."""
        self.detailed = tuple(observer for observer in observers if getattr(observer, "detailed", False))
        """Those of the observers that are told every decision and every delay."""
        self.recorded = recorded
        """Decisions that take the place of dice."""
        self.traffic = traffic or Traffic()
        self.view = _view(loop)
        """The buffer of the direct lane."""
        self.hangups = ResetWatcher(loop, clock)
        """What tells of a reset after the end of a stream."""
        self.pool = Pool(clock, config.pool_max_size, config.pool_timeout)
        self.connections: dict[int, Connection] = {}
        self.forgotten: Callable[[], None] = lambda: None
        """Called when a connection is over."""
        self.page = page
        """What is counted together with other processes, where these have connections of the proxy too."""
        self._shared: dict[str, Any] = {}
        self._numbers: dict[str, dict[str, float]] = {}
        self._occasions: dict[str, WindowCounter] = {}
        self._open_windows()

    def _blocks(self, plan: CompiledPolicy) -> bool:
        return plan.blocking or not isinstance(self.mover, Transparent)

    def calls(self, entry: CompiledFault | None) -> bool:
        """Whether what was drawn is called in the blocking lane: a plugin of the original, or its classic protocol."""
        return entry.blocking if entry is not None else not isinstance(self.mover, Transparent)

    def random_for(self, connection: int, key: str) -> Random:
        """The generator of the fault *key* on a connection: the same whatever other faults there are."""
        return Random(f"{self.config.seed}:{self.config.name}:{connection}:{key}")  # noqa: S311 - repeatable dice

    def shared_state(self, entry: CompiledFault, factory: Callable[[], S]) -> S:
        """The state of *entry* on the whole proxy, or on what this process has of it, and then that is told once."""
        if entry.key not in self._shared:
            self._shared[entry.key] = factory()
            if self.page is not None:
                self.emit(Failed, connection=0, where=entry.name, error=_OF_EACH)
        state: S = self._shared[entry.key]
        return state

    def shared_number(self, entry: CompiledFault, name: str, first: float, change: Callable[[float], float]) -> float:
        """Change the number *name* of *entry* on the whole proxy."""
        if self.page is not None:
            return self.page.number(entry.key, name, first, change)
        numbers = self._numbers.setdefault(entry.key, {})
        numbers[name] = number = change(numbers.get(name, first))
        return number

    def adopt(self, plan: CompiledPolicy) -> None:
        """Work by *plan* from the next byte on; the state of faults that are gone is forgotten."""
        self.plan, self.blocking = plan, self._blocks(plan)
        self._open_windows()
        kept = {entry.key for entry in plan.entries}
        self._shared = {key: state for key, state in self._shared.items() if key in kept}
        self._numbers = {key: numbers for key, numbers in self._numbers.items() if key in kept}
        for connection in list(self.connections.values()):
            connection.adopt()

    def _open_windows(self) -> None:
        """Begin to count for the windows that are new; those that were open go on."""
        before, now = self._occasions, self.clock.now()
        self._occasions = {}
        for entry in self.plan.entries:
            window = entry.fault.window
            if window != _ALWAYS:
                same = before.get(entry.key)
                self._occasions[entry.key] = same if same and same.window == window else self._open(entry, now)

    def _open(self, entry: CompiledFault, now: float) -> WindowCounter:
        if self.page is None:
            return WindowCounter(entry.fault.window, now)
        return SharedWindowCounter(entry.fault.window, now, self.page.window(entry.key))

    def throw(self, connection: int, entry: CompiledFault, random: Callable[[], Random]) -> bool:
        """Throw the dice of *entry* for one occasion, if its window is open; *random* gives its generator."""
        if self.recorded is not None and entry.chancy:
            return self.recorded.next(connection, entry.name) is True
        occasions = self._occasions.get(entry.key)
        probability = entry.fault.probability
        if occasions is None:
            return probability >= 1.0 or random().random() < probability
        return occasions.throw(self.clock.now(), lambda: probability >= 1.0 or random().random() < probability)

    def draw(self, connection: int, plan: CompiledPolicy, random: Random) -> CompiledFault | None:
        """The share of the mix of *plan* that is hit this time; ``None`` for the undisturbed rest."""
        if self.recorded is None:
            return plan.draw(random)
        label = self.recorded.next(connection, "mix")
        return next((entry for entry in plan.mix if entry.label == label), None)

    def emit(self, make: type[Event], **facts: Any) -> None:
        """Tell the observers that want to know, if there are any."""
        if self.told[make]:
            self.tell(make(proxy=self.config.name, **{"at": time.time(), **facts}))

    def detail(self, make: type[Event], **facts: Any) -> None:
        """Tell those observers that want to know every decision and every delay."""
        if self.detailed:
            self._tell(self.detailed, make(proxy=self.config.name, **{"at": time.time(), **facts}))

    def tell(self, event: Event) -> None:
        """Tell the observers that want to know of *event*."""
        self._tell(self.told[type(event)], event)

    def _tell(self, observers: Sequence[Observer], event: Event) -> None:
        for observer in observers:
            try:
                observer(event)
            except Exception as error:  # whoever looks on must not end what it looks at
                context = {"message": f"the observer {observer!r} raised", "exception": error}
                self.loop.call_exception_handler(context)

    def forget(self, connection: Connection) -> None:
        """*connection* is over."""
        del self.connections[connection.number]
        self.traffic.add(connection.meter)
        self.forgotten()
