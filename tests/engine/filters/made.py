"""A connection with its two links for unit tests of filters: no socket, no loop, a clock that stands still."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from tests.engine.policy.made import compiled
from vaurien.engine.filters.bound_fault import BoundFault, reconcile_faults
from vaurien.engine.filters.exchange_tracker import ExchangeTracker
from vaurien.engine.filters.filter import Sink
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.matching import NO_FACTS
from vaurien.engine.policy.shared_state import SharedState
from vaurien.framing import Protocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Address, Direction, Fault
from vaurien.testing import VirtualClock


class Timer:
    def __init__(self, callback: Any) -> None:
        self.callback = callback

    def cancel(self) -> None:
        self.callback = None


class Clock:
    def __init__(self) -> None:
        self._clock = VirtualClock()
        self.now, self.advance = self._clock.now, self._clock.advance

    def call_at(self, when: float, callback: Any) -> Timer:
        timer = Timer(callback)
        self._clock.call_at(when, lambda: timer.callback and timer.callback())
        return timer


class Link:
    """Remembers what was written; coroutines run at once, and must not wait."""

    def __init__(self, direction: Direction, clock: Clock) -> None:
        self.direction, self.clock = direction, clock
        self.loop: Any = None
        self.written: list[bytes] = []
        self.ended = self.full = self.hook_running = False
        self.pending, self.mark, self.moved = None, (0, 0), 0
        self.progress = 0
        self.waits_for_progress = self.copied = True

    def expect_bulk(self, *, copied: bool) -> None:
        self.copied = copied

    def write(self, data: bytes | memoryview) -> None:
        self.written.append(bytes(data))

    async def room(self) -> None:
        assert not self.full

    def pass_end(self) -> None:
        self.ended = True

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        assert next(coroutine.__await__(), "done") == "done"

    spawn = run

    def progressed(self) -> None:
        self.progress += 1

    async def wait_turn(self) -> None:
        assert not self.full


class Side:
    """One direction without filters."""

    may_be_passive, filters = True, ()
    fast_path: Any = None

    def __init__(self, link: Link) -> None:
        self.link, self.first = link, Sink(link)  # type: ignore[arg-type]


class Connection:
    """What filters need of a connection; *told* is what the observers heard."""

    number, peer, backend_address = 1, "127.0.0.1:5", Address("127.0.0.1", 1)
    facts = NO_FACTS
    tells_hits = True
    ending = decides_lane = detailed = lists_exchanges = opens_tls = handover_pending = one_request = False
    may_change_backend = False
    hook_runner = pending_share = mix_random = None
    relays_records = False
    past_exchanges = 0

    def __init__(self, mix: str = "", *faults: Fault, protocol: Protocol, seed: str = "0") -> None:
        self.clock, self.loop = Clock(), None
        self.plan = compiled(mix, *faults, protocol=protocol)
        self.chance = Chance(seed, "web", self.clock.now)
        self.shared = SharedState(None, lambda name: None)
        self.bound_faults: dict[str, BoundFault] = {}
        self.told: list[tuple[Any, ...]] = []
        self.journal = self
        self.up, self.down = (Side(Link(each, self.clock)) for each in (TO_BACKEND, TO_CLIENT))
        reconcile_faults(self, begun=False)  # type: ignore[arg-type] # it has what is needed here
        made = (self, protocol, protocol.framer(), self.up, self.down)
        self.tracker = ExchangeTracker(*made)  # type: ignore[arg-type] # as above
        self.tracker.follow_policy(self.down, self.up)  # type: ignore[arg-type] # as above

    def has_place_for(self, compiled: object) -> bool:
        return True

    def chosen(self, exchange: int, name: str) -> None:
        self.told.append(("chosen", exchange, name))

    def hit(self, name: str, exchange: int | None, place: object = None) -> None:
        self.told.append(("hit", exchange, name))

    def count(self, name: str, hits: int) -> None:
        self.told += [("hit", None, name)] * hits

    def decided(self, name: str, drawn: object, exchange: int | None, place: object) -> None:
        pass

    def lost(self, reason: str) -> None:
        self.told.append(("lost",))

    def close(self, end: object, by: str = "") -> None:
        self.ending = True
