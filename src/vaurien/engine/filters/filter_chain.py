"""What stands between the two sockets of a connection: a dialogue, if exchanges matter, and the stages of each link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaurien.engine.filters.exchange_tracker import ExchangeTracker, Side
from vaurien.engine.filters.filter import Filter, Receiver, Sink
from vaurien.engine.relay.link import Link

if TYPE_CHECKING:
    from vaurien.engine.connection.connection import Connection


def needed(connection: Connection) -> bool:
    """Whether something in the plan has to see the bytes of *connection*, which the dice have not spared that."""
    plan = connection.plan
    if plan.direct:
        return False
    return plan.framed or any(connection.actives[entry.key].lot for entry in plan.on_any_data)


class FilterChain:
    """Builds the chains of a connection's links from its plan, and rebuilds them live.

    A stage whose fault was removed stays where it is, passing bytes through, until nothing waits in it. Faults change
    places when nothing waits in any of them, or what one holds would overtake what another does. A dialogue that nobody
    needs any more stays until its exchanges are done. Then the link is in the direct lane again.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialogue: ExchangeTracker | None = None
        self._misplaced: set[bool] = set()  # the directions whose stages are not in the order of the plan yet
        self._firsts: list[Receiver | None] = [None, None]  # to the client, to the backend

    def first(self, to_backend: bool) -> Receiver:
        """What takes the bytes behind the dialogue."""
        first = self._firsts[to_backend]
        assert first is not None  # noqa: S101 - `build` comes before everything else
        return first

    @property
    def quiet(self) -> bool:
        """Whether no exchange is open and nothing is on its way to the client."""
        down = self._connection.link(False)
        return (self._dialogue is None or self._dialogue.quiet) and down.idle and down.pending is None

    @property
    def holds(self) -> bool:
        """Whether some of what the client has sent is here, and the backend has not had it."""
        up = self._connection.link(True)
        return _holds(up) or (not up.closed and self._dialogue is not None and self._dialogue.holds)

    @property
    def torn(self) -> bool:
        """Whether the backend has had some of what belongs together, and the rest is here."""
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
        """Follow the plan."""
        connection = self._connection
        if connection.plan.framed and self._dialogue is None:
            self._dialogue = ExchangeTracker(connection, connection.service.protocol)
        left, halts = [], []
        self._misplaced.clear()
        for to_backend in (True, False):
            link = connection.link(to_backend)
            keys = [entry.key for entry in connection.plan.on_data(to_backend)]
            wanted = [self._stage(link, key) for key in keys if connection.actives[key].lot]
            left += [stage for stage in link.stages if stage not in wanted and not stage.leaving]
            placed = _in_place(wanted, link.stages) if _holds(link) else wanted
            if placed != wanted:
                self._misplaced.add(to_backend)
            self._connect(link, _merged(placed, link.stages))
            halts.append((link, [stage for stage in wanted if stage.active.halts]))
        for stage in left:
            stage.leave()  # lets go of what it holds, maybe of both ends, and then there is no connection any more
        for link, by in halts:
            link.halt(by)
        if not connection.over:
            self.settle()

    def release(self) -> None:
        """The connection is ending: faults that are gone hold nothing back any more, and no other thing changes."""
        kept = {entry.key for entry in self._connection.plan.entries}
        for to_backend in (True, False):
            for stage in list(self._connection.link(to_backend).stages):
                if stage.active.entry.key not in kept and not stage.leaving:
                    stage.leave()

    def settle(self) -> None:
        """Take out what is not needed any more and has nothing under way."""
        links = [self._connection.link(to_backend) for to_backend in (True, False)]
        for link in links:
            if not link.busy and any(stage.leaving and stage.idle for stage in link.stages):
                self._connect(link, [stage for stage in link.stages if not (stage.leaving and stage.idle)])
        if any(not _holds(self._connection.link(side)) for side in self._misplaced) and not self._connection.over:
            self.build()  # which comes here again
            return
        spare = self._dialogue is not None and not self._connection.plan.framed
        if spare and self._dialogue is not None and self._dialogue.idle and not any(link.busy for link in links):
            self._dialogue, spare = None, False
            for link in links:
                self._connect(link, link.stages)
        leaving = any(stage.leaving for link in links for stage in link.stages)
        stirred = not self._calm(links)
        self._connection.unsettled = leaving or spare or stirred or bool(self._misplaced) or self._connection.over

    def _calm(self, links: list[Link]) -> bool:
        """Let bytes pass at once when nothing can act on them. False: not yet, but when what is under way is done."""
        dialogue = self._dialogue
        if dialogue is None or not dialogue.keep_alive or not self._connection.plan.calm:
            ready, calm = False, True
        else:
            ready = calm = dialogue.calm and not any(link.busy or link.stages for link in links)
        for link in links:
            link.fast_path = link.intake.fast_path if ready and isinstance(link.intake, Side) else None
            link.update()
        return calm

    def _stage(self, link: Link, key: str) -> Filter:
        active = self._connection.actives[key]
        stage = active.stages.get(link.to_backend)
        return stage if stage in link.stages else Filter(active, link)

    def _connect(self, link: Link, stages: list[Filter]) -> None:
        """Make *stages* the chain of *link*, in order."""
        receiver: Receiver = Sink(link)
        for stage in reversed(stages):
            stage.next = receiver
            receiver = stage
        link.stages = stages
        self._firsts[link.to_backend] = receiver
        if self._dialogue is not None:
            link.intake = self._dialogue.side(link.to_backend)
        else:
            link.intake = receiver if stages else None
        link.update()


def _holds(link: Link) -> bool:
    """Whether something is on its way through the faults of *link*, or may be held by one of them."""
    return not link.closed and (not link.idle or any(stage.keeps for stage in link.stages))


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
