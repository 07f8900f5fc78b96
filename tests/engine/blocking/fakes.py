"""A connection and its proxy as the blocking lane sees them, without sockets and without a loop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from tests.running import PATIENCE
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.matching import NO_FACTS
from vaurien.events import Injected, MixHit
from vaurien.legacy.protocol import Transparent
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig
from vaurien.protocols.tcp import Tcp
from vaurien.testing import VirtualClock


def compiled(mix: str = "", *faults: Fault) -> CompiledPolicy:
    """A policy ready to run; legacy plugins in it are their own instances."""
    return CompiledPolicy(Policy(Mix.parse(mix), faults), Tcp(), lambda plugin, _: plugin.target())


def endpoints(stack: contextlib.ExitStack) -> tuple[socket.socket, PlainEndpoint]:
    """A peer's socket, and the end of it that a connection has."""
    one, other = socket.socketpair()
    one.settimeout(PATIENCE)
    stack.enter_context(one)
    end = PlainEndpoint.of(other)
    stack.callback(end.close)
    return one, end


class FakeTimer:
    """A timer of the virtual clock."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock(VirtualClock):
    """The virtual clock, with timers that can be cancelled."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer()
        self.call_at(self.now() + seconds, lambda: None if timer.cancelled else callback())
        return timer


class FakeJournal:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.counts: dict[str, int] = {}

    def count(self, name: str, hits: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + hits

    def called(self, name: str, turn: int, *, when: float | None = None) -> None:
        self.told.append(("called", turn, name, when))

    def hit(self, name: str, exchange: int | None, *, when: float | None = None) -> None:
        self.told.append(("hit", exchange, name, when))

    def decided(self, name: str, drawn: object, exchange: int | None, *, when: float | None = None) -> None:
        self.told.append(("decided", exchange, name, drawn))


class FakeProxy:
    """Draws what it is told to: *drawn* are the numbers of the shares, one after the other, 0 for the first."""

    def __init__(self, plan: CompiledPolicy, drawn: list[int | None], **config: Any) -> None:
        self.config = ProxyConfig(name="web", listen=Address(), backend=Address("127.0.0.1", 1), **config)
        self.backend = self.config.backend
        self.plan, self.drawn = plan, drawn
        self.legacy_protocol: Any = Transparent()
        self.detailed = False
        self.subscribers = {MixHit: True, Injected: True}
        self.thrown: list[str] = []
        self.chance = self.events = self
        self.hits = True

    @property
    def blocking(self) -> bool:
        return self.plan.blocking or not isinstance(self.legacy_protocol, Transparent)

    def needs_thread(self, entry: CompiledFault | None) -> bool:
        return entry.blocking if entry is not None else not isinstance(self.legacy_protocol, Transparent)

    def random_for(self, connection: int, key: str) -> Random:
        return Random(key)

    def roll(self, connection: int, entry: CompiledFault, random: Callable[[], Random]) -> bool:
        self.thrown.append(entry.name)
        return self.hits

    def draw(self, connection: int, plan: CompiledPolicy, random: Random) -> CompiledFault | None:
        share = self.drawn.pop(0)
        return None if share is None else plan.mix[share]


class FakeOwner:
    """A connection. What a thread wants to be called is in `calls` until `run`."""

    number, peer = 7, "127.0.0.1:5"
    facts = NO_FACTS

    def __init__(self, service: FakeProxy, *, spoke: bool = False) -> None:
        self.service, self.spoke = service, spoke
        self.clock = FakeClock()
        self.journal = FakeJournal()
        self.meter = SimpleNamespace(lane=None)
        self.calls: list[Callable[[], None]] = []
        self.returned: list[Any] = []

    def call_soon(self, callback: Callable[..., None], *facts: Any) -> None:
        self.calls.append(lambda: callback(*facts))

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()

    def lane_returned(self, result: Any) -> None:
        self.returned.append(result)
