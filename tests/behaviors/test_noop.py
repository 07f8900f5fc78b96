"""Nothing."""

from __future__ import annotations

from vaurien.behaviors.noop import Noop
from vaurien.hooks import overridden
from vaurien.testing import Chunk, End, Sent, play


def test_it_is_not_in_the_path() -> None:
    assert not overridden(Noop)
    played = play(Noop(), [Chunk(b"x", at=1), End(at=2)])
    assert (played.up, played.up_end, played.hits) == ((Sent(1, b"x"),), 2, 0)
