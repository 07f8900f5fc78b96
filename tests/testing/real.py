"""`vaurien.testing.play`, on the real engine: real links, real sockets, and the kit's clock."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from vaurien.engine.connection.connection import ProxiedConnection
from vaurien.engine.connection.proxy_state import ProxyState
from vaurien.engine.connection.states import Trigger
from vaurien.engine.net.endpoint import PlainEndpoint
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.compiled_policy import CompiledPolicy
from vaurien.engine.relay.ending import Ending
from vaurien.engine.relay.traffic import ProxyTraffic
from vaurien.events import Closed, Event, Failed, Injected
from vaurien.hooks import Behavior
from vaurien.legacy.protocol import Transparent
from vaurien.model import Address, Fault, Policy, ProxyConfig
from vaurien.protocols.tcp import Tcp
from vaurien.testing import Change, Chunk, End, Played, Remove, Sent, VirtualClock

PATIENCE = 24 * 3600.0
TURNS = 12
"""Of the loop, after which everything has happened that one event leads to."""


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def ring(self) -> None:
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class EngineClock(VirtualClock):
    """The kit's clock, as the engine uses its own."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:  # type: ignore[override]
        timer = Timer(callback)
        if when < float("inf"):
            super().call_at(when, timer.ring)
        return timer

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return self.call_at(self.now() + seconds, callback)


class OneChance(Chance):
    def random_for(self, connection: int, key: str) -> Random:
        return Random("0:1")


class OneConnection(ProxiedConnection):
    """Its backend is there already."""

    waiting: PlainEndpoint

    def dial_backend(self) -> None:
        self.on(Trigger.DIALLED, self.waiting)


class Peer:
    """The other end of one of its sockets, and what came out of it."""

    def __init__(self, clock: VirtualClock) -> None:
        self.socket, other = socket.socketpair()
        self.socket.setblocking(False)
        self.proxys = PlainEndpoint.of(other)
        self._clock = clock
        self.sent: list[Sent] = []
        self.ended_at: float | None = None

    def look(self) -> None:
        try:
            while data := self.socket.recv(1 << 20):
                self.sent.append(Sent(self._clock.now(), data))
        except BlockingIOError:
            return
        except ConnectionError:
            pass
        self.ended_at = self._clock.now() if self.ended_at is None else self.ended_at


def play_on_the_engine(behavior: Behavior, script: Sequence[Any]) -> Played:
    return asyncio.run(_play(behavior, script))


def _policy(behavior: Behavior | None) -> Policy:
    if behavior is None:
        return Policy()
    name = type(behavior).__module__.rpartition(".")[2]
    return Policy(faults=(Fault(name="it", behavior=name, options=msgspec.structs.asdict(behavior)),))


async def _play(behavior: Behavior, script: Sequence[Any]) -> Played:
    player = _Player(behavior)
    player.connection.start()
    await player.settle()
    for step in script:
        await player.advance(step.at)
        if player.service.connections:
            player.take(step)
            await player.settle()
    await player.advance(player.clock.now() + PATIENCE)
    return await player.finish()


class _Player:
    def __init__(self, behavior: Behavior) -> None:
        loop, self.clock = asyncio.get_running_loop(), EngineClock()
        self.seen: list[Event] = []
        self.service = ProxyState(
            loop,
            self.clock,  # type: ignore[arg-type]
            ProxyConfig(name="engine", listen=Address(), backend=Address()),
            Tcp(),
            Transparent("tcp", {}, None),
            self._plan(behavior, None),
            [self.seen.append],
            ProxyTraffic(),
        )
        self.service.chance = OneChance("0", "engine", self.clock.now)
        self.client, self.server = Peer(self.clock), Peer(self.clock)
        self.connection = OneConnection(self.service, self.client.proxys, ("192.0.2.1", 49152))
        self.connection.waiting = self.server.proxys
        self.service.connections[1] = self.connection

    def _plan(self, behavior: Behavior | None, before: CompiledPolicy | None) -> CompiledPolicy:
        return CompiledPolicy(_policy(behavior), Tcp(), lambda *_: None, before)

    async def settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for peer in (self.client, self.server):
            peer.look()

    async def advance(self, until: float) -> None:
        while self.clock.upcoming <= until and self.service.connections:
            self.clock.advance(self.clock.upcoming)
            await self.settle()
        self.clock.advance(until)

    def take(self, step: Any) -> None:
        if isinstance(step, Chunk):
            (self.client if step.to_backend else self.server).socket.send(step.data)
        elif isinstance(step, End):
            (self.client if step.to_backend else self.server).socket.shutdown(socket.SHUT_WR)
        else:
            assert isinstance(step, (Change, Remove))
            behavior = step.behavior if isinstance(step, Change) else None
            self.service.adopt(self._plan(behavior, self.service.plan))

    async def finish(self) -> Played:
        ends = (self.server.ended_at, self.client.ended_at)
        hits = sum(isinstance(event, Injected) for event in self.seen)
        if self.service.connections:
            self.connection.reset(Ending.STOPPED)
            await self.settle()
        for peer in (self.client, self.server):
            peer.socket.close()
        assert not [event for event in self.seen if isinstance(event, Failed)]
        (closed,) = (event for event in self.seen if isinstance(event, Closed))
        end = {"closed by it": "close", "reset by it": "reset"}.get(closed.end)
        ended_at = min((at for at in ends if at is not None), default=None) if end else None
        return Played(tuple(self.server.sent), tuple(self.client.sent), end, ended_at, *ends, hits)
