"""Exchanges without sockets: what leaves at once, what is answered here, and in which order."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.filters.made import Connection
from tests.engine.policy.made import compiled
from vaurien.engine.filters.bound_fault import reconcile_faults
from vaurien.model import Fault, Scope
from vaurien.protocols.http.protocol import HttpProtocol
from vaurien.protocols.redis.protocol import RedisProtocol

GET = b"*2\r\n$3\r\nGET\r\n$1\r\n%d\r\n"
OK = b"+OK\r\n"


def made(mix: str = "", *faults: Fault, seed: str = "0") -> Connection:
    return Connection(mix, *faults, protocol=RedisProtocol(), seed=seed)


def sent(connection: Connection, to_backend: bool, data: bytes) -> bytes:
    """What leaves in a direction for *data*, at once or by a hook."""
    link = (connection.up if to_backend else connection.down).link
    before = len(link.written)
    tracker = connection.tracker
    passed = tracker.take_requests(memoryview(data)) if to_backend else tracker.take_responses(memoryview(data))
    return b"".join(link.written[before:]) + passed


@pytest.mark.parametrize("mix", ["", "0.0001:error"])
def test_a_spared_exchange_leaves_as_it_came(mix: str) -> None:
    connection = made(mix)
    for number in range(3):
        assert sent(connection, True, GET % number) == GET % number
        assert not connection.tracker.backend_clean
        assert sent(connection, False, OK) == OK
        assert connection.tracker.backend_clean
    assert not connection.up.link.written
    assert not connection.told


@pytest.mark.parametrize("mix", ["", "0.0001:error"])
@pytest.mark.parametrize("to_backend", [True, False])
def test_the_middle_of_a_long_message_is_not_copied(mix: str, *, to_backend: bool) -> None:
    connection = made(mix)
    side = connection.up if to_backend else connection.down
    take = connection.tracker.take_requests if to_backend else connection.tracker.take_responses
    head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10000\r\n" if to_backend else b"$10000\r\n"
    if not to_backend:
        sent(connection, True, GET % 1)
    part = bytes(3000)
    for piece in (head, part):
        assert side.link.copied
        assert sent(connection, to_backend, piece) == piece
    assert not side.link.copied
    middle = memoryview(part)
    assert side.fast_path(middle) is middle
    last = bytes(4000) + b"\r\n"
    passed = side.fast_path(memoryview(last))
    assert b"".join((*side.link.written, passed)).endswith(last)
    assert (side.fast_path, side.link.copied) == (take, True)
    if to_backend:
        assert sent(connection, False, OK) == OK
    assert connection.tracker.backend_clean


def test_a_hit_is_answered_here_and_the_backend_sees_nothing() -> None:
    connection = made("100:error")
    assert sent(connection, True, GET % 1) == b""
    assert b"".join(connection.down.link.written).startswith(b"-")
    assert connection.told == [("chosen", 1, "error"), ("hit", 1, "error")]
    assert connection.tracker.backend_clean


def test_an_answer_of_our_own_waits_for_those_before_it() -> None:
    connection = made("", Fault("it", "error", options={"code": "LOADING"}, match={"key": "2"}))
    pipeline = b"".join(GET % number for number in (1, 2, 3))
    assert sent(connection, True, pipeline) == GET % 1 + GET % 3
    assert not connection.down.link.written
    answers = sent(connection, False, OK + b"$-1\r\n")
    first, second, third = answers.splitlines()
    assert (first, third) == (b"+OK", b"$-1")
    assert second.startswith(b"-LOADING")


def test_a_pipeline_that_is_known_draws_like_single_requests() -> None:
    def hits(chunks: list[bytes]) -> list[int]:
        connection = made("30:error", seed="5")
        for chunk in chunks:
            sent(connection, True, chunk)
        return [exchange for kind, exchange, _ in connection.told if kind == "chosen"]

    requests = [GET % (number % 10) for number in range(40)]
    pipelines = [b"".join(requests[start : start + 10]) for start in range(0, 40, 10)]
    assert hits(requests) == hits(pipelines) == hits(pipelines)
    assert hits(requests)


@pytest.mark.parametrize("together", [True, False])
def test_hits_are_counted_where_no_observer_wants_to_know_of_each(*, together: bool) -> None:
    def hits(*, told: bool) -> list[str]:
        connection = made("30:error,20:transient", seed="5")
        connection.tells_hits = told
        for _ in range(3):
            requests = [GET % number for number in range(10)]
            for data in [b"".join(requests)] if together else requests:
                if passed := sent(connection, True, data):
                    sent(connection, False, OK * passed.count(b"GET"))
        return sorted(name for kind, _, name in connection.told if kind == "hit")

    assert hits(told=False) == hits(told=True)
    assert hits(told=True).count("transient") == 1
    assert "error" in hits(told=True)


def test_a_request_that_comes_in_pieces_is_one_exchange() -> None:
    connection = made("100:error")
    for byte in GET % 1:
        sent(connection, True, bytes([byte]))
    assert [kind for kind, *_ in connection.told] == ["chosen", "hit"]


def test_a_fault_of_exchanges_is_rolled_for_each() -> None:
    often = Fault("often", "error", probability=0.5, scope=Scope.EXCHANGE)
    connection = made("", often)
    for _ in range(40):
        if sent(connection, True, GET % 1):
            sent(connection, False, OK)
    hit = [exchange for kind, exchange, _ in connection.told if kind == "hit"]
    assert 8 < len(hit) < 32
    assert connection.tracker.drained


MIXES = ("30:error", "30:error,30:drop_response", "20:error,40:duplicate_request", "50:dummy,20:error")


@pytest.mark.parametrize("mix", MIXES)
def test_a_pipeline_that_is_known_becomes_what_its_bytes_one_by_one_become(mix: str) -> None:
    def outcome(cut: int, answers_at_once: int) -> tuple[object, ...]:
        connection = made(mix, seed="7")
        to_backend = to_client = b""
        for start in range(0, len(requests), cut):
            link = connection.down.link
            before = len(link.written)
            forwarded = sent(connection, True, requests[start : start + cut])
            to_client += b"".join(link.written[before:])
            to_backend += forwarded
            answers = [OK] * forwarded.count(b"GET")
            for first in range(0, len(answers), answers_at_once):
                to_client += sent(connection, False, b"".join(answers[first : first + answers_at_once]))
        assert connection.tracker.backend_clean
        assert connection.tracker.drained
        return to_backend, to_client, sorted(connection.told), connection.tracker.exchanges

    pipeline = b"".join(GET % number for number in range(8))
    requests = pipeline * 12
    by_bytes = outcome(1, 1)
    assert by_bytes[2]
    for answers_at_once in (1, 3, 100, 100):
        assert outcome(len(pipeline), answers_at_once) == by_bytes
    assert outcome(len(GET % 1), 1) == by_bytes


@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_known_request_that_is_answered_here_ends_what_it_should(keep_alive: bool) -> None:
    connection = Connection("100:error", protocol=RedisProtocol(keep_alive=keep_alive))
    sent(connection, True, GET % 2)
    assert connection.ending != keep_alive
    assert len(connection.down.link.written) == 1
    assert [kind for kind, *_ in connection.told] == ["chosen", "hit"]


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "ask many", "ask in pieces", "answer", "answer"]), st.integers(1, 4)),
    min_size=6,
)


@given(mix=st.sampled_from(["", *MIXES]), seed=st.integers(0, 20), steps=STEPS)
def test_what_becomes_of_requests_does_not_depend_on_how_many_wait(
    mix: str, seed: int, steps: list[tuple[str, int]]
) -> None:
    played, plain = _Played(mix, seed), _Played(mix, seed)
    asked = 0
    for kind, count in [*steps, ("answer", 1000)]:
        if kind == "answer":
            played.answer(count)
            continue
        chunk = b"".join(GET % (number % 3) for number in range(asked, asked + (count if kind == "ask many" else 1)))
        asked += chunk.count(b"GET")
        cut = len(chunk) - count if kind == "ask in pieces" else len(chunk)
        for piece in filter(None, (chunk[:cut], chunk[cut:])):
            played.ask(piece)
    for number in range(asked):
        plain.ask(GET[:9])
        plain.ask(GET[9:] % (number % 3))
        plain.answer(1000)
    assert played.outcome == plain.outcome
    assert played.connection.tracker.exchanges == asked


class _Played:
    """A connection, and what became of its bytes."""

    def __init__(self, mix: str, seed: int) -> None:
        self.connection = made(mix, seed=str(seed))
        self.to_backend = self.to_client = b""
        self.answered = 0

    def ask(self, data: bytes) -> None:
        link = self.connection.down.link
        before = len(link.written)
        self.to_backend += sent(self.connection, True, data)
        self.to_client += b"".join(link.written[before:])

    def answer(self, count: int) -> None:
        """Let the backend answer at most *count* requests, in one chunk."""
        whole = re.findall(rb"GET\r\n\$1\r\n\d\r\n", self.to_backend)
        due = min(count, len(whole) - self.answered)
        self.answered += due
        if due:
            self.to_client += sent(self.connection, False, OK * due)

    @property
    def outcome(self) -> tuple[object, ...]:
        tracker = self.connection.tracker
        told = sorted(self.connection.told)
        return self.to_backend, self.to_client, told, tracker.exchanges, tracker.drained, tracker.backend_clean


def test_a_policy_that_changes_while_requests_wait_acts_on_those_behind_them() -> None:
    connection = made()
    for _ in range(2):
        sent(connection, True, GET % 1)
        sent(connection, False, OK)
    assert sent(connection, True, GET % 1) == GET % 1
    assert sent(connection, True, GET % 1) == GET % 1
    assert connection.tracker.half_sent_request
    connection.plan = compiled("100:error", protocol=RedisProtocol())
    reconcile_faults(connection, begun=False)  # type: ignore[arg-type] # it has what is needed here
    connection.tracker.follow_policy(connection.down, connection.up)  # type: ignore[arg-type] # as above
    assert sent(connection, True, GET % 1) == b""
    assert not connection.down.link.written
    assert sent(connection, False, OK) == OK
    answers = sent(connection, False, OK)
    assert answers.startswith(OK + b"-")
    assert connection.told == [("chosen", 5, "error"), ("hit", 5, "error")]
    assert not connection.tracker.half_sent_request


def test_a_message_that_ends_the_use_of_the_backend_is_noted_also_behind_known_ones() -> None:
    get = b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n"
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    connection = Connection(protocol=HttpProtocol())
    for _ in range(3):
        assert sent(connection, True, get % b"").startswith(b"GET")
        assert sent(connection, False, ok) == ok
        assert connection.tracker.backend_clean
    for _ in range(2):
        sent(connection, True, get % b"Connection: close\r\n")
        assert sent(connection, False, ok) == ok
        assert not connection.tracker.backend_clean
