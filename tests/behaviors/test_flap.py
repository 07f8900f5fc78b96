"""A link that comes and goes."""

from __future__ import annotations

from vaurien.behaviors.flap import Flap
from vaurien.testing import Chunk, End, Remove, Sent, play


def test_what_is_sent_while_it_is_down_arrives_when_it_is_up() -> None:
    script = [Chunk(b"a"), Chunk(b"b", at=0.75), Chunk(b"c", at=1.25), Chunk(b"d", at=1.5), Chunk(b"e", at=2.5)]
    played = play(Flap(up=1000, down=1000), script)
    assert played.up == (Sent(0, b"a"), Sent(0.75, b"b"), Sent(2, b"c"), Sent(2, b"d"), Sent(2.5, b"e"))


def test_an_end_waits_too() -> None:
    assert play(Flap(up=1000, down=500), [End(at=1.25)]).up_end == 1.5


def test_both_directions_are_down_at_the_same_time() -> None:
    script = [Chunk(b"a", at=1.25), Chunk(b"b", at=1.75, to_backend=False)]
    played = play(Flap(up=1000, down=1000), script)
    assert (played.up, played.down) == ((Sent(2, b"a"),), (Sent(2, b"b"),))


def test_removed_it_lets_go() -> None:
    assert play(Flap(up=1000, down=1000), [Chunk(b"a", at=1.25), Remove(at=1.5)]).up == (Sent(1.5, b"a"),)


def test_without_a_time_down_it_does_nothing() -> None:
    assert Flap(down=0).why_idle() == "down is 0"
    assert play(Flap(up=0, down=0), [Chunk(b"a", at=1.25)]).up == (Sent(1.25, b"a"),)


def test_without_a_time_up_it_is_always_down() -> None:
    script = [Chunk(b"a", at=0.25), Remove(at=60)]
    assert play(Flap(up=0, down=1000), script).up == (Sent(60, b"a"),)
