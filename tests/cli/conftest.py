from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from tests.cli.programs import BOUND, Program


@pytest.fixture
def backend():
    """A server that answers one client at a time with what it says; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_echo, args=(listener,))
        thread.start()
        host, port = listener.getsockname()
        yield f"{host}:{port}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(BOUND)


def _echo(listener):
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client, contextlib.suppress(ConnectionError):
                while data := client.recv(4096):
                    client.sendall(data)


@pytest.fixture
def vaurien(backend):
    started = []

    def start(*arguments, command=()):
        started.append(Program(*command, "--proxy", "127.0.0.1:0", "--backend", backend, *arguments))
        return started[-1]

    yield start
    for program in started:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate(timeout=BOUND)
