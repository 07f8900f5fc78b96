"""The framing of memcached's binary protocol (its page *BinaryProtocolRevamped*, and memcached 1.6).

Every packet has a header of 24 bytes that states how long the rest is, and a response repeats the opcode and the opaque
of its request, by which they are paired. The response to ``stat`` is many packets, up to one without a key.

Quiet retrievals (``getq``, ``getkq``, ``gatq``, ``gatkq``) are answered only when they hit. They wait like any other;
when a later request is answered first, they are given an empty response, which is how the exchange ends. The other
quiet commands are answered only when they fail: they are taken as not answered, so a stream of them leaves nothing
behind, and their failures are messages aside.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Mapping, Sequence

import msgspec

from vaurien.errors import ParseError
from vaurien.framing import Frames, Head, Reader, Step

REQUEST, RESPONSE = b"\x80", b"\x81"
"""The magic byte that every packet begins with."""

KEY_LIMIT = 250
"""Bytes of a key: memcached's KEY_MAX_LENGTH. A longer one is not read, as memcached refuses it."""

# magic, opcode, key length, extras length, data type, virtual bucket or status, body length, opaque, cas
_HEADER = struct.Struct("!BBHBBHIIQ")

_LOUD: Mapping[int, str] = {
    **dict(enumerate(("get", "set", "add", "replace", "delete", "incr", "decr", "quit", "flush_all"))),
    **dict(enumerate(("noop", "version", "getk"), 0x0A)),
    **dict(enumerate(("append", "prepend", "stat"), 0x0E)),
    **dict(enumerate(("verbosity", "touch", "gat"), 0x1B)),
    **dict(enumerate(("sasl_list", "sasl_auth", "sasl_step", "gatk"), 0x20)),
}
_QUIET_RETRIEVAL: Mapping[int, str] = {0x09: "getq", 0x0D: "getkq", 0x1E: "gatq", 0x24: "gatkq"}
_QUIET: Mapping[int, str] = {
    **dict(enumerate(("setq", "addq", "replaceq", "deleteq", "incrq", "decrq", "quitq", "flush_allq"), 0x11)),
    **dict(enumerate(("appendq", "prependq"), 0x19)),
}
_NAMES = {**_LOUD, **_QUIET_RETRIEVAL, **_QUIET}
_QUITS = frozenset({0x07, 0x17})
_LOGINS = frozenset({0x21, 0x22})  # sasl_auth, sasl_step
_STAT = 0x10
_WITH_KEY = frozenset({0x0C, 0x0D, 0x23, 0x24})  # getk and its kin: the response has the request's key


class BinaryRequest(Head):
    """A request packet."""

    opcode: int = 0
    opaque: int = 0
    key: bytes = b""

    @property
    def quiet(self) -> bool:
        """Whether it is answered only when it hits."""
        return self.opcode in _QUIET_RETRIEVAL


class Header(msgspec.Struct, frozen=True):
    """What framing needs of a header. *status* means nothing in a request."""

    opcode: int
    key: int
    extras: int
    status: int
    body: int
    opaque: int

    @classmethod
    def parse(cls, data: bytes, magic: bytes) -> Header:
        """The header that *data* is. Raises `ParseError` for another *magic*, and lengths that do not fit."""
        first, opcode, key, extras, _, status, body, opaque, _ = _HEADER.unpack(data)
        if first != magic[0]:
            raise ParseError(f"a packet that begins with byte 0x{first:02x}, not 0x{magic[0]:02x}")
        if key + extras > body:
            raise ParseError(f"a packet of {body} bytes with a key of {key} and extras of {extras}")
        return cls(opcode, key, extras, status, body, opaque)

    @property
    def known(self) -> int:
        """Bytes of the body that are read: extras and key, unless the key is too long for one."""
        return self.extras + self.key if self.key <= KEY_LIMIT else 0


