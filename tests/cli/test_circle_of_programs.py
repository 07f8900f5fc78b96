"""Two programs whose proxies dial each other: neither can see that, and the limit of open files ends it in order."""

from __future__ import annotations

import functools
import resource
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from tests.cli.programs import BOUND, PROGRAM
from tests.waiting import until

FILES = 128


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


def test_the_limit_of_open_files_ends_a_circle_in_order(tmp_path: Path) -> None:
    first, second, *interfaces = free_ports(4)
    programs = []
    for here, there, http in ((first, second, interfaces[0]), (second, first, interfaces[1])):
        where = ["--proxy", f"127.0.0.1:{here}", "--backend", f"127.0.0.1:{there}", "--http-port", str(http)]
        log = tmp_path / f"{here}.log"
        with log.open("w") as file:
            command = [*PROGRAM, *where, "--http", "--log-output", str(log)]
            program = subprocess.Popen(
                command, preexec_fn=limited, stdout=file, stderr=subprocess.STDOUT, cwd=tmp_path, text=True
            )
        programs.append((program, http, log))
    try:
        for _, http, _ in programs:
            until(functools.partial(answers, http))
        with socket.create_connection(("127.0.0.1", first), BOUND):
            for _, _, log in programs:
                until(functools.partial(is_full, log))
            assert all(answers(http) for _, http, _ in programs)
            for program, _, _ in programs:
                program.send_signal(signal.SIGTERM)
            assert [program.wait(BOUND) for program, _, _ in programs] == [0, 0]
        for _, _, log in programs:
            text = log.read_text()
            assert text.count("too many open files") == 1
            assert "Traceback" not in text
    finally:
        for program, _, _ in programs:
            if program.poll() is None:
                program.kill()
            program.wait(BOUND)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/proxies", timeout=BOUND) as response:
            return response.status == 200
    except urllib.error.URLError:
        return False


def is_full(log: Path) -> bool:
    return "too many open files" in log.read_text()
