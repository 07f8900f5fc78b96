"""Large pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.running import backend, pair, read, running
from vaurien import options
from vaurien.behaviors.coalesce import Coalesce
from vaurien.errors import OptionError
from vaurien.model import Fault
from vaurien.testing import Chunk, End, Remove, Sent, play


def test_small_writes_leave_as_one_when_the_first_has_waited_long_enough() -> None:
    played = play(Coalesce(wait=20), [Chunk(b"a"), Chunk(b"b", at=0.01), Chunk(b"c", at=0.019), Chunk(b"d", at=1)])
    assert played.up == (Sent(0.02, b"abc"), Sent(1.02, b"d"))


def test_enough_leaves_at_once_and_the_rest_waits_anew() -> None:
    played = play(Coalesce(size=4, wait=20), [Chunk(b"ab"), Chunk(b"cdefghij", at=0.01)])
    assert [sent.data for sent in played.up] == [b"abcd", b"efgh", b"ij"]
    assert [sent.at for sent in played.up] == pytest.approx([0.01, 0.01, 0.03])


def test_the_end_of_the_stream_takes_it_along() -> None:
    played = play(Coalesce(wait=1000), [Chunk(b"a"), Chunk(b"b", at=0.1), End(at=0.2)])
    assert played.up == (Sent(0.2, b"ab"),)
    assert played.up_end == 0.2


def test_removed_it_lets_go() -> None:
    script = [Chunk(b"a"), Chunk(b"z", to_backend=False), Remove(at=0.1), Chunk(b"b", at=0.2)]
    played = play(Coalesce(wait=1000), script)
    assert played.up == (Sent(0.1, b"a"), Sent(0.2, b"b"))
    assert played.down == (Sent(0.1, b"z"),)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 0.05), st.binary(max_size=30)), max_size=30), st.integers(1, 40))
def test_nothing_is_lost_or_late(parts: list[tuple[float, bytes]], size: int) -> None:
    at, script, arrived = 0.0, [], []
    for gap, data in parts:
        at += gap
        if data:
            script.append(Chunk(data, at=at))
            arrived += [at] * len(data)
    played = play(Coalesce(size=size, wait=20), script)
    left = [sent.at for sent in played.up for _ in sent.data]
    assert played.to_backend == b"".join(chunk.data for chunk in script)
    assert all(before <= after <= before + 0.0200001 for before, after in zip(arrived, left, strict=True))
    assert all(len(sent.data) <= size for sent in played.up)


def test_what_it_gathers_comes_through_although_nothing_more_comes() -> None:
    fault = Fault(name="it", behavior="coalesce", options={"wait": 5})
    with backend() as listening, running(listening.getsockname(), "", fault) as proxy:
        with pair(proxy, listening) as (client, server):
            for message in (b"one", b"two"):
                client.sendall(message)
                assert read(server, 3) == message
                server.sendall(message)
                assert read(client, 3) == message


def test_what_is_gathered_has_a_bound() -> None:
    """It is kept in memory, for each connection."""
    with pytest.raises(OptionError, match="such as 4096 or 64KiB; at most 16777216"):
        options.build(Coalesce, {"size": "17MiB"}, owner="behavior 'coalesce'")
