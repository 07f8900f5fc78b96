"""Messages that came together before are recognized together, and mean what they would mean one by one."""

from __future__ import annotations

import pytest

from vaurien.model import TO_BACKEND, TO_CLIENT
from vaurien.protocols.http.framer import HttpFramer
from vaurien.protocols.redis.framer import RedisFramer

# What is recognized is known to all framers: each test has its own.
GETS = b"".join(b"*2\r\n$3\r\nGET\r\n$1\r\n%d\r\n" % number for number in range(4))
VALUES = b"$-1\r\n" * 2 + b"$3\r\none\r\n" + b"+OK\r\n"
PAGES = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(3))


@pytest.mark.parametrize(("framer", "chunk", "count"), [(RedisFramer, GETS, 4), (HttpFramer, PAGES, 3)])
def test_requests_are_recognized_the_second_time(framer, chunk: bytes, count: int) -> None:
    framer = type("Framer", (framer,), {})  # what the others have seen, it has not
    first = framer()
    assert first.try_series(TO_BACKEND, chunk) is None
    first.feed(TO_BACKEND, chunk)
    assert len(first.waiting) == count
    series = framer().try_series(TO_BACKEND, chunk)
    assert series is not None
    assert b"".join(series.wholes) == chunk
    assert [dict(head.fields) for head in series.heads] == [dict(head.fields) for head in first.waiting]
    assert not set(map(id, series.heads)) & {id(head) for head in first.waiting}


def test_responses_are_recognized_where_all_their_requests_wait() -> None:
    asked = GETS.replace(b"GET", b"TTL")
    one, other = RedisFramer(), RedisFramer()
    one.feed(TO_BACKEND, asked)
    one.feed(TO_CLIENT, VALUES)
    assert other.try_series(TO_CLIENT, VALUES) is None
    other.feed(TO_BACKEND, asked)
    series = other.try_series(TO_CLIENT, VALUES)
    assert series is not None
    other.take_series(TO_CLIENT, series.heads)
    assert not other.waiting


def test_what_changes_the_connection_is_not_recognized() -> None:
    chunk = GETS + b"*1\r\n$5\r\nMULTI\r\n"
    RedisFramer().feed(TO_BACKEND, chunk)
    assert RedisFramer().try_series(TO_BACKEND, chunk) is None
    busy = RedisFramer()
    gets = GETS.replace(b"GET", b"DEL")
    RedisFramer().feed(TO_BACKEND, gets)
    busy.feed(TO_BACKEND, b"*2\r\n$3\r\nGET")
    assert busy.try_series(TO_BACKEND, gets) is None


def test_traffic_that_never_repeats_itself_is_mostly_not_learned() -> None:
    framer = RedisFramer()
    chunks = [
        b"".join(b"*2\r\n$3\r\nGET\r\n$7\r\n%07d\r\n" % (9 * number + n) for n in range(2)) for number in range(200)
    ]
    for chunk in chunks:
        framer.feed(TO_BACKEND, chunk)
        framer.feed(TO_CLIENT, b"$-1\r\n" * 2)
    known = [RedisFramer().try_series(TO_BACKEND, chunk) is not None for chunk in chunks]
    assert all(known[:30])
    assert not any(known[100:120])
    again = RedisFramer()
    assert again.try_series(TO_BACKEND, chunks[0]) is not None
