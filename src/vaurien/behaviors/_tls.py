"""What faults of TLS that need no key know of a connection: how far its handshake has come.

::

    client                                                   server
      ClientHello ────────────────────────────────────────────►      HELLO: it is complete
      ◄──────────────────── ServerHello … Finished, or …HelloDone    the server's flight
      Finished ───────────────────────────────────────────────►      DATA
      ◄───────────────────────────────────────────────► records

A server's ChangeCipherSpec and Finished of TLS 1.2 come behind the client's Finished, and count as data here, as the
session tickets of TLS 1.3 do: they cannot be told from data.

Where the protocol begins TLS in the middle (STARTTLS), the plain text before it is passed over.
"""

from __future__ import annotations

import enum
import functools

from vaurien.errors import ParseError
from vaurien.hooks import Behavior, Connection, Link
from vaurien.tls import client_hello
from vaurien.tls.records import APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, HEADER, RecordCutter, RecordPart

_LONGEST_FINISHED = HEADER + 96
"""Bytes of a record with an encrypted Finished of TLS 1.2: a MAC of 48 bytes, an IV, padding; a hello has more."""


_HELLO_BEGIN = bytes([HANDSHAKE, 3])
"""The first bytes of a ClientHello: a record of this type, and its version."""
_HELLO_RANDOM = slice(HEADER + 4 + 2, HEADER + 4 + 2 + 32)
"""Where a ServerHello has its random number: behind the headers of record and message, and a version."""


class Phase(enum.IntEnum):
    """How far a handshake has come."""

    BEFORE = 0
    """The client's ClientHello is not complete."""
    FLIGHT = 1
    """The server has to answer it, or does."""
    DATA = 2
    """The client has finished."""
    NONE = 3
    """This is not TLS, or the fault came in the middle of it."""


class HandshakeFollower:
    """Follows the handshake of one connection by its bytes; *late*: plain text may come before it."""

    __slots__ = (
        "_changed",
        "_client",
        "_hello",
        "_late",
        "_server_changed",
        "_tls_13",
        "begun",
        "done",
        "passed",
        "phase",
        "sealed",
        "server",
    )

    def __init__(self, *, late: bool = False) -> None:
        self._late = late
        self.phase = Phase.BEFORE
        self.server = RecordCutter()
        """Cuts what the server sends."""
        self.passed = 0
        """Bytes of the server's flight, then of its data, that were passed on."""
        self.done = False
        """The fault has acted as often as it does."""
        self.begun = bytearray()
        """The first bytes of the server's flight, up to the random number of its ServerHello."""
        self.sealed = 0
        """Records that the server has encrypted with the key that it has now."""
        self._server_changed = self._tls_13 = False
        self._hello = bytearray()
        self._client = RecordCutter()
        self._changed = False  # the client has sent ChangeCipherSpec

    def client_sends(self, data: bytes) -> bool:
        """The client has sent *data*; whether its ClientHello is complete by that."""
        if self.phase is Phase.BEFORE:
            if self._late and not self._hello:
                begin = data.find(_HELLO_BEGIN)  # MySQL's client may say it behind other bytes
                data = data[begin:] if begin >= 0 else b""
            return bool(data) and self._hello_grows(data)
        if self.phase is Phase.FLIGHT:
            for part in self._client.feed(data):
                self._client_answers(part)
        return False

    def _hello_grows(self, data: bytes) -> bool:
        self._hello += data
        try:
            complete = client_hello.parse(bytes(self._hello)) is not None
        except ParseError:
            self.phase = Phase.NONE
            return False
        for _ in self._client.feed(data):
            pass
        if complete:
            self.phase = Phase.FLIGHT
            self._hello.clear()
        return complete

    def _client_answers(self, part: RecordPart) -> None:
        encrypted = part.kind == HANDSHAKE and self._changed and 0 < part.size <= _LONGEST_FINISHED
        if self.phase is Phase.FLIGHT and (part.kind == APPLICATION_DATA or encrypted):
            self.phase, self.passed = Phase.DATA, 0
            if self._tls_13:  # another key
                self.sealed = 0
        self._changed = self._changed or part.kind == CHANGE_CIPHER_SPEC

    def server_passes(self, part: RecordPart) -> None:
        """*part* of what the server sends goes to the client."""
        self.passed += len(part.data)
        if len(self.begun) < _HELLO_RANDOM.stop:
            self.begun += part.data
        if part.kind == APPLICATION_DATA and self.phase is Phase.FLIGHT and not self._tls_13:
            self._tls_13, self.sealed = True, 0  # a ChangeCipherSpec before it means nothing there
        if part.ends and part.kind == CHANGE_CIPHER_SPEC:
            self._server_changed, self.sealed = True, 0
        elif part.ends and (part.kind == APPLICATION_DATA or self._server_changed):
            self.sealed += 1

    def encrypts(self, part: RecordPart) -> bool:
        """Whether the server encrypts the record that *part* begins."""
        return part.kind == APPLICATION_DATA or (self._server_changed and part.kind != CHANGE_CIPHER_SPEC)

    @property
    def server_random(self) -> bytes:
        """The random number of the ServerHello."""
        return bytes(self.begun[_HELLO_RANDOM])

    def server_begins(self) -> None:
        """The server is about to send something. Before it has a ClientHello, what is spoken is not TLS, or not yet."""
        if self.phase is Phase.BEFORE and not self._late:
            self.phase = Phase.NONE


class TlsFault(Behavior, frozen=True):
    """Base class: passes the bytes on, and says when the ClientHello is complete and what the server sends."""

    both_ways = True
    below_tls = True

    async def on_start(self, connection: Connection) -> None:
        """Follow the handshake from here on."""
        self._handshake(connection)

    def _handshake(self, connection: Connection) -> HandshakeFollower:
        protocol = connection.protocol
        late = protocol.upgrades or bool(protocol.tls_request)
        return connection.state(self, functools.partial(HandshakeFollower, late=late))

    async def on_data(self, link: Link, data: bytes) -> None:
        """Follow the handshake, and act on it."""
        handshake = self._handshake(link.connection)
        if not link.to_backend:
            handshake.server_begins()
            if handshake.phase in (Phase.BEFORE, Phase.NONE) or handshake.done:
                await link.send(data)
            else:
                await self.server_sends(link, data, handshake)
        elif handshake.client_sends(data):
            await self.hello_complete(link, data)
        else:
            await link.send(data)

    async def hello_complete(self, link: Link, data: bytes) -> None:
        """*data* has the end of the ClientHello."""
        await link.send(data)

    async def server_sends(self, link: Link, data: bytes, handshake: HandshakeFollower) -> None:
        """The server sends *data*, in its flight or later."""
        await link.send(data)
