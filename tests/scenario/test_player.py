from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.config.schedule import Schedule, ScheduleStep
from vaurien.errors import BindError
from vaurien.model import Fault, Mix, Policy
from vaurien.scenario.player import FailedStep, Player
from vaurien.testing import VirtualClock


def one(name, **options):
    return Fault(name=name, behavior="latency", options=options)


class Proxy:
    """Remembers when its policy was replaced, and by which faults."""

    def __init__(self, clock, *faults):
        self._clock = clock
        self.policy = Policy(Mix(), faults)
        self.seen = []

    def edit_policy(self, edit):
        self.policy = edit(self.policy)
        self.seen.append((self._clock.now(), " ".join(fault.name for fault in self.policy.faults)))


@pytest.fixture
def clock():
    return VirtualClock(100.0)


def play(clock, schedule, until=1000.0, *faults):
    proxy = Proxy(clock, *faults)
    player = Player(schedule, {"a": proxy}, clock)
    player.start()
    clock.advance(100.0 + until)
    return player, proxy


STEPS = (ScheduleStep(0.0, add=(one("a"),)), ScheduleStep(2.0, add=(one("b"),)), ScheduleStep(5.0, remove=("a",)))


def test_each_step_comes_at_its_time(clock):
    player, proxy = play(clock, Schedule(STEPS, 5.0))
    assert proxy.seen == [(100.0, "a"), (102.0, "a b"), (105.0, "b")]
    assert (player.done, player.played) == (True, 3)


def test_what_is_at_zero_has_happened_when_start_returns(clock):
    proxy = Proxy(clock)
    Player(Schedule(STEPS, 5.0), {"a": proxy}, clock).start()
    assert proxy.seen == [(100.0, "a")]


def test_each_round_begins_as_the_first_one_did(clock):
    player, proxy = play(clock, Schedule(STEPS, 10.0, repeat=2), 1000.0, one("first"))
    rounds = [(0.0, "first a"), (2.0, "first a b"), (5.0, "first b")]
    expected = [(100.0 + at, names) for at, names in rounds]
    expected += [(110.0, "first")] + [(110.0 + at, names) for at, names in rounds]
    assert proxy.seen == expected
    assert player.played == 6


def test_rounds_without_end(clock):
    player, _ = play(clock, Schedule(STEPS, 10.0, repeat=0), 1004.0)
    assert (player.done, player.played) == (False, 302)


def test_nothing_happens_after_stop(clock):
    proxy = Proxy(clock)
    player = Player(Schedule(STEPS, 5.0), {"a": proxy}, clock)
    player.start()
    player.stop()
    clock.advance(1000.0)
    assert len(proxy.seen) == 1


def test_nothing_to_play_is_done(clock):
    player, proxy = play(clock, Schedule())
    assert player.done
    assert not proxy.seen


def test_a_changed_fault_keeps_its_place_and_the_mix_is_replaced(clock):
    steps = (ScheduleStep(1.0, change=(one("a", latency=9),), mix=Mix.parse("20:delay")),)
    _, proxy = play(clock, Schedule(steps, 1.0), 10.0, one("a"), one("b"))
    assert proxy.policy == Policy(Mix.parse("20:delay"), (one("a", latency=9), one("b")))


def test_what_somebody_else_did_meanwhile_stays(clock):
    proxy = Proxy(clock)
    Player(Schedule(STEPS, 5.0), {"a": proxy}, clock).start()
    proxy.policy = Policy(Mix(), (one("mine"), one("b", latency=1)))
    clock.advance(1000.0)
    assert proxy.policy.faults == (one("mine"), one("b"))


def test_a_step_is_about_one_proxy_or_all(clock):
    proxies = {"a": Proxy(clock), "b": Proxy(clock)}
    steps = (ScheduleStep(1.0, add=(one("all"),)), ScheduleStep(2.0, proxy="b", add=(one("only"),)))
    Player(Schedule(steps, 2.0), proxies, clock).start()
    clock.advance(200.0)
    assert [[fault.name for fault in proxy.policy.faults] for proxy in proxies.values()] == [["all"], ["all", "only"]]


@given(times=st.lists(st.floats(0, 100), min_size=1, max_size=8), rest=st.floats(0.5, 100), repeat=st.integers(1, 5))
def test_every_step_is_played_once_a_round_at_its_time(times, rest, repeat):
    clock, times = VirtualClock(), sorted(times)
    length = times[-1] + rest
    seen = []

    class Watched(Proxy):
        def edit_policy(self, edit):
            mix = edit(self.policy).mix
            if mix.shares:  # not the reset at the beginning of a round
                seen.append((self._clock.now(), mix.shares[0].percent))

    steps = tuple(ScheduleStep(at, mix=Mix.parse(f"{number + 1}:delay")) for number, at in enumerate(times))
    Player(Schedule(steps, length, repeat), {"a": Watched(clock)}, clock).start()
    clock.advance(1e6)
    assert seen == [(n * length + at, number + 1) for n in range(repeat) for number, at in enumerate(times)]


class Refusing(Proxy):
    """Cannot be changed at the second of 102."""

    def edit_policy(self, edit):
        if self._clock.now() == 102.0:
            raise BindError("no")
        super().edit_policy(edit)


def test_a_step_that_fails_is_told_and_the_next_one_comes(clock):
    told, failures = [], []
    refusing, other = Refusing(clock), Proxy(clock)
    Player(Schedule(STEPS, 5.0), {"a": refusing, "b": other}, clock, [told.append], failures.append).start()
    clock.advance(200.0)
    assert refusing.seen == [(100.0, "a"), (105.0, "")]
    assert other.seen == [(100.0, "a"), (102.0, "a b"), (105.0, "b")]
    assert failures == [FailedStep(step=2, at=2.0, round=1, source="", proxy="a", error="no")]
    [event] = told
    assert (event.proxy, event.connection, event.where, event.error) == ("a", 0, "step 2 at 2 s", "no")


def test_what_takes_a_while_may_fail_too():
    """As a change of a proxy does whose connections are in workers."""
    failures = []

    class Slow:
        policy = Policy()

        def edit_policy(self, edit):
            return asyncio.get_running_loop().create_task(self._set())

        async def _set(self):
            await asyncio.sleep(0)
            raise BindError("late")

    async def play():
        Player(Schedule(STEPS[:1], 1.0), {"a": Slow()}, VirtualClock(), failed=failures.append).start()
        for _ in range(4):
            await asyncio.sleep(0)

    asyncio.run(play())
    assert [(one.step, one.error) for one in failures] == [(1, "late")]


@pytest.mark.parametrize("error", [BindError("no"), ValueError("from a plugin")])
def test_an_observer_that_raises_does_not_end_the_schedule(error):
    """It is told of a step that fails; the steps behind it are played, and the other observers are told."""
    reported, told = [], []

    class Refusing(Proxy):
        def edit_policy(self, edit):
            if self._clock.now() == 102.0:
                raise error
            super().edit_policy(edit)

    def raising(event):
        raise RuntimeError("an observer's own mistake")

    async def play():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        clock = VirtualClock(100.0)
        proxy = Refusing(clock)
        player = Player(Schedule(STEPS, 5.0), {"a": proxy}, clock, [raising, told.append])
        player.start()
        clock.advance(200.0)
        assert player.done
        assert proxy.seen == [(100.0, "a"), (105.0, "")]

    asyncio.run(play())
    assert [str(one) for one in reported] == ["an observer's own mistake"]
    assert [event.error for event in told] == [str(error)]
