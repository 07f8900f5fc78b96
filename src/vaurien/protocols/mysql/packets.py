"""What is inside MySQL's packets, as far as framing and errors need it.

Sources: the MySQL Internals manual, *Client/Server Protocol* (dev.mysql.com/doc/dev/mysql-server), and MariaDB's
*Client/Server Protocol* (mariadb.com/kb), where the two differ.
"""

from __future__ import annotations

import enum
from collections.abc import Generator

from vaurien.errors import ParseError
from vaurien.framing import Reader, Step

WHOLE = 0xFFFFFF
"""The payload length that says "more follows in another packet"."""

ANSWER = 32
"""Bytes read of an answer's packet: OK's and PREPARE_OK's numbers need at most 23."""

ERR = b"\xff"
END = b"\xfe"
LOCAL = b"\xfb"
PROGRESS = b"\xff\xff\xff"
"""MariaDB's progress report: an ERR packet with number 65535, after which more follows."""


class Can(enum.IntFlag):
    """The capability flags that change how packets follow each other; MariaDB's own are in the upper 32 bits."""

    LONG_PASSWORD = 1  # MariaDB leaves it out to say that its own flags follow
    COMPRESS = 1 << 5
    PROTOCOL_41 = 1 << 9
    SSL = 1 << 11
    DEPRECATE_EOF = 1 << 24
    OPTIONAL_METADATA = 1 << 25
    ZSTD = 1 << 26
    QUERY_ATTRIBUTES = 1 << 27
    CACHE_METADATA = 1 << 36


class ServerStatus(enum.IntFlag):
    """The flags of an OK or EOF packet that say what follows it."""

    MORE_RESULTS = 0x0008
    CURSOR = 0x0040


COMMANDS = {
    0x00: "sleep",
    0x01: "quit",
    0x02: "init_db",
    0x03: "query",
    0x04: "field_list",
    0x05: "create_db",
    0x06: "drop_db",
    0x07: "refresh",
    0x08: "shutdown",
    0x09: "statistics",
    0x0A: "process_info",
    0x0B: "connect",
    0x0C: "process_kill",
    0x0D: "debug",
    0x0E: "ping",
    0x0F: "time",
    0x10: "delayed_insert",
    0x11: "change_user",
    0x12: "binlog_dump",
    0x13: "table_dump",
    0x14: "connect_out",
    0x15: "register_slave",
    0x16: "stmt_prepare",
    0x17: "stmt_execute",
    0x18: "stmt_send_long_data",
    0x19: "stmt_close",
    0x1A: "stmt_reset",
    0x1B: "set_option",
    0x1C: "stmt_fetch",
    0x1D: "daemon",
    0x1E: "binlog_dump_gtid",
    0x1F: "reset_connection",
    0x20: "clone",
    0x21: "subscribe_group_replication_stream",
    0xFA: "stmt_bulk_execute",
}
"""The commands of `enum_server_command`, and MariaDB's, without their COM_ and in lower case."""


class Field:
    """A cursor over the first bytes of a payload. Every read raises `ParseError` past their end."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data, self.position = data, position

    def take(self, count: int) -> bytes:
        """The next *count* bytes."""
        end = self.position + count
        if end > len(self.data):
            raise ParseError(f"a packet of {len(self.data)} bytes, read up to {end}")
        part, self.position = self.data[self.position : end], end
        return part

    def number(self, size: int) -> int:
        """A little-endian integer of *size* bytes."""
        return int.from_bytes(self.take(size), "little")

    def length(self) -> int:
        """A length-encoded integer."""
        first = self.number(1)
        if first < 0xFB:
            return first
        sizes = {0xFC: 2, 0xFD: 3, 0xFE: 8}
        if first not in sizes:
            raise ParseError(f"a length-encoded integer that begins with 0x{first:02x}")
        return self.number(sizes[first])

    def rest(self) -> bytes:
        """All that is left."""
        return self.data[self.position :]


def greeting_capabilities(payload: bytes) -> int:
    """The server's flags from its greeting (HandshakeV10). Raises `ParseError` for anything else."""
    if payload[:1] != b"\x0a":
        raise ParseError(f"a greeting of version {payload[:1].hex() or 'nothing'}; MySQL and MariaDB send 0a")
    end = payload.find(b"\0")
    if end < 0:
        raise ParseError("a greeting without the end of the server's version")
    field = Field(payload, end + 1 + 4 + 8 + 1)  # past the thread's id, the scramble's first part and a filler
    flags = field.number(2)
    if not field.rest():
        return flags
    field.take(1 + 2)  # character set, status
    flags |= field.number(2) << 16
    field.take(1 + 6)
    return flags if flags & Can.LONG_PASSWORD else flags | field.number(4) << 32


