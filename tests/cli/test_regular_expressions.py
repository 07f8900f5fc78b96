"""An expression that would run for hours ends its connection alone: the program goes on, and stops when it is told."""

from __future__ import annotations

import contextlib
import signal

import pytest

from tests.running import read

SLOW = b"a" * 60 + b"b"


def reset(client, data):
    """Send *data*, which ends the connection."""
    client.sendall(data)
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(100) == b""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_replace(vaurien, workers):
    program = vaurien("--workers", workers, "--fault", "replace pattern=(a+)+$ regex=yes by=x stream=upstream")
    for _ in range(3):
        with program.connect() as client:
            client.sendall(b"aaa")
            assert read(client, 1) == b"x"
        with program.connect() as client:
            reset(client, SLOW)
    program.signal(signal.SIGTERM)
    status, errors = program.end()
    assert status == 0
    assert errors.count("the regular expression '(a+)+$' took more than 2 ms of processor time") == 3


def test_match(vaurien):
    program = vaurien("--protocol", "http", "--fault", "http_status status=418 match.path=regex:^/(a+)+$")
    with program.connect() as client:
        client.sendall(b"GET /aaa HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read(client, 12) == b"HTTP/1.1 418"
    for _ in range(3):
        with program.connect() as client:
            reset(client, b"GET /" + SLOW + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    program.signal(signal.SIGTERM)
    status, errors = program.end()
    assert status == 0
    assert errors.count("fault 'http_status' match path 'regex:^/(a+)+$' took more than 2 ms of processor time") == 3
