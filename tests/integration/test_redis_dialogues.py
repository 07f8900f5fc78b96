"""Random dialogues with real Redis servers, which refuse some of what they are asked: the proxy keeps in step.

Each is played to the server, and then through a proxy whose faults match other keys: what comes back is the same. After
each, an error and a dropped response hit exactly the command that they match. Where the framer has left off pairing,
and has said so, they hit no command at all.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.exchanges import where
from tests.protocols.conversations import command
from tests.running import PATIENCE, Running, running
from tests.servers import Server, require, started
from vaurien.events import Failed, ProtocolLost
from vaurien.model import Fault

pytestmark = pytest.mark.server

DIALOGUES = int(os.environ.get("VAURIEN_TEST_DIALOGUES", "100"))
"""How many there are for each server; `make dialogues` plays 2,000."""

QUIET = 0.003
"""Seconds in which a server that says nothing is taken to wait; it only decides where the proxy's client waits too."""

FAULTS = tuple(
    Fault(name=name, behavior=name, options=options, match={"key": name})
    for name, options in (("error", {"code": "OOM"}), ("drop_response", {}))
)

SERVERS: dict[str, tuple[list[str], str]] = {
    "that obeys": ([], ""),
    "that wants a password": (["--requirepass", "secret"], ""),
    "without MULTI": (["--rename-command", "MULTI", ""], ""),
    "without CLIENT": (["--rename-command", "CLIENT", ""], ""),
    "that permits no CLIENT REPLY": ([], "user default on nopass ~* &* +@all -client|reply\n"),
    "that permits no MULTI": ([], "user default on nopass ~* &* +@all -multi -monitor -subscribe\n"),
}


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    options, users = request.param

    def start(port: int, folder: Path) -> list[str | Path]:
        (folder / "users").write_text(users)
        rules = ["--aclfile", folder / "users"] if users else []
        program = require("redis-server")
        return [program, "--bind", "127.0.0.1", "--save", "", "--port", str(port), "--dir", folder, *rules, *options]

    with started(start) as server:
        yield server


INLINE = [b'set "a b" \'c"d\'\r\n', b"get 'a'\r\n", b'"GET" a"b"\n', b"  client \"reply\" 'off'\r\n", b"\r\n"]


def words(dice: random.Random) -> bytes:
    """A few commands that belong together."""
    key = dice.choice([b"a", b"b"])
    mode = command(b"CLIENT", b"REPLY", dice.choice([b"OFF", b"SKIP", b"SKIP", b"on", b"MAYBE"]))
    every = [
        command(b"GET", key),
        command(b"SET", key, b"1"),
        command(b"INCR", key) + command(b"LPUSH", key, b"x"),
        command(b"NOSUCH", key),
        command(b"MULTI"),
        command(b"MULTI", b"x"),
        command(b"EXEC"),
        command(b"DISCARD"),
        command(b"WATCH", key),
        command(b"MULTI") + command(b"SET", key, b"2") + command(b"EXEC"),
        mode,
        mode + command(b"SET", key, b"3"),
        command(b"MULTI") + mode + command(b"GET", key) + command(b"EXEC"),
        command(b"MULTI") + command(b"SUBSCRIBE", b"c", b"d") + command(b"GET", key) + command(b"EXEC"),
        command(b"MULTI")
        + mode
        + command(b"EXEC")
        + command(b"MULTI")
        + command(b"GET", key)
        + mode
        + command(b"EXEC"),
        command(b"CLIENT", b"REPLY", b"OFF") + command(b"MULTI") + command(b"SUBSCRIBE", b"c") + command(b"EXEC"),
        command(b"MULTI") + command(b"CLIENT", b"REPLY", b"ON") + command(b"GET", key) + command(b"EXEC"),
        mode + command(b"NOSUCH") + command(b"GET", key) + command(b"CLIENT", b"REPLY", b"ON"),
        command(b"CLIENT", b"REPLY"),
        command(b"CLIENT", b"REPLY", b"OFF", b"x"),
        command(b"CLIENT", b"ID", b"x"),
        command(b"AUTH", dice.choice([b"secret", b"wrong"])),
        command(b"SUBSCRIBE", b"c", b"d"),
        command(b"UNSUBSCRIBE"),
        command(b"PSUBSCRIBE", b"c*"),
        command(b"SUBSCRIBE"),
        command(b"HELLO", dice.choice([b"2", b"9"])),
        command(b"RESET"),
        command(b"PING"),
        dice.choice(
            [b'set "a b" \'c"d\'\r\n', b"get 'a'\r\n", b'"GET" a"b"\n', b"  client \"reply\" 'off'\r\n", b"\r\n"]
        ),
    ]
    return dice.choice(every)


def dialogue(dice: random.Random) -> list[bytes]:
    """What the client sends; it waits for answers between two parts."""
    return [b"".join(words(dice) for _ in range(dice.randint(1, 5))) for _ in range(dice.randint(1, 4))]


