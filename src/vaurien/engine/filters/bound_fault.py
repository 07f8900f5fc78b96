"""A fault bound to one connection: whether it acts there, its state, and what its hooks wait for."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Protocol, TypeVar

import msgspec

from vaurien import hooks
from vaurien.engine.loop.background_hooks import Background
from vaurien.engine.loop.clock import Clock, Timer
from vaurien.engine.loop.hook_task import HookRunner
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.matching import Facts
from vaurien.engine.policy.near_misses import NearMisses
from vaurien.engine.policy.place import NOWHERE, Place
from vaurien.engine.policy.shared_state import SharedState
from vaurien.engine.relay.ending import Ending
from vaurien.framing import Protocol as WireProtocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Address, Direction, Scope

S = TypeVar("S")

_CONNECTION = 2
"""The place of a connection's state, behind those of its two directions."""


class Interrupted(asyncio.CancelledError):
    """Raised inside a hook that waits when its fault is changed or removed. Not a cancellation of the task."""


class FaultEvents(Protocol):
    """Tells the observers what faults do on a connection."""

    def count(self, name: str, hits: int) -> None:
        """The fault *name* acted *hits* times, of which no observer wants to know."""

    def chosen(self, exchange: int, name: str) -> None:
        """The share *name* of the mix was drawn for *exchange*."""

    def decided(self, name: str, drawn: bool | str | None, exchange: int | None = None, place: Place = NOWHERE) -> None:
        """A draw for the fault *name*, or the ``mix``, said *drawn*."""

    def hit(self, name: str, exchange: int | None, place: Place = NOWHERE) -> None:
        """The fault *name* acted."""

    def exchanged(
        self, number: int, request: Mapping[str, str], status: str, answered: bool, seconds: float, hits: Sequence[str]
    ) -> None:
        """The exchange *number* has ended, *seconds* after its *request*."""

    def delayed(self, name: str, seconds: float) -> None:
        """The fault *name* made something late."""

    def encrypted(self) -> None:
        """Both sides speak TLS that the proxy cannot read."""

    def lost(self, reason: str) -> None:
        """The protocol could not parse the bytes."""


class FilteredConnection(Protocol):
    """The connection, as its faults see it."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    number: int
    ending: bool
    """No hook acts any more."""
    facts: Facts
    """What its client has said of itself, or of the server that it wants."""
    bound_faults: dict[str, BoundFault]
    """The faults on it, by their keys."""
    hook_runner: HookRunner | None
    """Lends tasks to the hooks of plugins; ``None`` while no plugin has had a hook here."""

    @property
    def peer(self) -> str:
        """The client's address."""

    @property
    def plan(self) -> CompiledPolicy:
        """The policy of this moment."""

    def has_place_for(self, compiled: CompiledFault) -> bool:
        """Whether *compiled* acts here, and not on another part of the connection."""

    @property
    def chance(self) -> Chance:
        """The draws of the proxy."""

    @property
    def shared(self) -> SharedState:
        """What faults remember for the whole proxy."""

    @property
    def delay_line_limit(self) -> int:
        """Bytes that a delay line may hold."""

    @property
    def background(self) -> Background:
        """Runs hooks that belong to no chunk and no exchange."""

    @property
    def journal(self) -> FaultEvents:
        """Tells the observers."""

    @property
    def tells_hits(self) -> bool:
        """An observer wants to know each hit."""

    def last_filter(self, bound: BoundFault, direction: Direction) -> hooks.Link:
        """A place behind all filters, for a fault without one that sends something."""

    def close(self, outcome: Ending, by: str = "") -> None:
        """End in order, for the reason *outcome*; *by* is the fault that wants it."""

    def reset(self, outcome: Ending, by: str = "", side: hooks.Side = "both") -> None:
        """End with RST to *side*, for the reason *outcome*; *by* is the fault that wants it."""

    def redirect(self, backend: Address) -> None:
        """Dial *backend* instead."""

    def seal(self, kind: int, body: bytes, sequence: int, *, handshake: bool, server_random: bytes) -> bytes:
        """A record of the proxy's TLS with its client; empty where that cannot be made."""

    def plugin_failed(self, name: str, error: BaseException) -> None:
        """The fault *name* raised."""


