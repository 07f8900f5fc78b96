"""With no fault in play every byte leaves at once, however late the rest of its message comes."""

from __future__ import annotations

import pytest

from tests.running import backend, pair, read, running, until
from vaurien.model import Fault

HALVES: dict[str, tuple[bytes, bytes, bytes, bytes]] = {
    "http": (b"GET / HTTP/1.1\r\nHo", b"st: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 0\r\n\r\n"),
    "redis": (b"*2\r\n$3\r\nG", b"ET\r\n$5\r\nerror\r\n", b"$", b"1\r\nx\r\n"),
    "memcache": (b"get ", b"k\r\n", b"EN", b"D\r\n"),
    "smtp": (b"EH", b"LO me\r\n", b"220-", b"mx\r\n220 mx\r\n"),
    "postgres": (b"\0\0\0\x08\0", b"\3\0\0", b"R\0\0", b"\0\4"),
}
ERROR = Fault(name="error", behavior="error")


@pytest.mark.parametrize("name", HALVES)
def test_half_a_head_is_sent_as_it_comes(name: str) -> None:
    asked, rest, answer, end = HALVES[name]
    options = {"overwrite_host_header": False} if name == "http" else {}
    with backend() as listening:
        with running(listening.getsockname(), "", protocol=name, protocol_options=options) as proxy:
            with pair(proxy, listening) as (client, server):
                for sender, receiver, parts in ((client, server, (asked, rest)), (server, client, (answer, end))):
                    for part in parts:
                        sender.sendall(part)
                        assert read(receiver, len(part)) == part


def test_a_fault_that_comes_in_the_middle_of_a_head_spares_it() -> None:
    asked, rest, answer, end = HALVES["redis"]
    with backend() as listening, running(listening.getsockname(), protocol="redis") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(asked)
            assert read(server, len(asked)) == asked
            proxy.set_policy("", ERROR)
            client.sendall(rest)
            assert read(server, len(rest)) == rest
            server.sendall(answer + end)
            assert read(client, len(answer + end)) == answer + end
            client.sendall(asked + rest)
            assert read(client, 1) == b"-"


def test_a_host_that_is_rewritten_needs_its_head_whole() -> None:
    with backend() as listening, running(listening.getsockname(), protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"GET / HTTP/1.1\r\nHo")
            client.sendall(b"st: x\r\n\r\n")
            host = ":".join(map(str, listening.getsockname()))
            expected = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            assert read(server, len(expected)) == expected


@pytest.mark.parametrize("name", [name for name in HALVES if name != "http"])
def test_half_a_head_is_sent_when_the_fault_that_needed_it_goes(name: str) -> None:
    asked, rest, _, _ = HALVES[name]
    with backend() as listening, running(listening.getsockname(), "", protocol=name) as proxy:
        with pair(proxy, listening) as (client, server):
            proxy.set_policy("", ERROR)
            client.sendall(asked)
            until(lambda: proxy.proxy.figures.to_backend.read == len(asked))
            proxy.set_policy("")
            assert read(server, len(asked)) == asked
            client.sendall(rest)
            assert read(server, len(rest)) == rest


@pytest.mark.parametrize("fill", [1, 300])
def test_half_a_head_behind_many_messages_is_sent_as_it_comes(fill: int) -> None:
    asked, rest, _, _ = HALVES["redis"]
    many = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" * (12 * fill)
    with backend() as listening, running(listening.getsockname(), "", protocol="redis") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(many + asked)
            assert read(server, len(many + asked)) == many + asked
            client.sendall(rest)
            assert read(server, len(rest)) == rest


def test_a_head_that_was_begun_is_not_rewritten() -> None:
    head = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: x\r\n\r"
    options = {"overwrite_host_header": False}
    with backend() as listening:
        with running(listening.getsockname(), "", protocol="http", protocol_options=options) as proxy:
            with pair(proxy, listening) as (client, server):
                client.sendall(head)
                assert read(server, len(head)) == head
                proxy.set_policy("", Fault(name="drop", behavior="ws_drop"))  # would keep the extension off
                client.sendall(b"\n" + head + b"\n")
                plain = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
                assert read(server, len(b"\n" + plain)) == b"\n" + plain
