"""A hook that blocks the loop is reported once, with the line at which it does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import misbehaving
from tests.running import Echo, read, running
from vaurien.events import Failed
from vaurien.model import Fault

LINES = Path(misbehaving.__file__).read_text().splitlines()
LINE = next(number for number, line in enumerate(LINES, 1) if "BLOCKS HERE" in line)


def blocks(hook: str, name: str = "slow", **options: object) -> Fault:
    return Fault(name=name, behavior="tests.misbehaving.Blocks", options={"hook": hook, **options})


@pytest.mark.parametrize("hook", ["on_connect", "on_start", "on_request", "on_data"])
def test_the_line_is_named(hook: str) -> None:
    with Echo() as echo, running(echo.address, "", blocks(hook)) as proxy, proxy.connect() as client:
        client.sendall(b"ask")
        assert read(client, 3) == b"ask"
        [failed] = proxy.events.wait(Failed)
    assert failed.where == "behavior slow"
    assert failed.error.startswith(
        f"a hook holds up all connections: over 100 ms at misbehaving.py line {LINE}, in _hold_up; expected `await`"
    )


def test_each_plugin_is_reported_once() -> None:
    with Echo() as echo, running(echo.address, "", blocks("on_request")) as proxy:
        for _ in range(3):
            with proxy.connect() as client:
                client.sendall(b"ask")
                assert read(client, 3) == b"ask"
        assert len(proxy.events.wait(Failed)) == 1


def test_the_fault_that_blocks_is_named_among_those_of_its_class() -> None:
    faults = (blocks("never", "first"), blocks("on_data", "second"), blocks("never", "third"))
    with Echo() as echo, running(echo.address, "", *faults) as proxy, proxy.connect() as client:
        client.sendall(b"ask")
        assert read(client, 3) == b"ask"
        [failed] = proxy.events.wait(Failed)
    assert failed.where == "behavior second"


def test_a_hook_that_waits_as_it_should_is_not_reported() -> None:
    waits = Fault(name="waits", behavior="tests.misbehaving.Sleeps")
    with Echo() as echo, running(echo.address, "", waits) as proxy, proxy.connect() as client:
        client.sendall(b"ask")
        assert read(client, 3) == b"ask"
        assert not proxy.events.of(Failed)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system does not count who waits")
def test_a_hook_that_waits_for_a_processor_is_not_reported() -> None:
    processor = min(os.sched_getaffinity(0))
    busy = (
        f"import os, time; os.sched_setaffinity(0, [{processor}]); print(flush=True)\nwhile time.sleep(0) is None: pass"
    )
    others = [subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) for _ in range(4)]
    try:
        for other in others:
            assert other.stdout is not None
            other.stdout.readline()
        with Echo() as echo, running(echo.address, "", Fault(name="it", behavior="tests.misbehaving.Works")) as proxy:
            proxy.call(lambda: os.sched_setaffinity(threading.get_native_id(), [processor]))
            with proxy.connect() as client:
                client.sendall(b"ask")
                assert read(client, 3) == b"ask"
            assert not proxy.events.of(Failed)
    finally:
        for other in others:
            with other:
                other.kill()


def watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "hook watch"]


def test_it_watches_while_there_is_a_plugin_to_watch() -> None:
    with Echo() as echo, running(echo.address, "", Fault(name="own", behavior="latency")) as proxy:
        assert not watching()
        proxy.set_policy("", blocks("never"))
        assert len(watching()) == 1
        with running(echo.address, "", blocks("never")):
            assert len(watching()) == 2  # each loop is in a thread of its own
        proxy.set_policy("")
        assert not watching()
        proxy.set_policy("", blocks("never"))
    assert not watching()
