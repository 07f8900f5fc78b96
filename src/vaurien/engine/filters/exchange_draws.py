"""Draws the faults that act on each exchange of a connection.

Once for each exchange, in order: the mix gives one share or none, and each fault that is for single exchanges is
matched and rolled by itself. The same seed and the same requests give the same draws, so no number is drawn where
none is asked for, and none twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol, TypeAlias

from vaurien.engine.filters.bound_fault import BoundFault, FilteredConnection
from vaurien.engine.filters.exchange import TrackedExchange
from vaurien.engine.policy.compiled_policy import EXCHANGE_HOOKS, CompiledFault
from vaurien.engine.policy.place import place
from vaurien.framing import Head
from vaurien.model import TO_BACKEND, Scope

Drawn: TypeAlias = tuple[tuple[BoundFault, ...], tuple[BoundFault, ...]]
"""The faults that were drawn for an exchange, and those that ask about its response first."""

Hits: TypeAlias = list[tuple[int, Drawn]]
"""What was drawn for some of several exchanges, with the place of each among them."""

UNTOUCHED: Drawn = ((), ())
"""Nothing was drawn for an exchange that has to be followed all the same."""


class DrawingConnection(FilteredConnection, Protocol):
    """The connection, as the draws for its exchanges see it."""

    mix_random: Random | None
    """Draws for the mix, and goes on where other links, or another protocol, go on; ``None``: nothing was drawn yet."""

    @property
    def detailed(self) -> bool:
        """An observer wants to know every decision."""

    @property
    def pending_share(self) -> CompiledFault | None:
        """The share of the mix that was drawn for the turn that begins now, while a legacy plugin is in play."""

    @property
    def decides_lane(self) -> bool:
        """A legacy plugin is in play: the mix is drawn for turns, before they are read."""


class ExchangeDraws:
    """The draws for the exchanges of *connection*. `follow_policy` is to be called before the first."""

    __slots__ = (
        "_by_turn",
        "_chance",
        "_connection",
        "_detailed",
        "_follow_all",
        "_known",
        "_policy",
        "due",
        "faults",
        "live",
        "mix_alone",
        "next_share",
        "part_faults",
    )

    def __init__(self, connection: DrawingConnection) -> None:
        self._connection = connection
        self._policy, self._chance, self._detailed = connection.plan, connection.chance, connection.detailed
        self._by_turn = self._follow_all = False
        self._known: dict[CompiledFault, Drawn] = {}
        self.next_share: Callable[[], CompiledFault | None] | None = None
        """Draws the next share of the mix; ``None`` until `begin_mix` is called."""
        self.faults: tuple[BoundFault, ...] = ()
        """Those that may be drawn for an exchange, beside the mix."""
        self.part_faults: tuple[BoundFault, ...] = ()
        """Those for single messages of an exchange."""
        self.live = False
        """Something may be drawn."""
        self.due = False
        """`draw` is to be called for each exchange."""
        self.mix_alone = False
        """Nothing but the mix is drawn, and no observer wants to know of it: `next_share` and `hit` are as `draw`."""

    def follow_policy(self, *, follow_all: bool) -> None:
        """The faults of the connection, or the policy, have changed. *follow_all*: observers want each exchange."""
        connection = self._connection
        faults = [
            fault
            for fault in connection.bound_faults.values()
            if fault.eligible
            and not fault.compiled.of_mix
            and (fault.compiled.per_exchange or fault.compiled.handles(*EXCHANGE_HOOKS, "on_data", "on_eof"))
        ]
        self.faults = tuple(fault for fault in faults if not fault.compiled.matcher.by_part)
        self.part_faults = tuple(fault for fault in faults if fault.compiled.matcher.by_part)
        self._policy, self._detailed = connection.plan, connection.detailed
        self.next_share = None
        self._known.clear()
        self._by_turn = connection.decides_lane
        self._follow_all = follow_all
        self.live = bool(faults) or self._policy.has_live_mix or self._by_turn
        self.due = self.live or follow_all
        self.mix_alone = self._policy.has_live_mix and not (faults or self._detailed or follow_all or self._by_turn)

    def draw(self, head: Head, number: int, offset: int) -> Drawn | None:
        """Draw for the exchange *number*, which *head* begins at *offset* of the client's stream.

        ``None``: no fault acts on it, and no observer wants it. A head of which some was sent before it was whole is
        not drawn for.
        """
        if head.released:
            return None
        if self.mix_alone:
            share = (self.next_share or self.begin_mix())()
            return None if share is None else self.hit(share, number)
        chosen = self._share(number, offset)
        drawn: list[BoundFault] = []
        undecided: list[BoundFault] = []
        if chosen is not None:
            drawn.append(chosen)
            self._connection.journal.chosen(number, chosen.name)
        for fault in self.faults:
            matcher = fault.compiled.matcher
            if head.one_way != fault.compiled.one_way and (fault.compiled.of_content or matcher.late):
                continue  # one of both is a message without an answer, and the other is not for that
            if not matcher.by_exchange or matcher.request(head.fields):
                if matcher.late:
                    undecided.append(fault)
                elif _roll(fault, number, offset):
                    drawn.append(fault)
            else:
                fault.note_unmatched(head.fields)
        followed = self._follow_all or (self.part_faults and self._has_parts(head))
        return (tuple(drawn), tuple(undecided)) if drawn or undecided or followed else None

    def _has_parts(self, head: Head) -> bool:
        """Whether a fault may act on single messages of the exchange that *head* begins."""
        found = False
        for fault in self.part_faults:
            if fault.compiled.matcher.whole(head.fields):
                found = True
            else:
                fault.note_unmatched(head.fields)
        return found

    def draw_part(self, head: Head, number: int, offset: int) -> tuple[BoundFault, ...]:
        """The faults that act on the message of the exchange *number* that *head* begins."""
        drawn = []
        for fault in () if head.released else self.part_faults:
            if not fault.compiled.matcher.request(head.fields):
                fault.note_unmatched(head.fields)
            elif _roll(fault, number, offset):
                drawn.append(fault)
        return tuple(drawn)

    def hit(self, share: CompiledFault, number: int) -> Drawn | None:
        """What is drawn where there is the mix alone, and it gives *share*."""
        connection = self._connection
        if share.key not in connection.bound_faults:
            return None
        drawn = self._known.get(share) or self._drawn(share)
        if connection.tells_hits:
            connection.journal.chosen(number, share.name)
        return drawn

    def draw_many(self, heads: Sequence[Head], wholes: Sequence[bytes], number: int, offset: int) -> Hits:
        """Draw for *heads*, one behind the other: the first is of the exchange *number*, and begins at *offset*."""
        if not self.mix_alone:
            drawn = []
            for head, whole in zip(heads, wholes, strict=True):
                drawn.append(self.draw(head, number, offset))
                number += 1
                offset += len(whole)
            return [(at, one) for at, one in enumerate(drawn) if one is not None]
        connection, known = self._connection, self._known
        hits = [
            (at, known.get(share) or self._drawn(share))
            for at, share in self._chance.draw_many(connection.number, self._policy, self._random, len(heads))
            if share.key in connection.bound_faults
        ]
        if connection.tells_hits:
            for at, ((fault,), _) in hits:
                connection.journal.chosen(number + at, fault.name)
        return hits

    def _drawn(self, share: CompiledFault) -> Drawn:
        """What is drawn where the mix gives *share*: the same value each time."""
        drawn = self._known[share] = (self._connection.bound_faults[share.key],), ()
        return drawn

    def decide(self, exchange: TrackedExchange, response: Head) -> None:
        """Of the faults that ask about the *response*, those that mean this one are in play from here on."""
        for fault in exchange.undecided:
            if not fault.compiled.matcher.response(response.fields):
                fault.note_unmatched(response.fields)
            elif _roll(fault, exchange.number, exchange.offset):
                exchange.drawn += (fault,)
        exchange.undecided = ()

    def _share(self, number: int, offset: int) -> BoundFault | None:
        connection = self._connection
        if self._by_turn:
            share = connection.pending_share if self._policy.mix else None
        elif not self._policy.has_live_mix:  # the same with and without other faults: no number is drawn for nothing
            return None
        else:
            share = (self.next_share or self.begin_mix())()
            if self._detailed:
                label = share.label if share is not None else None
                connection.journal.decided("mix", label, number, place(TO_BACKEND, offset))
        return connection.bound_faults.get(share.key) if share is not None else None

    def begin_mix(self) -> Callable[[], CompiledFault | None]:
        """What draws the next share of the mix; made at the first draw, for a generator takes time to make."""
        self.next_share = draw = self._chance.drawing(self._connection.number, self._policy, self._random)
        return draw

    @property
    def _random(self) -> Random:
        """The generator of the mix."""
        connection = self._connection
        if connection.mix_random is None:
            connection.mix_random = connection.chance.random_for(connection.number, "mix")
        return connection.mix_random


def _roll(fault: BoundFault, number: int, offset: int) -> bool:
    return fault.compiled.fault.scope is not Scope.EXCHANGE or fault.roll(number, place(TO_BACKEND, offset))
