"""Chance: which occasions a fault hits, and which share of the mix an exchange gets.

Each fault has a generator of its own on each connection, seeded from the seed, the proxy, the connection's ordinal and
the fault. So a fault's draws do not depend on other faults, and the same seed gives the same hits::

    roll   decisions of an earlier run, if they are replayed
             └─ otherwise the window: which occasions it takes
                   └─ then the probability: one number of the fault's generator
    draw   the same for the mix, one number for each exchange, or turn
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from random import Random

from vaurien.engine.policy.compiled_policy import CompiledFault, CompiledPolicy
from vaurien.engine.policy.near_misses import NearMisses
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.engine.policy.shared_counters import ProxyCounters
from vaurien.engine.policy.window_counter import SharedWindowCounter, WindowCounter
from vaurien.model import Window

_ALWAYS = Window()


class Chance:
    """The draws of one proxy. `roll` and `draw` may be called in any thread.

    *seed* and *proxy*, its name, seed the generators. *now* gives seconds, for windows that end. *replayed* decisions
    take the place of draws. *counters* count windows together with other processes, where these have connections of
    the proxy too.
    """

    def __init__(
        self,
        seed: str,
        proxy: str,
        now: Callable[[], float],
        replayed: ReplayedDecisions | None = None,
        counters: ProxyCounters | None = None,
    ) -> None:
        self._seed, self._proxy, self._now = seed, proxy, now
        self._replayed, self._counters = replayed, counters
        self._windows: dict[str, WindowCounter] = {}
        self.near_misses: dict[str, NearMisses] = {}
        """Why each fault did not hit, by its key."""

    def follow(self, policy: CompiledPolicy) -> None:
        """Count for the windows of *policy*: those that are new begin, those that were open go on."""
        self.near_misses = {
            fault.key: self.near_misses.get(fault.key) or NearMisses() for fault in policy.compiled_faults
        }
        before, now = self._windows, self._now()
        after: dict[str, WindowCounter] = {}
        for fault in policy.compiled_faults:
            window = fault.fault.window
            if window != _ALWAYS:
                same = before.get(fault.key)
                after[fault.key] = same if same and same.window == window else self._open(fault, now)
        self._windows = after  # in one step: a thread that rolls meanwhile finds all windows of the one or the other

    def _open(self, fault: CompiledFault, now: float) -> WindowCounter:
        if self._counters is None:
            return WindowCounter(fault.fault.window, now)
        return SharedWindowCounter(fault.fault.window, now, self._counters.window(fault.key))

    def random_for(self, connection: int, key: str) -> Random:
        """The generator of the fault *key* on a connection, at its beginning."""
        return Random(f"{self._seed}:{self._proxy}:{connection}:{key}")  # noqa: S311 - repeatable

    def roll(self, connection: int, fault: CompiledFault, random: Callable[[], Random]) -> bool:
        """Whether *fault* takes this occasion; *random* gives its generator, if a number is drawn."""
        if self._replayed is not None and fault.probabilistic:
            return self._replayed.next(connection, fault.name) is True
        window = self._windows.get(fault.key)
        probability = fault.fault.probability
        if window is None and probability >= 1.0:
            return True
        misses = self.near_misses.get(fault.key) or NearMisses()  # of its own, for a fault that has just gone
        if window is None:
            hit = random().random() < probability
            misses.spared += not hit
            return hit
        drawn = False

        def draw() -> bool:
            nonlocal drawn
            drawn = True
            return probability >= 1.0 or random().random() < probability

        hit = window.roll(self._now(), draw)
        if not drawn:
            misses.outside_window += 1
        elif not hit:
            misses.spared += 1
        return hit

    def draw(self, connection: int, policy: CompiledPolicy, random: Random) -> CompiledFault | None:
        """The share of the mix that is hit this time; ``None`` for the undisturbed rest."""
        if self._replayed is None:
            return policy.draw(random)
        label = self._replayed.next(connection, "mix")
        return next((share for share in policy.mix if share.label == label), None)

    def drawing(self, connection: int, policy: CompiledPolicy, random: Random) -> Callable[[], CompiledFault | None]:
        """As `draw`, each time it is called: with fewer calls."""
        if self._replayed is None:
            return policy.drawing(random)
        return functools.partial(self.draw, connection, policy, random)

    def draw_many(
        self, connection: int, policy: CompiledPolicy, random: Random, count: int
    ) -> list[tuple[int, CompiledFault]]:
        """What `draw` gives *count* times in a row: the shares that are hit, each with its place among the draws."""
        if self._replayed is None:
            return policy.draw_many(random, count)
        drawn = ((place, self.draw(connection, policy, random)) for place in range(count))
        return [(place, share) for place, share in drawn if share is not None]
