"""Exchanges without sockets: what leaves at once, what is answered here, and in which order."""

from __future__ import annotations

import pytest

from tests.engine.filters.made import Connection
from vaurien.model import Fault, Scope
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


def test_hits_are_counted_where_no_observer_wants_to_know_of_each() -> None:
    def hits(*, told: bool) -> list[str]:
        connection = made("30:error,20:transient", seed="5")
        connection.tells_hits = told
        for _ in range(3):
            sent(connection, True, b"".join(GET % number for number in range(10)))
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
