"""TLS that is not offered, or refused: what both sides of a protocol see, byte by byte."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.running import backend, pair, read, read_all, running
from vaurien.errors import OptionError
from vaurien.events import Closed, Failed, Injected
from vaurien.model import Fault
from vaurien.protocols.mysql import Mysql
from vaurien.protocols.mysql.packets import Can
from vaurien.protocols.postgres.framer import SSL_REQUEST
from vaurien.protocols.smtp import Smtp

EHLO = b"EHLO client.test\r\n"
OFFERS = b"250-mail.test\r\n250-SIZE 100\r\n250-STARTTLS\r\n250 HELP\r\n"
OFFERS_LAST = b"250-mail.test\r\n250-SIZE 100\r\n250 STARTTLS\r\n"
STARTUP = b"\0\0\0\x10\0\3\0\0user\0u\0\0"


def greeting(flags: int = 0xFFFF, version: bytes = b"8.0.1") -> bytes:
    payload = b"\x0a" + version + b"\0" + bytes(12) + b"\0" + flags.to_bytes(2, "little") + bytes(32)
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def answer(flags: int) -> bytes:
    return b"\x20\0\0\1" + flags.to_bytes(4, "little") + bytes(28)


@contextlib.contextmanager
def sides(protocol: str, behavior: str) -> Iterator[tuple[object, socket.socket, socket.socket]]:
    with backend() as listening:
        with running(listening.getsockname(), "", Fault("it", behavior), protocol=protocol) as proxy:
            with pair(proxy, listening) as (client, server):
                yield proxy, client, server
            proxy.events.wait(Closed)
            assert not proxy.events.of(Failed)


def said(one: socket.socket, other: socket.socket, data: bytes, heard: bytes | None = None) -> bool:
    one.sendall(data)
    heard = data if heard is None else heard
    return read(other, len(heard)) == heard


@pytest.mark.parametrize(
    ("offers", "left"),
    [
        (OFFERS, OFFERS.replace(b"STARTTLS", b"XXXXXXXA")),
        (OFFERS_LAST, OFFERS_LAST.replace(b"STARTTLS", b"XXXXXXXA")),
        (b"250-mail.test\r\n250-SIZE 100\r\n250 HELP\r\n", b"250-mail.test\r\n250-SIZE 100\r\n250 HELP\r\n"),
    ],
)
def test_mail_without_the_offer(offers: bytes, left: bytes) -> None:
    with sides("smtp", "starttls_stripped") as (proxy, client, server):
        assert said(server, client, b"220-wait\r\n220 mail.test\r\n")
        assert said(client, server, EHLO)
        assert said(server, client, offers, left)
        assert len(proxy.events.of(Injected)) == (offers != left)
        client.sendall(b"STARTTLS\r\n")
        assert read(client, 9) == b"502 5.5.1"
        assert read_until_line(client)
        assert said(client, server, b"NOOP\r\n")
        assert said(server, client, b"250 ok\r\n")


def read_until_line(one: socket.socket) -> bytes:
    got = b""
    while not got.endswith(b"\r\n"):
        got += read(one, 1)
    return got


def test_mail_with_an_offer_that_comes_to_nothing() -> None:
    with sides("smtp", "starttls_refused") as (_, client, server):
        assert said(server, client, b"220 mail.test\r\n")
        assert said(client, server, EHLO)
        assert said(server, client, OFFERS)
        client.sendall(b"STARTTLS\r\n")
        assert read_until_line(client) == b"454 4.7.0 TLS not available due to temporary reason\r\n"
        assert said(client, server, b"NOOP\r\n")


@given(st.lists(st.sampled_from([b"250-STARTTLS\r\n", b"250-X\r\n", b"250 X\r\n", b"250 starttls\r\n", b"354 go\r\n"])))
def test_lines_do_not_depend_on_cuts(lines: list[bytes]) -> None:
    data = b"".join(lines)
    whole, cut = Smtp().tls_offer(), Smtp().tls_offer()
    passed = whole.from_server(data) + whole.rest(to_backend=False)
    pieces = [cut.from_server(data[at : at + 1]) for at in range(len(data))]
    assert b"".join(pieces) + cut.rest(to_backend=False) == passed == re.sub(b"(?i)starttls", b"XXXXXXXA", data)


def test_a_line_without_an_end_is_not_kept() -> None:
    offer = Smtp().tls_offer()
    assert offer.from_server(b"250-" + b"x" * 20_000) == b"250-" + b"x" * 20_000


@pytest.mark.parametrize("whole", [True, False])
def test_a_greeting_without_the_flag(whole: bool) -> None:
    with sides("mysql", "starttls_stripped") as (proxy, client, server):
        sent, left = greeting(), greeting(0xFFFF & ~Can.SSL)
        if whole:
            server.sendall(sent)
        else:
            for at in range(len(sent)):
                server.sendall(sent[at : at + 1])
        assert read(client, len(left)) == left
        assert proxy.events.of(Injected)
        assert said(client, server, answer(Can.PROTOCOL_41 | Can.LONG_PASSWORD))


@pytest.mark.parametrize("behavior", ["starttls_stripped", "starttls_refused"])
def test_a_client_that_begins_tls_all_the_same(behavior: str) -> None:
    with sides("mysql", behavior) as (_, client, server):
        sent = greeting(0xFFFF & ~Can.SSL if behavior == "starttls_stripped" else 0xFFFF)
        assert said(server, client, sent)
        client.sendall(answer(Can.PROTOCOL_41 | Can.SSL | Can.LONG_PASSWORD))
        assert read_all(client)[3:7] == b"\2\xff\x13\x04"
        assert read_all(server) == b""


NO_OFFERS = [greeting(0), b"\x05\0\0\0\xff\x15\x04no", b"\x07\0\0\0\x0a5.5\0ab", b"\x03\0\0\1\0\0\0", b"\x09\0"]
LONG = greeting(version=b"5" * 300)


@pytest.mark.parametrize(
    ("data", "left"), [*((data, data) for data in NO_OFFERS), (LONG, LONG.replace(b"\xff\xff", b"\xff\xf7"))]
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_greetings_do_not_depend_on_cuts(data: bytes, left: bytes, size: int) -> None:
    offer = Mysql().tls_offer()
    pieces = [offer.from_server(data[at : at + size]) for at in range(0, len(data), size)]
    assert b"".join(pieces) + offer.rest(to_backend=False) == left


@pytest.mark.parametrize("behavior", ["starttls_stripped", "starttls_refused"])
def test_a_request_for_tls_before_all_else(behavior: str) -> None:
    with backend() as listening:
        with running(listening.getsockname(), "", Fault("it", behavior), protocol="postgres") as proxy:
            with proxy.connect() as client:
                client.sendall(b"\0\0\0\x08\x04\xd2\x16\x30")  # GSSENCRequest
                assert read(client, 1) == b"N"
                for byte in SSL_REQUEST:
                    client.sendall(bytes((byte,)))
                if behavior == "starttls_refused":
                    assert read_all(client).startswith(b"E\0\0\0")
                else:
                    assert read(client, 1) == b"N"
                    client.sendall(STARTUP)
                    with listening.accept()[0] as server:
                        assert read(server, len(STARTUP)) == STARTUP
                        assert said(server, client, b"R\0\0\0\x08\0\0\0\0")
            proxy.events.wait(Closed)
            assert len(proxy.events.of(Injected)) == 1


@pytest.mark.parametrize("first", [STARTUP, b"\x16\x03\x01\0\x05hello"])
def test_a_client_that_does_not_ask_passes(first: bytes) -> None:
    with backend() as listening:
        with running(listening.getsockname(), "", Fault("it", "starttls_refused"), protocol="postgres") as proxy:
            with proxy.connect() as client:
                client.sendall(first)
                with listening.accept()[0] as server:
                    assert read(server, len(first)) == first
            assert not proxy.events.of(Injected)


def test_a_request_that_the_dice_spare_passes() -> None:
    fault = Fault("it", "starttls_refused", probability=0.0)
    with backend() as listening, running(listening.getsockname(), "", fault, protocol="postgres") as proxy:
        with proxy.connect() as client:
            client.sendall(SSL_REQUEST)
            with listening.accept()[0] as server:
                assert read(server, 8) == SSL_REQUEST
                assert said(server, client, b"S")


@pytest.mark.parametrize("end", ["nothing", "half"])
def test_a_client_that_leaves_before_it_has_asked(end: str) -> None:
    with backend() as listening:
        with running(listening.getsockname(), "", Fault("it", "starttls_refused"), protocol="postgres") as proxy:
            with proxy.connect() as client:
                client.sendall(SSL_REQUEST[:4] if end == "half" else b"")
                client.shutdown(socket.SHUT_WR)
                with listening.accept()[0] as server:
                    assert read_all(server) == (SSL_REQUEST[:4] if end == "half" else b"")
            proxy.events.wait(Closed)


@pytest.mark.parametrize("protocol", ["tcp", "http", "redis"])
def test_only_for_protocols_that_begin_tls_themselves(protocol: str) -> None:
    with pytest.raises(OptionError, match="a proxy whose protocol is smtp, postgres or mysql"):
        with running(("127.0.0.1", 1), "", Fault("it", "starttls_stripped"), protocol=protocol):
            pass
