"""A server refuses what a client asked for, in each state that a framer keeps; the next fault hits the next request.

Each dialogue is said to the server itself first, and then through a proxy: the same bytes must come back. Behind it an
`error` answers exactly the next request, and the server the one after it.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.integration.exchanges import fault, framed, where
from tests.protocols.servers import Address
from tests.running import PATIENCE
from tests.servers import Server

pytestmark = pytest.mark.server

Turn = tuple[bytes, bytes]
"""What the client sends, and a pattern of the whole answer to it."""


@contextlib.contextmanager
def talking(address: Address) -> Iterator[Callable[[bytes, bytes], bytes]]:
    """Say something, and read until the answer is as it should be."""
    with socket.create_connection(address, PATIENCE) as client:

        def say(data: bytes, answer: bytes) -> bytes:
            client.sendall(data)
            read = b""
            while not re.fullmatch(answer, read, re.DOTALL):
                chunk = client.recv(65536)
                assert chunk, (data[:100], read)
                read += chunk
                assert len(read) < 2**20, (data[:100], read[:200])
            return read

        yield say


def refused(
    server: Server, protocol: str, begins: Sequence[Turn], dialogue: Sequence[Turn], next_one: Turn, injected: Turn
) -> None:
    """Play *dialogue*, then have a fault hit *next_one*; *injected* is the fault's code and what it answers."""
    with talking(where(server)) as say:
        for turn in (*begins, *dialogue, next_one):
            say(*turn)
    for cut in (False, True):
        with framed(server, protocol) as proxy, talking(proxy.address) as say:
            proxy.set_policy("", fault("delay", sleep=0))  # so that exchanges are followed from the beginning
            for sent, answer in (*begins, *dialogue):
                if cut and len(sent) < 200:  # a byte at a time
                    for place in range(len(sent) - 1):
                        say(sent[place : place + 1], b"")
                    say(sent[-1:], answer)
                else:
                    say(sent, answer)
            proxy.set_policy("", fault("error", code=injected[0].decode()))
            say(next_one[0], injected[1])
            proxy.set_policy("", fault("delay", sleep=0))
            say(*next_one)


EHLO = (b"EHLO me.test\r\n", rb".*250 [^\r]*\r\n")
GREETED = [(b"", rb"220 [^\r]*\r\n"), EHLO]
MAIL = (b"MAIL FROM:<a@x.test>\r\n", rb"250 [^\r]*\r\n")
RCPT = (b"RCPT TO:<b@y.test>\r\n", rb"250 [^\r]*\r\n")
DATA = (b"DATA\r\n", rb"354 [^\r]*\r\n")
NO = rb"[45]\d\d(?:-[^\r]*\r\n[45]\d\d)* [^\r]*\r\n"

SMTP: dict[str, list[Turn]] = {
    "DATA without a recipient": [MAIL, (b"DATA\r\n", NO)],
    "DATA without a sender": [(b"DATA\r\n", NO)],
    "AUTH by an unknown mechanism": [(b"AUTH NONE\r\n", NO)],
    "AUTH with a wrong answer": [(b"AUTH LOGIN\r\n", rb"334 [^\r]*\r\n"), (b"!!\r\n", NO)],
    "AUTH with a wrong password": [
        (b"AUTH LOGIN\r\n", rb"334 [^\r]*\r\n"),
        (b"bWU=\r\n", rb"334 [^\r]*\r\n"),
        (b"d3Jvbmc=\r\n", NO),
    ],
    "AUTH that is given up": [(b"AUTH PLAIN\r\n", rb"334 [^\r]*\r\n"), (b"*\r\n", NO)],
    "AUTH in one round, wrong": [(b"AUTH PLAIN AG1lAHdyb25n\r\n", NO)],
    "TURN": [(b"TURN\r\n", NO)],
    "ATRN": [(b"ATRN x.test\r\n", NO)],
    "a mail without an end of its own": [MAIL, RCPT, DATA, (b"x\r\n.x\r\n.\r\n", rb"250 [^\r]*\r\n")],
    "an unknown command": [(b"XYZZY\r\n", NO)],
    "STARTTLS with an argument": [(b"STARTTLS now\r\n", NO)],
}


