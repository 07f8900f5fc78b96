"""The chain of filters, rebuilt while bytes are on their way: endpoints and a clock that the test plays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.fakes import FakeClock, FakeEndpoint, FakeOwner, FakeTimer
from tests.engine.policy.made import compiled
from vaurien.engine.filters.bound_fault import BoundFault, reconcile_faults
from vaurien.engine.filters.filter import Filter
from vaurien.engine.filters.filter_chain import FilterChain, needed
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.matching import NO_FACTS
from vaurien.engine.policy.shared_state import SharedState
from vaurien.engine.relay.blocks import pool_of
from vaurien.engine.relay.link import RelayLink
from vaurien.framing import Protocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Fault, Scope, Stream
from vaurien.protocols.redis import RedisProtocol
from vaurien.protocols.tcp import Tcp

PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"


def late(name: str, after: float = 1.0, **more: Any) -> Fault:
    return Fault(name, "latency", {"latency": after * 1000}, **more)


class Clock(FakeClock):
    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        return self.call_later(when - self.time, callback)


class Connection(FakeOwner):
    """A connection between two endpoints, with a chain; *set* gives it another policy."""

    number, peer = 1, "127.0.0.1:5"
    facts, pending_share = NO_FACTS, None
    mix_random, past_exchanges = None, 0
    tells_hits = True
    detailed = lists_exchanges = relays_records = False
    delay_line_limit = 1 << 20
    background: Any = None

    def __init__(self, *faults: Fault, mix: str = "", protocol: Protocol | None = None) -> None:
        super().__init__()
        self.clock: Clock = Clock()
        self.protocol = protocol or Tcp()
        self.chance = Chance("0", "web", self.clock.now)
        self.shared = SharedState(None, lambda name: None)
        self.bound_faults: dict[str, BoundFault] = {}
        self.journal = self
        self.hits: list[str] = []
        self.client, self.backend = FakeEndpoint(), FakeEndpoint()
        up = RelayLink(self, self.client, self.backend, TO_BACKEND)  # type: ignore[arg-type]
        down = RelayLink(self, self.backend, self.client, TO_CLIENT)  # type: ignore[arg-type]
        self.up, self.down = up, down
        self.links = {TO_CLIENT: down, TO_BACKEND: up}
        self.chain = FilterChain(self)  # type: ignore[arg-type]
        self.set(*faults, mix=mix)
        for link in (up, down):
            link.update()

    def set(self, *faults: Fault, mix: str = "") -> bool:
        """Follow another policy; whether something has to wait."""
        self.plan = compiled(mix, *faults, protocol=self.protocol)
        reconcile_faults(self, begun=False)  # type: ignore[arg-type]
        self.chain.build()
        return self.chain.reconfigure()

    def asks(self, data: bytes) -> None:
        self.client.incoming.append(data)
        self.loop.readers[self.client.fileno()]()

    def answers(self, data: bytes) -> None:
        self.backend.incoming.append(data)
        self.loop.readers[self.backend.fileno()]()

    def order(self, link: RelayLink) -> list[str]:
        """The names of the faults on the bytes of *link*, first to last."""
        filters: Any = link.filters
        return [each.fault.name for each in filters.filters] if filters is not None else []

    def hit(self, name: str, exchange: int | None = None, place: object = None) -> None:
        self.hits.append(name)

    def chosen(self, exchange: int, name: str) -> None: ...

    def decided(self, name: str, drawn: object, exchange: int | None = None, place: object = None) -> None: ...

    def delayed(self, *facts: object) -> None: ...

    def lost(self, reason: str) -> None: ...

    def last_filter(self, active: BoundFault, direction: Any) -> Filter:
        return Filter(active, self.links[direction])


@pytest.fixture
def plain() -> Connection:
    return Connection()


def test_without_faults_there_is_nothing_between_the_endpoints(plain: Connection) -> None:
    assert not needed(plain)  # type: ignore[arg-type]
    assert plain.up.filters is plain.down.filters is None
    plain.asks(b"x")
    assert plain.backend.sent == b"x"


def test_a_chain_is_empty_once_its_faults_have_left(plain: Connection) -> None:
    assert plain.chain.empty
    plain.set(Fault("late", "latency", options={"latency": 1}))
    assert not plain.chain.empty
    plain.answers(b"x")
    plain.set()
    assert plain.chain.empty
    plain.set(mix="100:error")
    assert not plain.chain.empty


def test_each_direction_has_its_faults_in_the_order_of_the_policy() -> None:
    one = Connection(late("a"), late("b", stream=Stream.DOWNSTREAM), late("c", stream=Stream.UPSTREAM))
    assert needed(one)  # type: ignore[arg-type]
    assert (one.order(one.up), one.order(one.down)) == (["a", "c"], ["a", "b"])


def test_delays_of_a_chain_add_up() -> None:
    one = Connection(late("a", 1.0), late("b", 2.0))
    one.asks(b"x")
    one.clock.advance(2.9)
    assert one.backend.sent == b""
    one.clock.advance(0.2)
    assert one.backend.sent == b"x"


def chunks(count: int) -> list[bytes]:
    """As long as the buffer that links share here."""
    return [bytes([number]) * (1 << 16) for number in range(count)]


def test_bulk_that_is_late_is_read_where_it_stays_once_there_is_much() -> None:
    one = Connection(late("a", 1.0))
    for number, chunk in enumerate(chunks(12)):
        assert (number, one.up.filters.space is not None) == (number, number >= 8)  # type: ignore[union-attr]
        one.asks(chunk)
    assert pool_of(one.loop).used == 1  # type: ignore[arg-type]
    one.asks(b"and few bytes")
    assert one.up.filters.space is None  # type: ignore[union-attr]
    one.asks(b", in the shared buffer")
    one.clock.advance(1.0)
    assert one.backend.sent == b"".join(chunks(12)) + b"and few bytes, in the shared buffer"
    assert one.hits == ["a"] * 14
    assert pool_of(one.loop).used == 0  # type: ignore[arg-type]


def test_bulk_that_is_late_is_not_lost_when_the_faults_change() -> None:
    one = Connection(late("a", 1.0))
    for chunk in chunks(12):
        one.asks(chunk)
    one.set(late("a", 1.0), late("b", 1.0))
    one.asks(b"behind it")
    one.clock.advance(1.0)
    assert (one.backend.sent, pool_of(one.loop).used) == (b"", 0)  # type: ignore[arg-type]
    one.clock.advance(1.0)
    assert one.backend.sent == b"".join(chunks(12)) + b"behind it"


def test_a_fault_that_is_removed_lets_go_and_the_link_is_direct_again() -> None:
    one = Connection(late("a", 60.0))
    one.asks(b"x")
    assert one.chain.has_client_data
    assert one.set() is False
    assert (one.backend.sent, one.up.filters) == (b"x", None)
    assert not one.chain.has_client_data


def test_what_a_removed_fault_lets_go_does_not_overtake_what_another_holds() -> None:
    one = Connection(late("first", 1.0), late("second", 60.0))
    one.asks(b"1")
    one.clock.advance(1.0)  # in the second now
    one.asks(b"2")  # in the first
    one.set(late("second", 60.0))
    assert one.backend.sent == b""
    one.clock.advance(61.0)
    assert one.backend.sent == b"12"
    assert one.order(one.up) == ["second"]


def test_faults_change_places_when_none_of_them_holds_data() -> None:
    one = Connection(late("a", 1.0), late("b", 1.0))
    one.asks(b"1")
    assert one.set(late("b", 1.0), late("a", 1.0)) is True
    assert (one.order(one.up), one.order(one.down)) == (["a", "b"], ["b", "a"])
    one.clock.advance(2.0)
    assert one.backend.sent == b"1"
    assert one.chain.reconfigure() is False
    assert one.order(one.up) == ["b", "a"]


def test_a_fault_that_stays_keeps_its_filter_and_what_it_holds() -> None:
    one = Connection(late("a", 5.0))
    before = one.up.filters.filters[0]  # type: ignore[union-attr]
    one.asks(b"x")
    one.set(late("a", 5.0), late("b", 0.0))
    assert one.up.filters.filters[0] is before  # type: ignore[union-attr]
    assert one.backend.sent == b""
    one.clock.advance(5.0)
    assert one.backend.sent == b"x"


def test_a_tracker_stays_until_what_it_swallows_is_through() -> None:
    one = Connection(Fault("a", "drop_response"))
    one.asks(b"first")
    assert not one.chain.backend_clean
    one.answers(b"abc")
    assert one.set() is True
    one.answers(b"def")  # of the same turn
    assert (one.chain.reconfigure(), one.client.sent) == (True, b"")
    one.asks(b"second")
    assert one.chain.reconfigure() is False
    assert one.up.filters is one.down.filters is None
    one.answers(b"ghi")
    assert (one.backend.sent, one.client.sent) == (b"firstsecond", b"ghi")
    assert one.chain.exchanges == 2


def test_half_a_request_is_known() -> None:
    one = Connection(Fault("a", "error", match={"key": "never"}, scope=Scope.EXCHANGE), protocol=RedisProtocol())
    assert not one.chain.half_sent_request
    one.asks(PING[:5])
    assert one.chain.has_client_data
    assert not one.chain.releasable
    one.asks(PING[5:])
    assert one.backend.sent == PING
    assert one.chain.releasable  # the fault has spared it


def test_release_lets_go_of_removed_faults_only() -> None:
    one = Connection(late("a", 60.0, stream=Stream.UPSTREAM), late("b", 60.0, stream=Stream.DOWNSTREAM))
    one.asks(b"x")
    one.answers(b"y")
    one.plan = compiled("", late("b", 60.0, stream=Stream.DOWNSTREAM), protocol=one.protocol)
    one.chain.release()
    assert (one.backend.sent, one.client.sent) == (b"x", b"")
