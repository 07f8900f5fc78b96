"""Real programs through a proxy, in each lane: nothing fails, and bytes are what they were."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.integration.programs import LANES, PATIENCE, vaurien
from tests.running import read_until
from tests.servers import Server, require, started

pytestmark = pytest.mark.server


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> list[str]:
    return LANES[request.param]


def run(*command: str, timeout: float = 100.0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_redis_benchmark(lane: list[str], redis_server: Server) -> None:
    program = require("redis-benchmark")
    with vaurien(redis_server.address, *lane) as proxy:
        output = run(program, "-p", str(proxy.port), "-c", "50", "-n", "5000", "-t", "get,set,lpush", "--csv")
        pipelined = run(program, "-p", str(proxy.port), "-c", "10", "-n", "5000", "-P", "16", "-t", "get", "--csv")
    rows = [line for line in (output + pipelined).splitlines() if line.startswith('"') and "test" not in line]
    assert [row.split(",")[0] for row in rows] == ['"SET"', '"GET"', '"LPUSH"', '"GET"']
    assert not re.search("error", output + pipelined, re.IGNORECASE)


def test_wrk_against_nginx(lane: list[str], nginx_server: Server) -> None:
    with vaurien(nginx_server.address, *lane) as proxy:
        for headers in ([], ["-H", "Connection: close"]):
            url = f"http://{proxy.address}/hello"
            output = run(require("wrk"), "-t1", "-c32", "-d2s", "--timeout", "60s", *headers, url)
            assert re.search(r"[1-9]\d* requests in", output), output
            assert "Socket errors" not in output
            assert "Non-2xx" not in output


@pytest.fixture(scope="module")
def large(nginx_server: Server) -> Iterator[str]:
    """The digest of the server's ``/1GiB``."""
    digest = hashlib.sha256()
    source = nginx_server.folder / "www" / "1GiB"
    with open(source, "wb") as file:
        for _ in range(2**30 // 2**24):
            part = os.urandom(2**16) * 2**8
            file.write(part)
            digest.update(part)
    yield digest.hexdigest()
    source.unlink()


def test_curl_of_a_large_file(lane: list[str], nginx_server: Server, large: str) -> None:
    digest = hashlib.sha256()
    with vaurien(nginx_server.address, *lane) as proxy:
        command = [require("curl"), "--silent", "--show-error", "--fail", f"http://{proxy.address}/1GiB"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            assert curl.stdout is not None
            while chunk := curl.stdout.read(1 << 20):
                digest.update(chunk)
        assert curl.returncode == 0
    assert digest.hexdigest() == large


def test_iperf3_in_both_directions(lane: list[str]) -> None:
    program = require("iperf3")
    for direction in ([], ["-R"]):  # a server for each: one that was just used is busy for a moment
        with started(lambda port, _: [program, "-s", "-p", str(port), "-B", "127.0.0.1"]) as server:
            with vaurien(server.address, *lane) as proxy:
                output = run(program, "-c", "127.0.0.1", "-p", str(proxy.port), "-t", "1", "-J", *direction)
                report = json.loads(output)
                assert "error" not in report
                assert report["end"]["sum_received"]["bytes"] > 1_000_000


SHELL = """
import os, pty, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print("shell: %s:%s -> " % listening.getsockname(), flush=True)
one, _ = listening.accept()
for fd in (0, 1, 2):
    os.dup2(one.fileno(), fd)
pty.spawn(["/bin/sh"])
"""


def test_interactive_traffic(lane: list[str]) -> None:
    """A shell on a terminal behind the proxy, one key at a time, each answered by its echo: what ssh does."""
    from tests.integration.programs import started as program

    with program([sys.executable, "-c", SHELL], r"shell: ([\d.]+):(\d+) -> ") as shell:
        with vaurien(shell.address, *lane) as proxy:
            with socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE) as terminal:
                answer = b""
                for key in b"expr 6 '*' 7\n":
                    terminal.sendall(bytes([key]))
                    answer += terminal.recv(1000)
                read_until(terminal, lambda more: b"42\r\n" in answer + more)
                terminal.sendall(b"exit\n")
                while terminal.recv(1000):
                    pass


def test_proxies_in_a_row(redis_server: Server) -> None:
    """Three proxies, one in front of the other, each in another lane."""
    with vaurien(redis_server.address, *LANES["direct"]) as first:
        with vaurien(first.address, *LANES["hooked"]) as second:
            with vaurien(second.address, *LANES["blocking"]) as third:
                output = run(require("redis-cli"), "-p", str(third.port), "echo", "through all of them")
    assert output == "through all of them\n"