@pytest.mark.parametrize("name", SMTP)
@pytest.mark.parametrize("which", ["aiosmtpd", "exim"])
def test_smtp(request: pytest.FixtureRequest, which: str, name: str) -> None:
    host, port = request.getfixturevalue(which)
    server = Server(host, port, None, 0)  # type: ignore[arg-type]
    refused(server, "smtp", GREETED, SMTP[name], (b"NOOP\r\n", rb"250 [^\r]*\r\n"), (b"451", rb"451 4.3.0 [^\r]*\r\n"))


EXIM: dict[str, list[Turn]] = {
    "chunks without a recipient": [MAIL, (b"BDAT 10\r\n0123456789", NO), (b"RSET\r\n", rb"250 [^\r]*\r\n")],
    "all recipients of a pipeline": [
        (b"MAIL FROM:<a@x.test>\r\nRCPT TO:<nobody@x.test>\r\nDATA\r\n", rb"250 [^\r]*\r\n" + NO + NO),
    ],
    "a BDAT that is none": [MAIL, RCPT, (b"BDAT many\r\n", NO), (b"RSET\r\n", rb"250 [^\r]*\r\n")],
}


@pytest.mark.parametrize("name", EXIM)
def test_extensions_of_smtp(exim: Address, name: str) -> None:
    server = Server(*exim, None, 0)  # type: ignore[arg-type]
    refused(server, "smtp", GREETED, EXIM[name], (b"NOOP\r\n", rb"250 [^\r]*\r\n"), (b"451", rb"451 4.3.0 [^\r]*\r\n"))


LARGE = bytes(2**20 + 1000)
LONG = b"k" * 251
CLIENT_ERROR = rb"CLIENT_ERROR [^\r]*\r\n"
SERVER_ERROR = rb"SERVER_ERROR [^\r]*\r\n"

TEXT: dict[str, list[Turn]] = {
    "a value that is too large": [(b"set k 0 0 %d\r\n%s\r\n" % (len(LARGE), LARGE), SERVER_ERROR)],
    "a value of another length": [(b"set k 0 0 3\r\nabcd\r\n", CLIENT_ERROR + rb"ERROR\r\n")],
    "a length that is none": [(b"set k 0 0 many\r\n", CLIENT_ERROR)],
    "a length below zero": [(b"set k 0 0 -1\r\n", CLIENT_ERROR)],
    "a key that is too long": [(b"get " + LONG + b"\r\n", CLIENT_ERROR)],
    "a quiet get of a key that is too long": [(b"mg " + LONG + b" v q\r\nmn\r\n", CLIENT_ERROR + rb"MN\r\n")],
    "quiet flags that there are not": [(b"mg k ! q\r\nmn\r\n", CLIENT_ERROR + rb"MN\r\n")],
    "a quiet ms with a wrong length": [(b"ms k many q\r\nmn\r\n", CLIENT_ERROR + rb"MN\r\n")],
    "a quiet ms that stores nothing": [(b"ms absent 1 q MR\r\nx\r\nmn\r\n", rb"NS\r\nMN\r\n")],
    "a quiet md of nothing": [(b"md absent q\r\nmn\r\n", rb"(?:NF\r\n)?MN\r\n")],
    "a quiet ma of nothing": [(b"ma absent q\r\nmn\r\n", rb"NF\r\nMN\r\n|MN\r\n")],
    "watch of nothing that there is": [(b"watch nonsense\r\n", rb"ERROR\r\n|" + CLIENT_ERROR)],
    "a dump while there is none": [(b"lru_crawler nonsense\r\n", rb"ERROR\r\n|" + CLIENT_ERROR)],
    "incr of what is no number": [(b"set t 0 0 1\r\nx\r\n", rb"STORED\r\n"), (b"incr t 1\r\n", CLIENT_ERROR)],
    "a command without an answer, malformed": [(b"incr k noreply\r\nmn\r\n", rb"MN\r\n")],
    "an unknown command": [(b"xyzzy\r\n", rb"ERROR\r\n")],
    "a cas of another version": [
        (b"set c 0 0 1\r\nx\r\n", rb"STORED\r\n"),
        (b"cas c 0 0 1 999999999\r\ny\r\n", rb"EXISTS\r\n"),
    ],
}


@pytest.mark.parametrize("name", TEXT)
def test_memcache_as_text(memcached_server: Server, name: str) -> None:
    version = (b"version\r\n", rb"VERSION [^\r]*\r\n")
    refused(memcached_server, "memcache", [], TEXT[name], version, (b"busy", rb"SERVER_ERROR busy\r\n"))


