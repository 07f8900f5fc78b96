"""ClientHellos of real clients, in pieces and damaged."""

from __future__ import annotations

import contextlib
import ssl

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.errors import ParseError
from vaurien.tls import client_hello
from vaurien.tls.client_hello import ClientHello, parse


def hello(name="db.test", alpn=("h2", "http/1.1"), lowest=None, highest=None):
    """What OpenSSL sends first."""
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(list(alpn))
    context.minimum_version = lowest or context.minimum_version
    context.maximum_version = highest or context.maximum_version
    context.check_hostname = False
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


HELLO = hello()
READ = ClientHello("db.test", ("h2", "http/1.1"), ("TLSv1.3", "TLSv1.2"), encrypt_then_mac=True)


def test_the_hello_of_openssl():
    assert parse(HELLO) == READ
    assert parse(HELLO + b"more") == READ


def test_a_client_without_a_name_or_protocols():
    assert parse(hello(name=None, alpn=())) == ClientHello("", (), ("TLSv1.3", "TLSv1.2"), encrypt_then_mac=True)


def test_an_old_client_names_its_version_in_the_old_field():
    only = ssl.TLSVersion.TLSv1_2
    assert parse(hello(lowest=only, highest=only)).versions == ("TLSv1.2",)


def test_every_beginning_is_incomplete():
    for size in range(len(HELLO)):
        assert parse(HELLO[:size]) is None, size


def records(message, size):
    """*message* in records of *size* bytes."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2) + piece for piece in pieces)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 100, 16384])
def test_a_hello_in_several_records(size):
    assert parse(records(HELLO[5:], size)) == READ


def grown(extensions):
    """HELLO with further *extensions* at the end."""
    body = HELLO[9:]
    at = 2 + 32
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2])
    at += 1 + body[at]
    own = body[at + 2 :] + extensions
    body = body[:at] + len(own).to_bytes(2) + own
    return records(b"\x01" + len(body).to_bytes(3) + body, 16384)


def test_grease_is_left_out():
    grease = b"\x0a\x0a\x00\x01\x00"
    versions = b"\x00\x2b\x00\x05\x04\x1a\x1a\x03\x04"
    protocols = b"\x00\x10\x00\x08\x00\x06\x02\x8a\x8a\x02h2"
    assert parse(grown(grease + versions + protocols)) == msgspec.structs.replace(
        READ, alpn=("h2",), versions=("TLSv1.3",)
    )


def test_a_name_is_in_lower_case_and_without_the_last_dot():
    name = b"DB.Test."
    entry = b"\x00" + len(name).to_bytes(2) + name
    body = len(entry).to_bytes(2) + entry
    assert parse(grown(b"\x00\x00" + len(body).to_bytes(2) + body)).sni == "db.test"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET / HTTP/1.1\r\n", "no handshake record"),
        (b"\x16\x02\x00\x00\x10", "no handshake record"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "no handshake record"),
        (b"\x16\x03\x01\x00\x00", "a record of 0 bytes"),
        (b"\x16\x03\x01\x40\x01", "a record of 16385 bytes"),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "handshake message 2, not a ClientHello"),
        (b"\x16\x03\x01\x00\x04\x01\x01\x00\x01", "a ClientHello of 65537 bytes"),
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", "whose first 34 bytes are only 0"),
        (records(b"\x01\x00\x00\x22" + bytes(34), 16384), "of 34 bytes whose fields need 38"),
        (records(b"\x01\x00\x00\x25" + bytes(34) + b"\x09\x00\x00", 16384), "of 37 bytes whose fields need 47"),
        (grown(b"\x00\x17\x00"), "whose last extension begins with 3 bytes, not 4"),
        (grown(b"\x00\x17\x00\x01"), "whose extension 23 is longer than all of them"),
        (grown(b"\x00\x10\x00\x01"), "whose extension 16 is longer than all of them"),
        (grown(b"\x00\x10\x00\x00"), "whose field of 2 bytes has only 0"),
    ],
)
def test_what_is_no_hello(data, message):
    with pytest.raises(ParseError, match=message):
        parse(data)


@given(st.integers(0, len(HELLO) - 1), st.integers(0, 255))
def test_a_damaged_hello_raises_nothing_else(at, byte):
    damaged = bytearray(HELLO)
    damaged[at] = byte
    with contextlib.suppress(ParseError):
        parse(bytes(damaged))


@given(st.integers(9, len(HELLO) - 1), st.integers(0, 255), st.integers(1, 300))
def test_what_a_hello_says_does_not_depend_on_its_records(at, byte, size):
    damaged = bytearray(HELLO)
    damaged[at] = byte
    assert outcome(bytes(damaged)) == outcome(records(bytes(damaged[5:]), size))


def outcome(data):
    try:
        return parse(data)
    except ParseError as error:
        return str(error)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_else(data):
    with contextlib.suppress(ParseError):
        parse(b"\x16\x03" + data)
    assert isinstance(client_hello.is_tls(data), bool)
