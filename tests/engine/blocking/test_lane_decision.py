"""One draw for each turn, whatever the number and the direction of its chunks."""

from __future__ import annotations

import pytest

from tests.engine.blocking.fakes import FakeOwner, FakeProxy, compiled
from vaurien.engine.blocking.lane_decision import LaneDecision
from vaurien.events import Injected, MixHit
from vaurien.model import TO_BACKEND, TO_CLIENT, Fault, Stream

UP, DOWN = TO_BACKEND, TO_CLIENT


def decision(*drawn, mix="50:forward", faults=(), **owner):
    owner = FakeOwner(FakeProxy(compiled(mix, *faults), list(drawn)), **owner)
    return Deciding(owner), owner


class Deciding(LaneDecision):
    """Gives the entry alone, which is what most tests ask about."""

    def decide(self, direction, at_end=False):
        return super().decide(direction, at_end).compiled


def told(decision, owner):
    for tell in decision.take_facts():
        tell()
    return owner.journal.told


def test_all_of_a_turn_goes_to_what_was_drawn_for_it():
    it, owner = decision(0, None, 0)
    forward = owner.service.plan.mix[0]
    assert [it.decide(side) for side in (UP, UP, DOWN, DOWN)] == [forward] * 4
    assert [it.decide(side) for side in (UP, DOWN, DOWN)] == [None] * 3
    assert it.decide(UP) is forward
    assert it.turns == 3


def test_a_turn_begins_with_what_comes_first_of_either_side():
    it, owner = decision(0, None)
    assert it.decide(DOWN) is owner.service.plan.mix[0]
    assert it.decide(UP) is None
    assert it.turns == 2


def test_an_end_belongs_to_the_turn_before_it():
    it, owner = decision(0)
    forward = owner.service.plan.mix[0]
    assert [it.decide(UP), it.decide(DOWN), it.decide(UP, at_end=True)] == [forward] * 3


def test_an_end_is_a_turn_when_it_is_all_there_is():
    it, owner = decision(0)
    assert it.decide(UP, at_end=True) is owner.service.plan.mix[0]


def test_what_is_under_way_when_a_plugin_comes_into_play_passes():
    it, owner = decision(0, spoke=True)
    assert [it.decide(DOWN), it.decide(DOWN)] == [None, None]
    assert it.decide(UP) is owner.service.plan.mix[0]


@pytest.mark.parametrize("side", [UP, DOWN])
def test_the_other_lane_gets_the_same_answer_for_what_was_not_read(side):
    it, owner = decision(0)
    forward = it.decide(side)
    it.hand_over(side)
    assert not it.may_begin(side)
    assert it.decide(side) is forward is owner.service.plan.mix[0]
    assert it.turns == 1


def test_a_turn_that_was_handed_over_is_not_answered_by_the_rest_of_the_one_before():
    it, owner = decision(None, 0, None)
    it.decide(UP)
    it.decide(DOWN)
    assert it.decide(UP) is owner.service.plan.mix[0]
    it.hand_over(UP)
    it.decide(DOWN)
    assert it.decide(UP) is owner.service.plan.mix[0]
    assert it.decide(UP) is owner.service.plan.mix[0]


def test_a_fault_that_is_a_plugin_is_drawn_once_for_the_connection():
    it, owner = decision(faults=[Fault("loud", "forward", stream=Stream.DOWNSTREAM, probability=0.5)], mix="")
    loud = owner.service.plan.faults[0]
    assert [it.decide(side) for side in (UP, DOWN, UP, DOWN, DOWN)] == [None, loud, None, loud, loud]
    assert owner.service.thrown == ["loud"]
    assert [(kind, turn) for kind, turn, *_ in told(it, owner)] == [("hit", 1), ("hit", 2)]


def test_a_fault_that_was_not_drawn_never_acts():
    it, owner = decision(faults=[Fault("loud", "forward", probability=0.5)], mix="")
    owner.service.hits = False
    assert [it.decide(side) for side in (UP, DOWN, UP)] == [None] * 3
    assert owner.service.thrown == ["loud"]


def test_a_share_that_does_nothing_leaves_the_turn_to_the_faults():
    it, owner = decision(0, 0, mix="100:dummy", faults=[Fault("loud", "forward")])
    owner.service.detailed = True
    loud = owner.service.plan.faults[0]
    assert [it.decide(side) for side in (UP, DOWN, UP)] == [loud] * 3
    assert told(it, owner)[0] == ("decided", 1, "mix", "dummy")


def test_a_change_of_options_is_in_force_in_the_middle_of_a_turn():
    it, owner = decision(0)
    before = it.decide(UP)
    owner.service.plan = compiled("50:forward")
    after = it.decide(DOWN)
    assert after is owner.service.plan.mix[0]
    assert after is not before


def test_a_turn_whose_plugin_is_gone_passes():
    it, owner = decision(0)
    it.decide(UP)
    owner.service.plan = compiled("")
    assert it.decide(DOWN) is None


def test_after_an_interruption_the_answer_at_hand_passes():
    it, owner = decision(0, 0)
    it.decide(UP)
    it.interrupt()
    assert it.decide(DOWN) is None
    assert it.decide(UP) is owner.service.plan.mix[0]


def test_what_passed_without_a_decision_answers_a_turn_too():
    it, _ = decision(0, None)
    it.decide(UP)
    it.passed(DOWN)
    assert it.decide(UP) is None


def test_each_turn_is_told_once_with_the_time_it_began():
    it, owner = decision(0, None, 0)
    owner.service.detailed = True
    for at, side in ((1, UP), (2, DOWN), (3, UP), (4, DOWN), (5, UP)):
        owner.clock.advance(at)
        it.decide(side)
    assert told(it, owner) == [
        ("decided", 1, "mix", "forward"),
        ("called", 1, "forward", 1),
        ("decided", 2, "mix", None),
        ("decided", 3, "mix", "forward"),
        ("called", 3, "forward", 5),
    ]
    assert it.take_facts() == []


def test_what_no_observer_wants_to_know_is_counted():
    it, owner = decision(0, None, 0)
    owner.service.subscribers = {MixHit: (), Injected: ()}
    it = Deciding(owner)
    for side in (UP, DOWN, UP, DOWN, UP):
        it.decide(side)
    assert it.take_facts() == []
    assert owner.journal.counts == {}
    for _ in range(2):  # the second time there is nothing more
        it.count()
        assert owner.journal.counts == {"forward": 2}


@pytest.mark.parametrize(
    ("mix", "faults", "share", "loop"),
    [
        ("50:forward", (), 0, False),
        ("50:forward,10:error", (), 1, True),
        ("50:forward", (), None, False),
        ("50:forward", (Fault("late", "latency"),), None, True),
    ],
)
def test_a_turn_needs_the_loop_where_its_behaviors_act(mix, faults, share, loop):
    owner = FakeOwner(FakeProxy(compiled(mix, *faults), [share]))
    assert LaneDecision(owner).decide(UP).needs_loop is loop
