"""Runs the coroutines of hooks: most of them never wait, so they should not cost a task each.

`start` runs a coroutine up to its first wait before it returns, and makes a task of the rest, if there is a rest. While
the coroutine runs without a task, `asyncio.current_task` is ``None``: the built-in behaviors do not mind, but
`asyncio.timeout`, `asyncio.wait_for`, `TaskGroup` and anyio do. A `HookRunner` therefore lends a task to hooks of
plugins::

    start(coroutine)
        the carrier's task is the current task; the hook runs in the task's context
            the hook ends:   the carrier is idle again, and serves the next hook
            the hook waits:  the carrier's task goes on with the hook, and ends with it

A task that a hook makes itself ends its connection, too, when it raises KeyboardInterrupt or SystemExit, and so does a
callback that it gives to the loop, or a method of an `asyncio.Protocol`, which transports call: asyncio raises these
out of the loop, which would end all connections. Such tasks and callbacks are known by their context (`guarded`).

This module uses `asyncio._enter_task` and `asyncio._leave_task`, which the documentation of asyncio ("Extending")
offers to other implementations of tasks.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import types
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeAlias

Steps: TypeAlias = Coroutine[Any, Any, Any] | Generator[Any, Any, Any]
"""A coroutine, or the generator that its ``__await__`` gives."""

_enter_task, _leave_task = asyncio._enter_task, asyncio._leave_task

DONE = object()
"""In place of what a coroutine waits for, once it has ended."""


Failed: TypeAlias = Callable[[BaseException], None]
"""Gets what a hook raised."""

_NOT_BEGUN = inspect.CORO_CREATED

_failed: contextvars.ContextVar[Failed | None] = contextvars.ContextVar("vaurien.failed", default=None)
"""Where hooks run: what is told that a task or a callback of their own wants to end the program."""

_TAKE_CALLBACKS = {
    "call_soon": 0,
    "call_soon_threadsafe": 0,
    "call_later": 1,
    "call_at": 1,
    "add_reader": 1,
    "add_writer": 1,
    "_add_reader": 1,
    "_add_writer": 1,
}
"""Methods of a loop, and which of their arguments is the callback; `Future.add_done_callback` uses ``call_soon``.

Those with an underscore are what transports of asyncio's own loops call. Other loops, such as uvloop, have them not.
"""

_guarded_loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def guarded(loop: asyncio.AbstractEventLoop, failed: Failed) -> contextvars.Context:
    """A context for hooks: what runs in it later tells *failed* when it raises KeyboardInterrupt or SystemExit.

    That is a task, or a callback of the loop. A loop that makes its tasks in another way already goes on to do so.
    """
    if loop not in _guarded_loops:
        _guarded_loops.add(loop)
        if loop.get_task_factory() is None:
            loop.set_task_factory(_make_task)
        for name, position in _TAKE_CALLBACKS.items():
            if hasattr(loop, name):
                setattr(loop, name, _guarding(getattr(loop, name), position))
    context = contextvars.copy_context()
    context.run(_failed.set, failed)
    return context


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **settings: Any) -> asyncio.Task[Any]:
    failed = _failed.get()
    if failed is not None and inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == _NOT_BEGUN:
        coroutine = _guard(coroutine, failed)  # what has begun is the engine's, which catches what hooks raise
    return asyncio.Task(coroutine, loop=loop, **settings)


async def _guard(coroutine: Coroutine[Any, Any, Any], failed: Failed) -> Any:
    try:
        return await coroutine
    except (KeyboardInterrupt, SystemExit) as error:
        failed(error)
        raise asyncio.CancelledError from error  # it was told; a hook that waits for the task ends with its connection


def _guarding(method: Callable[..., Any], position: int) -> Callable[..., Any]:
    """*method* of a loop, with a guard around the callback at *position* where that is a hook's."""

    @functools.wraps(method)
    def guarding(*arguments: Any, **settings: Any) -> Any:
        context = settings.get("context")
        failed = _failed.get() if context is None else context.get(_failed)
        if failed is None or len(arguments) <= position:
            return method(*arguments, **settings)
        callback = functools.partial(_call, failed, arguments[position])
        return method(*arguments[:position], callback, *arguments[position + 1 :], **settings)

    return guarding


def _call(failed: Failed, callback: Callable[..., Any], /, *arguments: Any) -> None:
    try:
        callback(*arguments)
    except (KeyboardInterrupt, SystemExit) as error:
        failed(error)