def packet(
    opcode: int, key: bytes = b"", extras: bytes = b"", value: bytes = b"", opaque: int = 7, cas: int = 0
) -> bytes:
    lengths = b"%c%c%s%c\0\0\0" % (0x80, opcode, len(key).to_bytes(2, "big"), len(extras))
    body = extras + key + value
    return lengths + len(body).to_bytes(4, "big") + opaque.to_bytes(4, "big") + cas.to_bytes(8, "big") + body


def status(opcode: int, code: int, text: bytes = b"", extras: bytes = b"") -> bytes:
    """A whole answer to *opcode*, whatever its cas."""
    start = b"\x81%c\0\0%c\0\0%c" % (opcode, len(extras), code) + (len(extras) + len(text)).to_bytes(4, "big")
    return re.escape(start) + b"\0\0\0\7.{8}" + re.escape(extras + text)


NOOP = (packet(0x0A), status(0x0A, 0))
BINARY: dict[str, list[Turn]] = {
    "a get of nothing": [(packet(0x00, b"absent"), status(0x00, 1, b"Not found"))],
    "a quiet get of nothing": [(packet(0x09, b"absent") + NOOP[0], NOOP[1])],
    "a quiet set of a value that is too large": [(packet(0x11, b"k", bytes(8), LARGE), status(0x11, 3, b"Too large."))],
    "a quiet add of what there is": [
        (packet(0x01, b"there", bytes(8), b"x"), status(0x01, 0)),
        (packet(0x12, b"there", bytes(8), b"y"), status(0x12, 2, b"Data exists for key.")),
    ],
    "a quiet delete of nothing": [(packet(0x14, b"absent"), status(0x14, 1, b"Not found"))],
    "an increment of what is no number": [
        (packet(0x01, b"text", bytes(8), b"x"), status(0x01, 0)),
        (
            packet(0x05, b"text", bytes(7) + b"\1" + bytes(12)),
            status(0x05, 6, b"Non-numeric server-side value for incr or decr"),
        ),
    ],
    "an unknown command": [(packet(0x70), status(0x70, 0x81, b"Unknown command"))],
    "a login where there is none": [(packet(0x21, b"PLAIN", b"", b"\0me\0x"), status(0x21, 0x81, b"Unknown command"))],
}


@pytest.mark.parametrize("name", BINARY)
def test_memcache_in_binary(memcached_server: Server, name: str) -> None:
    refused(memcached_server, "memcache", [], BINARY[name], NOOP, (b"busy", status(0x0A, 0x85, b"busy")))


pymysql = pytest.importorskip("pymysql")


@pytest.fixture(scope="module")
def mariadb(mariadb_server: Server) -> Server:
    with connected(where(mariadb_server)) as one, one.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE PROCEDURE breaks() BEGIN SELECT 1; SELECT * FROM nowhere; END")
    return mariadb_server


def connected(address: Address, **options: Any) -> Any:
    account = {"user": "vaurien", "password": "secret", "database": "test", "autocommit": True} | options
    return pymysql.connect(host=address[0], port=address[1], connect_timeout=PATIENCE, read_timeout=30, **account)


COMMAND = pymysql.constants.COMMAND.__dict__
CLIENT = pymysql.constants.CLIENT


def ask(one: Any, command: str, payload: bytes) -> None:
    """Send a command, and read one packet."""
    one._execute_command(COMMAND[command], payload)
    one._read_packet()


def query(one: Any, text: str) -> Any:
    with one.cursor() as cursor:
        cursor.execute(text)
        found = [cursor.fetchall()]
        while cursor.nextset():
            found.append(cursor.fetchall())
        return found


def changes_user(one: Any) -> None:
    """To one whose password is wrong; the server ends the connection, or goes on."""
    ask(one, "COM_CHANGE_USER", b"nobody\0\0test\0\x21\0mysql_native_password\0")


def prepares_and_breaks(one: Any) -> None:
    one._execute_command(COMMAND["COM_STMT_PREPARE"], b"SELECT ?")
    number = one._read_packet().get_all_data()[1:5]
    for _ in range(4):  # a parameter, a column, and the end of each
        one._read_packet()
    with pytest.raises(pymysql.Error):
        ask(one, "COM_STMT_PREPARE", b"SELECT nonsense FROM nowhere")
    ask(one, "COM_STMT_FETCH", number + b"\1\0\0\0")  # it was never executed


