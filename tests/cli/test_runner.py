"""The program as a process: it serves, says so, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

import vaurien as vaurien_package
from tests.cli.programs import BOUND, PROGRAM
from vaurien import __version__


def refuses(program):
    """Whether clients are refused, within the bound."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        try:
            program.connect().close()
        except ConnectionError:
            return True
    return False


@pytest.mark.parametrize("loop", ["--uvloop", "--no-uvloop"])
def test_it_says_what_it_does_and_does_it(vaurien, backend, loop):
    program = vaurien(loop, "--seed", "12345", "--behavior", "20:dummy")
    way = f"127.0.0.1:{program.port} -> {backend} (tcp)"
    assert program.greeting == f"vaurien {__version__}: {way}, behavior 20:dummy, seed 12345"
    with program.connect() as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
    program.signal()
    assert program.end()[0] == 0


def test_no_behavior_is_said(vaurien):
    program = vaurien("--behavior", "", "--seed", "1")
    assert program.greeting.endswith("(tcp), no behavior, seed 1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(vaurien, number):
    program = vaurien()
    program.signal(number)
    status, err = program.end()
    assert (status, "Traceback" in err) == (0, False)


def test_a_live_connection_has_its_grace(vaurien):
    program = vaurien("--grace", "60")
    with program.connect() as client:
        client.sendall(b"1")
        assert client.recv(1) == b"1"
        program.signal()
        assert refuses(program)
        client.sendall(b"2")
        assert client.recv(1) == b"2"
    assert program.end()[0] == 0


def test_a_second_signal_ends_at_once(vaurien):
    program = vaurien("--grace", "600")
    with program.connect() as client:
        client.sendall(b"1")
        assert client.recv(1) == b"1"
        program.signal()
        assert refuses(program)
        program.signal()
        assert program.end()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_what_it_waits_for_and_that_a_second_signal_ends_it(vaurien, number):
    program = vaurien("--grace", "600", "--log-level", "error")
    with program.connect() as idle:
        idle.sendall(b"1")
        assert idle.recv(1) == b"1"
        program.signal(number)
        line = program.process.stderr.readline()
        assert line == (
            "vaurien: waiting up to 600 s for 1 open connection to end; Ctrl-C or SIGTERM again ends at once\n"
        )
        program.signal(number)
        assert program.end() == (0, "")


def test_without_grace_a_live_connection_is_reset(vaurien):
    program = vaurien("--grace", "0")
    with program.connect() as client:
        client.sendall(b"1")
        assert client.recv(1) == b"1"
        program.signal()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert program.end()[0] == 0


def test_events_are_logged_where_it_is_told(vaurien, tmp_path):
    program = vaurien("--log-output", str(tmp_path / "log"), "--log-format", "json", "--log-level", "debug")
    program.connect().close()
    program.signal()
    assert program.end()[0] == 0
    assert '"msg": "accepted"' in (tmp_path / "log").read_text()


def test_counters_are_sent_where_it_is_told(vaurien):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(BOUND)
        where = ["--statsd.host", "127.0.0.1", "--statsd.port", str(statsd.getsockname()[1])]
        program = vaurien("--statsd.enabled", *where, "--statsd.prefix", "chaos")
        program.connect().close()
        assert statsd.recv(100) == b"chaos.start:1|c"


def test_a_plugin_of_the_current_folder(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Pause:\n"
        "    name = 'delay'\n"
        "    options = {'sleep': ('How long', int, 1)}\n"
        "    def __call__(self, client_sock, backend_sock, to_backend): ...\n"
    )
    arguments = ["--behavior", "20:mine.Pause", "--handler-delay-sleep", "2", "--show-config"]
    environment = {**os.environ, "PYTHONPATH": str(Path(vaurien_package.__file__).parents[1])}
    done = subprocess.run(
        [*PROGRAM, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=BOUND
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("[handler:mine.Pause]\nsleep                   2               --handler-delay-sleep\n")


def failure(*arguments):
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=BOUND)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert failure("--proxy", address) == (
            f"vaurien: option proxy (from --proxy): cannot listen on {address}: Address already in use; "
            "expected an address that is free and ours\n"
        )


def test_tls_files_that_are_not_there(tmp_path):
    """The error says where each was named."""
    pytest.importorskip("cryptography")
    expected = "is not valid; expected a PEM file with a certificate, or auto (No such file or directory)\n"
    assert failure("--tls", "nosuch.pem") == f"vaurien: tls: 'nosuch.pem' (from --tls) {expected}"
    file = tmp_path / "chaos.toml"
    file.write_text('[vaurien]\nproxy = "127.0.0.1:0"\ntls = "nosuch.pem"\n')
    where = f"{file} line 3 [vaurien] tls"
    assert failure("--config", str(file)) == f"vaurien: tls: 'nosuch.pem' (from {where}) {expected}"


def test_a_log_that_cannot_be_written(tmp_path):
    assert failure("--log-output", str(tmp_path)) == (
        f"vaurien: option log_output: {str(tmp_path)!r} (from --log-output) is not valid; "
        "expected - or a file that can be written (Is a directory)\n"
    )


def test_a_statsd_server_without_an_address():
    assert failure("--statsd.enabled", "--statsd.host", "a..b").startswith(
        "vaurien: statsd host: 'a..b' (from --statsd.host) is not valid; expected a host that resolves ("
    )


def test_faults_and_the_steps_of_a_schedule_are_in_force(vaurien, tmp_path):
    (tmp_path / "chaos.toml").write_text("[[step]]\nadd = 'latency name=late latency=1'\n")
    program = vaurien("--config", str(tmp_path / "chaos.toml"), "--fault", "noop probability=0.5", "--seed", "1")
    assert program.greeting.endswith("behavior 100:dummy, fault noop probability=0.5, seed 1")
    program.signal()
    status, err = program.end()
    assert status == 0
    assert 'msg="policy changed"' in err
    assert "faults=noop,late" in err


def test_a_fault_that_the_proxy_cannot_have_is_refused(tmp_path):
    arguments = ["--fault", "latency match.path=/", "--protocol", "redis"]
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=BOUND)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown field 'path' of the match of fault 'latency' (from --fault)" in done.stderr
