"""What every store promises: in memory, and NATS."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import time

import pytest

from tests.servers import free_port
from tests.waiting import eventually
from vaurien.errors import OptionError
from vaurien.fleet.store import KeyChange, MemoryStore, Outdated, SharedMemory, StoreAway, Unanswered, end_tasks

BUCKETS = itertools.count()


@pytest.fixture(params=["memory", "nats"])
def pair(request):
    """Run a coroutine function with two open stores that see the same."""
    if request.param == "memory":
        shared = SharedMemory()

        def make():
            return MemoryStore(shared)
    else:
        url = f"{request.getfixturevalue('nats').url}/test{next(BUCKETS)}"
        from vaurien.fleet.nats_store import NatsStore, Where

        def make():
            return NatsStore(Where.parse(url))

    def run(play):
        async def whole():
            one, other = make(), make()
            await one.open()
            await other.open()
            try:
                await asyncio.wait_for(play(one, other), 60)
            finally:
                await one.close()
                await other.close()

        asyncio.run(whole())

    return run


def values(store):
    return {key: stored.value for key, stored in store.entries.items()}


def test_what_one_writes_the_other_sees(pair):
    async def play(one, other):
        news = asyncio.Event()
        other.on_change = news.set
        revision = await one.put("fault.a.b", b"1", revision=0)
        assert values(one) == {"fault.a.b": b"1"}
        await news.wait()
        assert values(other) == {"fault.a.b": b"1"}
        assert other.entries["fault.a.b"].revision == revision
        later = await other.put("fault.a.b", b"2", revision=revision)
        assert later > revision
        await eventually(lambda: values(one) == {"fault.a.b": b"2"})
        await one.delete("fault.a.b", revision=later)
        await eventually(lambda: values(other) == {})
        await eventually(lambda: one.revision == other.revision)

    pair(play)


def test_an_edit_of_another_revision_is_refused_and_changes_nothing(pair):
    async def play(one, other):
        revision = await one.put("key", b"1", revision=0)
        for wrong in (0, revision + 5):
            with pytest.raises(Outdated, match="'key' was changed by another edit"):
                await other.put("key", b"2", revision=wrong)
        with pytest.raises(Outdated):
            await other.delete("key", revision=revision + 5)
        with pytest.raises(Outdated):
            await other.put("new", b"2", revision=7)
        await eventually(lambda: values(other) == {"key": b"1"})

    pair(play)


def test_changes_are_made_all_or_none(pair):
    async def play(one, other):
        first = await one.put("changed", b"1", revision=0)
        gone = await one.put("removed", b"1", revision=0)
        await eventually(lambda: len(values(other)) == 2)

        def changes(revision):
            return [
                KeyChange("changed", b"2", first),
                KeyChange("removed", None, gone),
                KeyChange("new", b"1", 0, ttl=60.0),
                KeyChange("stale", b"1", revision),
            ]

        for wrong in (gone, first + 100):
            with pytest.raises(Outdated):
                await other.write(changes(wrong))
        written = await other.write(changes(0))
        assert list(written) == sorted(set(written))
        expected = {"changed": b"2", "new": b"1", "stale": b"1"}
        assert values(other) == expected
        await eventually(lambda: values(one) == expected)
        assert {key: one.entries[key].revision for key in expected} == dict(
            zip(("changed", "new", "stale"), (written[0], *written[2:]), strict=True)
        )
        await one.write([KeyChange("removed", b"again", 0), KeyChange("new", None, written[2])])
        await eventually(lambda: values(other) == {"changed": b"2", "stale": b"1", "removed": b"again"})
        assert list(await one.write([])) == []

    pair(play)


def test_of_two_at_the_same_time_one_wins(pair):
    async def play(one, other):
        done = await asyncio.gather(
            *(store.put("key", b"x", revision=0) for store in (one, other) for _ in range(5)), return_exceptions=True
        )
        assert sum(isinstance(result, int) for result in done) == 1
        assert all(isinstance(result, int | Outdated) for result in done)

    pair(play)


def test_a_time_to_live_ends_without_its_writer(pair):
    async def play(one, other):
        await one.put("short", b"1", revision=0, ttl=1.0)
        await one.put("long", b"1", revision=0)
        await eventually(lambda: "short" in other.entries)
        if not isinstance(one, MemoryStore):
            await one.close()
        await eventually(lambda: values(other) == {"long": b"1"})
        await other.put("short", b"2", revision=0)
        assert values(other) == {"long": b"1", "short": b"2"}

    pair(play)


def test_a_time_to_live_is_not_shorter_than_it_was_said(pair):
    async def play(one, other):
        began = time.monotonic()
        await one.put("key", b"1", revision=0, ttl=1.6)
        await eventually(lambda: "key" in other.entries)
        await eventually(lambda: "key" not in other.entries)
        assert time.monotonic() - began >= 1.6

    pair(play)


def test_what_was_removed_can_be_written_again(pair):
    async def play(one, other):
        for number in range(3):
            revision = await one.put("key", b"%d" % number, revision=0)
            await one.delete("key", revision=revision)
        await other.put("key", b"again", revision=0)
        await eventually(lambda: values(one) == {"key": b"again"})

    pair(play)


def test_a_claim_has_one_holder_and_is_free_once_released(pair):
    async def play(one, other):
        revision = await one.claim("node.a", b"one", revision=0)
        with pytest.raises(Outdated):
            await other.claim("node.a", b"other", revision=0)
        revision = await one.claim("node.a", b"one again", revision=revision)
        assert {key: claim.value for key, claim in (await other.claims()).items()} == {"node.a": b"one again"}
        await one.release("node.a", revision=revision)
        assert await other.claims() == {}
        await other.claim("node.a", b"other", revision=0)

    pair(play)


def test_the_audit_trail_is_in_order(pair):
    async def play(one, other):
        assert await one.records(5) == []
        for number in range(5):
            await (one, other)[number % 2].record(b"%d" % number)
        assert await other.records(3) == [b"2", b"3", b"4"]
        assert await one.records(100) == [b"0", b"1", b"2", b"3", b"4"]

    pair(play)


def test_a_store_that_comes_later_knows_everything(pair):
    async def play(one, other):
        for number in range(20):
            await one.put(f"key.{number}", b"%d" % number, revision=0)
        await one.delete("key.7", revision=one.entries["key.7"].revision)
        await other.close()
        await other.open()
        assert values(other) == {f"key.{number}": b"%d" % number for number in range(20) if number != 7}
        assert other.revision == one.revision

    pair(play)


def test_listeners_hear_what_is_told_from_then_on(pair):
    async def play(one, other):
        told = await other.listen("events")
        heard = set()

        async def hear():
            while len(heard) < 2:
                heard.add(await anext(told))

        hearing = asyncio.create_task(hear())

        def tell():  # again: what is told while the connection is away is lost
            one.tell("news.a", b"of something else")
            one.tell("events.a", b"1")
            one.tell("events.b", b"2")
            return hearing.done()

        await eventually(tell)
        assert heard == {b"1", b"2"}
        await told.aclose()
        one.tell("events.a", b"nobody hears it")

    pair(play)


def test_a_task_that_swallows_its_cancellation_ends():
    swallowed = []

    async def stubborn():
        while len(swallowed) < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(1)

    async def play():
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        await asyncio.wait_for(end_tasks(task), 30)

    asyncio.run(play())
    assert len(swallowed) == 3


# NATS alone.


def test_a_claim_that_is_renewed_while_it_is_listed_is_there(nats):
    from vaurien.fleet.nats_store import NatsStore, Where

    where = Where.parse(f"{nats.url}/test{next(BUCKETS)}")

    async def play():
        one, other = NatsStore(where), NatsStore(where)
        await one.open()
        await other.open()
        written = [await one.claim(key, b"1", revision=0) for key in "abc"]
        assert set(await other.claims()) == set("abc")
        reading = asyncio.create_task(read(other))
        while not reading.done():
            written = [await one.claim(key, b"1", revision=at) for key, at in zip("abc", written, strict=True)]
        await reading
        await one.release("a", revision=written[0])
        assert set(await other.claims()) == set("bc")
        await one.close()
        await other.close()

    async def read(store):
        for _ in range(100):
            assert set(await store.claims()) == set("abc")

    asyncio.run(asyncio.wait_for(play(), 60))


def test_a_server_that_is_killed_comes_back_with_everything(tmp_path):
    from tests import nats_server
    from vaurien.fleet.nats_store import NatsStore, Where

    with nats_server.running(tmp_path / "js") as server:

        async def play():
            one, other = NatsStore(Where.parse(server.url)), NatsStore(Where.parse(server.url))
            await one.open()
            await other.open()
            await one.put("kept", b"1", revision=0)
            await one.put("short", b"1", revision=0, ttl=1)
            await asyncio.to_thread(server.kill)
            await eventually(lambda: one.trouble and other.trouble)
            assert "is away" in one.trouble
            with pytest.raises(StoreAway):
                await one.put("lost", b"1", revision=0)
            assert set(values(one)) >= {"kept"}
            await asyncio.to_thread(server.start)
            await eventually(lambda: one.trouble is None and other.trouble is None)
            await one.put("new", b"1", revision=0)
            await eventually(lambda: values(other) == {"kept": b"1", "new": b"1"})
            await one.close()
            await other.close()

        asyncio.run(asyncio.wait_for(play(), 60))


async def closed(*ends):
    for end in ends:
        end.close()
        with contextlib.suppress(OSError):
            await end.wait_closed()


class Way:
    """A way to *server* on which it is killed once a client has sent so many *writes* to its bucket, if any."""

    def __init__(self, server):
        self._server, self.port, self._relays = server, free_port(), set()
        self.writes = None

    async def open(self):
        self._listener = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def close(self):
        self._listener.close()
        await asyncio.wait(self._relays)

    async def _relay(self, reader, writer):
        self._relays.add(asyncio.current_task())
        ends = [writer]
        with contextlib.suppress(OSError):
            down, up = await asyncio.open_connection("127.0.0.1", self._server.port)
            ends.append(up)
            answers = asyncio.create_task(self._answer(down, writer))
            while data := await reader.read(65536):
                kept = data if self.writes is None else await self._until_the_last_write(data)
                up.write(kept)
                await up.drain()
                if len(kept) < len(data):
                    break
            up.close()
            await answers
        await closed(*ends)

    async def _answer(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def _until_the_last_write(self, data):
        found = [one.start() for one in re.finditer(rb"HPUB \$KV\.\w+\.fault", data)]
        if len(found) <= self.writes:
            self.writes -= len(found)
            return data
        place, self.writes = found[self.writes], None
        self._listener.close()  # the client leaves sockets behind that were accepted and then closed
        await asyncio.to_thread(self._server.kill)
        return data[:place]


def test_an_edit_whose_store_is_lost_between_its_writes_leaves_nothing_of_itself(tmp_path):
    from tests import nats_server
    from vaurien.fleet.nats_store import NatsStore, Where

    with nats_server.running(tmp_path / "js") as server:

        async def play():
            way = Way(server)
            await way.open()
            one, other = NatsStore(Where.parse(f"nats://127.0.0.1:{way.port}")), NatsStore(Where.parse(server.url))
            await one.open()
            await other.open()
            before = await one.put("fault.a.before", b"1", revision=0)
            changes = [
                KeyChange("fault.a.first", b"1", 0),
                KeyChange("fault.a.second", b"1", 0),
                KeyChange("fault.a.before", None, before),
            ]
            way.writes = 2
            with pytest.raises(Unanswered, match="the change may have been made, as a whole, or not at all"):
                await one.write(changes)
            await asyncio.to_thread(server.start)
            await way.open()
            await eventually(lambda: one.trouble is None and other.trouble is None)
            assert values(one) == values(other) == {"fault.a.before": b"1"}
            await one.write(changes)
            await eventually(lambda: values(other) == {"fault.a.first": b"1", "fault.a.second": b"1"})
            await one.close()
            await other.close()
            await way.close()

        asyncio.run(asyncio.wait_for(play(), 60))


def test_the_audit_trail_has_what_was_recorded_while_the_store_was_away(tmp_path):
    from tests import nats_server
    from vaurien.fleet.nats_store import NatsStore, Where

    with nats_server.running(tmp_path / "js") as server:

        async def play():
            store = NatsStore(Where.parse(server.url))
            await store.open()
            await store.record(b"before")
            await asyncio.to_thread(server.kill)
            await eventually(lambda: store.trouble)
            for line in (b"meanwhile", b"then"):
                await store.record(line)
            await asyncio.to_thread(server.start)

            async def recorded():
                try:
                    return await store.records(10) == [b"before", b"meanwhile", b"then"]
                except StoreAway:
                    return False

            await eventually(recorded)
            await store.close()

        asyncio.run(asyncio.wait_for(play(), 60))


def test_what_a_watcher_missed_is_found_although_the_node_writes_itself(nats):
    """A server that is killed takes watchers of the clients of other servers with it, and says nothing of that."""
    import nats as client_library

    from vaurien.fleet.nats_store import NatsStore, Where

    where = Where.parse(f"{nats.url}/test{next(BUCKETS)}")

    async def play():
        one, other = NatsStore(where), NatsStore(where)
        await one.open()
        await other.open()
        client = await client_library.connect(nats.url)
        js = client.jetstream()
        for consumer in await js.consumers_info(f"KV_{where.bucket}"):
            await js.delete_consumer(f"KV_{where.bucket}", consumer.name)
        await client.close()
        await other.put("missed", b"1", revision=0)
        revision = 0
        async with asyncio.timeout(8):
            while "missed" not in one.entries:
                revision = await one.put("own", b"1", revision=revision)
        await one.close()
        await other.close()

    asyncio.run(asyncio.wait_for(play(), 30))


def test_reading_claims_leaves_no_watchers_in_the_server(nats):
    """It has room for a thousand on a bucket: each edit, and each look at the fleet, reads them."""
    import nats as client_library

    from vaurien.fleet.nats_store import NatsStore, Where

    where = Where.parse(f"{nats.url}/test{next(BUCKETS)}")

    async def play():
        one, other = NatsStore(where), NatsStore(where)
        await one.open()
        for _ in range(50):
            await one.claims()
            await other.open()
            await other.close()
        client = await client_library.connect(nats.url)
        js = client.jetstream()

        async def watchers():
            return [(await js.stream_info(f"KV_{where.bucket}{end}")).state.consumer_count for end in ("", "_nodes")]

        async def none_is_left():
            return await watchers() == [1, 0]

        assert (await watchers())[0] > 1
        await eventually(none_is_left)
        await client.close()
        await one.close()

    asyncio.run(asyncio.wait_for(play(), 60))


def test_a_bucket_of_an_earlier_release_is_made_ready_for_whole_edits(nats):
    import nats as client_library

    from vaurien.fleet.nats_store import NatsStore, Where

    where = Where.parse(f"{nats.url}/test{next(BUCKETS)}")

    async def play():
        client = await client_library.connect(nats.url)
        await client.jetstream().create_key_value(bucket=where.bucket, limit_marker_ttl=3600)
        await client.close()
        store = NatsStore(where)
        await store.open()
        await store.write([KeyChange("one", b"1", 0), KeyChange("two", b"2", 0)])
        assert values(store) == {"one": b"1", "two": b"2"}
        await store.close()

    asyncio.run(asyncio.wait_for(play(), 30))


def test_a_server_that_comes_back_empty_is_believed(tmp_path):
    """Other revisions, and nothing of what there was: what is desired is what the store says."""
    from tests import nats_server
    from vaurien.fleet.nats_store import NatsStore, Where

    server = nats_server.NatsServer(tmp_path / "one")
    server.start()
    empty = nats_server.NatsServer(tmp_path / "two", server.port)

    async def play():
        store = NatsStore(Where.parse(server.url))
        await store.open()
        for number in range(5):
            await store.put(f"key.{number}", b"1", revision=0)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(empty.start)
        await eventually(lambda: store.trouble is None and values(store) == {})
        assert await store.put("key.1", b"2", revision=0) == 1
        await store.close()

    try:
        asyncio.run(asyncio.wait_for(play(), 60))
    finally:
        server.stop()
        empty.stop()


class Line:
    """A way to *server*: it notes what clients ask, by the connection, and can keep the answers."""

    def __init__(self, server):
        self._server, self.port, self._relays, self._ends = server, free_port(), set(), []
        self.asked = []
        """The number of the connection, counted from one, and the words of each question to JetStream."""
        self.connections = 0
        self.on_question = lambda: None
        self._passes = asyncio.Event()
        self._passes.set()

    async def open(self):
        self._listener = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def cut(self):
        """End all connections, and refuse others until it is opened again."""
        self._listener.close()
        self.end_connections()
        if self._relays:
            await asyncio.wait(self._relays)

    def end_connections(self):
        for end in self._ends:
            end.close()
        self._ends.clear()

    def refuse(self, error):
        """Have the server seem to end all connections because of *error*."""
        for end in self._ends[::2]:
            end.write(b"-ERR '%s'\r\n" % error)
        self.end_connections()

    def keep_answers(self):
        self._passes.clear()

    def pass_answers(self):
        self._passes.set()

    def kinds(self, connection):
        """The kinds of questions on that connection, such as STREAM.INFO."""
        return [".".join(words[2:4]) for number, words in self.asked if number == connection]

    async def _relay(self, reader, writer):
        self._relays.add(asyncio.current_task())
        self.connections += 1
        number = self.connections
        down, up = await asyncio.open_connection("127.0.0.1", self._server.port)
        self._ends += [writer, up]
        answers = asyncio.create_task(self._answer(down, writer))
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                for found in re.finditer(rb"H?PUB (\$JS\.API\.\S+)", data):
                    self.asked.append((number, found[1].decode().split(".")))
                    self.on_question()
                up.write(data)
        answers.cancel()
        await asyncio.wait([answers])
        await closed(writer, up)

    async def _answer(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._passes.wait()
                writer.write(data)
        writer.close()


@pytest.fixture
def on_a_line(nats):
    """Run a coroutine function with a line, an open store behind it, and one beside it that sees the same."""
    from vaurien.fleet.nats_store import NatsStore, Where

    def run(play):
        async def whole():
            line, bucket = Line(nats), f"test{next(BUCKETS)}"
            await line.open()
            one = NatsStore(Where.parse(f"nats://127.0.0.1:{line.port}/{bucket}"))
            other = NatsStore(Where.parse(f"{nats.url}/{bucket}"))
            await one.open()
            await other.open()
            try:
                await asyncio.wait_for(play(line, one, other), 90)
            finally:
                line.pass_answers()
                await one.close()
                await other.close()
                await line.cut()

        asyncio.run(whole())

    return run


def test_behind_a_new_connection_all_entries_are_three_answers_away(on_a_line):
    """On a busy machine each answer takes its time, and what is desired must not wait for what it does not need."""

    async def play(line, one, other):
        asked = []

        def note():
            if "missed" in one.entries and not asked:
                asked.extend(line.kinds(2))

        one.on_change = note
        await line.cut()
        await eventually(lambda: one.trouble)
        await other.put("missed", b"1", revision=0)
        await line.open()
        await eventually(lambda: one.trouble is None)
        assert asked[-3:] == ["STREAM.INFO", "CONSUMER.CREATE", "CONSUMER.INFO"]
        assert set(asked[:-3]) <= {"STREAM.INFO"}  # a look at the same time

    on_a_line(play)


def test_a_new_connection_waits_for_no_answer_of_the_one_before(on_a_line):
    """It would for two seconds, and half a one more: an answer that is lost with its connection never comes."""

    async def play(line, one, other):
        troubles = {}

        def note():
            troubles.setdefault(line.connections, one.trouble)
            if line.kinds(2)[-1:] == ["CONSUMER.CREATE"]:
                line.keep_answers()

        line.on_question = note
        await line.cut()
        await eventually(lambda: one.trouble)
        await other.put("missed", b"1", revision=0)
        await line.open()
        await eventually(lambda: "CONSUMER.CREATE" in line.kinds(2))
        line.on_question = lambda: troubles.setdefault(line.connections, one.trouble)
        line.end_connections()
        line.pass_answers()
        await eventually(lambda: 3 in troubles and one.trouble is None)
        assert "timeout" not in troubles[3]
        assert values(one) == {"missed": b"1"}

    on_a_line(play)


def test_an_answer_that_is_late_costs_no_entries(on_a_line):
    async def play(line, one, other):
        line.keep_answers()
        await eventually(lambda: one.trouble and "timeout" in one.trouble)
        await other.put("late", b"1", revision=0)
        line.pass_answers()
        await eventually(lambda: one.trouble is None)
        assert values(one) == {"late": b"1"}
        assert line.connections == 1
        assert line.kinds(1).count("CONSUMER.CREATE") == 1

    on_a_line(play)


def test_a_server_that_ends_a_connection_for_a_reason_is_asked_again(on_a_line):
    async def play(line, one, other):
        line.refuse(b"Maximum Connections Exceeded")
        await other.put("missed", b"1", revision=0)
        await eventually(lambda: line.connections == 2 and one.trouble is None)
        assert values(one) == {"missed": b"1"}
        await one.put("own", b"1", revision=0)
        await line.cut()
        await eventually(lambda: one.trouble)
        await line.open()
        await eventually(lambda: one.trouble is None)
        assert set(values(one)) == {"missed", "own"}

    on_a_line(play)


def test_who_listens_is_told_on_where_a_server_has_ended_the_connection(on_a_line):
    async def play(line, one, other):
        heard = await one.listen("events")
        line.refuse(b"Maximum Connections Exceeded")
        await eventually(lambda: line.connections == 2 and one.trouble is None)
        await one.put("flushed", b"1", revision=0)  # the server knows all that was asked before
        other.tell("events.x", b"hello")
        assert await anext(heard) == b"hello"
        await heard.aclose()

    on_a_line(play)


def test_a_failure_that_nobody_expects_of_the_client_library_ends_nothing(on_a_line, monkeypatch):
    """It raises InvalidStateError, say, where two of its time-outs meet."""
    from nats.js.kv import KeyValue

    watchall, failed = KeyValue.watchall, []

    async def failing(self, **settings):
        if len(failed) < 2:
            failed.append(1)
            raise asyncio.InvalidStateError("invalid state")
        return await watchall(self, **settings)

    async def play(line, one, other):
        monkeypatch.setattr(KeyValue, "watchall", failing)
        await line.cut()
        await eventually(lambda: one.trouble)
        await other.put("missed", b"1", revision=0)
        await line.open()
        await eventually(lambda: one.trouble is None)
        assert values(one) == {"missed": b"1"}

    on_a_line(play)
    assert len(failed) == 2


def test_reading_that_fails_leaves_no_watchers_in_the_server(nats, monkeypatch):
    import nats as client_library
    from nats.js.kv import KeyValue

    from vaurien.fleet.nats_store import NatsStore, Where

    where = Where.parse(f"{nats.url}/test{next(BUCKETS)}")

    async def none_comes(self, timeout):
        raise TimeoutError

    async def play():
        one = NatsStore(where)
        await one.open()
        monkeypatch.setattr(KeyValue.KeyWatcher, "updates", none_comes)
        for _ in range(5):
            with pytest.raises(StoreAway):
                await one.claims()
        client = await client_library.connect(nats.url)
        js = client.jetstream()

        async def none_is_left():
            return (await js.stream_info(f"KV_{where.bucket}_nodes")).state.consumer_count == 0

        await eventually(none_is_left)
        await client.close()
        await one.close()

    asyncio.run(asyncio.wait_for(play(), 90))


@pytest.mark.parametrize("ahead", [-500.0, 500.0])
def test_how_far_the_servers_clock_is_from_this_machines_is_measured(nats, monkeypatch, ahead):
    from types import SimpleNamespace

    from vaurien.fleet import nats_store

    wrong = SimpleNamespace(time=lambda: time.time() - ahead, monotonic=time.monotonic)
    monkeypatch.setattr(nats_store, "time", wrong)

    async def play():
        store = nats_store.NatsStore(nats_store.Where.parse(f"{nats.url}/test{next(BUCKETS)}"))
        await store.open()
        await store.claim("node.a", b"x", revision=0)
        assert abs(store.offset - ahead) < 5
        await store.close()

    asyncio.run(asyncio.wait_for(play(), 60))


def test_where_nobody_is(tmp_path):
    from tests import nats_server
    from vaurien.fleet.nats_store import NatsStore, Where

    nats_server.program()
    where = Where.parse(f"nats://user:secret@127.0.0.1:{free_port()}/bucket")
    with pytest.raises(StoreAway, match=r"^no NATS with JetStream at nats://127\.0\.0\.1:\d+/bucket: ") as raised:
        asyncio.run(asyncio.wait_for(NatsStore(where).open(), 60))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("swallows", [True, False])
def test_opening_ends_although_the_client_swallows_a_cancellation(monkeypatch, swallows):
    """As `asyncio.wait_for` of Python 3.11 does inside of the client, when a try ends in the moment of its time-out."""
    pytest.importorskip("nats")
    from vaurien.fleet.nats_store import Client, NatsStore, Where

    cancelled, connect = [], Client.connect

    async def stubborn(*arguments, **options):
        while True:
            try:
                await connect(*arguments, **options)
            except asyncio.CancelledError:
                cancelled.append(1)
                if len(cancelled) > swallows:
                    raise

    monkeypatch.setattr(Client, "connect", stubborn)
    with pytest.raises(StoreAway, match=r"^no NATS with JetStream at nats://127\.0\.0\.1:1/vaurien: "):
        asyncio.run(asyncio.wait_for(NatsStore(Where.parse("nats://127.0.0.1:1")).open(), 60))
    assert len(cancelled) == swallows + 1


@pytest.mark.parametrize(
    ("url", "servers", "bucket", "replicas"),
    [
        ("nats://h:4222", ("nats://h:4222",), "vaurien", 1),
        ("tls://token@a:1,b:2/fleet-1?replicas=3", ("tls://token@a:1", "tls://token@b:2"), "fleet-1", 3),
    ],
)
def test_a_url_names_servers_and_a_bucket(url, servers, bucket, replicas):
    nats_store = pytest.importorskip("vaurien.fleet.nats_store")
    where = nats_store.Where.parse(url)
    assert (where.servers, where.bucket, where.replicas) == (servers, bucket, replicas)
    assert "token" not in str(where)


@pytest.mark.parametrize(
    "url",
    [
        "h:4222",
        "me:s3cret@h:4222",
        "http://me:s3cret@h:4222",
        "nats://",
        "nats://me:s3cret@",
        "nats://h,",
        "nats://h:x",
        "nats://h:70000",
        "nats://me:s3cret@[::1",
        "nats://h/a.b",
        "nats://h/b?replicas=2",
        "nats://me:s3cret@h/b?copies=3",
    ],
)
def test_what_is_no_url_of_a_store(url):
    nats_store = pytest.importorskip("vaurien.fleet.nats_store")
    with pytest.raises(OptionError, match=r"expected nats://host:port or tls://host:port") as raised:
        nats_store.Where.parse(url)
    assert "s3cret" not in str(raised.value)
