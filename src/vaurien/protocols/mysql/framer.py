"""Where MySQL's messages start and end.

Strategy: both directions are packets of a three-byte length and a sequence number. A command begins with number 0; any
other number continues a dialogue (authentication, LOAD DATA LOCAL). How many packets answer a command depends on the
command and on the capabilities that both sides named when they connected, so the first packets of each are read. Of
every later packet only the first bytes are looked at, and nothing of a row is ever stored.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import ClassVar

from vaurien.errors import ParseError
from vaurien.framing import Framer, Frames, Head, Reader, Step
from vaurien.protocols._statements import QUERY_START, Statements, command
from vaurien.protocols.mysql import packets
from vaurien.protocols.mysql.packets import Can, ServerStatus

_START = 5 + QUERY_START
"""Bytes read of a command: its code, a statement's number or the counts of attributes, and the start of its text."""

_LOGIN = 36
"""Bytes read of a HandshakeResponse41: up to where the user's name begins (MariaDB's flags are the last four)."""


_UNANSWERED = frozenset({"quit", "stmt_close", "stmt_send_long_data"})
_STREAMS = frozenset({"binlog_dump", "binlog_dump_gtid", "table_dump", "clone", "subscribe_group_replication_stream"})


class MysqlRequest(Head):
    """A command, or the client's answer to the greeting. *sequence* is the number of its packet."""

    sequence: int = 0

    @property
    def command(self) -> str:
        """The command's name, as in `fields`."""
        return self.fields["command"]

    @property
    def login(self) -> bool:
        """Whether it is answered by rounds of authentication."""
        return self.command in ("connect", "change_user")

    @property
    def reply_sequence(self) -> int:
        """The number of the packet that answers; a request of 16 MiB or more is taken to be of two packets."""
        return self.sequence + (2 if self.data[:3] == b"\xff\xff\xff" else 1)


