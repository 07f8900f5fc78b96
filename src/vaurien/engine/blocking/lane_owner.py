"""What the blocking lane needs of the rooms above it, which it must not import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from vaurien.engine.loop.clock import Timer
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.matching import Facts
from vaurien.events import Event
from vaurien.model import Address, ProxyConfig


class LaneEventBus(Protocol):
    """Tells the observers of a proxy what happens."""

    @property
    def subscribers(self) -> Mapping[type[Event], Any]:
        """For each kind of event the observers that want it."""

    @property
    def detailed(self) -> Any:
        """The observers that want to know every decision."""


class LaneProxy(Protocol):
    """What the connections of a proxy share. `chance` is used in any thread, the rest is only read."""

    @property
    def config(self) -> ProxyConfig:
        """The proxy's configuration."""

    @property
    def backend(self) -> Address:
        """What is dialled at this moment."""

    @property
    def plan(self) -> CompiledPolicy:
        """The policy of this moment."""

    @property
    def legacy_protocol(self) -> Any:
        """The legacy protocol that moves bytes in the thread, or a `Transparent`."""

    @property
    def chance(self) -> Chance:
        """The draws of all connections."""

    @property
    def events(self) -> LaneEventBus:
        """What tells the observers."""

    @property
    def blocking(self) -> bool:
        """Whether a legacy plugin is in play."""

    def needs_thread(self, compiled: CompiledFault | None) -> bool:
        """Whether a turn for which *compiled* was drawn needs the thread."""


class LaneJournal(Protocol):
    """Tells the observers, in the loop's thread, what happened at the time *when* of the clock."""

    def called(self, name: str, turn: int, *, when: float | None = None) -> None:
        """The share *name* of the mix was drawn for the turn *turn*, and hits."""

    def count(self, name: str, hits: int) -> None:
        """The fault *name* acted *hits* times, of which no observer wants to know."""

    def hit(self, name: str, exchange: int | None, *, when: float | None = None) -> None:
        """The fault *name* acts, in the turn *exchange*."""

    def decided(self, name: str, drawn: str | bool | None, exchange: int | None, *, when: float | None = None) -> None:
        """A fault, or the ``mix``, was decided on."""


class LaneClock(Protocol):
    """The engine's clock. `now` is called in any thread."""

    @property
    def now(self) -> Callable[[], float]:
        """Seconds."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call in the loop's thread."""


class LaneMeter(Protocol):
    """Counts the bytes of a connection."""

    lane: Any


class LaneOwner(Protocol):
    """The connection that a lane belongs to. `call_soon` is called in any thread, the rest in the loop's."""

    @property
    def number(self) -> int:
        """The connection's ordinal."""

    @property
    def peer(self) -> str:
        """The client's address."""

    @property
    def facts(self) -> Facts:
        """What its client has said before anything was relayed."""

    @property
    def service(self) -> LaneProxy:
        """What it shares with others."""

    @property
    def clock(self) -> LaneClock:
        """The engine's clock."""

    @property
    def journal(self) -> LaneJournal:
        """What tells the observers."""

    @property
    def meter(self) -> LaneMeter:
        """What counts its bytes."""

    @property
    def spoke(self) -> bool:
        """Whether bytes of it have moved in the loop."""

    def call_soon(self, callback: Callable[..., None], *facts: Any) -> None:
        """Call *callback* in the loop's thread, from another one."""

    def lane_returned(self, result: Any) -> None:
        """The thread has ended and gives the sockets back (`LaneResult`); called in the loop's thread."""
