"""The table of states: what a reader of the picture expects holds for the data."""

from __future__ import annotations

import inspect

import pytest

from vaurien.engine.connection import states
from vaurien.engine.connection.connection import ProxiedConnection
from vaurien.engine.connection.states import TRANSITIONS, State, Trigger

ENDING = [state for state in State if state >= State.DRAINING]
LIVE = [state for state in State if state < State.DRAINING]


def test_each_action_is_a_method_that_says_what_it_does() -> None:
    actions = {action for row in TRANSITIONS.values() for action, _ in row.values()}
    for action in actions:
        assert inspect.getdoc(getattr(ProxiedConnection, action))


def test_each_state_has_a_row_and_each_event_does_something_somewhere() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {event for row in TRANSITIONS.values() for event in row} == set(Trigger)


def test_each_state_is_reached() -> None:
    reached, news = set(), {State.HANDSHAKING}
    while news:
        reached |= news
        news = {after for state in news for _, after in TRANSITIONS[state].values()} - reached
    assert reached == set(State)


@pytest.mark.parametrize("state", LIVE)
def test_a_live_connection_can_be_ended_in_each_way(state: State) -> None:
    row = TRANSITIONS[state]
    assert row[Trigger.CLOSE][1] in (State.DRAINING, State.LINGERING)
    assert row[Trigger.RESET] == ("abort", State.CLOSED)
    assert row[Trigger.DROP] == ("finish", State.CLOSED)
    assert row[Trigger.RESET_ONE][1] in (State.LINGERING, State.CLOSED)


@pytest.mark.parametrize("state", ENDING)
def test_an_ending_connection_never_lives_again(state: State) -> None:
    assert all(after >= state or after is State.CLOSED for _, after in TRANSITIONS[state].values())
    assert Trigger.CLOSE not in TRANSITIONS[state]


def test_a_reset_never_becomes_an_orderly_end() -> None:
    for row in TRANSITIONS.values():
        if Trigger.SOURCE_RESET in row:
            assert row[Trigger.SOURCE_RESET] in (("deliver_then_reset", State.RESETTING), ("abort", State.CLOSED))
    assert {after for _, after in TRANSITIONS[State.RESETTING].values()} <= {State.CLOSED, State.LINGERING}
    assert TRANSITIONS[State.RESETTING][Trigger.DELIVERED] == ("abort", State.CLOSED)
    assert Trigger.END not in TRANSITIONS[State.RESETTING]
    assert Trigger.LAST_END not in TRANSITIONS[State.RESETTING]


def test_the_picture_names_each_state() -> None:
    assert states.__doc__ is not None
    assert all(state.name in states.__doc__ for state in State)
