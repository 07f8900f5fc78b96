"""Hooks run up to their first wait at once, and with a current task where they are a plugin's."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable

import anyio
import pytest

from vaurien.engine.loop.hook_task import HookRunner, start

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="unset")


failures: list[BaseException] = []


def in_loop(test: Callable[[HookRunner], Awaitable[None]]) -> None:
    async def run() -> None:
        runner = HookRunner(asyncio.get_running_loop(), failures.append)
        await test(runner)
        runner.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


async def timeout() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.get_running_loop().create_future()


async def timeout_that_is_over() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()


async def wait_for() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().create_future(), 0.001)


async def group() -> None:
    done = []
    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(asyncio.sleep(0, number)).add_done_callback(lambda task: done.append(task.result()))
    assert sorted(done) == [0, 1, 2]


async def anyio_timeout() -> None:
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.001):
            await anyio.sleep_forever()


async def anyio_group() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 0)
        with anyio.move_on_after(0.001):
            await anyio.sleep_forever()


@pytest.mark.parametrize("body", [timeout, timeout_that_is_over, wait_for, group, anyio_timeout, anyio_group])
def test_what_needs_a_current_task_works_before_the_first_wait(body: Callable[[], Awaitable[None]]) -> None:
    async def test(runner: HookRunner) -> None:
        for _ in range(3):
            ended: list[bool] = []

            async def hook() -> None:
                assert asyncio.current_task() is not None
                await body()
                ended.append(True)  # noqa: B023 - it ends in this turn of the for loop

            task = start(asyncio.get_running_loop(), hook(), runner)
            assert task is not None
            await task
            assert ended == [True]

    in_loop(test)


def test_a_hook_that_does_not_wait_makes_no_task_of_its_own() -> None:
    async def test(runner: HookRunner) -> None:
        tasks = []

        async def hook() -> None:
            tasks.append(asyncio.current_task())

        for _ in range(3):
            assert start(asyncio.get_running_loop(), hook(), runner) is None
        assert tasks[0] is tasks[1] is tasks[2] is not asyncio.current_task()

    in_loop(test)


def test_a_hook_keeps_its_task_when_it_waits() -> None:
    async def test(runner: HookRunner) -> None:
        tasks = []

        async def hook() -> None:
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())

        task = start(asyncio.get_running_loop(), hook(), runner)
        assert task is not None
        await task
        assert tasks == [task, task]

    in_loop(test)


def test_a_hook_that_starts_another_one_stays_the_current_task() -> None:
    async def test(runner: HookRunner) -> None:
        seen = []

        async def inner() -> None:
            seen.append(asyncio.current_task())

        async def outer() -> None:
            before = asyncio.current_task()
            start(asyncio.get_running_loop(), inner(), runner)
            assert asyncio.current_task() is before
            seen.append(before)

        assert start(asyncio.get_running_loop(), outer(), runner) is None
        assert seen[0] is not seen[1]

    in_loop(test)


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_a_cancellation_reaches_a_hook_that_waits(turns: int) -> None:
    async def test(runner: HookRunner) -> None:
        seen = []

        async def hook() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        task = start(asyncio.get_running_loop(), hook(), runner)
        assert task is not None
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["cancelled"]

    in_loop(test)


@pytest.mark.parametrize("waits", [False, True])
def test_an_error_comes_out(waits: bool) -> None:
    async def test(runner: HookRunner) -> None:
        async def hook() -> None:
            if waits:
                await asyncio.sleep(0)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            task = start(asyncio.get_running_loop(), hook(), runner)
            assert task is not None
            await task
        assert start(asyncio.get_running_loop(), asyncio.sleep(0), runner) is not None
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    in_loop(test)


def test_context_variables_stay_with_their_runner() -> None:
    async def test(runner: HookRunner) -> None:
        loop, other, seen = asyncio.get_running_loop(), HookRunner(asyncio.get_running_loop(), failures.append), []

        async def sets() -> None:
            token = NAME.set("hook")
            await asyncio.sleep(0)
            NAME.reset(token)  # raises ValueError in another context
            NAME.set("left behind")

        async def sees() -> None:
            seen.append(NAME.get())

        task = start(loop, sets(), runner)
        assert task is not None
        start(loop, sees(), other)
        await task
        start(loop, sees(), other)
        assert seen == ["unset", "unset"]
        assert NAME.get() == "unset"
        other.close()

    in_loop(test)
