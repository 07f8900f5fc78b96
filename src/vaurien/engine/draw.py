"""What is called for one call of the blocking lane."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from vaurien.model import Scope

if TYPE_CHECKING:
    from vaurien.engine.connection import Connection
    from vaurien.engine.plan import Entry


class Draw:
    """Throws the dice of a connection in the blocking lane, in that lane's thread.

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

    def __call__(self, to_backend: bool) -> Entry | None:
        """The plugin to call, or ``None``: the bytes pass undisturbed."""
        self.calls += 1
        plan, connection = self._connection.plan, self._connection
        entry = plan.draw(self._mix) if plan.mix else None
        if entry is not None:
            connection.call_soon(connection.chosen, self.calls, entry.name)
            return entry
        for fault in plan.faults:
            if fault.blocking and fault.fault.stream.includes(to_backend) and self._throw(fault):
                connection.call_soon(connection.count_hit, fault.name, self.calls)
                return fault
        return None

    def _throw(self, entry: Entry) -> bool:
        once = entry.fault.scope is Scope.CONNECTION
        if once and entry.key in self._hit:
            return self._hit[entry.key]
        if entry.key not in self._faults:
            self._faults[entry.key] = self._connection.random_for(entry.key)
        self._hit[entry.key] = hit = self._faults[entry.key].random() < entry.fault.probability
        return hit
