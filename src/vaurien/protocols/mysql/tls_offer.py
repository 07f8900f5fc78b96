"""The SSL flag of MySQL's first packets: the server offers TLS by it in its greeting, the client asks by it.

A request for TLS is a packet of its own, with the number 1, and behind it the packets of the login have higher numbers
by one. So where one side only has TLS, each side has numbers of its own until the login has its OK or ERR.
"""

from __future__ import annotations

from collections.abc import Iterator

from vaurien.framing.reader import HEAD_LIMIT
from vaurien.framing.starttls import TlsWords
from vaurien.protocols.mysql.packets import ERR, Can
from vaurien.protocols.mysql.password import CHALLENGE, PasswordExchange

_HEADER = 4
_REQUEST = 32
"""Bytes of a request for TLS: flags, largest packet, character set, filler."""
_VERSION_10 = 0x0A
_BEFORE_FLAGS = 4 + 8 + 1
"""Bytes between the server's version, which ends with a zero, and its flags: thread, part of the challenge, filler."""
_BEFORE_REST = 2 + 1 + 2 + 2 + 1 + 10
"""Bytes from the flags to the rest of the challenge: flags, character set, status, flags, length, filler."""


class MysqlTlsOffer:
    """Looks at the first packet of each side; what comes behind it passes."""

    def __init__(self) -> None:
        self.taken = False
        self._kept: dict[bool, bytes | None] = {False: b"", True: b""}  # by direction; ``None``: its packet is through

    def from_server(self, data: bytes) -> bytes:
        """The greeting without the flag."""
        kept, self.taken = self._kept[False], False
        if kept is None:
            return data
        begun = kept + data
        place = _flags_of_greeting(begun)
        if place is None:
            self._kept[False] = begun
            return b""
        self._kept[False] = None
        flags = int.from_bytes(begun[place : place + 2], "little") if place else 0
        if not flags & Can.SSL:
            return begun if kept else data
        self.taken = True
        return begun[:place] + (flags & ~Can.SSL).to_bytes(2, "little") + begun[place + 2 :]

    def from_client(self, data: bytes) -> bytes | None:
        """The client's answer, if it does not have the flag."""
        kept = self._kept[True]
        if kept is None:
            return data
        begun = kept + data
        if len(begun) < _HEADER + 4:
            self._kept[True] = begun
            return b""
        self._kept[True] = None
        asks = begun[3] == 1 and int.from_bytes(begun[_HEADER : _HEADER + 4], "little") & Can.SSL
        return None if asks else begun if kept else data

    def rest(self, *, to_backend: bool) -> bytes:
        """The beginning of a packet that is not complete."""
        rest, self._kept[to_backend] = self._kept[to_backend] or b"", None
        return rest


def _flags_of_greeting(begun: bytes) -> int | None:
    """Where the lower flags stand; 0: this is no greeting; ``None``: that is not known yet."""
    size = int.from_bytes(begun[:3], "little")
    if len(begun) > 3 and (begun[3] or begun[_HEADER : _HEADER + 1] not in (b"", bytes((_VERSION_10,)))):
        return 0
    end = begun.find(b"\0", _HEADER)
    place = end + 1 + _BEFORE_FLAGS
    if len(begun) >= _HEADER + size and (end < 0 or place + 2 > _HEADER + size):
        return 0
    return None if end < 0 or len(begun) < place + 2 else place


