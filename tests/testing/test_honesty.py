"""The kit says what the engine does: the same scripts, on both."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from tests.behaviors.test_every import ACTING
from tests.testing.real import play_on_the_engine
from vaurien import options, plugins
from vaurien.hooks import Behavior
from vaurien.testing import Change, Chunk, End, Played, Remove, Sent, play

PARTS = [bytes(range(start, start + 16)) for start in range(0, 160, 16)]
TALK = [Chunk(part, at=index * 0.01, to_backend=side) for index, part in enumerate(PARTS) for side in (True, False)]
ENDS = [End(at=0.2), End(at=0.205, to_backend=False)]
LATER = [Chunk(b"later", at=0.3), Chunk(b"later", at=0.3, to_backend=False)]

SCRIPTS = {
    "talk": [*TALK, *ENDS],
    "removed in the middle": [*TALK[:12], Remove(at=0.0555), *TALK[12:], *ENDS],
    "removed before the end": [*TALK, Remove(at=0.1505), *ENDS],
    "removed behind the end": [*TALK, *ENDS, Remove(at=0.2075)],
    "one side ends": [*TALK, ENDS[0], Chunk(b"still there", at=0.25, to_backend=False)],
    "removed late": [*TALK, Remove(at=0.2), *LATER],
}

NAMES = sorted({*ACTING, "corrupt", "dummy", "freeze", "noop", "slow_accept"})


def made(name: str) -> Behavior:
    behavior: Behavior = options.build(plugins.find(name, "behavior").target, ACTING.get(name, {}), owner=name)
    return behavior


def seen(played: Played) -> dict[str, Any]:
    """What both can know: bytes that leave at one time may be read as one, and times are rounded."""
    facts: dict[str, Any] = {"end": played.end, "hits": played.hits}
    if played.end is None or played.end == "close":
        facts.update(up=_joined(played.up), down=_joined(played.down))
    facts["ended_at"] = _rounded(played.ended_at)
    if played.end is None:
        facts.update(up_end=_rounded(played.up_end), down_end=_rounded(played.down_end))
    return facts


def _joined(sent: Iterable[Sent]) -> list[tuple[float | None, bytes]]:
    groups = itertools.groupby(sent, key=lambda one: _rounded(one.at))
    return [(at, b"".join(one.data for one in group)) for at, group in groups]


def _rounded(at: float | None) -> float | None:
    return None if at is None else round(at, 3)


@pytest.mark.parametrize("script", list(SCRIPTS))
@pytest.mark.parametrize("name", NAMES)
def test_the_same_script_has_the_same_outcome(name: str, script: str) -> None:
    steps = SCRIPTS[script]
    assert seen(play(made(name), steps)) == seen(play_on_the_engine(made(name), steps))


CHANGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("latency", {"latency": 50}, {"latency": 5}),
    ("bandwidth", {"rate": 0}, {"rate": 1}),
    ("bandwidth", {"rate": 1}, {"rate": 0}),
    ("slicer", {"average_size": 1, "delay": "20ms"}, {"average_size": 4, "delay": "1ms"}),
    ("timeout", {"timeout": 100}, {"timeout": 150}),
    ("timeout", {"timeout": 0}, {"timeout": 20}),
    ("limit_time", {"after": 1000}, {"after": 175}),
    ("limit_data", {"bytes": 1000}, {"bytes": 90}),
    ("reset_peer", {"timeout": 1000}, {"timeout": 115}),
    ("slow_close", {"delay": 5}, {"delay": 50}),
    ("coalesce", {"size": 1000, "wait": 43}, {"size": 20, "wait": 43}),
    ("replace", {"pattern": r"\x08"}, {"pattern": r"\x60", "by": "!"}),
]


@pytest.mark.parametrize(("name", "before", "after"), CHANGES)
def test_a_change_has_the_same_outcome(name: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    target = plugins.find(name, "behavior").target
    first, second = (options.build(target, values, owner=name) for values in (before, after))
    steps = [*TALK[:12], Change(second, at=0.0555), *TALK[12:], *ENDS]
    assert seen(play(first, steps)) == seen(play_on_the_engine(first, steps))