def requests(read: Reader, waiting: Sequence[Head]) -> Frames:
    """Read request packets; *waiting* are those that have no answer yet."""
    while (yield from _begins(read, REQUEST)):
        header = Header.parse((yield from read.exactly(_HEADER.size)), REQUEST)
        known = yield from read.exactly(header.known)
        request = _request(header, known[header.extras :])
        request.needed = request.answered and not request.quiet and _ends_in_quiet(waiting)
        yield request
        yield from read.skip(header.body - len(known))
        yield Step.END


def responses(read: Reader, waiting: Sequence[Head]) -> Frames:
    """Read the packets that answer *waiting*."""
    while (yield from _begins(read, RESPONSE)):
        header = Header.parse((yield from read.exactly(_HEADER.size)), RESPONSE)
        known = yield from read.exactly(header.known)
        passed = _passed_over(waiting, header, known[header.extras :])
        if passed:
            read.unread(_HEADER.size + len(known))
            yield from _say_nothing(passed)
            yield from read.exactly(_HEADER.size + len(known))
        yield Step.ASIDE if passed is None else Head(request=False, fields={"status": f"0x{header.status:04x}"})
        yield from read.skip(header.body - len(known))
        if header.opcode == _STAT:
            yield from _statistics(read, header)
        yield Step.END


def failure(request: bytes, status: int, message: bytes) -> bytes:
    """The packet that answers *request* (at least a header) with *status* and *message*; nothing when it is shorter."""
    if len(request) < _HEADER.size:
        return b""
    _, opcode, _, _, _, _, _, opaque, _ = _HEADER.unpack_from(request)
    return _HEADER.pack(RESPONSE[0], opcode, 0, 0, 0, status, len(message), opaque, 0) + message


def _begins(read: Reader, magic: bytes) -> Generator[Step, None, bool]:
    first = yield from read.peek(1)
    if first not in (b"", magic):
        raise ParseError(f"a packet that begins with byte 0x{first[0]:02x}, not 0x{magic[0]:02x}")
    return bool(first)


def _request(header: Header, key: bytes) -> BinaryRequest:
    fields = {"command": _NAMES.get(header.opcode, f"0x{header.opcode:02x}")}
    if key:
        fields["key"] = key.decode(errors="backslashreplace")
    answered = header.opcode not in _QUIET
    return BinaryRequest(
        True,
        fields,
        answered,
        refusable=header.opcode not in _QUITS,
        repeatable=header.opcode not in _LOGINS,
        opcode=header.opcode,
        opaque=header.opaque,
        key=key,
    )


def _ends_in_quiet(waiting: Sequence[Head]) -> bool:
    return bool(waiting) and isinstance(waiting[-1], BinaryRequest) and waiting[-1].quiet


def _passed_over(waiting: Sequence[Head], header: Header, key: bytes) -> int | None:
    """How many quiet requests say nothing, because the packet answers a later one; ``None``: it answers no request."""
    for passed, request in enumerate(waiting):
        if not isinstance(request, BinaryRequest):
            break
        if _answers(request, header, key):
            return passed
        if not request.quiet:
            break
    if header.opcode in _QUIET:
        return None
    raise ParseError(f"a response with opcode 0x{header.opcode:02x} and opaque {header.opaque} answers no request")


def _answers(request: BinaryRequest, header: Header, key: bytes) -> bool:
    if (request.opcode, request.opaque) != (header.opcode, header.opaque):
        return False
    return not key or header.opcode not in _WITH_KEY or request.key == key


def _say_nothing(count: int) -> Frames:
    """The empty responses of *count* quiet requests."""
    for _ in range(count):
        yield Head(request=False, fields={"status": ""})
        yield Step.END


def _statistics(read: Reader, header: Header) -> Generator[Step, None, None]:
    """Read the other packets of a response to ``stat``: each has a name for its key, and the last has none."""
    while header.key and not header.status:
        header = Header.parse((yield from read.exactly(_HEADER.size)), RESPONSE)
        yield from read.skip(header.body)
