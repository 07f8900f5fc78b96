"""An endpoint with a layer of its own, as TLS has one: for tests that the engine works with such endpoints."""

from __future__ import annotations

import contextlib
import socket
import struct

from vaurien.engine.net.endpoint import Data, PlainEndpoint

_LENGTH = struct.Struct("!H")
_KEY = 0x5A
RECORD = 1000
"""Bytes of a record at most."""


def encoded(data: bytes) -> bytes:
    """*data* in records: a length, and the bytes with some bits turned."""
    cut = (data[at : at + RECORD] for at in range(0, len(data), RECORD))
    return b"".join(_LENGTH.pack(len(part)) + _turned(part) for part in cut)


END = _LENGTH.pack(0)
"""A record without bytes: the end of the stream, which is followed by a FIN."""


def _turned(data: bytes) -> bytes:
    return bytes(byte ^ _KEY for byte in data)


class Decoder:
    """Makes plain bytes of records, however they are cut."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.plain = bytearray()
        self.ended = False

    def feed(self, data: bytes | memoryview) -> None:
        self._data += data
        while len(self._data) >= _LENGTH.size and not self.ended:
            (size,) = _LENGTH.unpack_from(self._data)
            if len(self._data) < _LENGTH.size + size:
                return
            self.ended = size == 0
            self.plain += _turned(self._data[_LENGTH.size : _LENGTH.size + size])
            del self._data[: _LENGTH.size + size]


class LayeredEndpoint:
    """Speaks records over *under*. One `recv_into` gives one record's worth at most; the others wait inside."""

    buffers = True
    truncated = False

    def __init__(self, under: PlainEndpoint) -> None:
        self._under = under
        self._decoder = Decoder()
        self._out = bytearray()
        self._closing = False

    @property
    def holds(self) -> bool:
        return bool(self._decoder.plain or self._decoder.ended)

    @property
    def unsent(self) -> int:
        return len(self._out)

    def recv_into(self, buffer: memoryview, /) -> int:
        if not self._decoder.plain and not self._decoder.ended:
            raw = bytearray(1 << 16)
            size = self._under.recv_into(raw)
            if size == 0:
                raise ConnectionResetError("cut off in the middle of the stream")
            self._decoder.feed(memoryview(raw)[:size])
        if not self._decoder.plain:
            if self._decoder.ended:
                return 0
            raise BlockingIOError
        part = self._decoder.plain[: min(RECORD, len(buffer))]
        del self._decoder.plain[: len(part)]
        buffer[: len(part)] = part
        return len(part)

    def send(self, data: Data, /) -> int:
        self._flush()
        part = bytes(data[: 4 * RECORD])
        self._out += encoded(part)
        with contextlib.suppress(BlockingIOError):  # `unsent` says so
            self._flush()
        return len(part)

    def _flush(self) -> None:
        while self._out:
            del self._out[: self._under.send(self._out)]
        if self._closing:
            self._under.end_stream()

    def end_stream(self) -> None:
        if not self._closing:
            self._closing = True
            self._out += END
        try:
            self._flush()
        except OSError:
            return

    def reset(self) -> None:
        self._under.reset()

    def close(self) -> None:
        self._under.close()

    def fileno(self) -> int:
        return self._under.fileno()

    def undelivered(self) -> int:
        try:
            self._flush()
        except BlockingIOError:
            pass
        except OSError:
            return 0
        return len(self._out) + self._under.undelivered()

    def ended(self) -> bool:
        if self._decoder.plain:
            return False
        return self._decoder.ended or not self._under.recv(1, socket.MSG_PEEK)