class Wire:
    """One connection, and what came back on it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.got = b""

    def read(self, patience: float) -> bool:
        self.socket.settimeout(patience)
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return False
        self.got += data
        return bool(data)

    def until(self, end: bytes) -> None:
        while end not in self.got:
            assert self.read(PATIENCE), f"no {end!r} after {self.got!r}"


def play(wire: Wire, parts: list[bytes], dice: random.Random, sizes: list[int] | None) -> list[int]:
    """Send *parts*; between them wait until the server is quiet, or until as much has come as *sizes* says."""
    seen: list[int] = []
    for number, part in enumerate(parts):
        cut = dice.randrange(len(part) + 1)
        for some in (part[:cut], part[cut:]):
            wire.socket.sendall(some)
        while sizes is None and wire.read(QUIET):
            pass
        while sizes is not None and len(wire.got) < sizes[number]:
            assert wire.read(PATIENCE), f"part {number} of {parts}: {wire.got!r}, and nothing more"
        seen.append(len(wire.got))
    # PING takes the silence of a CLIENT REPLY SKIP, so RESET has its reply.
    wire.socket.sendall(
        command(b"PING") + command(b"RESET") + command(b"AUTH", b"secret") + command(b"SET", b"the end", b"the end")
    )
    wire.socket.sendall(command(b"GET", b"the end"))
    wire.until(b"$7\r\nthe end\r\n")
    return seen


SPARED = b"$-1\r\n$-1\r\n$4\r\nkept\r\n"
HIT = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n$4\r\nkept\r\n"


def hit(wire: Wire, *, paired: bool) -> bool:
    """The error hits the one command, the dropped response another, and the next is answered; or neither hits."""
    before = len(wire.got)
    wire.socket.sendall(command(b"GET", b"error") + command(b"GET", b"drop_response"))
    wire.socket.sendall(command(b"ECHO", b"kept"))
    wire.until(b"kept\r\n")
    is_hit = wire.got[before:] == HIT
    assert is_hit or (not paired and wire.got[before:] == SPARED)
    return is_hit


def test_random_dialogues(server: Server) -> None:
    with running(where(server), "", *FAULTS, protocol="redis") as proxy:
        hits = [compare(server, proxy, number, dialogue(random.Random(number))) for number in range(DIALOGUES)]
        assert hits.count(False) <= DIALOGUES // 50
        assert proxy.events.of(Failed) == []


MULTI, EXEC, GET = command(b"MULTI"), command(b"EXEC"), command(b"GET", b"a")
SUBSCRIBE = command(b"SUBSCRIBE", b"c", b"d")
OFF, SKIP, ON = (command(b"CLIENT", b"REPLY", mode) for mode in (b"OFF", b"SKIP", b"ON"))

TRANSACTIONS = {
    "subscribes": [MULTI + SUBSCRIBE + GET + EXEC, command(b"PING"), command(b"UNSUBSCRIBE") + GET],
    "subscribes in RESP3": [command(b"HELLO", b"3") + MULTI + SUBSCRIBE + GET + EXEC, GET],
    "subscribes and leaves": [MULTI + SUBSCRIBE + command(b"UNSUBSCRIBE") + GET + EXEC + GET],
    "subscribes twice": [MULTI + command(b"PSUBSCRIBE", b"c*") + SUBSCRIBE + EXEC, command(b"UNSUBSCRIBE", b"c")],
    "hears itself": [MULTI + SUBSCRIBE + command(b"PUBLISH", b"c", b"x") + GET + EXEC, command(b"PING")],
    "is silenced after it": [MULTI + GET + SKIP + EXEC + GET + GET],
    "is silenced for ever": [MULTI + GET + OFF + GET + EXEC + GET + ON + GET],
    "is silenced for a while": [MULTI + OFF + GET + ON + GET + EXEC + GET],
}


@pytest.mark.parametrize("parts", TRANSACTIONS.values(), ids=TRANSACTIONS)
def test_a_transaction_that_changes_the_connection(server: Server, parts: list[bytes]) -> None:
    with running(where(server), "", *FAULTS, protocol="redis") as proxy:
        assert compare(server, proxy, 0, parts)


def compare(server: Server, proxy: Running, number: int, parts: list[bytes]) -> bool:
    """Whether the faults hit at the end of the dialogue."""
    is_hit = False
    sizes, found, unpaired = None, [], len(proxy.events.of(ProtocolLost))
    for address in (where(server), proxy.address):
        with contextlib.closing((keeper := Wire(where(server))).socket):
            keeper.socket.sendall(command(b"AUTH", b"secret") + command(b"FLUSHALL") + command(b"QUIT"))
            while keeper.read(PATIENCE):
                pass
        with contextlib.closing((wire := Wire(address)).socket):
            try:
                sizes = play(wire, parts, random.Random(number), sizes)
                found.append(re.sub(rb"(?<=\$2\r\nid\r\n):[0-9]+", b":x", wire.got))
                if len(found) == 2:
                    assert found[1] == found[0]
                    is_hit = hit(wire, paired=len(proxy.events.of(ProtocolLost)) == unpaired)
            except AssertionError as error:
                raise AssertionError(f"dialogue {number}, {parts}: {error}; right is {found[0]!r}") from error
    return is_hit
