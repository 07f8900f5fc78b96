"""A proxy that answers some requests itself: what client and backend then say to each other stays in step."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.running import backend, pair, read, read_all, running
from vaurien.model import Fault


@contextlib.contextmanager
def refusing(protocol: str, what: str, code: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    fault = Fault(name="refuse", behavior="tests.protocols.refuse.Refuse", options={"what": what, "code": code})
    with backend() as listening, running(listening.getsockname(), "", fault, protocol=protocol) as proxy:
        with pair(proxy, listening) as sockets:
            yield sockets


def say(sender: socket.socket, receiver: socket.socket, data: bytes, received: bytes | None = None) -> None:
    sender.sendall(data)
    expected = data if received is None else received
    assert read(receiver, len(expected)) == expected


def test_what_ends_a_series_of_quiet_commands_reaches_the_backend() -> None:
    with refusing("memcache", "mn", "busy") as (client, server):
        say(client, server, b"mg a v q\r\nmg b v q O1\r\nmn\r\n")
        say(server, client, b"VA 1 O1\r\nx\r\nMN\r\n", b"VA 1 O1\r\nx\r\nERROR busy\r\n")
        client.sendall(b"mn\r\n")  # nothing waits for what this one shows
        assert read(client, 12) == b"ERROR busy\r\n"
        say(client, server, b"version\r\n")


def test_a_refused_quiet_command_waits_for_its_turn() -> None:
    with refusing("memcache", "ms", "internal") as (client, server):
        say(client, server, b"mg a v q\r\nms b 1 q\r\nx\r\nmn\r\n", b"mg a v q\r\nmn\r\n")
        say(server, client, b"MN\r\n", b"SERVER_ERROR internal error\r\nMN\r\n")


def test_a_refused_command_without_reply_has_none() -> None:
    with refusing("memcache", "set", "busy") as (client, server):
        say(client, server, b"set k 0 0 1 noreply\r\nx\r\nget k\r\n", b"get k\r\n")
        say(server, client, b"END\r\n")


@pytest.mark.parametrize(("what", "after"), [("DATA", b"RSET\r\n"), ("STARTTLS", b"NOOP\r\n"), ("AUTH", b"DATA\r\n")])
def test_after_a_refusal_the_client_goes_on_with_commands(what: str, after: bytes) -> None:
    refusal = b"451 4.3.0 Local error in processing\r\n"
    with refusing("smtp", what, "451") as (client, server):
        say(server, client, b"220 mx\r\n")
        client.sendall(what.encode() + b"\r\n")
        assert read(client, len(refusal)) == refusal
        say(client, server, after)
        say(server, client, b"250 ok\r\n")


def test_a_refused_mail_is_read_to_its_end_and_ends_the_connection() -> None:
    with refusing("smtp", "MESSAGE", "452") as (client, server):
        say(server, client, b"220 mx\r\n")
        say(client, server, b"DATA\r\n")
        say(server, client, b"354 go\r\n")
        client.sendall(b"Subject: x\r\n" * 1000)
        client.sendall(b"\r\n.\r\n")
        assert read_all(client) == b"452 4.3.1 Insufficient system storage\r\n"
        assert read_all(server) == b""
