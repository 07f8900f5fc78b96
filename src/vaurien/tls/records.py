"""Records of TLS (RFC 8446, section 5.1) as they stand in a stream: where they begin and end, and an alert as bytes.

The header of a record is in the clear in all versions, also where its body is encrypted. So a stream can be cut at its
records without a key.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
"""Content types of records. From version 1.3 on, everything that is encrypted says APPLICATION_DATA."""

HEADER = 5
"""Bytes of a record's header: its type, a version, and the length of its body."""

_TYPES = frozenset({CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA})
_MAJOR = 3
"""The first byte of the version, in all of them from SSL 3.0 on."""

ALERTS = {
    "close_notify": 0,
    "unexpected_message": 10,
    "bad_record_mac": 20,
    "record_overflow": 22,
    "handshake_failure": 40,
    "bad_certificate": 42,
    "unsupported_certificate": 43,
    "certificate_revoked": 44,
    "certificate_expired": 45,
    "certificate_unknown": 46,
    "illegal_parameter": 47,
    "unknown_ca": 48,
    "access_denied": 49,
    "decode_error": 50,
    "decrypt_error": 51,
    "protocol_version": 70,
    "insufficient_security": 71,
    "internal_error": 80,
    "inappropriate_fallback": 86,
    "user_canceled": 90,
    "missing_extension": 109,
    "unsupported_extension": 110,
    "unrecognized_name": 112,
    "bad_certificate_status_response": 113,
    "unknown_psk_identity": 115,
    "certificate_required": 116,
    "no_application_protocol": 120,
}
"""Alerts by their names (RFC 8446, section 6)."""

_WARNINGS = frozenset({"close_notify", "user_canceled"})


def alert(name: str) -> bytes:
    """The record of the alert *name*, not encrypted. Raises KeyError for a name that is none of `ALERTS`."""
    level = 1 if name in _WARNINGS else 2
    return bytes([ALERT, _MAJOR, 3, 0, 2, level, ALERTS[name]])


class RecordPart(msgspec.Struct, frozen=True):
    """Bytes of one record: *data* begins *offset* bytes behind the beginning of its header.

    *size* is that of the whole record, header included; 0 while the header is incomplete.
    """

    kind: int
    offset: int
    size: int
    data: bytes

    @property
    def ends(self) -> bool:
        """Whether the record ends with this part."""
        return self.size > 0 and self.offset + len(self.data) == self.size


class RecordCutter:
    """Cuts the stream of one direction at its records, however it comes. Nothing is held back."""

    def __init__(self) -> None:
        self.lost = False
        """The bytes were no records of TLS: nothing is cut any more."""
        self._header = bytearray()
        self._passed = 0  # bytes of the record at hand

    @property
    def between(self) -> bool:
        """Whether the next byte begins a record."""
        return not self.lost and not self._header

    def feed(self, data: bytes) -> Iterator[RecordPart]:
        """The parts of *data*; none once the bytes are `lost`."""
        at = 0
        while at < len(data) and not self.lost:
            if len(self._header) < HEADER:  # up to the end of the header, so that the size is known from there on
                taken = data[at : at + HEADER - len(self._header)]
                self._header += taken
                if self._header[0] not in _TYPES or self._header[1:2] not in (b"", bytes([_MAJOR])):
                    self.lost = True
                    return
            else:
                taken = data[at : at + self._size - self._passed]
            yield RecordPart(self._header[0], self._passed, self._size, taken)
            self._passed += len(taken)
            at += len(taken)
            if self._passed == self._size:
                self._header.clear()
                self._passed = 0

    @property
    def _size(self) -> int:
        return HEADER + int.from_bytes(self._header[3:5]) if len(self._header) == HEADER else 0
