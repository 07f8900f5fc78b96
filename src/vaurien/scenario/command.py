"""A command as a process of its own, which gets the signals that are meant to end us."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from asyncio.subprocess import Process
from collections.abc import Iterator, Mapping, Sequence

from vaurien.errors import VaurienError

_KILLED = 128
"""A status of so much and the signal's number is how shells report a process that a signal has ended."""


async def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run *command* and return its status, as a shell would. Raises `VaurienError` when it cannot be started.

    SIGTERM, and a second SIGINT, are passed on to it; the first SIGINT is not, because the terminal sends that to both.
    """
    try:
        process = await asyncio.create_subprocess_exec(*command, env=dict(environment))
    except OSError as error:
        raise VaurienError(
            f"command {command[0]!r}: {error.strerror}; expected a program that can be started"
        ) from None
    try:
        with _passing_on(process):
            status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return status if status >= 0 else _KILLED - status


@contextlib.contextmanager
def _passing_on(process: Process) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    interrupts = iter([False])

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()

    def interrupted() -> None:
        if next(interrupts, True):
            end()

    handled = {signal.SIGTERM: end, signal.SIGINT: interrupted}
    with contextlib.ExitStack() as stack:
        for number, callback in handled.items():
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, callback)
                stack.callback(loop.remove_signal_handler, number)
        yield
