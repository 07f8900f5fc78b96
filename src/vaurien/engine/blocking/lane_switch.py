"""Where a connection goes on while a plugin of the original is in play: in the loop, or in a thread of its own."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from vaurien.engine.blocking.blocking_lane import BlockingLane, LaneResult
from vaurien.engine.blocking.lane_decision import Drawn, LaneDecision
from vaurien.engine.policy.compiled_policy import CompiledFault

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection


class LaneSwitch:
    """Draws for what can be read, and takes the connection to the lane that the draw needs."""

    __slots__ = ("_claim", "_connection", "_draw", "_drawn", "_lane", "choice")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._draw = LaneDecision(connection)
        self._lane: BlockingLane | None = None
        self._drawn: Drawn | None = None  # by the blocking lane, for the loop
        self._claim: Drawn | None = None  # by the loop, for the blocking lane
        self.choice: CompiledFault | None = None
        """The share of the mix that was drawn for the exchange that begins now."""

    @property
    def claimed(self) -> bool:
        """Whether the blocking lane is to have the sockets, once nothing is under way."""
        return self._claim is not None

    @property
    def away(self) -> bool:
        """Whether the blocking lane has the sockets."""
        return self._lane is not None

    def claims(self, to_backend: bool) -> bool:
        """Draw for what can be read in a direction; whether that is for the blocking lane."""
        drawn, self._drawn = self._drawn, None
        if drawn is None or drawn.to_backend != to_backend:
            drawn = self._draw(to_backend)
        if self._connection.service.calls(drawn.entry):
            self._claim = drawn
            return True
        if to_backend:
            self.choice = drawn.entry
        return False

    def take_choice(self) -> CompiledFault | None:
        """What was drawn for the exchange that begins now; for one exchange only."""
        choice, self.choice = self.choice, None
        return choice

    def withdraw(self) -> None:
        """No plugin of the original is in play any more."""
        self._claim = None
        if self._lane is not None:
            self._lane.release()

    def leave(self, client: socket.socket, backend: socket.socket, ended: frozenset[bool]) -> None:
        """Hand the sockets to the blocking lane; *ended* are the directions whose source has ended."""
        assert self._claim is not None  # noqa: S101 - that is why it leaves
        first, self._claim, self.choice = self._claim, None, None
        self._lane = BlockingLane(self._connection, client, backend, self._draw, first, ended)
        self._connection.meter.lane = self._lane
        self._lane.start()

    def back(self, left: LaneResult) -> None:
        """The blocking lane has given the sockets back."""
        self._lane = None
        self._drawn = left.drawn

    def stop(self) -> None:
        """End the blocking lane: what its plugin reads from now on is empty."""
        if self._lane is not None:
            self._lane.stop()

    def abandon(self) -> None:
        """End the blocking lane with RST."""
        if self._lane is not None:
            self._lane.abandon()
