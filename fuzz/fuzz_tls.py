"""Fuzz what reads a ClientHello, and what cuts a stream into records of TLS: the same, whatever the cuts."""

import contextlib
import ssl

import atheris

with atheris.instrument_imports(include=["vaurien"]):
    from vaurien.tls.client_hello import ClientHello, HelloReader
    from vaurien.tls.records import RecordCutter

from framer import run

from vaurien.errors import ParseError


def read(pieces: list[bytes]) -> ClientHello | str | None:
    """The ClientHello of *pieces*, or why they are none; ``None``: it is not complete."""
    reader = HelloReader()
    try:
        return next((hello for hello in map(reader.feed, pieces) if hello is not None), None)
    except ParseError as error:
        return str(error)


def records(pieces: list[bytes]) -> list[tuple[int, bytes]]:
    """The whole records of *pieces* with their types."""
    cutter, found = RecordCutter(), []
    for part in (part for piece in pieces for part in cutter.feed(piece)):
        if part.offset:
            found[-1] = (part.kind, found[-1][1] + part.data)
        else:
            found.append((part.kind, part.data))
    return [(kind, record) for kind, record in found if len(record) == 5 + int.from_bytes(record[3:5])]


def one_input(data: bytes) -> None:
    """The first byte is the size of the cuts."""
    size = data[0] % 7 + 1 if data else 1
    data = data[1:]
    cut = [data[at : at + size] for at in range(0, len(data), size)]
    assert read([data]) == read(cut)
    whole, parts = records([data]), records(cut)
    assert whole == parts
    assert data.startswith(b"".join(record for _, record in whole))


def hello() -> bytes:
    """What OpenSSL sends first."""
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="db.test").do_handshake()
    return out.read()


run(one_input, [b"\0" + hello(), b"\1" + hello() + b"\x15\3\3\0\2\2\x28", b"\2\x17\3\3\0\1a\x17\3\3\0\0"])
