"""The filters between the two sockets of a connection: built from the policy, and rebuilt live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vaurien.engine.filters.bound_fault import BoundFault
from vaurien.engine.filters.exchange_tracker import ExchangeTracker, TrackedConnection, TrackerIntake
from vaurien.engine.filters.filter import Filter, Receiver, Sink
from vaurien.engine.filters.message_filter import acts_on_messages
from vaurien.engine.filters.stream_tracker import StreamTracker
from vaurien.engine.relay.link import Intake, RelayLink
from vaurien.framing import Framing
from vaurien.framing import Protocol as WireProtocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction


class ChainedConnection(TrackedConnection, Protocol):
    """The connection, as its filters see it."""

    @property
    def protocol(self) -> WireProtocol:
        """The proxy's protocol."""

    @property
    def relays_records(self) -> bool:
        """What passes are records of TLS, which no protocol frames."""

    def link(self, direction: Direction) -> RelayLink:
        """The link of a direction."""


def needed(connection: ChainedConnection) -> bool:
    """Whether the protocol or a fault drawn for *connection* must see its bytes."""
    policy = connection.plan
    if connection.one_request:
        return True
    if policy.direct:
        return False
    if policy.framed and not connection.relays_records:
        return True
    bound = (connection.bound_faults.get(fault.key) for fault in policy.on_any_data)
    return any(one is not None and one.eligible for one in bound)


class DirectionFilters:
    """The filters on the bytes of *link*, in order, behind the exchange tracker where there is one.

    `RelayLink.filters` is this object while there is something between the sockets.
    """

    __slots__ = ("_delaying", "fast_path", "filters", "first", "intake", "link", "may_be_passive", "tracker")

    def __init__(self, link: RelayLink) -> None:
        self.link = link
        self.filters: list[Filter] = []
        self.may_be_passive = True
        """Each of them is for some exchanges only, so that there may be bytes which none of them acts on."""
        self.tracker: ExchangeTracker | None = None
        self.first: Receiver = Sink(link)
        """Takes the bytes behind the exchange tracker."""
        self.intake: Intake = self.first
        self.fast_path: Callable[[memoryview], bytes | memoryview] | None = None
        self._delaying: Filter | None = None  # which has the fast path

    def connect(self, filters: list[Filter], tracker: ExchangeTracker | None) -> None:
        """Pass the bytes through *tracker* and *filters*, in order."""
        receiver: Receiver = Sink(self.link)
        exchanges_behind = False
        for each in reversed(filters):
            each.lead_to(receiver)
            each.exchanges_behind = exchanges_behind
            exchanges_behind = exchanges_behind or each.fault.compiled.per_exchange
            receiver = each
        self.filters, self.first, self.tracker = filters, receiver, tracker
        self.may_be_passive = all(each.may_be_passive for each in filters)
        if tracker is None:
            self._delaying = filters[0] if len(filters) == 1 and filters[0].only_delays else None
            self.intake, self.fast_path = receiver, self._delaying.delay_chunk if self._delaying is not None else None
        else:
            self._delaying = None
            direction = self.link.direction
            self.intake = TrackerIntake(tracker, direction)
            self.fast_path = tracker.take_requests if direction is TO_BACKEND else tracker.take_responses
            self.link.expect_bulk(copied=True)
        self.link.filters = self if filters or tracker is not None else None
        self.link.update()

    @property
    def space(self) -> memoryview | None:
        """Where bulk for the `fast_path` should be read; ``None``: into the shared buffer."""
        return self._delaying.space if self._delaying is not None else None

    @property
    def held(self) -> int:
        """Bytes on delay lines, and of exchanges whose hooks wait beside the link."""
        waiting = self.tracker.held(self.link.direction) if self.tracker is not None else 0
        return waiting + sum(each.held for each in self.filters)

    @property
    def idle(self) -> bool:
        """Nothing of what was read is on its way."""
        waits = self.tracker is not None and self.tracker.waits(self.link.direction)
        return not waits and all(each.idle for each in self.filters)

    @property
    def keeps(self) -> bool:
        """A fault keeps something, or may, to send it later."""
        return any(each.keeps for each in self.filters)

    @property
    def occupied(self) -> bool:
        """Something is on its way through the faults, or may be held by one of them."""
        return not self.link.closed and (not self.link.idle or self.keeps)

    @property
    def passive(self) -> bool:
        """No filter acts on the bytes that come next, or holds any: they may go past all of them."""
        return all(each.passive for each in self.filters)

    def pass_by(self, size: int) -> None:
        """*size* bytes went past the filters."""
        for each in self.filters:
            each.pass_by(size)

    def send_kept(self) -> None:
        """The connection is closed in order: a fault that keeps something until its alarm sends it now."""
        for each in list(self.filters):
            each.alarm_at_end()

    def clear(self) -> None:
        """The link is closed: forget what is held."""
        for each in self.filters:
            each.clear()