def client_capabilities(payload: bytes) -> int:
    """The client's flags from its first packet: an SSLRequest, or a HandshakeResponse41."""
    field = Field(payload)
    flags = field.number(4)
    if not flags & Can.PROTOCOL_41:
        raise ParseError("a client of a MySQL before 4.1, or something else")
    field.take(4 + 1 + 19)  # largest packet, character set, filler
    return flags if flags & Can.LONG_PASSWORD else flags | field.number(4) << 32


def status(payload: bytes) -> int:
    """The status flags of an OK or EOF packet, of which *payload* is the start."""
    field = Field(payload, 1)
    if len(payload) == 5 and payload[:1] == b"\xfe":
        field.take(2)  # warnings
        return field.number(2)
    field.length()  # rows
    field.length()  # last id
    return field.number(2)


_SIZES = {0x01: 1, 0x02: 2, 0x03: 4, 0x04: 4, 0x05: 8, 0x06: 0, 0x08: 8, 0x09: 4, 0x0D: 2}
"""Bytes of a value by its type, as in a binary row; every other type has its length before it."""


def query(payload: bytes, capabilities: int) -> bytes:
    """The statement of a COM_QUERY from the start of its *payload*; empty when its attributes fill that."""
    field = Field(payload, 1)
    if not capabilities & Can.QUERY_ATTRIBUTES:
        return field.rest()
    try:
        return _after_attributes(field)
    except ParseError:  # longer than what was read: the statement is passed on, but not known
        return b""


def _after_attributes(field: Field) -> bytes:
    count = field.length()
    field.length()  # sets of parameters: always one
    if count == 0:
        return field.rest()
    nulls = int.from_bytes(field.take((count + 7) // 8), "little")
    field.take(1)  # "new parameters": always one
    kinds = []
    for _ in range(count):
        kinds.append(field.number(2) & 0xFF)
        field.take(field.length())
    for index, kind in enumerate(kinds):
        if not nulls >> index & 1:
            field.take(_SIZES[kind] if kind in _SIZES else field.length())
    return field.rest()


def header(read: Reader) -> Generator[Step, None, tuple[int, int]]:
    """The length of the next packet's payload, and its sequence number."""
    header = yield from read.exactly(4)
    return int.from_bytes(header[:3], "little"), header[3]


def skip(read: Reader, length: int, taken: int = 0) -> Generator[Step, None, None]:
    """The rest of a payload of *length* of which *taken* bytes are read, with the packets that continue it."""
    yield from read.skip(length - taken)
    while length == WHOLE:
        length, _ = yield from header(read)
        yield from read.skip(length)


def packet(read: Reader) -> Generator[Step, None, bytes]:
    """The next packet: the first bytes of its payload, at most `ANSWER` of them."""
    length, _ = yield from header(read)
    start = yield from read.exactly(min(length, ANSWER))
    yield from skip(read, length, len(start))
    return start


def rows(read: Reader) -> Generator[Step, None, int]:
    """Packets up to one that ends a result set; what is returned is its status (none after an ERR)."""
    while True:
        begin = yield from read.exactly(5)  # of a million rows each is read so: the header, and the first byte
        length = int.from_bytes(begin[:3], "little")
        if length == 0:
            raise ParseError("a row without a byte")
        if begin[4] < 0xFE:
            yield from skip(read, length, 1) if length == WHOLE else read.skip(length - 1)
            continue
        start = begin[4:] + (yield from read.exactly(min(length, ANSWER) - 1))
        yield from skip(read, length, len(start))
        if start.startswith(END) and length < WHOLE:  # a row that begins so holds 16 MiB or more
            return status(start)
        if start.startswith(ERR) and not start.startswith(PROGRESS):
            return 0


def error_packet(number: int, state: str, text: str, sequence: int) -> bytes:
    """An ERR packet: *number* and *state* as in the server's list of errors, *sequence* one more than the request's."""
    payload = b"\xff" + number.to_bytes(2, "little") + b"#" + state.encode() + text.encode()
    return len(payload).to_bytes(3, "little") + bytes([sequence % 256]) + payload
