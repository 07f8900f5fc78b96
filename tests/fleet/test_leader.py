"""The leader: what it plays, what it asks, and the one that takes over."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time

import msgspec
import pytest

from tests.fleet.test_node import ICE, Fleet
from tests.waiting import eventually
from vaurien.control.fleet import LimitsBody
from vaurien.errors import OptionError, VaurienError
from vaurien.fleet import leader as leading
from vaurien.fleet.door import Door
from vaurien.fleet.entries import Keys, encode
from vaurien.fleet.leader import Leader, PlayedSchedule, ScheduleEntry, read_steps
from vaurien.fleet.limits import Limits, Probe, _holds, succeeds
from vaurien.fleet.node import Node
from vaurien.fleet.store import MemoryStore

STEPS = """
[schedule]
length = 0.6
repeat = 2

[[step]]
proxy = "own"
add = ["freeze name=ice"]

[[step]]
at = 0.3
proxy = "own"
remove = ["ice"]
"""


@pytest.fixture
def play(monkeypatch):
    """Run a coroutine function with a fleet, and a door for each node."""
    monkeypatch.setattr(leading, "RENEW", 0.05)
    monkeypatch.setattr("vaurien.fleet.store.CLAIM_TTL", 0.5)

    def run(whole):
        async def inside():
            fleet, doors, leaders = Fleet(), [], []
            async with contextlib.AsyncExitStack() as closing:
                for name in "abc":
                    node = await fleet.join(name)
                    leader = Leader(node)
                    leader.start()
                    leaders.append(leader)
                    doors.append(Door(node, leader))
                    closing.push_async_callback(fleet.hubs[name].stop)
                    closing.push_async_callback(node.stop)
                    closing.push_async_callback(leader.stop)
                await asyncio.wait_for(whole(fleet, doors, leaders), 60)

        asyncio.run(inside())

    return run


def test_a_schedule_is_played_by_one_node_for_all(play):
    async def whole(fleet, doors, leaders):
        assert await doors[1].schedule() is None
        before = time.time()
        await doors[0].enter({}, "me")
        await doors[0].set_schedule(STEPS)
        author = (await doors[1].schedule())["author"]
        assert (author["by"], author["via"], before <= author["at"] <= time.time()) == ("me", "a", True)
        seen = []

        async def done():
            state = tuple(sorted(name for name, some in fleet.faults().items() if some))
            if seen[-1:] != [state]:
                seen.append(state)
            return (await doors[1].schedule())["played"] == 4

        await eventually(done)
        await fleet.have()
        full = [state for state in seen if state in ((), ("a", "b", "c"))]
        assert full[-5:] in ([(), ("a", "b", "c"), (), ("a", "b", "c"), ()], [(), ("a", "b", "c"), (), ("a", "b", "c")])
        assert await leaders[0].name() in "abc"
        assert (await doors[2].schedule())["failed"] == ""

    play(whole)


def test_another_node_takes_over_where_the_leader_was(play):
    async def whole(fleet, doors, leaders):
        await doors[0].enter({}, "me")
        await doors[0].set_schedule(STEPS.replace("0.6", "1.2").replace("at = 0.3", "at = 1.0"))
        await fleet.have("a", "b", "c")
        first = await leaders[0].name()
        await leaders["abc".index(first)].stop()
        await fleet.have()
        assert await leaders[0].name() not in (first, None)

    play(whole)


def test_a_step_that_cannot_be_played_is_said_and_the_next_is_played(play):
    async def whole(fleet, doors, _):
        await doors[0].enter({}, "me")
        await doors[0].set_schedule(STEPS + '[[step]]\nproxy = "no"\n')
        await eventually(lambda: _failed(doors[0]))
        assert "unknown proxy 'no'" in (await doors[0].schedule())["failed"]
        await eventually(lambda: _played(doors[0], 6))
        await doors[0].set_schedule(None)
        assert await doors[0].schedule() is None

    play(whole)


async def _failed(door):
    return (await door.schedule())["failed"]


async def _played(door, count):
    return (await door.schedule())["played"] == count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[step]]\nadd = ['freeze']\n", "a step of the fleet has one proxy"),
        ("[[step]]\nproxy = 'own'\ntopology = 'isolate a'\n", "a step of the fleet has one proxy"),
        ("[vaurien]\nproxy = ':1'\n", "unknown table 'vaurien' of a schedule"),
        ("[[step]]\nproxy = 'own'\nadd = ['freez']\n", "unknown behavior or handler 'freez'"),
        ("[[step", "not valid TOML"),
    ],
)
def test_what_is_no_schedule_of_a_fleet(text, message):
    with pytest.raises(VaurienError, match=message.replace("[", r"\[")):
        read_steps(text)


@pytest.mark.parametrize("word", ["add", "change"])
def test_a_schedule_that_came_over_http_imports_nothing(word):
    sys.modules.pop("this", None)
    with pytest.raises(VaurienError, match=r"'this\.Fault' cannot be used"):
        read_steps(f"[[step]]\nat = 1\nproxy = 'own'\n{word} = ['this.Fault']")
    assert "this" not in sys.modules


def test_a_probe_that_fails_stops_everything(play):
    async def whole(fleet, doors, _):
        async def answer(reader, writer):
            writer.close()

        healthy = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = healthy.sockets[0].getsockname()[1]
        await doors[0].enter({}, "me")
        probe = {"url": f"tcp://127.0.0.1:{port}", "every": 0.1, "failures": 3}
        await doors[0].set_limits(msgspec.convert({"probe": probe}, LimitsBody))
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")
        assert not (await doors[0].status())["stopped"]
        healthy.close()
        await fleet.have()
        status = await doors[2].status()
        assert status["stopped"]
        assert any("failed 3 times" in str(line) for line in await doors[1].audit(10))

    play(whole)


@pytest.mark.parametrize(
    ("answer", "holds"),
    [
        (b'{"data":{"resultType":"vector","result":[{"value":[1,"1"]}]}}', True),
        (b'{"data":{"resultType":"vector","result":[{"value":[1,"1"]},{"value":[1,"0"]}]}}', False),
        (b'{"data":{"resultType":"vector","result":[]}}', False),
        (b'{"data":{"resultType":"scalar","result":[1,"3"]}}', True),
        (b'{"data":{"resultType":"scalar","result":[1,"0"]}}', False),
        (b'{"data":{"resultType":"matrix","result":[{"values":[[1,"1"]]}]}}', False),
        (b'{"data":{"resultType":"scalar","result":[]}}', False),
        (b'{"data":null}', False),
        (b'{"status":"error"}', False),
        (b"[]", False),
        (b"<html>welcome</html>", False),
        (b"", False),
    ],
)
def test_what_a_prometheus_expression_says(answer, holds):
    assert _holds(answer) is holds


@pytest.mark.parametrize(
    "answer", [b"no HTTP\r\n\r\n", b"HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\n{", b"HTTP/1.0 200 OK\r\n\r\n<"]
)
def test_an_answer_that_is_no_answer_is_a_failure(answer):
    async def play():
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await succeeds(Probe(f"http://127.0.0.1:{port}/", query="up"))

    assert asyncio.run(play()) is False


@pytest.mark.parametrize("path", ["", "/deep?a=b c"])
@pytest.mark.parametrize(
    ("answer", "holds"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\nbegun", True),
        (b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
    ],
)
def test_what_a_status_says(path, answer, holds):
    async def play():
        asked, gone = [], []

        async def serve(reader, writer):
            with contextlib.closing(writer):
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(answer)
                gone.append(await reader.read())

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert await succeeds(Probe(f"http://127.0.0.1:{port}{path}")) is holds
            await eventually(lambda: gone)
        target = path.replace(" ", "%20") or "/"
        assert asked[0].startswith(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode())

    asyncio.run(play())


def test_an_expression_is_asked_of_a_server_that_sends_in_pieces():
    async def play():
        async def serve(reader, writer):
            assert b"GET /prom/api/v1/query?query=up+%3E+0 HTTP/1.1" in await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in (b'{"data":{"resultType":', b'"scalar","result":[1,"1"]}}'):
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await succeeds(Probe(f"http://127.0.0.1:{port}/prom/", query="up > 0"))

    assert asyncio.run(play()) is True


@pytest.mark.parametrize("endless", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_nothing_is_left_of_probes_of_a_server_that_sends_byte_by_byte(endless):
    async def play():
        left = []

        async def serve(reader, writer):
            writer.write(endless)
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0)
            writer.close()
            left.append(writer)

        before = threading.active_count()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            probe = Probe(f"http://127.0.0.1:{port}/", query="up", timeout=0.1)
            assert not any(await asyncio.gather(*(succeeds(probe) for _ in range(20))))
            await eventually(lambda: len(left) == 20)
        assert threading.active_count() == before

    asyncio.run(play())


@pytest.mark.parametrize("url", ["ftp://h", "tcp://h", "http://", "h:80", "http://[::1", "tcp://h:x", "tcp://h:70000"])
def test_what_cannot_be_asked(url):
    with pytest.raises(OptionError, match=r"^probe url: .* expected http://"):
        Limits(probe=Probe(url)).check()


@pytest.mark.parametrize("times", [{"every": 0.05}, {"timeout": 0.0}])
def test_a_probe_that_cannot_be_answered(times):
    with pytest.raises(OptionError, match=f"^probe {next(iter(times))}: "):
        Limits(probe=Probe("http://h", **times)).check()


class PausedStore(MemoryStore):
    """Of a process that was stopped at `pause`: until it has written an entry it sees those of before."""

    def __init__(self, shared):
        super().__init__(shared)
        self.seen = None
        self.noted = []

    def pause(self):
        self.seen = dict(super().entries)

    @property
    def entries(self):
        return super().entries if self.seen is None else self.seen

    async def write(self, changes):
        written = await super().write(changes)
        self.seen = None
        self.noted += [msgspec.json.decode(one.value)["steps"] for one in changes if one.key == Keys.PLAYED]
        return written


def test_a_leader_that_was_paused_does_not_undo_the_steps_of_the_next_one(play):
    async def whole(fleet, doors, leaders):
        for leader in leaders:
            await leader.stop()
        await doors[0].enter({}, "me")
        await doors[0].set_schedule(STEPS.replace("repeat = 2", "repeat = 300"))
        of = fleet.shared.entries[Keys.SCHEDULE].revision
        await doors[0].desired.write({Keys.PLAYED: encode(PlayedSchedule(of, 0.0, 2))})
        store = PausedStore(fleet.shared)
        store.pause()
        await doors[0].desired.write({Keys.PLAYED: encode(PlayedSchedule(of, 0.0, 501))})
        late = Leader(Node(store, fleet.hubs["c"], "c", {}))
        late.start()
        try:
            await eventually(lambda: _played(doors[0], 600))
        finally:
            await late.stop()
        assert store.noted == list(range(502, 601))

    play(whole)


def test_a_schedule_that_the_leader_cannot_read_is_said_and_another_one_played(play):
    async def whole(fleet, doors, _):
        text = "[[step]]\nproxy = 'own'\nadd = ['of_another_node']\n"
        await doors[0].desired.write({Keys.SCHEDULE: encode(ScheduleEntry(text))})
        await eventually(lambda: _failed(doors[0]))
        assert "'of_another_node'" in (await doors[0].schedule())["failed"]
        await doors[0].enter({}, "me")
        await doors[0].set_schedule(STEPS)
        await fleet.have("a", "b", "c")

    play(whole)
