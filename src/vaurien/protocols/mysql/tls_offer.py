"""The SSL flag of MySQL's first packets: the server offers TLS by it in its greeting, the client asks by it."""

from __future__ import annotations

from vaurien.protocols.mysql.packets import Can

_HEADER = 4
_VERSION_10 = 0x0A
_BEFORE_FLAGS = 4 + 8 + 1
"""Bytes between the server's version, which ends with a zero, and its flags: thread, part of the challenge, filler."""


class MysqlTlsOffer:
    """Looks at the first packet of each side; what comes behind it passes."""

    def __init__(self) -> None:
        self._kept: dict[bool, bytes | None] = {False: b"", True: b""}  # by direction; ``None``: its packet is through

    def from_server(self, data: bytes) -> bytes:
        """The greeting without the flag."""
        kept = self._kept[False]
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
