from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from tests.running import PATIENCE
from tests.waiting import eventually
from vaurien.errors import VaurienError
from vaurien.scenario import command


def run(code, environment=None):
    return asyncio.run(command.run([sys.executable, "-c", code], {**os.environ, **(environment or {})}))


def test_the_status_is_the_commands():
    assert run("raise SystemExit(5)") == 5


def test_it_has_the_environment():
    assert run("import os; raise SystemExit(int(os.environ['STATUS']))", {"STATUS": "7"}) == 7


def test_a_signal_is_a_status_as_in_a_shell():
    assert run("import os; os.kill(os.getpid(), 9)") == 128 + 9


def test_a_program_that_is_not_there():
    with pytest.raises(VaurienError, match=r"command '/no/such': No such file or directory; expected a program that"):
        asyncio.run(command.run(["/no/such"], os.environ))


IGNORES = "import os, signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)"
SIGNAL_PARENT = "import os, signal, time; os.kill(os.getppid(), signal.SIG{0}); time.sleep(60)"


def test_what_is_to_end_us_ends_it():
    assert run(SIGNAL_PARENT.format("TERM")) == 128 + signal.SIGTERM


def test_the_second_interrupt_ends_it_the_first_does_not():
    twice = f"{IGNORES}; [os.kill(os.getppid(), signal.SIGINT) or time.sleep(0.1) for _ in range(600)]"
    assert run(twice) == 128 + signal.SIGTERM
    once = f"{IGNORES}; os.kill(os.getppid(), signal.SIGINT); raise SystemExit(3)"
    assert run(once) == 3


def test_a_signal_beside_its_start_and_its_end_leaves_its_status():
    first_and_last_act = ["/bin/sh", "-c", "trap '' INT; kill -INT $PPID; exit 3"]
    for _ in range(50):
        assert asyncio.run(command.run(first_and_last_act, os.environ)) == 3


def test_it_does_not_outlive_us(tmp_path):
    async def cancelled():
        task = asyncio.ensure_future(command.run([sys.executable, "-c", waits], os.environ))
        await eventually((tmp_path / "pid").exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    path = str(tmp_path / "pid")
    waits = f"import os, time; open({path + '.new'!r}, 'w').write(str(os.getpid())); "
    waits += f"os.rename({path + '.new'!r}, {path!r}); time.sleep(60)"
    asyncio.run(asyncio.wait_for(cancelled(), PATIENCE))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
