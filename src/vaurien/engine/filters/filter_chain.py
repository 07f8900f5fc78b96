"""What stands between the two sockets of a connection: a dialogue, if exchanges matter, and the stages of each link."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vaurien.engine.filters.exchange_tracker import ExchangeTracker, Side
from vaurien.engine.filters.filter import Filter, Receiver, Sink
from vaurien.engine.relay.link import Intake, Link
from vaurien.model import Direction

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection


def needed(connection: Connection) -> bool:
    """Whether something in the plan has to see the bytes of *connection*, which the dice have not spared that."""
    plan = connection.plan
    if plan.direct:
        return False
    return plan.framed or any(connection.actives[entry.key].lot for entry in plan.on_any_data)


class DirectionFilters:
    """The filters on the bytes of *link*, in order, behind the exchange tracker where there is one.

    `Link.filters` is this object while there is something between the sockets.
    """

    __slots__ = ("fast_path", "first", "intake", "link", "stages")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.stages: list[Filter] = []
        self.first: Receiver = Sink(link)
        """Takes the bytes behind the exchange tracker."""
        self.intake: Intake = self.first
        self.fast_path: Callable[[bytes], bytes] | None = None

    def connect(self, stages: list[Filter], tracker: ExchangeTracker | None) -> None:
        """Pass the bytes through *tracker* and *stages*, in order."""
        receiver: Receiver = Sink(self.link)
        for stage in reversed(stages):
            stage.next = receiver
            receiver = stage
        self.stages, self.first = stages, receiver
        self.intake = receiver if tracker is None else tracker.side(self.link.to_backend)
        self.link.filters = self if stages or tracker is not None else None
        self.link.update()

    @property
    def held(self) -> int:
        """Bytes on delay lines."""
        return sum(stage.held for stage in self.stages)

    @property
    def idle(self) -> bool:
        """Nothing of what was read is on its way."""
        return all(stage.idle for stage in self.stages)

    @property
    def keeps(self) -> bool:
        """A fault keeps something, or may, to send it later."""
        return any(stage.keeps for stage in self.stages)

    @property
    def occupied(self) -> bool:
        """Something is on its way through the faults, or may be held by one of them."""
        return not self.link.closed and (not self.link.idle or self.keeps)

    def clear(self) -> None:
        """The link is closed: forget what is held."""
        for stage in self.stages:
            stage.clear()


class FilterChain:
    """Builds the filters of a connection's links from its plan, and rebuilds them live.

    A filter whose fault was removed stays where it is, passing bytes through, until nothing waits in it. Reordering
    waits until no filter holds data; otherwise bytes could overtake each other. An exchange tracker that is not needed
    any more stays until its exchanges are done. Then the link is in the direct lane again.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialogue: ExchangeTracker | None = None
        self._misplaced: set[Direction] = set()  # the directions whose filters are not in the order of the plan yet
        self._directions: dict[Direction, DirectionFilters] = {}

    def direction(self, direction: int) -> DirectionFilters:
        """The filters of a direction."""
        return self._directions[Direction(direction)]

    @property
    def quiet(self) -> bool:
        """Whether no exchange is open and nothing is on its way to the client."""
        down = self._connection.link(Direction.TO_CLIENT)
        return (self._dialogue is None or self._dialogue.quiet) and down.idle and down.pending is None

    @property
    def holds(self) -> bool:
        """Whether some of what the client has sent is here, and the backend has not had it."""
        up = self._directions[Direction.TO_BACKEND]
        return up.occupied or (not up.link.closed and self._dialogue is not None and self._dialogue.holds)

    @property
    def torn(self) -> bool:
        """Whether the backend received part of a request it has not fully answered, and the rest is here."""
        return self.holds and self._dialogue is not None and self._dialogue.owed

    def backend_gone(self) -> None:
        """Another backend will have what is here."""
        if self._dialogue is not None:
            self._dialogue.framing.backend_replaced()

    @property
    def bare(self) -> bool:
        """Whether the next bytes may go another way: none that came before them are held back."""
        return self._dialogue is None or self._dialogue.bare

    def build(self) -> None:
        """Follow the plan. `reconfigure` is to be called afterwards."""
        connection = self._connection
        if connection.plan.framed and self._dialogue is None:
            self._dialogue = ExchangeTracker(connection, connection.service.protocol)
        left, pauses = [], []
        self._misplaced.clear()
        for direction in Direction:
            link = connection.link(direction)
            filters = self._directions.get(direction)
            if filters is None or filters.link is not link:
                self._directions[direction] = filters = DirectionFilters(link)
            keys = [entry.key for entry in connection.plan.on_data(link.to_backend)]
            wanted = [self._filter(filters, key) for key in keys if connection.actives[key].lot]
            left += [stage for stage in filters.stages if stage not in wanted and not stage.leaving]
            placed = _in_place(wanted, filters.stages) if filters.occupied else wanted
            if placed != wanted:
                self._misplaced.add(direction)
            filters.connect(_merged(placed, filters.stages), self._dialogue)
            pauses.append((link, [stage for stage in wanted if stage.active.halts]))
        for stage in left:
            stage.leave()  # lets go of what it holds, maybe of both ends, and then there is no connection any more
        for link, causes in pauses:
            link.pause(causes)

    def release(self) -> None:
        """The connection is ending: faults that are gone hold nothing back any more, and no other thing changes."""
        kept = {entry.key for entry in self._connection.plan.entries}
        for filters in self._directions.values():
            for stage in list(filters.stages):
                if stage.active.entry.key not in kept and not stage.leaving:
                    stage.leave()

    def reconfigure(self) -> bool:
        """Take out what is not needed any more and has nothing under way; returns whether something has to wait."""
        while True:
            both = list(self._directions.values())
            for filters in both:
                if not filters.link.hook_running and any(stage.leaving and stage.idle for stage in filters.stages):
                    stages = [stage for stage in filters.stages if not (stage.leaving and stage.idle)]
                    filters.connect(stages, self._dialogue)
            ready = any(not self._directions[side].occupied for side in self._misplaced)
            if not ready or self._connection.ending:
                break
            self.build()
        busy = any(filters.link.hook_running for filters in both)
        spare = self._dialogue is not None and not self._connection.plan.framed
        if spare and self._dialogue is not None and self._dialogue.idle and not busy:
            self._dialogue, spare = None, False
            for filters in both:
                filters.connect(filters.stages, None)
        leaving = any(stage.leaving for filters in both for stage in filters.stages)
        stirred = not self._calm(both)
        return leaving or spare or stirred or bool(self._misplaced)

    def _calm(self, both: list[DirectionFilters]) -> bool:
        """Let bytes pass at once when nothing can act on them. False: not yet, but when what is under way is done."""
        dialogue = self._dialogue
        if dialogue is None or not dialogue.keep_alive or not self._connection.plan.calm:
            ready, calm = False, True
        else:
            ready = calm = dialogue.calm and not any(each.link.hook_running or each.stages for each in both)
        for filters in both:
            intake = filters.intake
            filters.fast_path = intake.fast_path if ready and isinstance(intake, Side) else None
            filters.link.update()
        return calm

    def _filter(self, filters: DirectionFilters, key: str) -> Filter:
        active = self._connection.actives[key]
        stage = active.stages.get(filters.link.to_backend)
        return stage if stage in filters.stages else Filter(active, filters.link)


def _in_place(wanted: list[Filter], before: list[Filter]) -> list[Filter]:
    """*wanted*, with those that were there *before* in the order that they had among themselves."""
    kept = iter([stage for stage in before if stage in wanted])
    return [next(kept) if stage in before else stage for stage in wanted]


def _merged(wanted: list[Filter], before: list[Filter]) -> list[Filter]:
    """*wanted*, with the stages of *before* that are not wanted any more still behind what they were behind."""
    merged = list(wanted)
    place = 0
    for stage in before:
        if stage in merged:
            place = merged.index(stage) + 1
        else:
            merged.insert(place, stage)
            place += 1
    return merged
