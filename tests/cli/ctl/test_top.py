from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from tests.cli.programs import BOUND
from tests.control.interface import interface
from tests.servers import free_port
from tests.waiting import until
from vaurien.cli.ctl import top
from vaurien.cli.ctl.main import main

FAULT = {"behavior": "latency", "name": "slow", "options": {"latency": 5}, "probability": 0.5}
PROGRAM = "import sys; from vaurien.cli.ctl.main import main; sys.exit(main())"
PLAIN = f"import sys; sys.modules['rich.live'] = None; {PROGRAM.removeprefix('import sys; ')}"
"""The same where rich is not installed."""


@pytest.fixture
def served():
    with interface() as one:
        yield one


def test_the_figures_of_one_second_are_a_table(served, capsys):
    served.proxy("web", faults=[FAULT], mix="20:delay")
    served.proxy("\u202eevil", enabled=False)
    assert main(["--host", f"127.0.0.1:{served.address.port}", "top", "--once"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["proxy", "on", "listens", "backend"]
    assert "slow 50 %" in lines[1]
    assert "20:delay" in lines[1]
    assert re.search(r"\\u202eevil\S* +no ", lines[2])
    assert not any("\u202e" in line for line in lines)


def test_one_proxy_is_followed_a_line_a_second(served, capsys):
    served.proxy("web", faults=[FAULT])
    assert main(["--host", f"127.0.0.1:{served.address.port}", "watch", "web", "--count", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(re.match(r"\d\d:\d\d:\d\d  open 0  to backend 0 B/s ", line) for line in lines)


def test_figures_as_json_are_a_line_a_second(served, capsys):
    served.proxy("web", faults=[FAULT])
    served.proxy("other")
    host = f"127.0.0.1:{served.address.port}"
    assert main(["--host", host, "watch", "web", "--count", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["type"], line["open"], line["hits"]) for line in lines] == [("Figures", 0, {})] * 2
    assert main(["--host", host, "top", "--once", "--json"]) == 0
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert set(line["proxies"]) == {"web", "other"}


def test_hits_of_a_fault_are_one_line_among_the_events():
    overview = top.Overview()
    hit = {"at": 0.0, "proxy": "web", "fault": "slow", "connection": 1, "stream": "upstream"}
    overview.take("Failed", {"at": 0.0, "proxy": "web", "connection": 0, "where": "dial", "error": "refused"})
    for number in range(50):
        overview.take("Injected", {**hit, "connection": number})
        overview.take("Injected", {**hit, "fault": "cut", "connection": number})
    assert [line.partition(" web ")[2] for line in overview.events] == [
        "Failed connection=0 where=dial error=refused",
        "Injected fault=slow connection=49 stream=upstream (the last of 50 seen)",
        "Injected fault=cut connection=49 stream=upstream (the last of 50 seen)",
    ]
    for _ in range(top.EVENTS):
        overview.take("Listening", {"at": 0.0, "proxy": "web", "address": "a:1", "backend": "b:2"})
    assert all(" Listening " in line for line in overview.events)


def test_a_proxy_that_is_not_there_is_refused(served, capsys):
    assert main(["--host", f"127.0.0.1:{served.address.port}", "watch", "web"]) == 1
    assert "web" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["top"], ["top", "--once"], ["watch", "web"]])
def test_without_an_interface_there_is_nothing_to_show(arguments, capsys):
    assert main(["--host", f"127.0.0.1:{free_port()}", *arguments]) == 3
    assert "does not answer" in capsys.readouterr().err


@contextlib.contextmanager
def terminal(served, program):
    """``vaurienctl top`` on a terminal: what presses keys, and what gives all that was written so far."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", program, "--host", f"127.0.0.1:{served.address.port}", "top"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    os.set_blocking(ours, False)
    seen = bytearray()

    def read():
        with contextlib.suppress(OSError):
            seen.extend(os.read(ours, 65536))
        return seen.decode(errors="replace")

    try:
        yield lambda key: os.write(ours, key), read, process
    finally:
        process.kill()
        process.wait(BOUND)
        os.close(ours)


@pytest.mark.parametrize("program", [PROGRAM, PLAIN], ids=["rich", "plain"])
def test_keys_switch_a_proxy_and_remove_faults(served, program):
    if program == PROGRAM:
        pytest.importorskip("rich", reason="rich is not installed (the extra 'tui')")
    for name in ("one", "two"):
        served.proxy(name, faults=[FAULT])
    proxy = lambda name: served.get(f"/api/v1/proxies/{name}")  # noqa: E731
    with terminal(served, program) as (press, read, process):
        until(lambda: "two" in read())
        press(b"\x1b[B")
        press(b"t")
        until(lambda: read() is not None and not proxy("two")["enabled"])
        assert proxy("one")["enabled"]
        press(b"r")
        until(lambda: read() is not None and not proxy("two")["faults"])
        assert len(proxy("one")["faults"]) == 1
        press(b"a")
        until(lambda: read() is not None and not proxy("one")["faults"])
        press(b"q")
        until(lambda: read() is not None and process.poll() is not None)
        assert process.returncode == 0


def test_hits_and_rates_are_of_a_second():
    overview = top.Overview()
    overview.proxies = [
        {
            "name": "web",
            "enabled": True,
            "address": "a:1",
            "backend": "b:2",
            "faults": [],
            "mix": [],
            "fault_states": {},
        }
    ]
    step = {"sent": 3000, "received": 10, "exchanges": 4, "open": 1, "hits": {"slow": 2, "cut": 2}}
    assert overview.take("Figures", {"proxies": {"web": step}, "seconds": 2.0, "revision": 1})
    assert overview.rows() == [("web", "yes", "a:1", "b:2", "1", "1.5 kB/s", "5 B/s", "2/s", "2/s", "")]
