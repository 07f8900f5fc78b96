"""What is called for what can be read, while a plugin of the original is in play."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec

from vaurien.engine.policy.compiled_policy import CompiledFault
from vaurien.model import Scope

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection
    from vaurien.engine.policy.compiled_policy import CompiledPolicy


class Drawn(msgspec.Struct, frozen=True):
    """What was drawn for bytes in the direction *to_backend*; ``None``: they pass undisturbed."""

    to_backend: bool
    entry: CompiledFault | None


class LaneDecision:
    """Throws the dice of a connection that may need the blocking lane, in whichever lane it is.

    The mix is drawn once for each call, and a share that is hit is called. When none is, the first fault that is a
    plugin of the original, works in this direction and is hit by its own dice is. A fault's dice are thrown once per
    connection if that is its scope, otherwise for each call.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._mix = connection.random_for("mix")
        self._faults: dict[str, Random] = {}
        self._hit: dict[str, bool] = {}
        self.calls = 0
        """How often it was asked: the ordinal of the call at hand."""

    def __call__(self, to_backend: bool) -> Drawn:
        """What to do with the bytes that can be read in the direction *to_backend*."""
        self.calls += 1
        plan, connection = self._connection.plan, self._connection
        entry = self._draw_mix(plan) if plan.mix else None
        if entry is not None:
            if entry.blocking:  # a modern one is counted by the exchange that it acts on
                connection.call_soon(connection.journal.called, self.calls, entry.name)
            return Drawn(to_backend, entry)
        for fault in plan.faults:
            if fault.blocking and fault.fault.stream.includes(to_backend) and self._throw(fault):
                connection.call_soon(connection.journal.hit, fault.name, self.calls)
                return Drawn(to_backend, fault)
        return Drawn(to_backend, None)

    def _draw_mix(self, plan: CompiledPolicy) -> CompiledFault | None:
        entry = self._connection.service.draw(self._connection.number, plan, self._mix)
        self._decided("mix", entry.label if entry else None)
        return entry

    def _decided(self, name: str, drawn: str | bool | None) -> None:
        if self._connection.service.detailed:
            self._connection.call_soon(self._connection.journal.decided, name, drawn, self.calls)

    def _throw(self, entry: CompiledFault) -> bool:
        once = entry.fault.scope is Scope.CONNECTION
        if once and entry.key in self._hit:
            return self._hit[entry.key]
        if not entry.matcher.client(self._connection.peer):
            hit = False
        else:
            hit = self._connection.service.throw(self._connection.number, entry, lambda: self._random_for(entry.key))
            if entry.chancy:
                self._decided(entry.name, hit)
        self._hit[entry.key] = hit
        return hit

    def _random_for(self, key: str) -> Random:
        if key not in self._faults:
            self._faults[key] = self._connection.random_for(key)
        return self._faults[key]
