"""Decides, once per turn, which legacy plugin or behavior gets the turn."""

from __future__ import annotations

import functools
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from vaurien.engine.blocking.lane_events import Fact
from vaurien.engine.blocking.lane_owner import LaneOwner
from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.events import Injected, MixHit
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction


class Decision(NamedTuple):
    """What gets the bytes of a turn in one direction."""

    compiled: CompiledFault | None
    """``None``: they pass undisturbed."""
    needs_loop: bool
    """Whether behaviors of the loop act on them; else they can stay in the thread."""


_UNDISTURBED = Decision(None, needs_loop=False)


class LaneDecision:
    """Draws for the turns of *owner*'s connection, in whichever lane they are.

    A turn is what the client sends until the backend has answered and the client speaks again; what a backend says
    first, before the client, is a turn too. The mix is drawn when a turn begins, and the share that is hit gets all of
    the turn, in both directions. When none is, the first fault that is a legacy plugin, acts in the direction at hand
    and was drawn for the connection gets the bytes. So a plugin that handles a request is the one that handles its
    answer, and is never called in the middle of an answer to a request that it did not see.

    The thread and the loop use it one after the other, never at the same time: it goes with the sockets.
    """

    def __init__(self, owner: LaneOwner) -> None:
        self._service, self._journal, self._clock = owner.service, owner.journal, owner.clock
        self._number, self._peer, self._facts = owner.number, owner.peer, owner.facts
        self._plan = owner.service.plan
        self._share: CompiledFault | None = None  # of the mix, for this turn
        # What is under way already, in the loop, passes undisturbed: no plugin has seen how it began.
        self._in_turn = self._answered = owner.spoke
        self._whole_turn: Decision | None = _UNDISTURBED if owner.spoke else None  # else it depends on the direction
        self._known: dict[CompiledFault | None, Decision] = {}
        self._unread: Direction | None = None  # the direction that a turn was drawn for, in the other lane
        self._randoms: dict[str, Random] = {}
        self._hit: dict[str, bool] = {}  # whether a fault was drawn for the connection
        self._acting: CompiledFault | None = None  # a fault that acts in this turn, and was noted
        bus = owner.service.events
        self._observed = bool(bus.subscribers[MixHit] or bus.subscribers[Injected])
        self._counts: dict[str, int] = {}  # hits that no observer is told of
        self.facts: list[Fact] = []
        """Facts for the observers; the caller of `decide` takes them away."""
        self.turns = 0
        """Turns so far: the ordinal of the turn at hand."""

    def may_begin(self, direction: Direction) -> bool:
        """Whether bytes in this direction begin a turn. An end of the stream never does, unless it is all there is."""
        return self._unread is None and (not self._in_turn or (direction is TO_BACKEND and self._answered))

    def decide(self, direction: Direction, at_end: bool = False) -> Decision:
        """What gets the bytes, or the end, that can be read in this direction."""
        plan = self._service.plan
        if plan is not self._plan:
            self._adopt(plan)
        if self._unread is not None:
            if direction is self._unread:
                self._unread = None
        elif not self._in_turn or (direction is TO_BACKEND and self._answered and not at_end):
            self._begin(plan, direction)
        elif direction is TO_CLIENT:
            self._answered = True
        return self._whole_turn or self._of_direction(plan, direction)

    def passed(self, direction: Direction) -> None:
        """Bytes passed in this direction that nothing was decided on."""
        self._answered = self._answered or direction is TO_CLIENT

    def hand_over(self, direction: Direction) -> None:
        """The bytes that were decided on last are still unread, and the other lane will ask for the same decision."""
        self._unread = direction

    def interrupt(self) -> None:
        """No legacy plugin is in play for a while: what is under way when one is again passes undisturbed."""
        self._share = self._unread = None
        self._whole_turn = _UNDISTURBED
        self._in_turn = self._answered = True

    def take_facts(self) -> list[Fact]:
        """`facts`, which are then empty."""
        facts, self.facts = self.facts, []
        return facts

    def count(self) -> None:
        """Have the hits counted that are no facts, because no observer would be told of them."""
        counts, self._counts = self._counts, {}
        for name, hits in counts.items():
            self._journal.count(name, hits)

    def _begin(self, plan: CompiledPolicy, direction: Direction) -> None:
        self.turns += 1
        self._in_turn, self._answered = True, direction is TO_CLIENT
        self._share = self._acting = None
        if plan.mix:
            share = self._service.chance.draw(self._number, plan, self._random("mix"))
            if self._service.events.detailed:
                self._decided("mix", share.label if share else None)
            if share is not None and share.blocking:  # another is counted by the exchange that it acts on
                self._hits(share.name, self._journal.called)
            self._share = share if share is not None and (share.blocking or share.hooks) else None  # dummy is nothing
        self._whole_turn = None if self._share is None else self._of(self._share, plan)

    def _of_direction(self, plan: CompiledPolicy, direction: Direction) -> Decision:
        return self._of(self._fault(plan, direction), plan)

    def _of(self, compiled: CompiledFault | None, plan: CompiledPolicy) -> Decision:
        known = self._known.get(compiled)
        if known is None:
            needs_thread = self._service.needs_thread(compiled)
            known = Decision(compiled, needs_loop=not needs_thread and (compiled is not None or plan.hooked))
            self._known[compiled] = known
        return known

    def _fault(self, plan: CompiledPolicy, direction: Direction) -> CompiledFault | None:
        for compiled in plan.faults:
            if compiled.blocking and compiled.fault.stream.includes(direction) and self._is_hit(compiled):
                if compiled is not self._acting:
                    self._acting = compiled
                    self._hits(compiled.name, self._journal.hit)
                return compiled
        return None

    def _is_hit(self, compiled: CompiledFault) -> bool:
        """Whether *compiled* was drawn for the connection, which is decided once: such a fault has no other scope."""
        hit = self._hit.get(compiled.key)
        if hit is None:
            hit = compiled.matcher.connection(self._peer, self._facts) and self._service.chance.roll(
                self._number, compiled, lambda: self._random(compiled.key)
            )
            self._hit[compiled.key] = hit
            if compiled.probabilistic and self._service.events.detailed:
                self._decided(compiled.name, hit)
        return hit

    def _adopt(self, plan: CompiledPolicy) -> None:
        """The turn at hand goes on with what was drawn for it, with its new options, or undisturbed if it is gone."""
        self._plan = plan
        self._known.clear()
        if self._share is not None:
            key = self._share.key
            self._share = next((compiled for compiled in plan.mix if compiled.key == key), None)
            self._whole_turn = self._of(self._share, plan)

    def _random(self, key: str) -> Random:
        if key not in self._randoms:
            self._randoms[key] = self._service.chance.random_for(self._number, key)
        return self._randoms[key]

    def _decided(self, name: str, drawn: str | bool | None) -> None:
        decided = functools.partial(self._journal.decided, name, drawn, self.turns, when=self._clock.now())
        self.facts.append(decided)

    def _hits(self, name: str, tell: Callable[..., None]) -> None:
        if self._observed:
            self.facts.append(functools.partial(tell, name, self.turns, when=self._clock.now()))
        else:
            self._counts[name] = self._counts.get(name, 0) + 1
