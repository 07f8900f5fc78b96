"""WebSocket frames and messages (RFC 6455, section 5), without I/O and without a carrier.

A message is one frame, or several of which the last has FIN; control frames may come between them. `messages` is a
generator for a `Framer`'s direction: a head is a whole message, with the control frames inside, if it has at most
`MESSAGE_LIMIT` bytes; of a longer one the head is what came up to there, and its `WebSocketMessage.whole` is false.

Invalid UTF-8 passes, and so does an extension's data: only what decides where frames end is looked at. A frame that RFC
6455 forbids (a reserved bit or opcode, a length of 2^63 or more, a mask in the wrong direction, a control frame that is
too long or in pieces) is a `ParseError`: from there on the connection passes as bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Mapping

import msgspec

from vaurien.errors import ParseError
from vaurien.framing.fields import Fields
from vaurien.framing.framer import Framer, Frames
from vaurien.framing.head import Head
from vaurien.framing.reader import Reader, Step

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
OPCODES = {TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong"}

FIN, RSV1, RSV2, _RESERVED, _MASK = 0x80, 0x40, 0x20, 0x30, 0x80

MESSAGE_LIMIT = 2**20
"""Bytes of a message, with its frames' heads, that faults get whole."""

CONTROL_LIMIT = 125
"""Bytes of a control frame's payload (section 5.5)."""

_SHORT, _LONG = 126, 127


class Frame(msgspec.Struct, frozen=True):
    """A frame: its first byte, *bits* (FIN, RSV1 to RSV3, the opcode), its *payload* in the clear, and its *mask*."""

    bits: int
    payload: bytes
    mask: bytes = b""

    @property
    def opcode(self) -> int:
        """The opcode."""
        return self.bits & 0x0F

    @property
    def control(self) -> bool:
        """Whether it is a control frame."""
        return self.opcode >= CLOSE

    def __bytes__(self) -> bytes:
        size, masked = len(self.payload), _MASK if self.mask else 0
        if size < _SHORT:
            head = bytes((self.bits, masked | size))
        elif size < 2**16:
            head = struct.pack("!BBH", self.bits, masked | _SHORT, size)
        else:
            head = struct.pack("!BBQ", self.bits, masked | _LONG, size)
        return head + self.mask + (_masked(self.payload, self.mask) if self.mask else self.payload)


def frames(data: bytes) -> list[Frame]:
    """The frames that *data*, which is whole, consists of."""
    found, at = [], 0
    while at < len(data):
        bits, size, masked = data[at], data[at + 1] & 0x7F, data[at + 1] & _MASK
        at += 2
        if size >= _SHORT:
            width = 2 if size == _SHORT else 8
            size = int.from_bytes(data[at : at + width], "big")
            at += width
        mask = data[at : at + 4] if masked else b""
        at += len(mask)
        payload = data[at : at + size]
        found.append(Frame(bits, _masked(payload, mask) if mask else payload, mask))
        at += size
    return found


def close_frame(code: int, reason: str, mask: bytes = b"") -> bytes:
    """A close frame (section 5.5.1); a client's has a *mask*."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes(Frame(FIN | CLOSE, payload[:CONTROL_LIMIT], mask))


def _masked(payload: bytes, mask: bytes) -> bytes:
    """*payload* with *mask* on it, or off it (section 5.3)."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class WebSocketMessage(Head, eq=False):
    """A message, or a control frame; *compressed*: its payload is not in the clear (RFC 7692).

    *raw* is all of it, as it came; of a message that is not *whole* it is empty. *number* counts the messages of data
    in its direction; control frames have none (0).
    """

    opcode: int = TEXT
    whole: bool = True
    compressed: bool = False
    raw: bytes = b""
    number: int = 0

    @property
    def frames(self) -> list[Frame]:
        """Its frames, with the control frames between them; of a message that is not whole, none."""
        return frames(self.raw)


def _fields(message: WebSocketMessage, upstream: bool, known: Mapping[str, str]) -> dict[str, str]:
    fields = {**known, "opcode": OPCODES[message.opcode], "direction": "upstream" if upstream else "downstream"}
    if message.number:
        fields["number"] = str(message.number)
    if message.opcode == TEXT and message.whole and not message.compressed:
        payload = b"".join(frame.payload for frame in message.frames if not frame.control)
        fields["text"] = payload.decode(errors="replace")
    return fields