class FaultFilter(hooks.Link, Protocol):
    """The place of a fault in the filters of a direction."""

    def refresh(self) -> None:
        """The fault has changed, or stopped."""


def note_undialled(connection: FilteredConnection, bound: Collection[str]) -> None:
    """*connection* came to no backend; its faults have the keys *bound*, those not bound yet are counted here."""
    for compiled, misses in _relevant(connection):
        meant = compiled.matcher.connection(connection.peer, connection.facts)
        if compiled.key not in bound:
            _count_connection(misses, compiled, connection, meant=meant)
        misses.undialled += meant


def note_unshaken(connection: FilteredConnection, bound: Collection[str], *, without_tls: bool) -> None:
    """The handshake of *connection*'s client came to nothing, or it spoke no TLS; *bound* as in `note_undialled`."""
    for compiled, misses in _relevant(connection):
        meant = compiled.matcher.connection_so_far(connection.peer, connection.facts)
        if compiled.key not in bound:
            _count_connection(misses, compiled, connection, meant=meant)
        if without_tls:
            misses.without_tls += meant
        else:
            misses.handshakes_failed += meant


def _relevant(connection: FilteredConnection) -> Iterator[tuple[CompiledFault, NearMisses]]:
    for compiled in connection.plan.relevant:
        misses = connection.chance.near_misses.get(compiled.key)
        if misses is not None:
            yield compiled, misses


def _count_connection(
    misses: NearMisses, compiled: CompiledFault, connection: FilteredConnection, *, meant: bool
) -> None:
    misses.connections += 1
    if not meant:
        misses.other_clients += 1
        facts = {name: ",".join(values) for name, values in connection.facts.items()}
        seen = {"client": connection.peer.rpartition(":")[0], **facts}
        misses.note(seen, ("client", *compiled.matcher.of_connections))


