"""The servers that other tests rely on are there, and are what they are taken for."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers

ROOT = Path(__file__).parents[1]


def asked(server, request, size=65536):
    """What *server* first answers to *request*."""
    with socket.create_connection((server.host, server.port), timeout=10) as client:
        client.sendall(request)
        return client.recv(size)


@pytest.mark.server
def test_redis(redis_server):
    assert asked(redis_server, b"PING\r\n") == b"+PONG\r\n"


@pytest.mark.server
def test_memcached(memcached_server):
    assert asked(memcached_server, b"version\r\n").startswith(b"VERSION 1.")


@pytest.mark.server
def test_nginx(nginx_server):
    assert asked(nginx_server, b"GET /hello HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
    assert (nginx_server.folder / "www" / "1MiB").stat().st_size == 2**20


@pytest.mark.server
def test_mariadb(mariadb_server):
    greeting = asked(mariadb_server, b"")
    assert greeting[4] == 10  # the version of the protocol, after the packet's header
    assert b"MariaDB" in greeting


@pytest.mark.server
def test_postgres(postgres_server):
    assert asked(postgres_server, struct.pack("!ii", 8, 80877103)) == b"N"  # SSLRequest: no


def test_echo_sends_back_bytes_and_end_of_stream(echo_server):
    with socket.create_connection((echo_server.host, echo_server.port), timeout=10) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b"hello"


def test_a_program_that_is_missing_skips(monkeypatch):
    monkeypatch.delenv("VAURIEN_REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        servers.require("no-such-program")


def test_a_program_that_is_missing_fails_where_servers_are_required(monkeypatch):
    monkeypatch.setenv("VAURIEN_REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        servers.require("no-such-program")


def test_a_server_that_does_not_start_shows_its_output():
    def command(port, folder):
        return ["sh", "-c", "echo cannot; exit 1"]

    with pytest.raises(pytest.fail.Exception, match="does not listen:\ncannot"), servers.started(command):
        pass


def test_a_server_ends_with_its_folder():
    def command(port, folder):
        code = f"import signal, socket; listener = socket.create_server(('127.0.0.1', {port})); signal.pause()"
        return [sys.executable, "-c", code]

    with servers.started(command) as server:
        assert server.folder.is_dir()
        os.kill(server.pid, 0)
    assert not server.folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_server_that_listens_is_waited_for_until_it_is_ready():
    asked = []

    def ready(port):
        if servers.listens(port):
            asked.append(port)
        return len(asked) == 3

    code = "import signal, socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); signal.pause()"
    with servers.started(lambda port, _: [sys.executable, "-c", code, str(port)], ready=ready) as server:
        assert asked == [server.port] * 3


ORPHAN = """
import sys
from tests import servers

code = "import signal, socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); signal.pause()"
with servers.started(lambda port, folder: [sys.executable, "-c", code, str(port)]) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


def test_a_server_does_not_outlive_tests_that_are_killed(tmp_path):
    servers.require("setpriv")
    command, environment = [sys.executable, "-c", ORPHAN], {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment) as tests:
        process = os.pidfd_open(int(tests.stdout.readline()))
        tests.kill()
        ended, _, _ = select.select([process], [], [], 30)
        os.close(process)
    assert ended