def start(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None], runner: HookRunner | None = None
) -> asyncio.Task[None] | None:
    """Run *coroutine* up to its first wait. Returns the task that goes on with it, or ``None`` when it has ended.

    With a *runner* the coroutine has a current task from its first line on. Raises what the coroutine raises before it
    waits.
    """
    if runner is not None:
        return runner.start(coroutine)
    waits_for = next(coroutine.__await__(), DONE)  # the default saves the exception that ends a coroutine
    return None if waits_for is DONE else loop.create_task(_Rest(coroutine, waits_for))


class _Rest(Coroutine[Any, Any, None]):
    """What is left of a coroutine that already waits for something. A task may be cancelled before its first step."""

    __slots__ = ("_coroutine", "_first", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine, self._waits_for = coroutine, waits_for
        self._first = True

    def send(self, value: Any) -> Any:
        if self._first:
            self._first = False
            waits_for, self._waits_for = self._waits_for, None
            return waits_for
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._first = False
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coroutine.__await__()


class HookRunner:
    """Runs the hooks of one connection with a current task; `close` must be called at its end.

    *failed* is told when a task of their own raises what would end the program. What a hook sets in a context variable
    is seen by later hooks of the same connection at most.
    """

    __slots__ = ("_closed", "_failed", "_idle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Failed) -> None:
        self._loop, self._failed = loop, failed
        self._closed = False
        self._idle: _Carrier | None = None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run *coroutine* up to its first wait; see the function `start`."""
        carrier, self._idle = self._idle, None
        if carrier is None or carrier.task.cancelling():
            carrier = _Carrier(self._loop, self._failed)
        loop, task, outer = self._loop, carrier.task, None
        try:
            _enter_task(loop, task)
        except RuntimeError:  # another task runs; asking before would cost more, and is rarely needed
            outer = asyncio.current_task(loop)
            assert outer is not None  # noqa: S101 - that is what the error said
            _leave_task(loop, outer)
            _enter_task(loop, task)
        try:
            waits_for = carrier.run(next, coroutine.__await__(), DONE)
        except BaseException:
            task.cancel()
            raise
        finally:
            _leave_task(loop, task)
            if outer is not None:
                _enter_task(loop, outer)
        if waits_for is not DONE:
            carrier.go_on(coroutine, waits_for)
            return task
        if self._idle is None and not self._closed:
            self._idle = carrier
        else:  # the hook started another one, which has left its carrier, or closed this
            task.cancel()
        return None

    def close(self) -> None:
        """End the idle task, and let no other become idle. Hooks that wait are not affected."""
        self._closed = True
        if self._idle is not None:
            self._idle.task.cancel()
            self._idle = None


class _Carrier:
    """A task that waits until a coroutine that has begun already needs it, and then goes on with that."""

    __slots__ = ("_coroutine", "_needed", "_waits_for", "run", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Failed) -> None:
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._waits_for: Any = None
        self._needed = loop.create_future()
        context = guarded(loop, failed)
        self.run = context.run
        body = self._body()
        body.send(None)  # a cancellation before the task's first step must find the body begun
        self.task: asyncio.Task[None] = loop.create_task(body, context=context)

    def go_on(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        """Go on with *coroutine*, which has yielded *waits_for*."""
        self._coroutine, self._waits_for = coroutine, waits_for
        if not self._needed.done():
            self._needed.set_result(None)

    async def _body(self) -> None:
        await self

    def __await__(self) -> Generator[Any, Any, None]:
        error: BaseException | None = None
        try:
            yield
            if self._coroutine is None:
                yield from self._needed
        except asyncio.CancelledError as cancelled:
            if self._coroutine is None:
                raise
            error = cancelled
        assert self._coroutine is not None  # noqa: S101 - `go_on` came before the future's result
        coroutine, waits_for = self._coroutine, self._waits_for
        self._waits_for = None
        if error is not None:
            waits_for = _thrown(coroutine, error)
        if waits_for is not DONE:
            yield from _steps(coroutine, waits_for)


def _thrown(coroutine: Steps, error: BaseException) -> Any:
    try:
        return coroutine.throw(error)
    except StopIteration:
        return DONE


@types.coroutine
def finish(steps: Steps, waits_for: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine whose *steps* have begun, and which has yielded *waits_for*; to be awaited."""
    return (yield from _steps(steps, waits_for))


def _steps(steps: Steps, waits_for: Any) -> Generator[Any, Any, None]:
    while waits_for is not DONE:
        try:
            value = yield waits_for
        except BaseException as error:  # for the hook
            waits_for = _thrown(steps, error)
        else:
            try:
                waits_for = steps.send(value)
            except StopIteration:
                return
