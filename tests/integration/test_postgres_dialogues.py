"""Random dialogues of the extended protocol, legal and rude, with a real server: the proxy keeps in step.

Each is played to the server, and then through a proxy whose faults match other queries: what comes back is the same.
After each, an error and a dropped response hit exactly the query that they match.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
from collections.abc import Iterator, Sequence

import pytest

from tests.integration.exchanges import framed, where
from tests.running import PATIENCE
from tests.servers import Server
from vaurien.events import Injected
from vaurien.model import Fault

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.server

DIALOGUES = int(os.environ.get("VAURIEN_TEST_DIALOGUES", "150"))
"""How many there are; `make dialogues` plays 2,000."""

QUIET = 0.004
"""Seconds in which a server that says nothing is taken to wait; it only decides where the proxy's client waits too."""

PER_CONNECTION = 25

FAULTS = tuple(
    Fault(name=name, behavior=name, options=options, match={"query": f"select '{name}'"})
    for name, options in (("error", {"code": "40001"}), ("drop_response", {}))
)


def message(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def query(text: str) -> bytes:
    return message("Q", text.encode() + b"\0")


def parse(name: str, text: str) -> bytes:
    return message("P", f"{name}\0{text}\0".encode() + bytes(2))


def bind(portal: str, name: str) -> bytes:
    return message("B", f"{portal}\0{name}\0".encode() + bytes(6))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return message("E", portal.encode() + b"\0" + struct.pack("!I", rows))


def function(oid: int, argument: bytes) -> bytes:
    return message("F", struct.pack("!IHHI", oid, 0, 1, len(argument)) + argument + bytes(2))


SYNC, FLUSH, DONE = message("S"), message("H"), message("c")
COPY_IN, COPY_OUT = "copy t from stdin", "copy (select 1) to stdout"
# fmt: off
TEXTS = [
    "select 1", "select n from generate_series(1, 300) n", "select 1/0", "selec", "", COPY_IN, COPY_OUT,
    "begin", "commit", "rollback", "savepoint s", "rollback to s", "insert into t values (1)", "set work_mem = '5MB'",
]
SIMPLE = [
    *TEXTS, "select 1; select 2", "select 1; select 1/0; select 2", f"{COPY_IN}; {COPY_IN}",
    "do $$begin raise notice 'n'; end$$",
]
# fmt: on
LENGTH = 1317  # the function length(text), by its oid


def words(dice: random.Random) -> list[bytes]:
    """Some messages that a client would send together."""
    name, portal = dice.choice(["", "a", "b"]), dice.choice(["", "", "c"])
    ask = [parse(name, dice.choice(TEXTS)), bind(portal, name), message("D", b"P" + portal.encode() + b"\0")]
    copied = [message("d", dice.choice([b"1\n", b"2\n3\n", b"bad\n"])) for _ in range(dice.randrange(3))]
    every = [
        lambda: [query(dice.choice(SIMPLE))],
        lambda: [*ask, execute(portal), SYNC],
        lambda: [*ask[:2], execute(portal), FLUSH],
        lambda: [*ask[:2], execute(portal, 2), execute(portal, 2)],
        lambda: [ask[0], message("D", b"S" + name.encode() + b"\0"), dice.choice([FLUSH, SYNC])],
        lambda: [bind(portal, name), execute(portal), query(dice.choice(SIMPLE))],
        lambda: [message("C", dice.choice([b"S", b"P"]) + name.encode() + b"\0")],
        lambda: [dice.choice([SYNC, FLUSH, *ask, execute(portal)])],
        lambda: [function(dice.choice([LENGTH, LENGTH, 0]), b"abc")],
        lambda: [*copied, dice.choice([DONE, DONE, message("f", b"no\0")]), *dice.choice([[], [SYNC]])],
        lambda: [parse("", COPY_IN), bind("", ""), execute(), SYNC, *copied, DONE, SYNC],
    ]
    return dice.choice(every)()


def dialogue(dice: random.Random) -> list[bytes]:
    """What the client sends; it waits for answers between two parts."""
    return [
        b"".join(part for _ in range(dice.randint(1, 4)) for part in words(dice)) for _ in range(dice.randint(1, 4))
    ]


class Wire:
    """A connection that has logged in, from there on a socket."""

    def __init__(self, host: str, port: int) -> None:
        account = {"user": "vaurien", "password": "secret", "dbname": "postgres", "sslmode": "disable"}
        with psycopg.connect(host=host, port=port, gssencmode="disable", autocommit=True, **account) as connection:
            connection.execute("create temp table t (n int)")
            connection.execute("set client_min_messages = notice")
            self.socket = socket.socket(fileno=os.dup(connection.fileno()))
            os.dup2(self._nothing(), connection.fileno())  # libpq says goodbye to another
        self.got = b""
        self.ended = False

    @staticmethod
    def _nothing() -> int:
        left, right = socket.socketpair()
        right.close()
        return left.detach()

    def read(self, patience: float) -> bool:
        """Read once; false when there was nothing."""
        self.socket.settimeout(patience)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return False
        except ConnectionError:
            data = b""
        self.got += data
        self.ended = not data
        return bool(data)

    def ask(self, part: bytes, dice: random.Random) -> None:
        cut = dice.randrange(len(part) + 1)
        with contextlib.suppress(ConnectionError):
            for some in (part[:cut], part[cut:]):
                self.socket.sendall(some)

    def messages(self, start: int = 0) -> list[bytes]:
        found, at = [], start
        while at + 5 <= len(self.got):
            end = at + 1 + int.from_bytes(self.got[at + 1 : at + 5], "big")
            found.append(self.got[at:end])
            at = end
        return found

    def until(self, text: str, start: int = 0) -> list[bytes]:
        """The messages up to ReadyForQuery after a row with *text*; fewer when the connection ends before."""
        while not self.ended:
            found = self.messages(start)
            rows = [at for at, each in enumerate(found) if each[:1] == b"D" and text.encode() in each]
            if rows and any(each[:1] == b"Z" and len(each) == 6 for each in found[rows[0] :]):
                return found
            assert self.read(PATIENCE) or self.ended, f"{text!r} is not answered; got {self.kinds(found)}"
        return self.messages(start)

    @staticmethod
    def kinds(messages: Sequence[bytes]) -> str:
        return "".join(chr(each[0]) for each in messages)


def play(wire: Wire, parts: Sequence[bytes], dice: random.Random, sizes: list[int] | None) -> list[int]:
    """Send *parts*; between them wait until the server is quiet, or until as much has come as *sizes* says."""
    start, seen = len(wire.got), []
    for number, part in enumerate(parts):
        wire.ask(part, dice)
        if sizes is None:
            while wire.read(QUIET):
                pass
        else:
            while len(wire.got) - start < sizes[number] and not wire.ended:
                answers = wire.kinds(wire.messages(start))
                assert wire.read(PATIENCE) or wire.ended, f"part {number}: {answers}, and nothing more"
        seen.append(len(wire.got) - start)
    return seen


def finish(wire: Wire, start: int, dice: random.Random) -> list[bytes]:
    wire.ask(DONE + SYNC + query("rollback") + query("deallocate all") + query("select 'the end'"), dice)
    return wire.until("the end", start)


def test_random_dialogues(postgres_server: Server) -> None:
    ended = 0
    with framed(postgres_server, "postgres", "", *FAULTS) as proxy, contextlib.ExitStack() as stack:
        wires: list[Wire] = []
        for number in range(DIALOGUES):
            if not wires or number % PER_CONNECTION == 0:
                stack.close()
                wires = [opened(stack, *where(postgres_server)), opened(stack, *proxy.address)]
            try:
                same = compared(*wires, dialogue(random.Random(number)), number)
                if same:
                    hit(wires[1], random.Random(number))
            except AssertionError as error:
                raise AssertionError(f"dialogue {number}, {dialogue(random.Random(number))}: {error}") from error
            ended, wires = (ended, wires) if same else (ended + 1, [])
        hits = proxy.events.of(Injected)
    assert len(hits) == 2 * (DIALOGUES - ended)
    assert ended < DIALOGUES / 3


def compared(direct: Wire, proxied: Wire, parts: Sequence[bytes], seed: int) -> bool:
    """Play *parts* to the server and through the proxy. False when the server has ended the connection for them."""
    starts = len(direct.got), len(proxied.got)
    sizes = play(direct, parts, random.Random(seed), None)
    expected = finish(direct, starts[0], random.Random(seed))
    play(proxied, parts, random.Random(seed), sizes)
    found = finish(proxied, starts[1], random.Random(seed))
    assert direct.ended == proxied.ended
    if direct.ended:  # by a reset, which takes some of the last bytes with it
        shorter = min(len(expected), len(found))
        assert expected[:shorter] == found[:shorter]
    else:
        assert Wire.kinds(expected) == Wire.kinds(found)
        assert expected == found
    return not direct.ended


def opened(stack: contextlib.ExitStack, host: str, port: int) -> Wire:
    wire = Wire(host, port)
    stack.callback(wire.socket.close)
    return wire


def hit(wire: Wire, dice: random.Random) -> None:
    """The error hits the one query, the dropped response another, and the next is answered."""

    def asked(text: str) -> bytes:
        return query(text) if dice.random() < 0.5 else parse("", text) + bind("", "") + execute() + SYNC

    start = len(wire.got)
    wire.ask(asked("select 'error'") + asked("select 'drop_response'") + query("select 'kept'"), dice)
    found = wire.until("kept", start)
    assert wire.kinds(found) == "EZTDCZ"
    assert b"C40001\0" in found[0]


def test_the_generator_is_rude(postgres_server: Server) -> None:
    """Its dialogues have failures, skipped queries, copies and cut batches in them."""
    kinds: Iterator[str] = iter(())
    with contextlib.ExitStack() as stack:
        wire = opened(stack, *where(postgres_server))
        for number in range(20):
            if wire.ended:
                stack.close()
                wire = opened(stack, *where(postgres_server))
            start = len(wire.got)
            play(wire, dialogue(random.Random(number)), random.Random(number), None)
            kinds = iter([*kinds, *wire.kinds(finish(wire, start, random.Random(number)))])
    assert set("ZECTD12GHIN") <= set(kinds)
