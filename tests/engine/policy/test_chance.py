"""Draws are repeatable, each fault's by themselves, inside its window."""

from __future__ import annotations

from random import Random

import pytest

from tests.engine.policy.made import compiled
from vaurien.engine.policy.chance import Chance
from vaurien.engine.policy.replay import ReplayedDecisions
from vaurien.model import Fault, Window


def chance(replayed=None, now=lambda: 0.0) -> Chance:
    return Chance("seed", "web", now, replayed)


def test_a_generator_depends_on_its_fault_and_its_connection_alone() -> None:
    numbers = {(number, key): chance().random_for(number, key).random() for number in (1, 2) for key in "ab"}
    assert len(set(numbers.values())) == 4
    assert chance().random_for(1, "a").random() == numbers[1, "a"]


def test_a_fault_that_is_certain_draws_no_number() -> None:
    policy = compiled("", Fault("it", "dummy"))
    assert chance().roll(1, policy.faults[0], lambda: pytest.fail("a number was drawn"))


def test_a_window_takes_what_it_says() -> None:
    policy = compiled("", Fault("it", "dummy", window=Window(skip=1, every=2, count=2)))
    draws = chance()
    draws.follow(policy)
    assert [draws.roll(1, policy.faults[0], Random) for _ in range(7)] == [
        False,
        True,
        False,
        True,
        False,
        False,
        False,
    ]


def test_a_window_goes_on_while_its_fault_stays() -> None:
    policy = compiled("", Fault("it", "dummy", window=Window(count=1)))
    draws = chance()
    for hit in (True, False):
        draws.follow(policy)
        assert draws.roll(1, policy.faults[0], Random) is hit
    draws.follow(compiled(""))
    draws.follow(policy)
    assert draws.roll(1, policy.faults[0], Random)


def test_a_window_ends_with_its_time() -> None:
    time = [5.0]
    policy = compiled("", Fault("it", "dummy", window=Window(seconds=2)))
    draws = chance(now=lambda: time[0])
    draws.follow(policy)
    for time[0], hit in ((6.9, True), (7.0, False)):
        assert draws.roll(1, policy.faults[0], Random) is hit


def test_replayed_decisions_take_the_place_of_draws() -> None:
    policy = compiled("100:dummy", Fault("it", "dummy", probability=0.5))
    draws = chance(ReplayedDecisions([(1, "it", True), (1, "mix", None), (1, "mix", "dummy")]))
    assert [draws.roll(1, policy.faults[0], Random) for _ in range(2)] == [True, False]
    assert [draws.draw(1, policy, Random()) for _ in range(3)] == [None, policy.mix[0], None]