class _RenumberingSink(Sink):
    """The socket to the backend, where streams have other numbers than at the client."""

    __slots__ = ("_framing",)

    def __init__(self, link: RelayLink, framing: Framing) -> None:
        super().__init__(link)
        self.at_once, self._framing = None, framing

    async def receive(self, data: bytes, at: float) -> None:
        """Write what is sent for *data*."""
        await super().receive(self._framing.renumbered(data), at)


class FilterChain:
    """Builds the filters of a connection's links from its policy, and rebuilds them live.

    A filter whose fault was removed stays where it is, passing bytes through, until nothing waits in it. Reordering
    waits until no filter holds data; otherwise bytes could overtake each other. An exchange tracker that is not needed
    any more stays until its exchanges are done. Then the link is in the direct lane again.
    """

    def __init__(self, connection: ChainedConnection) -> None:
        self._connection = connection
        self._tracker: ExchangeTracker | None = None
        self._past_exchanges = 0  # of trackers that are gone
        self._misplaced: set[Direction] = set()  # the directions whose filters are not in the order of the policy yet
        self._directions: dict[Direction, DirectionFilters] = {}

    @property
    def exchanges(self) -> int:
        """How many requests were recognized so far, while exchanges are told apart."""
        return self._past_exchanges + (self._tracker.exchanges if self._tracker is not None else 0)

    def begin_tls(self) -> bytes:
        """TLS begins in both directions; returns what the client has said of it by now."""
        return self._tracker.framing.begin_tls() if self._tracker is not None else b""

    def take_behind(self) -> bytes:
        """What the client has sent behind the one request that was framed."""
        return self._tracker.framing.take_behind() if self._tracker is not None else b""

    @property
    def encrypted(self) -> bool:
        """Both sides speak TLS that the proxy cannot read."""
        return self._tracker is not None and self._tracker.framing.tls == "encrypted"

    @property
    def empty(self) -> bool:
        """Nothing is between the sockets."""
        return self._tracker is None and not any(filters.filters for filters in self._directions.values())

    @property
    def backend_clean(self) -> bool:
        """No exchange is open and nothing is on its way to the client, so the backend may serve another client."""
        down = self._connection.link(TO_CLIENT)
        return (self._tracker is None or self._tracker.backend_clean) and down.idle and down.pending is None

    @property
    def has_client_data(self) -> bool:
        """Some of what the client has sent is here, and the backend has not had it."""
        up = self._directions[TO_BACKEND]
        return up.occupied or (not up.link.closed and self._tracker is not None and self._tracker.has_client_data)

    @property
    def half_sent_request(self) -> bool:
        """The backend received part of a request it has not fully answered, and the rest is here."""
        return self.has_client_data and self._tracker is not None and self._tracker.half_sent_request

    def backend_replaced(self) -> None:
        """Another backend will have what is here."""
        if self._tracker is not None:
            self._tracker.backend_replaced()

    @property
    def releasable(self) -> bool:
        """The next bytes may go another way: none that came before them are held back."""
        return self._tracker is None or self._tracker.releasable

    @property
    def _frames(self) -> bool:
        connection = self._connection
        return connection.one_request or (connection.plan.framed and not connection.relays_records)

    def build(self) -> None:
        """Follow the policy. `reconfigure` is to be called afterwards."""
        connection = self._connection
        directions = [self._direction(direction) for direction in Direction]
        if self._frames and self._tracker is None:
            down, up = directions
            framing = connection.protocol.framer()
            framing.one_request = connection.one_request
            framing.opens_tls = connection.opens_tls
            make = StreamTracker if framing.streams else ExchangeTracker
            self._tracker = make(connection, connection.protocol, framing, up, down)
        left, pauses = [], []
        self._misplaced.clear()
        for direction, filters in zip(Direction, directions, strict=True):
            keys = [fault.key for fault in connection.plan.on_data(filters.link.direction)]
            faults = [connection.bound_faults[key] for key in keys if key in connection.bound_faults]
            if isinstance(self._tracker, StreamTracker):  # which lets them act on messages
                faults = [fault for fault in faults if not acts_on_messages(fault)]
            wanted = [self._filter(filters, fault) for fault in faults if fault.eligible]
            left += [each for each in filters.filters if each not in wanted and not each.leaving]
            placed = _in_place(wanted, filters.filters) if filters.occupied else wanted
            if placed != wanted:
                self._misplaced.add(direction)
            filters.connect(_merged(placed, filters.filters), self._tracker)
            pauses.append((filters.link, [each for each in wanted if each.fault.halts]))
        if self._tracker is not None:
            self._tracker.follow_policy(*directions)
        for each in left:
            each.leave()  # lets go of what it holds, maybe of both ends, and then there is no connection any more
        for link, causes in pauses:
            link.pause(causes)
        if self._tracker is not None:
            self._tracker.release_heads()

    def _direction(self, direction: Direction) -> DirectionFilters:
        link, filters = self._connection.link(direction), self._directions.get(direction)
        if filters is None or filters.link is not link:
            self._directions[direction] = filters = DirectionFilters(link)
        return filters

    def sink(self, direction: Direction) -> Receiver:
        """Takes bytes that a fault sends behind all others."""
        link, tracker = self._connection.link(direction), self._tracker
        if direction is TO_BACKEND and tracker is not None and tracker.framing.renumbers:
            return _RenumberingSink(link, tracker.framing)
        return Sink(link)

    def release(self) -> None:
        """The connection is ending: faults that are gone hold nothing back any more, and no other thing changes."""
        kept = {fault.key for fault in self._connection.plan.compiled_faults}
        for filters in self._directions.values():
            for each in list(filters.filters):
                if each.fault.compiled.key not in kept and not each.leaving:
                    each.leave()

    def end(self) -> None:
        """The connection is over."""
        if self._tracker is not None:
            self._tracker.end()

    def follow_framing(self, framing: Framing) -> ExchangeTracker:
        """Another protocol goes on, with *framing*: its tracker, which is to be fed what the last one holds."""
        down, up = (self._direction(direction) for direction in Direction)
        connection = self._connection
        if self._tracker is not None:
            self._past_exchanges += self._tracker.exchanges
        make = StreamTracker if framing.streams else ExchangeTracker
        self._tracker = tracker = make(connection, connection.protocol.with_streams(), framing, up, down)
        self.build()
        return tracker

    def reconfigure(self) -> bool:
        """Take out what is not needed any more and has nothing under way; returns whether something has to wait."""
        while True:
            both = list(self._directions.values())
            for filters in both:
                if not filters.link.hook_running and any(each.leaving and each.idle for each in filters.filters):
                    stay = [each for each in filters.filters if not (each.leaving and each.idle)]
                    filters.connect(stay, self._tracker)
            ready = any(not self._directions[side].occupied for side in self._misplaced)
            if not ready or self._connection.ending:
                break
            self.build()
        running = any(filters.link.hook_running for filters in both)
        unneeded = self._tracker is not None and not self._frames
        if unneeded and self._tracker is not None and self._tracker.drained and not running:
            self._past_exchanges += self._tracker.exchanges
            self._tracker, unneeded = None, False
            for filters in both:
                filters.connect(filters.filters, None)
        leaving = any(each.leaving for filters in both for each in filters.filters)
        return leaving or unneeded or bool(self._misplaced)

    def _filter(self, filters: DirectionFilters, fault: BoundFault) -> Filter:
        known = next((each for each in filters.filters if each.fault is fault), None)
        return known if known is not None else Filter(fault, filters.link)


def _in_place(wanted: list[Filter], before: list[Filter]) -> list[Filter]:
    """*wanted*, with those that were there *before* in the order that they had among themselves."""
    kept = iter([each for each in before if each in wanted])
    return [next(kept) if each in before else each for each in wanted]


def _merged(wanted: list[Filter], before: list[Filter]) -> list[Filter]:
    """*wanted*, with the filters of *before* that are not wanted any more still behind what they were behind."""
    merged = list(wanted)
    place = 0
    for each in before:
        if each in merged:
            place = merged.index(each) + 1
        else:
            merged.insert(place, each)
            place += 1
    return merged
