"""``--workers`` as programs have it: what is refused, and how the processes end."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys

import pytest

from tests.cli.programs import BOUND, PROGRAM
from tests.running import read
from tests.waiting import until
from vaurien import platform
from vaurien.cli import descriptors, main
from vaurien.cli.serve import daemon
from vaurien.config import declared, load
from vaurien.config.layers import Given
from vaurien.engine.net import fd_limit as limits
from vaurien.errors import OptionError

EXPECTED = "is not valid; expected auto, or a whole number from 1 to 256"


def failed(capsys, *arguments, status=2):
    """The line that the program says, given *arguments* that are wrong."""
    assert main.main(arguments) == status
    return capsys.readouterr().err.strip()


def children(process):
    """The workers of a program, by number."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        return [int(word) for word in file.read().split()]


def catches(process, number):
    """Whether it has a handler for a signal (proc(5), SigCgt)."""
    with open(f"/proc/{process.pid}/status") as file:
        caught = next(line.split()[1] for line in file if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("count", ["0", "257", "-1", "1.5", "many", ""])
def test_a_count_that_is_none(capsys, count):
    assert failed(capsys, f"--workers={count}") == f"vaurien: option workers: {count!r} (from --workers) {EXPECTED}"


def test_a_count_from_a_file_and_from_the_environment(tmp_path, monkeypatch, capsys):
    file = tmp_path / "v.toml"
    file.write_text("[vaurien]\nworkers = 300\n")
    assert (
        failed(capsys, "--config", str(file))
        == f"vaurien: option workers: 300 (from {file} line 2 [vaurien] workers) {EXPECTED}"
    )
    monkeypatch.setenv("VAURIEN_WORKERS", "none")
    said = failed(capsys)
    assert said == f"vaurien: option workers: 'none' (from environment VAURIEN_WORKERS) {EXPECTED}"


def test_auto_is_a_worker_for_each_core():
    loaded = load({("vaurien", "workers"): Given("auto", "--workers", "auto")}, {})
    assert loaded.process.workers == min(platform.cores(), declared.MOST_WORKERS)


@pytest.mark.parametrize("count", ["0", "257", "x"])
def test_a_count_that_is_none_for_the_daemons(capsys, count):
    for program in (daemon.OURS, daemon.TOXIPROXY):
        status = 2 if program == daemon.OURS else daemon.FAILED  # Toxiproxy knows one for all
        assert daemon.run(["-workers", count], program) == status
        assert f"option workers: {count!r} (from -workers) {EXPECTED}" in capsys.readouterr().err


def test_a_system_that_cannot_share_a_port(monkeypatch, capsys):
    monkeypatch.setattr(platform, "PORT_SHARED", False)
    said = failed(capsys, "--workers", "2", "--proxy", "127.0.0.1:0")
    assert said.startswith("vaurien: option workers: 2 (from --workers) is not valid; expected 1: this system does not")


def test_what_needs_one_process_says_why(tmp_path, capsys):
    trace = tmp_path / "trace.jsonl"
    said = failed(capsys, "--workers", "2", "--trace", str(trace))
    assert said.startswith("vaurien: option workers: 2 (from --workers) is not valid; expected 1 with --trace: ")
    trace.write_text('{"trace": 1, "version": "3", "seed": "1"}\n')
    assert "expected 1 with vaurien replay: " in failed(capsys, "replay", str(trace), "--workers", "2")
    scenario = tmp_path / "chaos.toml"
    scenario.write_text("[vaurien]\nworkers = 2\n")
    said = failed(capsys, "run", str(scenario), "--", "true", status=125)
    assert f"(from {scenario} line 2 [vaurien] workers) is not valid; expected 1 with vaurien run: " in said


class Limits:
    """RLIMIT_NOFILE of a process that is not this one."""

    def __init__(self, monkeypatch, soft, hard) -> None:
        self.now = (soft, hard)
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.now)
        monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: setattr(self, "now", wanted))


def asking(count, *more):
    given = {("vaurien", "max_connections"): Given(count, "--max-connections", count), **dict(more)}
    return load(given, {})


def test_the_soft_limit_is_raised_for_the_connections_asked_for(monkeypatch):
    found = Limits(monkeypatch, 1024, 4096)
    descriptors.reserve(asking(400))
    assert found.now == (1024, 4096)
    descriptors.reserve(asking(1000))
    assert found.now == (limits.SPARE + 2000, 4096)
    unlimited = Limits(monkeypatch, 1024, resource.RLIM_INFINITY)
    descriptors.reserve(asking(100_000))
    assert unlimited.now == (limits.SPARE + 200_000, resource.RLIM_INFINITY)


def test_more_connections_than_the_system_allows(monkeypatch):
    Limits(monkeypatch, 1024, 4096)
    with pytest.raises(OptionError) as caught:
        descriptors.reserve(asking(5000))
    assert str(caught.value) == (
        "option max_connections: 5000 (from --max-connections) is not valid; expected at most 2020: the system lets a "
        "process open 4096 files, see ulimit -Hn"
    )


