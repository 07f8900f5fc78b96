from __future__ import annotations

import asyncio
import socket

import pytest

from tests.control.interface import interface
from tests.running import PATIENCE
from vaurien.control.server import Server
from vaurien.errors import BindError
from vaurien.model import Address


async def nobody(scope, receive, send):
    raise AssertionError("nobody asks")


def start(listen):
    async def run():
        server = Server(nobody, listen)
        try:
            return await server.start()
        finally:
            await server.stop()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        (Address("192.0.2.1", 0), "Cannot assign requested address"),
        (Address("h" * 64, 0), "this is no name of a host"),
        (Address(path="/nowhere/at/all"), "No such file or directory"),
        (Address(path="/" + "x" * 200), "AF_UNIX path too long"),
    ],
)
def test_an_address_that_cannot_be_had(listen, reason):
    with pytest.raises(BindError, match=f"^cannot listen on {listen}: {reason}"):
        start(listen)


def test_a_port_that_somebody_has():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(BindError, match=f"cannot listen on {listen}: Address already in use"):
            start(listen)


def test_the_port_is_known():
    address = start(Address("127.0.0.1", 0))
    assert address.host == "127.0.0.1"
    assert address.port > 0


def test_a_file_in_the_way_is_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(BindError, match="Address already in use"):
        start(Address(path=str(path)))
    assert path.read_text() == "precious"


def test_every_address_of_localhost_answers():
    with interface("localhost:0") as served:
        found = {family for family, *_ in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if family not in found:
                continue
            with socket.create_connection((host, served.address.port), timeout=PATIENCE) as one:
                one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert one.recv(100).startswith(b"HTTP/1.1 200")


def test_answers_say_nothing_of_the_server():
    with interface() as served:
        assert "server" not in served.ask("GET", "/healthz").headers


def test_a_request_with_two_lengths_ends_the_connection():
    """RFC 9112, section 6.1: a program in between may see another request in it."""
    lengths = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
    with interface() as served, socket.create_connection(("127.0.0.1", served.address.port), timeout=PATIENCE) as one:
        one.sendall(b"POST /api/v1/reset HTTP/1.1\r\nHost: localhost\r\n" + lengths + b"\r\n0\r\n\r\n")
        answer = b""
        while data := one.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b'"a request has Content-Length or Transfer-Encoding, not both"}}')
