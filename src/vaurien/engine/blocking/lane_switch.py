"""Moves a connection between the loop and a thread of its own, as its turns need it."""

from __future__ import annotations

import functools

from vaurien.engine.blocking.lane_decision import LaneDecision
from vaurien.engine.blocking.lane_events import LaneEvents
from vaurien.engine.blocking.lane_owner import LaneOwner
from vaurien.engine.blocking.lane_thread import BlockingLane, LaneSettings, dial
from vaurien.engine.net.closing import nothing_unread
from vaurien.engine.net.endpoint import Endpoint, PlainEndpoint
from vaurien.engine.policy.compiled_policy import CompiledFault
from vaurien.model import TO_BACKEND, Direction


class LaneSwitch:
    """The lane of one connection. All methods run in the loop's thread; none waits.

    In the loop, `decide` is asked before bytes are read. True means that they are for the thread: they stay unread, and
    once nothing of what was read before is under way, the owner hands the sockets over (`to_thread`). They come back
    by `LaneOwner.lane_returned`, which calls `from_thread` first.
    """

    __slots__ = ("_decision", "_events", "_lane", "_owner", "_wanted_by", "pending_share")

    def __init__(self, owner: LaneOwner) -> None:
        self._owner = owner
        self._decision = LaneDecision(owner)
        self._events = LaneEvents(owner.clock, owner.call_soon)
        self._lane: BlockingLane | None = None
        self._wanted_by: Direction | None = None  # the direction whose bytes are for the thread
        self.pending_share: CompiledFault | None = None
        """The share of the mix that was drawn for the exchange that begins now."""

    @property
    def wants_thread(self) -> bool:
        """Whether the thread is to have the sockets, once nothing is under way."""
        return self._wanted_by is not None

    @property
    def in_thread(self) -> bool:
        """Whether the thread has the sockets."""
        return self._lane is not None

    def decide(self, direction: Direction, source: Endpoint) -> bool:
        """Whether what can be read of *source* is for the thread."""
        decision = self._decision
        compiled = decision.decide(direction, decision.may_begin(direction) and nothing_unread(source)).compiled
        for tell in decision.take_facts():
            tell()
        decision.count()
        if self._owner.service.needs_thread(compiled):
            self._wanted_by = direction
            return True
        if direction is TO_BACKEND:
            self.pending_share = compiled
        return False

    def take_share(self) -> CompiledFault | None:
        """What was drawn for the exchange that begins now; for one exchange only."""
        share, self.pending_share = self.pending_share, None
        return share

    def withdraw(self) -> None:
        """Stay in the loop, or come back to it: nothing may move, or no legacy plugin is in play any more."""
        if self._lane is not None:
            self._lane.release()
            return
        if self._wanted_by is not None:
            self._decision.hand_over(self._wanted_by)
            self._wanted_by = None
        self._interrupt()

    def to_thread(self, client: PlainEndpoint, backend: PlainEndpoint, ended: frozenset[Direction]) -> None:
        """Hand the sockets over; *ended* are the directions whose source has ended."""
        assert self._wanted_by is not None  # noqa: S101 - that is why
        owner, service = self._owner, self._owner.service
        first, self._wanted_by, self.pending_share = self._wanted_by, None, None
        self._decision.hand_over(first)
        config = service.config
        settings = LaneSettings(
            name=f"vaurien {config.name} {owner.number}",
            protocol=service.legacy_protocol,
            dial=lambda: dial(service.backend, config.timeout),
            timeout=config.timeout,
            stay_connected=config.stay_connected,
        )
        returned = functools.partial(owner.call_soon, owner.lane_returned)
        self._lane = BlockingLane(settings, client, backend, self._decision, first, ended, returned, self._events.note)
        owner.meter.lane = self._lane
        self._lane.start()

    def from_thread(self) -> None:
        """The thread has given the sockets back."""
        self._lane = None
        self._told()
        self._interrupt()

    def passed(self, direction: Direction) -> None:
        """Bytes of a message that had begun moved in the loop, without a decision."""
        self._decision.passed(direction)

    def _interrupt(self) -> None:
        if not self._owner.service.blocking:
            self._decision.interrupt()

    def stop(self) -> None:
        """End the lane: what its plugin reads from now on is empty."""
        if self._lane is not None:
            self._lane.stop()

    def abandon(self) -> None:
        """End the lane with RST."""
        if self._lane is not None:
            self._lane.abandon()
            self._told()

    def _told(self) -> None:
        """Report everything that the thread has counted and noted: it decides nothing more."""
        self._events.close()
        self._decision.count()
