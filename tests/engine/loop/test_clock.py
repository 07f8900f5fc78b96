"""Timers, on a timerfd and on the loop's own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from vaurien import platform
from vaurien.engine.loop.clock import Clock, Timer

BOUND = 60.0
SLACK = 2e-3
"""Seconds that a timer may be early: a loop's resolution."""


@pytest.fixture(params=["timerfd", "portable"])
def run(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[Clock], Awaitable[None]]], None]]:
    """Run a test's coroutine with a clock."""
    monkeypatch.setattr(platform, "TIMERFD", platform.TIMERFD and request.param == "timerfd")

    async def clocked(test: Callable[[Clock], Awaitable[None]]) -> None:
        clock = Clock(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(BOUND):
                await test(clock)
        finally:
            clock.close()

    return lambda test: asyncio.run(clocked(test))


def test_timers_run_in_order_of_time_and_not_before_it(run):
    async def test(clock):
        ran, done = [], asyncio.Event()
        start = clock.now()

        def at(seconds):
            return lambda: ran.append((seconds, clock.now() - start))

        for seconds in (0.004, 0.001, 0.002, 0.0):
            clock.call_at(start + seconds, at(seconds))
        clock.call_at(start + 0.006, done.set)
        await done.wait()
        assert [due for due, _ in ran] == [0.0, 0.001, 0.002, 0.004]
        assert all(when >= due - SLACK for due, when in ran)

    run(test)


def test_timers_of_one_moment_run_in_the_order_they_were_set(run):
    async def test(clock):
        ran, done = [], asyncio.Event()
        when = clock.now() + 0.001
        for number in range(20):
            clock.call_at(when, lambda number=number: ran.append(number))
        clock.call_at(when, done.set)
        await done.wait()
        assert ran == list(range(20))

    run(test)


def test_a_moment_that_has_passed_is_now(run):
    async def test(clock):
        for when in (-1.0, 0.0, clock.now() - 5):
            done = asyncio.Event()
            clock.call_at(when, done.set)
            await done.wait()

    run(test)


def test_a_cancelled_timer_does_not_run(run):
    async def test(clock):
        ran, done = [], asyncio.Event()
        timer = clock.call_later(0.001, lambda: ran.append("cancelled"))
        clock.call_later(0.002, done.set)
        timer.cancel()
        timer.cancel()
        await done.wait()
        assert ran == []

    run(test)


def timer_objects():
    return sum(isinstance(one, Timer) for one in gc.get_objects())


def test_cancelled_timers_do_not_pile_up(run):
    async def test(clock):
        done = asyncio.Event()
        before = timer_objects()
        clock.call_later(0.001, done.set)
        for _ in range(5000):
            clock.call_later(3600, lambda: None).cancel()
        assert timer_objects() - before < 2500
        assert clock.pending == 1
        await done.wait()

    run(test)


def test_a_callback_may_set_an_earlier_time_than_those_that_wait(run):
    async def test(clock):
        done = asyncio.Event()
        clock.call_later(3600, lambda: None)
        clock.call_later(0.001, lambda: clock.call_later(0.001, done.set))
        await done.wait()

    run(test)


@pytest.mark.parametrize("far", [2.0**40, float("inf")])
def test_a_time_that_never_comes_is_taken(run, far):
    async def test(clock):
        done = asyncio.Event()
        clock.call_later(far, lambda: pytest.fail("it came"))
        clock.call_later(0.001, done.set)
        await done.wait()

    run(test)


def test_a_callback_that_raises_is_reported_and_the_others_run(run):
    async def test(clock):
        reported, done = [], asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

        def broken():
            raise ZeroDivisionError

        clock.call_later(0.001, broken)
        clock.call_later(0.001, done.set)
        await done.wait()
        assert [type(error) for error in reported] == [ZeroDivisionError]

    run(test)


def timers():
    """How many timerfds this process has (proc(5))."""
    found = 0
    for link in Path("/proc/self/fd").iterdir() if os.path.isdir("/proc/self/fd") else ():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, as that of the listing itself
            found += "timerfd" in os.readlink(link)
    return found


def test_a_closed_clock_forgets_its_timers_and_its_descriptor(run):
    async def test(clock):
        before = timers()
        other = Clock(asyncio.get_running_loop())
        other.call_later(0.001, lambda: pytest.fail("it ran"))
        other.close()
        other.close()
        done = asyncio.Event()
        clock.call_later(0.005, done.set)
        await done.wait()
        assert timers() == before

    run(test)