class MysqlFramer(Framer):
    """What one connection has agreed upon, and both directions of it."""

    def __init__(self) -> None:
        self._tunnel = False  # something else is spoken from here
        self._capabilities = 0  # the server's, then those that both have
        self._statements = Statements()
        self._prepared = -1  # the last statement's number, which MariaDB's clients call -1
        self._local = False  # the client is sending the file of a LOAD DATA LOCAL
        super().__init__()

    def _leave(self) -> None:
        self._tunnel = True
        self.stop_framing()

    # The client's side.

    def requests(self, read: Reader) -> Frames:
        yield from self._login(read)
        while not self._tunnel:
            length, sequence = yield from packets.header(read)
            if self._local:
                yield Step.ASIDE
                yield from self._file(read, length)
            elif sequence:
                self._check_dialogue(sequence)
                yield Step.ASIDE
                yield from packets.skip(read, length)
            else:
                payload = yield from read.exactly(min(length, _START))
                yield self._command(payload)
                yield from packets.skip(read, length, len(payload))
            yield Step.END

    def _login(self, read: Reader) -> Frames:
        length, sequence = yield from packets.header(read)
        if sequence != 1:
            raise ParseError(f"a client that begins with packet {sequence}; an answer to the greeting is packet 1")
        payload = yield from read.exactly(min(length, _LOGIN))
        flags = packets.client_capabilities(payload)
        if flags & Can.SSL:
            yield Step.ASIDE
            yield from packets.skip(read, length, len(payload))
            if not self.agree_on_tls():
                self._tunnel = True
            yield Step.END
            if self._tunnel:
                return
            yield from self.until_tls()
            length, sequence = yield from packets.header(read)
            payload = yield from read.exactly(min(length, _LOGIN))
            flags = packets.client_capabilities(payload)
        self._capabilities &= flags
        yield MysqlRequest(request=True, fields={"command": "connect"}, sequence=sequence, repeatable=False)
        yield from packets.skip(read, length, len(payload))
        yield Step.END

    def _command(self, payload: bytes) -> MysqlRequest:
        code = payload[0] if payload else 0
        name = packets.COMMANDS.get(code, f"0x{code:02x}")
        number = int.from_bytes(payload[1:5], "little")
        fields = {"command": name}
        if name == "query":
            fields["query"] = _text(packets.query(payload, self._capabilities))
        elif name == "stmt_prepare":
            fields["query"] = _text(payload[1:])
        elif name.startswith("stmt_"):
            fields["query"] = self._statements.text(self._prepared if number == 0xFFFFFFFF else number)
        if name == "stmt_close":
            self._statements.set(number, None)
        statement = command(fields.get("query", ""))
        return MysqlRequest(
            request=True,
            fields=fields,
            answered=name not in _UNANSWERED,
            refusable=name not in _UNANSWERED and statement != "ROLLBACK",
            repeatable=name not in _STREAMS and name != "change_user" and statement != "LOAD",
        )

    def _check_dialogue(self, sequence: int) -> None:
        head = self.waiting[0] if self.waiting else None
        if not isinstance(head, MysqlRequest) or not head.login:
            raise ParseError(f"packet {sequence} from the client where a command begins with packet 0")

    def _file(self, read: Reader, length: int) -> Generator[Step, None, None]:
        while length:
            yield from packets.skip(read, length)
            length, _ = yield from packets.header(read)
        self._local = False

    # The server's side.

    def responses(self, read: Reader) -> Frames:
        yield from self._greeting(read)
        while not self._tunnel:
            length, _ = yield from packets.header(read)
            start = yield from read.exactly(min(length, packets.ANSWER))
            request = self.waiting[0] if self.waiting else None
            if isinstance(request, MysqlRequest):
                yield Head(request=False)
                yield from packets.skip(read, length, len(start))
                yield from self._answer(request, read, start)
            elif start.startswith(packets.ERR):  # the server ends an idle connection
                yield Step.ASIDE
                yield from packets.skip(read, length, len(start))
            else:
                raise ParseError("an answer that no command asked for")
            yield Step.END

    def _greeting(self, read: Reader) -> Frames:
        length, sequence = yield from packets.header(read)
        start = yield from read.exactly(1)
        if sequence != 0 or start not in (b"\x0a", packets.ERR):
            raise ParseError(f"a server that begins with packet {sequence} of type {start.hex()}; expected a greeting")
        payload = yield from read.exactly(length - 1)
        if start != packets.ERR:
            self._capabilities = packets.greeting_capabilities(start + payload)
        yield Step.ASIDE
        yield Step.END

    def _answer(self, request: MysqlRequest, read: Reader, start: bytes) -> Generator[Step, None, None]:
        """The rest of an answer whose first packet began with *start* and is read."""
        command = request.command
        if start.startswith(packets.ERR) and not start.startswith(packets.PROGRESS):
            return
        if command in _STREAMS:
            self._leave()
        elif command in self._ANSWERS:
            yield from self._ANSWERS[command](self, request, read, start)
        elif command != "statistics" and start[:1] not in (b"\0", packets.END):
            raise ParseError(f"an answer of type {start[:1].hex()} to the command {command}")

    def _login_answer(self, request: MysqlRequest, read: Reader, start: bytes) -> Generator[Step, None, None]:
        while start[:1] not in (b"\0", packets.ERR):  # switch to another method, or more data for it
            start = yield from packets.packet(read)
        if (
            request.command == "connect"
            and not start.startswith(packets.ERR)
            and self._capabilities & (Can.COMPRESS | Can.ZSTD)
        ):
            self._leave()

    def _results(self, request: MysqlRequest, read: Reader, start: bytes) -> Generator[Step, None, None]:
        """Any number of results, each an OK, an ERR, a LOAD DATA LOCAL, or a result set."""
        while True:
            if self._is_ok(start):
                more = packets.status(start)
            elif start.startswith(packets.LOCAL):
                self._local, more = True, ServerStatus.MORE_RESULTS
            elif start.startswith(packets.PROGRESS):
                more = ServerStatus.MORE_RESULTS
            elif start.startswith(packets.ERR):
                return
            else:
                more = yield from self._result_set(read, start)
            if not more & ServerStatus.MORE_RESULTS:
                return
            start = yield from packets.packet(read)

    def _is_ok(self, start: bytes) -> bool:
        """Whether it is an OK packet; a result set without its metadata begins like one, but is shorter."""
        return start.startswith(b"\0") and not (self._capabilities & Can.OPTIONAL_METADATA and len(start) < 7)

    def _result_set(self, read: Reader, start: bytes) -> Generator[Step, None, int]:
        """A result set after its first packet; what is returned is the status at its end."""
        columns = self._columns(start)
        for _ in range(columns):
            yield from packets.packet(read)
        if not self._capabilities & Can.DEPRECATE_EOF:
            end = yield from packets.packet(read)
            flags = packets.status(end)
            if flags & ServerStatus.CURSOR:  # the rows are fetched by COM_STMT_FETCH
                return flags
        return (yield from packets.rows(read))

    def _columns(self, start: bytes) -> int:
        """How many column definitions follow the first packet of a result set."""
        field = packets.Field(start)
        if self._capabilities & Can.OPTIONAL_METADATA:
            return field.length() if field.number(1) else 0
        count = field.length()
        if self._capabilities & Can.CACHE_METADATA and not field.number(1):
            return 0
        return count

    def _row_answer(self, request: MysqlRequest, read: Reader, start: bytes) -> Generator[Step, None, None]:
        """Rows, or column definitions, up to the packet that ends them; the first of them is read."""
        if not start.startswith(packets.END):
            yield from packets.rows(read)

    def _prepare_answer(self, request: MysqlRequest, read: Reader, start: bytes) -> Generator[Step, None, None]:
        field = packets.Field(start, 1)
        self._prepared = field.number(4)
        self._statements.set(self._prepared, request.fields["query"])
        columns, parameters = field.number(2), field.number(2)
        field.take(1 + 2)  # filler, warnings
        if self._capabilities & Can.OPTIONAL_METADATA and field.rest() == b"\0":
            return
        for count in (parameters, columns):
            end = 0 if self._capabilities & Can.DEPRECATE_EOF else 1
            for _ in range(count + end if count else 0):
                yield from packets.packet(read)

    _ANSWERS: ClassVar[Mapping[str, Callable[..., Generator[Step, None, None]]]] = {
        "connect": _login_answer,
        "change_user": _login_answer,
        "query": _results,
        "process_info": _results,
        "stmt_execute": _results,
        "stmt_bulk_execute": _results,
        "stmt_prepare": _prepare_answer,
        "stmt_fetch": _row_answer,
        "field_list": _row_answer,
    }


def _text(data: bytes) -> str:
    return data[:QUERY_START].decode("utf-8", "replace")