class _Opened(msgspec.Struct):
    """The message that is being read.

    Its *opcode*, whether it is *compressed*, its *number*, its *size* so far, and its *parts*.
    """

    opcode: int
    compressed: bool
    number: int
    size: int = 0
    parts: list[bytes] = []


def messages(read: Reader, *, upstream: bool, known: Mapping[str, str], extended: bool) -> Frames:
    """The messages that a client (*upstream*) or a server sends.

    Their fields are *known*, those of the handshake, and the message's own. *extended*: an extension was agreed on,
    which may use RSV1.
    """
    count = 0
    while (yield from read.peek(1)):
        opened: _Opened | None = None
        headed = False
        while True:
            head, size = yield from _frame_head(read, upstream, extended, opened)
            bits, opcode = head[0], head[0] & 0x0F
            if opened is None:
                count += opcode < CLOSE
                opened = _Opened(opcode, bool(bits & RSV1), count if opcode < CLOSE else 0)
            opened.size += len(head) + size
            last = bool(bits & FIN) and (opcode < CLOSE or opened.opcode >= CLOSE)
            if not headed and opened.size > MESSAGE_LIMIT:
                yield _message(opened, upstream, known, whole=False)
                headed = True
                opened.parts.clear()
            if headed:
                yield from read.skip(size)
            else:
                opened.parts += (head, (yield from read.exactly(size, MESSAGE_LIMIT)))
            if last:
                break
        if not headed:
            yield _message(opened, upstream, known, whole=True)
        yield Step.END


def _message(opened: _Opened, upstream: bool, known: Mapping[str, str], *, whole: bool) -> WebSocketMessage:
    message = WebSocketMessage(
        request=upstream,
        answered=False,
        repeatable=opened.opcode < CLOSE,
        one_way=True,
        opcode=opened.opcode,
        whole=whole,
        compressed=opened.compressed,
        raw=b"".join(opened.parts) if whole else b"",
        number=opened.number,
    )
    message.fields = Fields(lambda: _fields(message, upstream, known))
    return message


def _frame_head(
    read: Reader, upstream: bool, extended: bool, opened: _Opened | None
) -> Generator[Step, None, tuple[bytes, int]]:
    """The head of a frame, with its mask, and the length of its payload. Raises `ParseError`."""
    head = yield from read.exactly(2)
    bits, second = head
    opcode, size = bits & 0x0F, second & 0x7F
    if bits & _RESERVED or (bits & RSV1 and not extended):
        raise ParseError(f"a WebSocket frame with a reserved bit: 0x{bits:02x}")
    if opcode != CONTINUATION and opcode not in OPCODES:
        raise ParseError(f"a WebSocket frame with the reserved opcode {opcode}")
    if opcode < CLOSE and (opcode == CONTINUATION) != (opened is not None):
        raise ParseError(f"a WebSocket frame with opcode {opcode} in the wrong place")
    if opcode >= CLOSE and (not bits & FIN or size > CONTROL_LIMIT):
        raise ParseError("a control frame of WebSocket that is too long, or in pieces")
    if bool(second & _MASK) is not upstream:
        raise ParseError(f"a WebSocket frame {'without' if upstream else 'with'} a mask")
    if size >= _SHORT:
        length = yield from read.exactly(2 if size == _SHORT else 8)
        head, size = head + length, int.from_bytes(length, "big")
        if size >= 2**63:
            raise ParseError(f"a WebSocket frame of {size} bytes; at most 2^63-1 are allowed")
    if upstream:
        head += yield from read.exactly(4)
    return head, size


class WebSocketFramer(Framer):
    """The messages of both sides, for a carrier that has nothing else behind the handshake: see `messages`."""

    one_way = True
    stateless = False

    def __init__(self, known: Mapping[str, str], *, extended: bool) -> None:
        super().__init__()
        self._known_fields, self._extended = known, extended

    def requests(self, read: Reader) -> Frames:
        yield from messages(read, upstream=True, known=self._known_fields, extended=self._extended)

    def responses(self, read: Reader) -> Frames:
        yield from messages(read, upstream=False, known=self._known_fields, extended=self._extended)
