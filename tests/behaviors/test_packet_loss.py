"""The effect of lost packets."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from vaurien.behaviors.packet_loss import PacketLoss
from vaurien.testing import Chunk, End, Remove, play

COUNT = 4000


def lateness(**options: Any) -> list[float]:
    """Seconds that each segment is late; they are far enough apart not to wait for each other."""
    played = play(PacketLoss(**options), [Chunk(b"x", at=1000.0 * index) for index in range(COUNT)])
    return [sent.at - 1000.0 * index for index, sent in enumerate(played.up)]


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_the_share_of_lost_segments_is_the_rate(correlation: float) -> None:
    late = lateness(loss_rate=0.1, correlation=correlation)
    assert sum(one > 0 for one in late) / COUNT == pytest.approx(0.1, abs=0.025)


def test_correlated_loss_comes_in_bursts() -> None:
    """After a lost segment the next one is lost by a chance of 0.1 + 0.6 * 0.9; without correlation by one of 0.1."""
    for correlation, chance in ((0.0, 0.1), (0.6, 0.64)):
        late = lateness(loss_rate=0.1, correlation=correlation)
        after_lost = [after for before, after in itertools.pairwise(late) if before]
        assert sum(one > 0 for one in after_lost) / len(after_lost) == pytest.approx(chance, abs=0.1)


def test_the_time_out_doubles_while_the_loss_lasts() -> None:
    waits = {round(one, 3) for one in lateness(loss_rate=0.5, rto=100)}
    assert {0.0, 0.1, 0.3, 0.7, 1.5} <= waits
    assert {wait for wait in waits if wait < 120} <= {round(0.1 * (2**n - 1), 3) for n in range(11)}


def test_even_what_is_always_lost_arrives_after_fifteen_attempts() -> None:
    """Linux counts 924.6 seconds for tcp_retries2 of 15; the last of its time-outs comes on top of what passed here."""
    (sent,) = play(PacketLoss(loss_rate=1.0), [Chunk(b"x")]).up
    assert sent.at == pytest.approx(0.2 * (2**10 - 1) + 5 * 120)


def test_a_lost_segment_holds_up_what_is_behind_it_and_nothing_is_deleted() -> None:
    data = bytes(itertools.islice(itertools.cycle(range(256)), 100 * 1460))
    played = play(PacketLoss(loss_rate=0.1), [Chunk(data), Chunk(b"end", at=0.001)])
    times = [sent.at for sent in played.up]
    assert played.to_backend == data + b"end"
    assert times == sorted(times)
    assert played.up[-1].at >= 0.2
    assert len(played.up[0].data) % 1460 == 0


def test_removed_nothing_waits_any_more() -> None:
    played = play(PacketLoss(loss_rate=1.0), [Chunk(b"a"), Chunk(b"b", at=1), Remove(at=2)])
    assert [(sent.at, sent.data) for sent in played.up] == [(2, b"a"), (2, b"b")]


def test_what_is_not_lost_is_no_hit() -> None:
    assert play(PacketLoss(), [Chunk(bytes(100_000))]).hits == 0
    assert play(PacketLoss(loss_rate=1), [Chunk(bytes(100_000))]).hits == 1


def test_an_end_may_be_lost_like_any_segment() -> None:
    ends = [play(PacketLoss(loss_rate=0.5, rto=100), [End()], number=number).up_end or 0.0 for number in range(1, 100)]
    assert {0.0, 0.1, 0.3} <= {round(one, 3) for one in ends}
    assert 30 < ends.count(0.0) < 70
    assert play(PacketLoss(loss_rate=1.0), [End(), Remove(at=2)]).up_end == 2
