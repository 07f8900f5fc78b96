"""A command as a process of its own, which gets the signals that are meant to end us."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence

from vaurien.errors import VaurienError

_KILLED = 128
"""A status of so much and the signal's number is how shells report a process that a signal has ended."""

CANNOT_RUN, NOT_FOUND = 126, 127
"""Exit statuses for a command that cannot be started, and for one that is not there, as in a shell (POSIX, 2.8.2)."""


class CommandError(VaurienError):
    """The command cannot be started; *status* is the exit status that says so."""

    def __init__(self, command: str, error: OSError) -> None:
        self.status = NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_RUN
        super().__init__(f"command {command!r}: {error.strerror}; expected a program that can be started")


async def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run *command* and return its status, as a shell would. Raises `CommandError` when it cannot be started.

    SIGINT and SIGTERM are passed on to it; the first SIGINT is not where a terminal has sent it to both. A second
    SIGINT ends it (SIGTERM).
    """
    # A process of asyncio has status 255 when it gets a signal just after its end: Popen.send_signal collects the
    # status that its watcher waits for. Popen alone keeps the status, whichever of its methods collects it.
    process: subprocess.Popen[bytes] | None = None

    def send(number: signal.Signals) -> None:
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    with _signals_passed_to(send):  # from before the command's start on: its first act may be to send one
        try:
            process = subprocess.Popen(command, env=dict(environment))  # noqa: S603 - the user's own command, and no shell
        except OSError as error:
            raise CommandError(command[0], error) from None
        ended = asyncio.get_running_loop().run_in_executor(None, process.wait)
        try:
            status = await asyncio.shield(ended)
        finally:
            if not ended.done():
                process.kill()
                await ended
    return status if status >= 0 else _KILLED - status


@contextlib.contextmanager
def _signals_passed_to(send: Callable[[signal.Signals], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    interrupts = itertools.count()

    def interrupted() -> None:
        if next(interrupts):
            send(signal.SIGTERM)
        elif not _terminal_is_ours():
            send(signal.SIGINT)

    handled = {signal.SIGTERM: lambda: send(signal.SIGTERM), signal.SIGINT: interrupted}
    with contextlib.ExitStack() as stack:
        for number, callback in handled.items():
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, callback)
                stack.callback(loop.remove_signal_handler, number)
        yield


def _terminal_is_ours() -> bool:
    """Whether Ctrl-C of a terminal goes to our process group, and so to the command too."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:  # there is no controlling terminal
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