class MysqlTlsWords(TlsWords):
    """The flag, the request and the numbers for the other side; *backend_tls*: the backend has TLS, not the client."""

    def __init__(self, *, backend_tls: bool) -> None:
        self._backend_tls = backend_tls
        self._greeted = self._asked = False
        self._password = PasswordExchange(backend_tls=backend_tls)
        self._next = {False: 0, True: 0}  # number of the next packet with each side: the client, the backend
        self._kept = {False: b"", True: b""}  # by direction

    def from_backend(self, data: bytes) -> bytes:
        passed = b""
        for packet in self._packets(data, to_backend=False):
            if not self._greeted:
                self._greeted = True
                passed += self._greeting(packet)
            elif not self._asked:  # an error, before the client has said anything
                passed += packet
            else:
                self._next[True] = packet[3] + 1
                onwards, back = self._password.from_backend(packet[_HEADER:])
                passed += self._numbered(onwards, to_backend=False)
                self.question += self._numbered(back, to_backend=True)
                self.over = packet[_HEADER : _HEADER + 1] in (b"\0", ERR)
            if self._stops():
                break
        return passed

    def _greeting(self, packet: bytes) -> bytes:
        place = _flags_of_greeting(packet)
        if not place:  # it takes no client, or is something else
            self.over = True
            return packet
        flags = int.from_bytes(packet[place : place + 2], "little")
        if self._backend_tls and not flags & Can.SSL:
            self.failure = "its greeting does not offer TLS"
        flags = flags & ~Can.SSL if self._backend_tls else flags | Can.SSL
        rest = place + _BEFORE_REST
        self._password.challenge = (packet[place - 9 : place - 1] + packet[rest:])[:CHALLENGE]
        return packet[:place] + flags.to_bytes(2, "little") + packet[place + 2 :]

    def to_backend(self, data: bytes) -> bytes:
        passed = b""
        for packet in self._packets(data, to_backend=True):
            self._next[False] = packet[3] + 1
            if self._asked:
                passed += self._login(packet)
            elif self._backend_tls:
                self._asked = self.begins = True
                flags = self._flagged(packet)[_HEADER : _HEADER + _REQUEST]
                self.question = b"\x20\0\0\1" + flags
                self._next[True] = 2
                passed += self._login(packet)
            elif len(packet) != _HEADER + _REQUEST:  # the client wants no TLS
                passed += packet
                self.over = True
            else:
                self._asked = True
                self._next[True] = 1
            if self._stops():
                break
        return passed

    def _login(self, packet: bytes) -> bytes:
        """A packet of the login; the client's flags in the first one are those that its side has."""
        if self._next[True] == (2 if self._backend_tls else 1):
            return self._numbered(self._flagged(packet)[_HEADER:], to_backend=True)
        onwards, back = self._password.from_client(packet[_HEADER:])
        self.answer += self._numbered(back, to_backend=False)
        return self._numbered(onwards, to_backend=True)

    def _flagged(self, packet: bytes) -> bytes:
        flags = int.from_bytes(packet[_HEADER : _HEADER + 4], "little")
        flags = flags | Can.SSL if self._backend_tls else flags & ~Can.SSL
        return packet[:_HEADER] + flags.to_bytes(4, "little") + packet[_HEADER + 4 :]

    def _numbered(self, payload: bytes | None, *, to_backend: bool) -> bytes:
        """The next packet with that side; nothing for ``None``."""
        if payload is None:
            return b""
        number, self._next[to_backend] = self._next[to_backend] % 256, self._next[to_backend] + 1
        return len(payload).to_bytes(3, "little") + bytes([number]) + payload

    def _stops(self) -> bool:
        self.failure = self.failure or self._password.failure
        return self.over or bool(self.failure)

    def _packets(self, data: bytes, *, to_backend: bool) -> Iterator[bytes]:
        """The packets that are complete by *data*."""
        self._kept[to_backend] += data
        while len(begun := self._kept[to_backend]) >= _HEADER:
            end = _HEADER + int.from_bytes(begun[:3], "little")
            if end > HEAD_LIMIT:  # no login has that
                self.over = True
            if self.over or len(begun) < end:
                return
            self._kept[to_backend] = begun[end:]
            yield begun[:end]

    def rest(self, *, to_backend: bool) -> bytes:
        kept, self._kept[to_backend] = self._kept[to_backend], b""
        return kept
