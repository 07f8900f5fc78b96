"""The framer between real clients and memcached."""

from __future__ import annotations

import shutil
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.protocols.relay import Relay
from tests.protocols.servers import Address, free_port, running
from vaurien.framing import Mark
from vaurien.model import TO_BACKEND
from vaurien.protocols.memcache import MemcacheFramer

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(shutil.which("memcached") is None, reason="needs memcached"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Address]:
    port = free_port()
    with running(
        ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-U", "0"], ("127.0.0.1", port)
    ) as address:
        yield address


@pytest.fixture
def memcached(server: Address) -> Address:
    """The server, emptied: it takes a second to end, too long for one of each test's own."""
    with socket.create_connection(server) as client:
        client.sendall(b"flush_all\r\n")
        assert client.recv(100) == b"OK\r\n"
    return server


def commands(relay: Relay) -> Counter[str]:
    """How often each command was answered, once every connection was framed to its end."""
    for pairing in relay.pairings:
        assert pairing.framing.lost is None
        assert pairing.complete
        assert pairing.given == pairing.fed
    return Counter(request[0] for pairing in relay.pairings for request, _ in pairing.pairs)


def test_a_text_client(memcached: Address) -> None:
    pymemcache = pytest.importorskip("pymemcache")
    with Relay(memcached, MemcacheFramer) as relay:
        client = pymemcache.Client(("127.0.0.1", relay.port), timeout=20)
        client.set("large", b"x\r\n" * 300_000, noreply=False)
        assert len(client.get("large")) == 900_000
        with pytest.raises(pymemcache.MemcacheServerError, match="too large"):
            client.set("larger", bytes(2_000_000), noreply=False)
        many = {f"key{number:05}": b"END\r\n" for number in range(2000)}
        assert client.set_many(many, noreply=False) == []
        assert client.get_many([*many, "absent"]) == many  # a line of 18 kB
        assert len(client.gets_many(list(many)[:3])) == 3
        client.set("n", "1", noreply=True)
        assert client.incr("n", 5) == 6
        assert client.touch("n", 60, noreply=False)
        assert client.delete("n", noreply=True)
        assert client.version().startswith(b"1.")
        assert b"pid" in client.stats()
        client.cache_memlimit(64)
        client.flush_all(noreply=True)
        client.quit()
    counted = commands(relay)
    assert counted["set"] == 2002
    assert counted["get"] == 2
    assert counted["stats"] == 1


def test_a_binary_client(memcached: Address) -> None:
    bmemcached = pytest.importorskip("bmemcached")
    with Relay(memcached, MemcacheFramer) as relay:
        client = bmemcached.Client((f"127.0.0.1:{relay.port}",))
        many = {f"k{number}": f"v{number}" for number in range(200)}
        assert client.set_multi(many) == []
        assert client.get_multi([*many, *(f"absent{number}" for number in range(50))]) == many
        assert client.set("large", "x" * 500_000, compress_level=0)
        assert len(client.get("large")) == 500_000
        assert client.get("absent") is None
        assert client.add("k1", "x") is False
        assert client.incr("n", 1) == 0
        assert client.delete_multi(list(many)[:10]) is not None
        assert client.cas("k20", "w", 1) is False
        assert len(next(iter(client.stats().values()))) > 10
        assert client.flush_all()
        client.disconnect_all()
    counted = commands(relay)
    assert counted["getkq"] + counted["getk"] == 250
    assert counted["stat"] == 1


META = [
    (b"ms a 2 c O1 k\r\nhi\r\n", 1),
    (b"ms b 1 q\r\nx\r\nms b 1 q ME\r\nx\r\nmn\r\n", 1),
    (b"mg a v t O7 k\r\nmg b s\r\nmg zz v\r\n", 3),
    (b"mg zz v q O1\r\nmg a v q O2 k\r\nmg zy q k v\r\nmn\r\n", 4),
    (b"md zz q\r\nmd zz\r\nmd b q\r\nmn\r\n", 2),
    (b"ma n N0 J5 v\r\nma n q v O4\r\nma zz q v O5\r\nma zz q\r\nmn\r\n", 4),
    (b"me a\r\nme zz\r\n", 2),
    (b"ms bad S1\r\nmg\r\nms a 2\r\nhi!\r\n", 4),
    (b"ms a 1 Fx\r\nx\r\nmg a v v\r\n", 2),
    (b"set a 0 0 -1\r\nset a 0 0 1\r\nxyz\r\nget\r\n\r\nSET a\r\n", 6),
    (b"set " + b"k" * 251 + b" 0 0 1\r\nx\r\nset a x 0 1\r\ny\r\nset a 0 0 1 2 3\r\nz\r\nset a 0 0 1 foo\r\nz\r\n", 7),
    (b"set a 0 0 1 noreply\r\nz\r\nset a x 0 1 noreply\r\nz\r\nincr a x noreply\r\nverbosity noreply\r\n", 1),
    (b"lru mode flat noreply\r\nlru_crawler enable noreply\r\ndelete a 0 0 noreply\r\n", 2),
    (b"stats reset\r\nstats detail on\r\nget a\r\nstats detail dump\r\nstats sizes\r\nstats settings\r\n", 6),
    (b"gat 0 a b c\r\ngats 0 a\r\ntouch a 0\r\nshutdown\r\nmisbehave\r\n", 5),
    (b"set a 0 0 2000000 noreply\r\n" + bytes(2_000_000) + b"\r\n", 0),
    (b"lru_crawler metadump all\r\n", 1),
]


@pytest.mark.parametrize(("sent", "answers"), META, ids=lambda value: str(value)[:30])
def test_commands_that_no_client_library_sends(memcached: Address, sent: bytes, answers: int) -> None:
    with Relay(memcached, MemcacheFramer) as relay, socket.create_connection(("127.0.0.1", relay.port)) as client:
        client.settimeout(20)
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
    assert sum(commands(relay).values()) == answers
    assert relay.pairings[0].aside == {True: b"", False: b""} or b" q" in sent


COMMANDS = (
    b"set add replace append prepend cas incr decr touch delete flush_all verbosity cache_memlimit lru slabs extstore "
    b"slabs+automove slabs+reassign lru_crawler get gat stats version mg md ma me nosuch".split()
)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_ends_in_noreply_is_silent_as_it_is_at_the_server(memcached: Address, name: bytes) -> None:
    """Malformed commands too: what waits for a reply in the framer has one from the server, and only that."""
    for count in range(8):
        words = name.split(b"+") + [b"k", b"1", b"2", b"3", b"4", b"5", b"6"][:count]
        line = b" ".join(words) + b" noreply\r\n"
        framer = MemcacheFramer()
        ended = framer.feed(TO_BACKEND, line)[-1][0] is Mark.REQUEST_END
        answered = bool(framer.waiting)
        with socket.create_connection(memcached) as client:
            client.settimeout(20)
            client.sendall(line + (b"" if ended else b"abc\r\n") + b"mn\r\n")
            replied = client.makefile("rb").readline() != b"MN\r\n"
        assert replied == answered, line
