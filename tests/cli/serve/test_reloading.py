"""``vaurien --config`` with several proxies, and what SIGHUP changes."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import pytest

from tests.running import PATIENCE, Echo, read

PROXY = """
[[proxy]]
name = "{}"
listen = "127.0.0.1:0"
backend = "127.0.0.1:{}"
"""


class Program:
    """A running program that is steered by its file and by signals."""

    def __init__(self, file, *flags) -> None:
        command = [sys.executable, "-m", "vaurien", "--config", str(file), "--log-level", "critical", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def address(self):
        line = self.process.stdout.readline()
        match = re.match(r"vaurien \S+: (\S+):(\d+) -> ", line)
        assert match, line
        return match[1], int(match[2])

    def reload(self):
        self.process.send_signal(signal.SIGHUP)
        return self.process.stdout.readline()


@pytest.fixture
def run(tmp_path):
    started = []

    def run(text, *flags):
        file = tmp_path / "chaos.toml"
        file.write_text(text)
        started.append(Program(file, *flags))
        return started[-1], file

    yield run
    for program in started:
        program.process.send_signal(signal.SIGTERM)
        _, errors = program.process.communicate(timeout=PATIENCE)
        assert program.process.returncode == 0, errors


def ask(client, data):
    client.sendall(data)
    return read(client, len(data))


def test_sighup_applies_the_difference_alone(run):
    with Echo() as echo:
        port = echo.address[1]
        both = PROXY.format("keep", port) + PROXY.format("change", port)
        program, file = run(both)
        addresses = [program.address(), program.address()]
        with (
            socket.create_connection(addresses[0], PATIENCE) as kept,
            socket.create_connection(addresses[1], PATIENCE) as changed,
        ):
            assert ask(kept, b"hello") == ask(changed, b"hello") == b"hello"
            cut = '[[proxy.fault]]\nbehavior = "limit_data"\nbytes = 3\nstream = "downstream"\n'
            file.write_text(both + cut + PROXY.format("new", port))
            assert program.reload() == "vaurien: configuration read again, 3 proxies\n"
            assert ask(kept, b"again") == b"again"
            assert ask(changed, b"again") == b"aga"
            file.write_text(PROXY.format("keep", port))
            assert program.reload() == "vaurien: configuration read again, 1 proxies\n"
            assert ask(kept, b"still") == b"still"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(addresses[1], PATIENCE)


def test_a_file_that_is_wrong_changes_nothing(run):
    with Echo() as echo:
        text = PROXY.format("keep", echo.address[1])
        program, file = run(text)
        with socket.create_connection(program.address(), PATIENCE) as client:
            assert ask(client, b"hello") == b"hello"
            file.write_text("[[proxy]]\n")
            program.process.send_signal(signal.SIGHUP)
            assert "it has no name" in program.process.stderr.readline()
            assert ask(client, b"again") == b"again"


def killed(program):
    program.process.kill()
    program.process.wait(PATIENCE)
    program.process.returncode = 0


def test_the_state_keeps_what_was_changed_live(run, tmp_path):
    with Echo() as echo:
        path, text = tmp_path / "state.json", PROXY.format("kept", echo.address[1])
        first, _ = run(text, "--state", str(path))
        address = first.address()
        assert first.process.stderr.readline() == f"vaurien: state file '{path}' begins with what is configured\n"
        killed(first)
        path.write_text(path.read_text().replace('"drain_timeout": 30.0', '"drain_timeout": 7.0', 1))  # live, say
        again, _ = run(text, "--state", str(path))
        assert again.address() == address
        assert again.process.stderr.readline() == (
            f"vaurien: 1 proxy from state file '{path}', with the changes made live: "
            "proxy 'kept' drain_timeout: 7.0 in the file, 30.0 configured\n"
        )
        killed(again)
        other = PROXY.format("other", echo.address[1])
        refused, _ = run(other, "--state", str(path))
        assert refused.process.wait(PATIENCE) == 2
        refused.process.returncode = 0
        assert refused.process.stderr.read() == (
            f"vaurien: state file '{path}' and the configuration differ: proxy 'kept' is in the file alone; "
            "proxy 'other' is configured alone; expected --state-wins or --config-wins\n"
        )
        told, _ = run(other, "--state", str(path), "--config-wins")
        assert told.address()
        assert "1 proxy as configured, which wins over state file" in told.process.stderr.readline()


SCHEDULE = """
[[step]]
add = "inject data={}"
[[step]]
at = "1h"
remove = "inject"
"""


def first(address, data):
    with socket.create_connection(address, PATIENCE) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read(client, 100)


def test_sighup_begins_the_schedule_of_the_file(run):
    """Of the schedule that there was nothing is left."""
    with Echo() as echo:
        proxy = PROXY.format("it", echo.address[1])
        program, file = run(proxy + SCHEDULE.format("a"))
        address = program.address()
        assert first(address, b".") == b"aa."
        for text, expected in ((SCHEDULE.format("b"), b"bb."), (SCHEDULE.format("b"), b"bb."), ("", b".")):
            file.write_text(proxy + text)
            assert program.reload() == "vaurien: configuration read again, 1 proxies\n"
            assert first(address, b".") == expected


def test_a_schedule_that_is_wrong_leaves_the_one_that_is_played(run):
    with Echo() as echo:
        proxy = PROXY.format("it", echo.address[1])
        program, file = run(proxy + SCHEDULE.format("a"))
        address = program.address()
        assert first(address, b".") == b"aa."
        file.write_text(proxy + '[[step]]\nadd = "injct"\n')
        program.process.send_signal(signal.SIGHUP)
        assert "unknown behavior or handler 'injct' (from" in program.process.stderr.readline()
        assert first(address, b".") == b"aa."
