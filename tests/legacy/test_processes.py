from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tests.legacy.conftest import TIMEOUT
from vaurien.errors import BindError, UnknownName, VaurienError
from vaurien.legacy import processes

SERVER = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nwhile True: s.accept()[0].close()"
)
SLEEPER = "import signal, sys; signal.sigwait({signal.SIGUSR1})"


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


def program(text, *arguments):
    return [sys.executable, "-c", text, *map(str, arguments)]


def nothing_is_left():
    with pytest.raises(UnknownName, match=r"none is known$"):
        processes.stop_proxy(1)


def test_it_is_ready_when_start_returns_and_gone_when_stop_returns(address):
    pid = processes.start(program(SERVER, address[1]), address)
    socket.create_connection(address, timeout=TIMEOUT).close()
    processes.stop_proxy(pid)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=TIMEOUT)


def test_a_process_that_ends_is_told_with_its_exit_code(address):
    with pytest.raises(
        VaurienError, match=r"^the proxy ended with exit code 3 before it was ready, and said: nothing; it was started"
    ):
        processes.start(program("raise SystemExit(3)"), address)
    nothing_is_left()


def test_a_process_that_is_not_ready_in_time_is_ended(address):
    text = rf"^the proxy did not accept connections on 127.0.0.1:{address[1]} within 0.05 seconds$"
    with pytest.raises(VaurienError, match=text):
        processes.start(program(SLEEPER), address, within=0.05)
    nothing_is_left()


def test_a_port_that_somebody_else_has_is_told(address):
    with socket.create_server(address), pytest.raises(BindError, match=f"cannot listen on 127.0.0.1:{address[1]}"):
        processes.start(program(SERVER, address[1]), address)


@pytest.mark.slow
def test_a_process_that_ignores_the_request_is_killed(address):
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER
    pid = processes.start(program(deaf, address[1]), address)
    processes.stop_proxy(pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_stop_knows_only_what_was_started():
    with pytest.raises(UnknownName, match=r"^unknown proxy process '1'; none is known$"):
        processes.stop_proxy(1)


@pytest.fixture
def started(monkeypatch):
    calls = []
    monkeypatch.setattr(processes, "start", lambda *call: calls.append(call) or 42)
    return calls


def test_the_defaults_are_those_of_mozillas_vaurien(started):
    assert processes.start_proxy() == 42
    command, address, within = started[0]
    assert command[:3] == [sys.executable, "-m", "vaurien"]
    assert subprocess.list2cmdline(command[3:]) == (
        "--proxy localhost:8000 --backend localhost:8888 --protocol tcp --log-level info --log-output - "
        "--http --http-host localhost --http-port 8080"
    )
    assert (address, within) == (("localhost", 8080), processes.READY_TIMEOUT)


def test_without_http_the_proxy_itself_is_asked(started):
    processes.start_proxy(http=False)
    command, address, _ = started[0]
    assert "--http" not in command
    assert address == ("localhost", 8000)


def test_the_port_of_the_original_example_is_that_of_the_interface(started):
    processes.start_proxy(port=8081)
    command, address, _ = started[0]
    assert command[-2:] == ["--http-port", "8081"]
    assert address == ("localhost", 8081)


def test_the_last_words_of_a_process_are_told(address, capsys):
    talk = "import sys; print('one'); [print(n, file=sys.stderr) for n in range(20)]; sys.exit(2)"
    with pytest.raises(VaurienError, match="and said: " + r"\n".join(map(str, range(10, 20))) + "$"):
        processes.start(program(talk), address)
    assert capsys.readouterr().err.splitlines() == [str(n) for n in range(20)]


def test_a_proxy_that_cannot_start_says_why(address):
    with pytest.raises(VaurienError, match=r"exit code 2 before it was ready, and said: vaurien: unknown option"):
        processes.start_proxy(*address, http=False, options=["--behaviour", "delay"])


def test_arguments_are_those_of_the_command_line(started):
    processes.start_proxy(
        "127.0.0.1", 1, "::1", 2, "http", True, 99, "0.0.0.0", 3, ["--behavior", "20:delay"], "error", "/dev/null"
    )
    command, address, within = started[0]
    assert subprocess.list2cmdline(command[3:]) == (
        "--proxy 127.0.0.1:1 --backend [::1]:2 --protocol http --log-level error --log-output /dev/null "
        "--http --http-host 0.0.0.0 --http-port 3 --behavior 20:delay"
    )
    assert (address, within) == (("0.0.0.0", 3), 99)