def test_a_handler_needs_more_descriptors(monkeypatch):
    found = Limits(monkeypatch, 1024, 8192)
    descriptors.reserve(asking(1000, (("vaurien", "behavior"), Given("10:tests.plugins.Forward", "--behavior"))))
    assert found.now == (limits.SPARE + 4000, 8192)


@pytest.fixture
def spread(vaurien):
    """A program with two workers."""

    def start(*arguments):
        program = vaurien("--workers", "2", *arguments)
        assert len(children(program.process)) == 2
        return program

    return start


def test_workers_serve_and_end_in_order(spread):
    program = spread("--grace", "60")
    workers = children(program.process)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(program.connect())]
        clients[0].sendall(b"hello")
        assert read(clients[0], 5) == b"hello"
        program.signal()
        until(lambda: refuses(program))
        clients[0].sendall(b"again")  # the grace
        assert read(clients[0], 5) == b"again"
    status, err = program.end()
    assert (status, "worker" in err) == (0, False)
    assert all(gone(pid) for pid in workers)


def refuses(program):
    try:
        program.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_workers_end_with_a_program_that_is_killed(spread):
    program = spread()
    workers = children(program.process)
    program.signal(signal.SIGKILL)
    program.process.wait(BOUND)
    until(lambda: all(gone(pid) for pid in workers))


def test_signals_for_the_program_do_not_end_workers(spread):
    program = spread()
    for pid in children(program.process):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
    with program.connect() as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
    assert not [pid for pid in children(program.process) if gone(pid)]
    program.signal()
    assert program.end()[0] == 0


def test_a_worker_that_dies_is_in_the_log(spread):
    program = spread()
    [first, _] = children(program.process)
    os.kill(first, signal.SIGKILL)
    line = program.process.stderr.readline()
    while "worker died" not in line:
        line = program.process.stderr.readline()
    assert re.search(r'level=WARNING msg="worker died" proxy=vaurien worker=\d reason="killed by SIGKILL"', line)
    until(lambda: len([pid for pid in children(program.process) if not gone(pid)]) == 2)
    program.signal()
    assert program.end()[0] == 0


def test_a_configuration_that_is_read_again_and_a_state_reach_the_workers(tmp_path):
    file, state = tmp_path / "chaos.toml", tmp_path / "state.json"
    proxy = '[[proxy]]\nname = "{}"\nlisten = "127.0.0.1:0"\nbackend = "127.0.0.1:1"\n'
    file.write_text(proxy.format("a"))
    flags = ["--config", str(file), "--workers", "2", "--state", str(state), "--log-level", "critical"]
    process = subprocess.Popen([*PROGRAM, *flags], stdout=subprocess.PIPE, text=True)
    try:
        assert " -> 127.0.0.1:1 " in process.stdout.readline()
        until(lambda: catches(process, signal.SIGHUP))
        file.write_text(proxy.format("a") + proxy.format("b"))
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "vaurien: configuration read again, 2 proxies\n"
        until(lambda: '"name": "b"' in state.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(BOUND) == 0
    finally:
        process.kill()
        process.communicate()


def test_toxiproxy_server_with_workers():
    command = [sys.executable, "-c", "from vaurien.cli.serve.daemon import *; sys.exit(toxiproxy_server())"]
    process = subprocess.Popen(
        [*command, "-port", "0", "-workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        while "Starting Toxiproxy HTTP server" not in process.stdout.readline():
            assert process.poll() is None
        assert len(children(process)) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(BOUND) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_worker_imports_nothing_from_the_working_directory_but_named_plugins(tmp_path):
    """A file with the name of an installed module stays unread; a plugin that was named is found by each worker."""
    for name in ("msgspec", "asyncio", "vaurien"):
        (tmp_path / f"{name}.py").write_text(f"open('{name}.ran', 'w').close()\n")
    (tmp_path / "chaos_mine.py").write_text(
        "from vaurien.handlers import Handler\n"
        "@Handler.register\n"
        "class Mine:\n"
        "    def __call__(self, client_sock, backend_sock, to_backend):\n"
        "        client_sock.sendall(b'mine')\n"
        "        return False\n"
    )
    command = [PROGRAM[0], "-P", *PROGRAM[1:], "--proxy=127.0.0.1:0", "--workers=2", "--behavior=100:chaos_mine.Mine"]
    with (
        socket.create_server(("127.0.0.1", 0)) as backend,
        subprocess.Popen(
            [*command, f"--backend=127.0.0.1:{backend.getsockname()[1]}"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as program,
    ):
        try:
            port = int(re.search(r":(\d+) ->", program.stdout.readline())[1])
            for _ in range(6):
                with socket.create_connection(("127.0.0.1", port), BOUND) as client:
                    client.sendall(b"x")
                    assert read(client, 4) == b"mine"
        finally:
            program.send_signal(signal.SIGTERM)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".ran") == []