MYSQL: dict[str, Callable[[Any], object]] = {
    "a query": lambda one: query(one, "SELECT nonsense FROM nowhere"),
    "the second of two queries": lambda one: query(one, "SELECT 1; SELECT nonsense FROM nowhere; SELECT 2"),
    "the second result of a procedure": lambda one: query(one, "CALL breaks()"),
    "a row in the middle of a result": lambda one: query(
        one, "SELECT IF(seq = 5000, (SELECT seq FROM seq_1_to_2), seq) FROM seq_1_to_9999"
    ),
    "a file that may not be read": lambda one: query(one, "LOAD DATA LOCAL INFILE '/nowhere/x' INTO TABLE nowhere"),
    "another database": lambda one: one.select_db("nowhere"),
    "a statement to prepare": lambda one: ask(one, "COM_STMT_PREPARE", b"SELECT nonsense FROM nowhere"),
    "a statement that there is not": lambda one: ask(one, "COM_STMT_EXECUTE", b"\x63\0\0\0\0\1\0\0\0"),
    "rows of a statement that there is not": lambda one: ask(one, "COM_STMT_FETCH", b"\x63\0\0\0\1\0\0\0"),
    "a reset of a statement that there is not": lambda one: ask(one, "COM_STMT_RESET", b"\x63\0\0\0"),
    "rows before they are there": prepares_and_breaks,
    "fields of a table that there is not": lambda one: ask(one, "COM_FIELD_LIST", b"nowhere\0%"),
    "a binary log that there is not": lambda one: ask(one, "COM_BINLOG_DUMP", b"\4\0\0\0\0\0\x63\0\0\0nowhere.1"),
    "an option that there is not": lambda one: ask(one, "COM_SET_OPTION", b"\x63\0"),
    "an end of a connection that there is not": lambda one: ask(one, "COM_PROCESS_KILL", b"\xff\xff\xff\x7f"),
    "an unknown command": lambda one: ask(one, "COM_TABLE_DUMP", b""),
}


def _works(one: Any) -> bool:
    try:
        return bool(query(one, "SELECT 1") == [((1,),)])
    except pymysql.Error:
        return False


@pytest.mark.parametrize("name", MYSQL)
def test_mysql(mariadb: Server, name: str) -> None:
    options = {"client_flag": CLIENT.MULTI_STATEMENTS, "local_infile": True}
    with connected(where(mariadb), **options) as one:
        with pytest.raises(pymysql.Error) as without:
            MYSQL[name](one)
        goes_on = one.open and _works(one)
    with framed(mariadb, "mysql") as proxy:
        proxy.set_policy("", fault("delay", sleep=0))
        with connected(proxy.address, **options) as one:
            with pytest.raises(pymysql.Error) as through:
                MYSQL[name](one)
            assert through.value.args[0] == without.value.args[0]
            assert goes_on == (name != "a binary log that there is not")  # MariaDB ends a replica's connection
            if not goes_on:
                return
            proxy.set_policy("", fault("error", code="1205"))
            with pytest.raises(pymysql.OperationalError) as injected:
                query(one, "SELECT 1")
            assert injected.value.args[0] == 1205
            proxy.set_policy("", fault("delay", sleep=0))
            assert _works(one)


@pytest.mark.parametrize("options", [{"password": "wrong"}, {"database": "nowhere"}, {"user": "nobody"}])
def test_a_login_to_mysql(mariadb: Server, options: dict[str, str]) -> None:
    with pytest.raises(pymysql.OperationalError) as without:
        connected(where(mariadb), **options)
    with framed(mariadb, "mysql") as proxy:
        proxy.set_policy("", fault("delay", sleep=0))
        with pytest.raises(pymysql.OperationalError) as through:
            connected(proxy.address, **options)
        assert through.value.args == without.value.args


def test_another_user_of_mysql(mariadb: Server) -> None:
    """MariaDB goes on after a refused change of user, and ends the connection after some."""
    with framed(mariadb, "mysql") as proxy:
        proxy.set_policy("", fault("delay", sleep=0))
        with connected(proxy.address) as one:
            with pytest.raises(pymysql.Error):
                changes_user(one)
            proxy.set_policy("", fault("error", code="1205"))
            with pytest.raises(pymysql.Error) as injected:
                query(one, "SELECT 1")
            assert injected.value.args[0] == 1205