class BoundFault:
    """One fault, or share of the mix, on one connection, and the `hooks.Connection` that its hooks see."""

    __slots__ = (
        "_begun",
        "_connection",
        "_interrupted",
        "_random",
        "_states",
        "_task",
        "_waits",
        "compiled",
        "eligible",
        "ended_connection",
        "filters",
        "hit",
        "stopped",
    )

    def __init__(
        self, compiled: CompiledFault, connection: FilteredConnection, before: BoundFault | None = None
    ) -> None:
        self.compiled = compiled
        self._connection = connection
        self._random: Random | None = None
        self._states: list[Any] = before._states if before is not None else [None, None, None]
        self._waits: set[asyncio.Future[None]] = set()
        self._interrupted = False  # something that waited, and its hook has not ended yet
        self._begun = False
        self._task: asyncio.Task[None] | None = None  # what is left of `on_start` after its first wait
        self.filters: dict[Direction, FaultFilter] = {}
        self.stopped = self.ended_connection = False
        meant = compiled.matcher.connection(connection.peer, connection.facts)
        if before is None:
            _count_connection(self._near_misses, compiled, connection, meant=meant)
        self.eligible = meant and (compiled.fault.scope is not Scope.CONNECTION or self.roll())
        """The fault may act on this connection: its client matches and, for scope=connection, the roll hit."""
        self.hit = self.eligible and not compiled.per_exchange
        """The fault acts on all of this connection."""

    @property
    def _near_misses(self) -> NearMisses:
        return self._connection.chance.near_misses.get(self.compiled.key) or NearMisses()

    def note_unmatched(self, fields: Mapping[str, str]) -> None:
        """An exchange with *fields* is not meant by the fault's match."""
        misses = self._near_misses
        misses.unmatched += 1
        misses.note(fields, self.compiled.matcher.names)

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.compiled.name

    @property
    def halts(self) -> bool:
        """Whether nothing moves on this connection, in the fault's directions."""
        return self.hit and self.compiled.halts

    @property
    def behavior(self) -> Any:
        """The behavior with its options of this moment."""
        return self.compiled.instance

    def roll(self, exchange: int | None = None, place: Place = NOWHERE) -> bool:
        """Whether the fault takes this occasion; *exchange* and *place* say which."""
        hit = self._connection.chance.roll(self.number, self.compiled, lambda: self.random)
        if self.compiled.probabilistic:
            self._connection.journal.decided(self.name, hit, exchange, place)
        return hit

    # What hooks see (hooks.FaultContext and hooks.Connection).

    @property
    def random(self) -> Random:
        """This fault's generator on this connection, seeded when it is first used."""
        if self._random is None:
            self._random = self._connection.chance.random_for(self.number, self.compiled.key)
        return self._random

    @property
    def number(self) -> int:
        """The connection's ordinal."""
        return self._connection.number

    @property
    def peer(self) -> str:
        """The client's address."""
        return self._connection.peer

    @property
    def protocol(self) -> WireProtocol:
        """The proxy's protocol."""
        return self._connection.plan.protocol

    @property
    def upstream(self) -> hooks.Link:
        """This fault's place in the direction to the backend."""
        return self._filter(TO_BACKEND)

    @property
    def downstream(self) -> hooks.Link:
        """This fault's place in the direction to the client."""
        return self._filter(TO_CLIENT)

    def _filter(self, direction: Direction) -> hooks.Link:
        return self.filters.get(direction) or self._connection.last_filter(self, direction)

    def now(self) -> float:
        """Seconds on the engine's clock."""
        return self._connection.clock.now()

    def seal(
        self, kind: int, body: bytes, sequence: int, *, handshake: bool = False, server_random: bytes = b""
    ) -> bytes:
        """A record of the proxy's TLS with its client; empty where that cannot be made."""
        return self._connection.seal(kind, body, sequence, handshake=handshake, server_random=server_random)

    async def sleep(self, seconds: float) -> None:
        """Wait. Counts as a hit before the dial; in `on_start` it is the time up to the act."""
        hooks.expect_seconds("sleep", seconds)
        if not self._begun:
            self.count_hit()
            await self.pause(seconds)
        else:
            await self.wait_until(self.now() + seconds)

    def state(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """This fault's state on this connection; it survives a change of the fault's options."""
        return self._stored(_CONNECTION, factory)

    def link_state(self, direction: Direction, factory: Callable[[], S]) -> S:
        """This fault's state in one direction of this connection; it survives a change of the fault's options."""
        return self._stored(direction, factory)

    def _stored(self, place: int, factory: Callable[[], S]) -> S:
        state: S | None = self._states[place]
        if state is None:
            self._states[place] = state = factory()
        return state

    def shared(self, behavior: hooks.Behavior, factory: Callable[[], S]) -> S:
        """This fault's state on the whole proxy; it survives a change of the fault's options."""
        return self._connection.shared.state(self.compiled, factory)

    def shared_number(
        self, behavior: hooks.Behavior, change: Callable[[float], float], *, first: float = 0.0, name: str = ""
    ) -> float:
        """Change a number of this fault's on the whole proxy."""
        return self._connection.shared.number(self.compiled, name, first, change)

    def close(self) -> None:
        """End the connection in order."""
        self.count_hit()
        self.close_connection()

    def reset(self, side: hooks.Side = "both") -> None:
        """End the connection with RST."""
        self.count_hit()
        self.reset_connection(side)

    def redirect(self, backend: Address) -> None:
        """Dial *backend* instead of the proxy's."""
        self.count_hit()
        self._connection.redirect(backend)

    # What the engine does with it.

    @property
    def delay_line_limit(self) -> int:
        """Bytes that a delay line of this fault may hold."""
        return self._connection.delay_line_limit

    def close_connection(self) -> None:
        """End the connection in order, because of this fault."""
        self.ended_connection = True
        self._connection.close(Ending.CLOSED_BY_FAULT, self.name)

    def reset_connection(self, side: hooks.Side = "both") -> None:
        """End the connection with RST, because of this fault."""
        self.ended_connection = True
        self._connection.reset(Ending.RESET_BY_FAULT, self.name, side)

    def count_hit(self, exchange: int | None = None, place: Place = NOWHERE) -> None:
        """The fault acted, in *exchange*, at *place*."""
        self._connection.journal.hit(self.name, exchange, place)

    @property
    def tells_hits(self) -> bool:
        """An observer wants to know each hit: `count_hit` tells it."""
        return self._connection.tells_hits

    def count_hits(self, hits: int) -> None:
        """The fault acted *hits* times, of which no observer wants to know."""
        self._connection.journal.count(self.name, hits)

    def delayed(self, seconds: float) -> None:
        """The fault made something late."""
        self._connection.journal.delayed(self.name, seconds)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Have *call* called after *seconds*, by the engine's clock."""
        return self._connection.clock.call_later(seconds, call)

    async def pause(self, seconds: float) -> None:
        """Make something *seconds* late, or less when the fault stops meanwhile."""
        hooks.expect_seconds("sleep", seconds)
        begun = self.now()
        try:
            await self.wait_until(begun + seconds)
        finally:
            self.delayed(self.now() - begun)

    async def wait_until(self, when: float) -> None:
        """Wait for the clock; not at all when the fault has stopped or the connection ends.

        Raises `Interrupted` when the fault stops meanwhile.
        """
        if self.stopped or self._connection.ending:
            return
        done = self._connection.loop.create_future()

        def ring() -> None:
            if not done.done():
                done.set_result(None)

        timer = self._connection.clock.call_at(when, ring)
        try:
            await self.wait_for(done)
        finally:
            timer.cancel()

    @property
    def waiting(self) -> bool:
        """Whether a hook of it waits, by what it was given to wait with."""
        return bool(self._waits)

    async def wait_for(self, future: asyncio.Future[None]) -> None:
        """Wait for *future*. Raises `Interrupted` when the fault stops meanwhile."""
        self._waits.add(future)
        try:
            await future
        finally:
            self._waits.discard(future)
            if future.done() and not future.cancelled():
                future.exception()  # cancelled before it could look, this would never see it, and the loop complain

    def same_but_options(self, compiled: CompiledFault) -> bool:
        """Whether *compiled* differs in its options alone, so that this goes on with it; else another takes over."""
        old, new = self.compiled.fault, compiled.fault
        return msgspec.structs.replace(old, options=new.options, ttl=new.ttl, expect_hits=new.expect_hits) == new

    def change(self, compiled: CompiledFault) -> None:
        """Go on with other options: what waits under the old ones is interrupted, `on_start` begins again."""
        self.compiled = compiled
        self._refresh()
        self.interrupt()
        if self._begun:
            self._begun = False
            if self._task is not None:
                self._task.cancel()
            self.begin()

    def interrupt(self) -> None:
        """End this fault's own waiting hooks, and no others."""
        for future in list(self._waits):
            if not future.done():
                self._interrupted = True
                future.set_exception(Interrupted())

    def wait_no_more(self) -> None:
        """The connection is ending in order: what comes off a delay line must get through, also where a hook waits."""
        for future in self._waits:
            if not future.done():
                future.set_result(None)

    def handle_hook_error(self, error: BaseException) -> bool:
        """Make of what a hook raised what it is: an interruption (true), or a failure, which ends the connection.

        An interruption of a task of the hook's own arrives as a plain cancellation. A cancellation by the engine is
        raised again. A hook's KeyboardInterrupt or SystemExit is a failure like any other.
        """
        cancelled = isinstance(error, asyncio.CancelledError)
        if isinstance(error, GeneratorExit) or (cancelled and self._is_cancelled()):
            raise error
        if cancelled and (self._interrupted or isinstance(error, Interrupted)):
            self._interrupted = False
            return True
        self._connection.plugin_failed(self.name, error)
        return False

    def _is_cancelled(self) -> bool:
        task = asyncio.current_task(self._connection.loop)
        return self._connection.ending or (task is not None and task.cancelling() > 0)

    def draw_on(self, before: BoundFault) -> None:
        """Draw the numbers that *before* would have drawn next."""
        self._random = before._random

    def move_to(self, connection: FilteredConnection) -> None:
        """Act on *connection*, which is a part of the same; nothing has begun yet."""
        self._connection = connection

    def begin(self) -> None:
        """Run `on_start`: up to its first wait before anything else happens, the rest as a task of its own."""
        if not self._begun and self.hit and not self.stopped and "on_start" in self.compiled.hooks:
            self._begun = True
            self._task = self._connection.background.run(
                self._run("on_start"), self.name, self._connection.hook_runner, at_once=True
            )

    async def _run(self, hook: str) -> None:
        try:
            await getattr(self.behavior, hook)(self)
        except BaseException as error:  # the plugin's own code may raise anything
            self.handle_hook_error(error)

    def stop(self) -> None:
        """Stop applying while the connection goes on."""
        self.stopped = True
        self._refresh()
        self.interrupt()
        if self._task is not None:
            self._task.cancel()
        held = any(state is not None for state in self._states)  # a fault of exchanges or chunks may hold something
        acts = bool(self.filters) or self.compiled.handles("on_control")
        if (self.hit or held) and acts and "on_stop" in self.compiled.hooks and not self._connection.ending:
            self._connection.background.run(self._run("on_stop"), self.name, self._connection.hook_runner, at_once=True)

    def _refresh(self) -> None:
        for each in self.filters.values():
            each.refresh()

    def dispose(self) -> None:
        """The connection is over."""
        self.stopped = True
        self._refresh()
        if self._task is not None:
            self._task.cancel()


def rebind_faults(connection: FilteredConnection) -> None:
    """Bind the faults of *connection* as to a new one, but for their draws, which go on."""
    before, connection.bound_faults = connection.bound_faults, {}
    for bound in before.values():
        bound.dispose()
    reconcile_faults(connection, begun=False)
    for key, bound in connection.bound_faults.items():
        if key in before:
            bound.draw_on(before[key])


def move_faults(connection: FilteredConnection, records: FilteredConnection) -> None:
    """Leave the faults of *connection* that act on records of TLS to *records*; none of them has begun."""
    for key, bound in list(connection.bound_faults.items()):
        if bound.compiled.below_tls:
            records.bound_faults[key] = connection.bound_faults.pop(key)
            bound.move_to(records)


def _task_failed(connection: FilteredConnection, error: BaseException) -> None:
    """A task that a hook of *connection* made raised *error*; of which fault is not known if there are several."""
    plugins = [bound.name for bound in connection.bound_faults.values() if bound.compiled.needs_task]
    connection.plugin_failed(" or ".join(plugins), error)


def reconcile_faults(connection: FilteredConnection, *, begun: bool) -> None:
    """Bring the faults of *connection* in line with the plan.

    What is the same stays, what changed changes, others begin, soon if the connection has *begun*, or stop.
    """
    before = connection.bound_faults
    connection.bound_faults = {}
    for compiled in connection.plan.relevant:
        if compiled.blocking or not connection.has_place_for(compiled):
            continue
        if compiled.needs_task and connection.hook_runner is None:
            connection.hook_runner = HookRunner(connection.loop, functools.partial(_task_failed, connection))
        bound = before.pop(compiled.key, None)
        if bound is not None and bound.same_but_options(compiled):
            if bound.compiled is not compiled:
                bound.change(compiled)
        else:
            if bound is not None:
                bound.stop()
            bound = BoundFault(compiled, connection, bound)
            if begun and not connection.ending:
                connection.loop.call_soon(bound.begin)
        connection.bound_faults[compiled.key] = bound
    for bound in before.values():
        bound.stop()
