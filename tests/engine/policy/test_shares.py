"""Which share of a mix an exchange gets, drawn one by one and many at once."""

from __future__ import annotations

from random import Random

import pytest

from tests.engine.policy.made import compiled
from vaurien.protocols.redis.protocol import RedisProtocol


class Numbers(Random):
    """Gives *numbers* one after the other."""

    def __init__(self, *numbers: float) -> None:
        super().__init__()
        self._numbers = iter(numbers)

    def random(self) -> float:
        return next(self._numbers)


@pytest.mark.parametrize("mix", ["20:error", "20:error,30:delay", "100:error", "0:error", "0.1:error,99.9:delay", ""])
def test_many_draws_at_once_give_what_they_give_one_by_one(mix: str) -> None:
    policy = compiled(mix, protocol=RedisProtocol())
    one, many = Random("a"), Random("a")
    drawn = [(place, share) for place in range(1000) if (share := policy.draw(one)) is not None]
    assert policy.draw_many(many, 1000) == drawn
    assert one.random() == many.random()


@pytest.mark.parametrize("percent", [0.1, 7, 20, 29, 33.3, 57, 100])
def test_numbers_about_a_limit_are_drawn_alike(percent: float) -> None:
    policy = compiled(f"{percent}:error", protocol=RedisProtocol())
    limit = percent / 100
    about = [limit * (1 + step * 2**-53) for step in range(-8, 9)]
    numbers = [number for number in about if number < 1]
    assert len(numbers) > 7
    one_by_one = [place for place, number in enumerate(numbers) if policy.draw(Numbers(number)) is not None]
    assert [place for place, _ in policy.draw_many(Numbers(*numbers), len(numbers))] == one_by_one
