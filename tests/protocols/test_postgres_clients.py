"""Real clients and a real server, with a framer between them."""

import asyncio
import contextlib
import os
import select
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator

import pytest

from tests.protocols.answering_relay import Relay, relayed
from tests.servers import Server, require
from vaurien.protocols.postgres import Postgres

asyncpg = pytest.importorskip("asyncpg")
psycopg = pytest.importorskip("psycopg")

pytestmark = pytest.mark.server


@pytest.fixture(params=[65536, 1], ids=["chunks", "bytes"])
def relay(request: pytest.FixtureRequest, postgres_server: Server) -> Iterator[Relay]:
    with relayed(Postgres(), (postgres_server.host, postgres_server.port), request.param) as relay:
        yield relay


@pytest.fixture
def whole(postgres_server: Server) -> Iterator[Relay]:
    with relayed(Postgres(), (postgres_server.host, postgres_server.port)) as relay:
        yield relay


def connect(relay: Relay, server: Server, **options: object) -> psycopg.Connection:
    account = {"user": server.user, "password": server.password, "dbname": server.database}
    return psycopg.connect(host="127.0.0.1", port=relay.port, **account | options)


def result(connection: psycopg.pq.PGconn) -> psycopg.pq.abc.PGresult | None:
    """The next result; unlike get_result() alone this lets the relay's threads run meanwhile."""
    while connection.flush() or connection.is_busy():
        assert select.select([connection.socket], [], [], 30)[0]
        connection.consume_input()
    return connection.get_result()


def test_startup_queries_and_goodbye(relay: Relay, postgres_server: Server) -> None:
    with connect(relay, postgres_server, autocommit=True) as connection:
        assert connection.execute("SELECT 1; SELECT 2").fetchall() == [(1,)]  # the simple protocol
        assert connection.execute("SELECT %s::int", [3]).fetchall() == [(3,)]  # the extended one
        with pytest.raises(psycopg.errors.UndefinedColumn):
            connection.execute("SELECT nonsense")
        connection.execute("")
        connection.execute("DO $$ BEGIN RAISE NOTICE 'hear'; END $$")
    dialogue = relay.only()
    assert dialogue.commands[0] == "startup"
    assert dialogue.commands[-1] == "terminate"
    assert [head.fields["command"] for head in dialogue.asked("SELECT")] == ["SELECT"] * 3


def test_transactions(relay: Relay, postgres_server: Server) -> None:
    with connect(relay, postgres_server) as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute("CREATE TABLE t (n int)")
        connection.commit()
        with contextlib.suppress(ZeroDivisionError), connection.transaction():
            connection.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError
        with contextlib.suppress(psycopg.errors.DivisionByZero), connection.transaction():
            connection.execute("INSERT INTO t VALUES (%s)", [2])
            connection.execute("SELECT 1 / %s", [0])
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    statuses = [head.status for head in relay.only().requests]
    assert set(statuses) == {"I", "T", "E"}


def test_prepared_statements_are_known_by_their_query(relay: Relay, postgres_server: Server) -> None:
    with connect(relay, postgres_server, autocommit=True) as connection:
        for n in range(5):
            assert connection.execute("SELECT %s::int + 1", [n], prepare=True).fetchone() == (n + 1,)
        connection.execute("DEALLOCATE ALL")
    asked = relay.only().asked("+ 1")
    assert [head.fields["command"] for head in asked] == ["SELECT"] * 6


def test_named_cursors(relay: Relay, postgres_server: Server) -> None:
    with connect(relay, postgres_server) as connection, connection.cursor("portal") as cursor:
        cursor.execute("SELECT generate_series(1, 50)")
        assert len(cursor.fetchmany(20)) == 20
        assert len(cursor.fetchall()) == 30


@pytest.mark.parametrize("parameters", [None, [3000]], ids=["simple", "extended"])
def test_copy_both_ways(whole: Relay, postgres_server: Server, parameters: list[int] | None) -> None:
    with connect(whole, postgres_server, autocommit=True) as connection, connection.cursor() as cursor:
        connection.execute("DROP TABLE IF EXISTS copied")
        connection.execute("CREATE TABLE copied (n int)")
        with cursor.copy("COPY copied FROM STDIN") as copy:
            for n in range(3000):
                copy.write_row([n])
        with contextlib.suppress(psycopg.errors.QueryCanceled), cursor.copy("COPY copied FROM STDIN") as copy:
            copy.write_row([1])
            raise psycopg.errors.QueryCanceled
        with (
            contextlib.suppress(psycopg.errors.InvalidTextRepresentation),
            cursor.copy("COPY copied FROM STDIN") as copy,
        ):
            for _ in range(3000):
                copy.write(b"not a number\n")
        limit = "3000" if parameters is None else "%s"
        with cursor.copy(f"COPY (SELECT n FROM copied LIMIT {limit}) TO STDOUT", parameters) as copy:
            assert sum(1 for _ in copy.rows()) == 3000
        assert connection.execute("SELECT count(*) FROM copied").fetchone() == (3000,)


def test_copy_by_the_extended_protocol(relay: Relay, postgres_server: Server) -> None:
    """The Sync that came with Execute is ignored while the backend copies; another one ends the exchange."""
    with connect(relay, postgres_server, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS copied_too")
        connection.execute("CREATE TABLE copied_too (n int)")
        for end, expected in ((None, psycopg.pq.ExecStatus.COMMAND_OK), (b"no", psycopg.pq.ExecStatus.FATAL_ERROR)):
            begun = connection.pgconn.exec_params(b"COPY copied_too FROM STDIN", None)
            assert begun.status == psycopg.pq.ExecStatus.COPY_IN
            connection.pgconn.put_copy_data(b"1\n2\n")
            connection.pgconn.put_copy_end(end)
            assert result(connection.pgconn).status == expected
            assert result(connection.pgconn) is None
            assert connection.execute("SELECT count(*) FROM copied_too").fetchone() == (2,)


def test_pipelines(relay: Relay, postgres_server: Server) -> None:
    with connect(relay, postgres_server, autocommit=True) as connection:
        with connection.pipeline() as pipeline:
            cursors = [connection.execute("SELECT %s::int", [n]) for n in range(30)]
            assert cursors[7].fetchone() == (7,)  # by Flush
            pipeline.sync()
            cursors += [connection.execute("SELECT %s::int", [n]) for n in range(30, 60)]
        assert [cursor.fetchone() for cursor in cursors[8:]] == [(n,) for n in range(8, 60)]
        with contextlib.suppress(psycopg.errors.DivisionByZero), connection.pipeline():
            connection.execute("SELECT 1 / %s", [0])
            for n in range(5):
                connection.execute("SELECT %s", [n])
        with contextlib.suppress(psycopg.errors.Error), connection.pipeline():
            broken = [connection.execute("SELECT %s / 0", [n]) for n in range(5)]
            for cursor in broken:
                with contextlib.suppress(psycopg.Error):
                    cursor.fetchone()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_flushed_pipelines(relay: Relay, postgres_server: Server) -> None:
    with connect(relay, postgres_server, autocommit=True) as connection:
        pg = connection.pgconn
        pg.enter_pipeline_mode()
        for query, good in ((b"SELECT 1", True), (b"SELECT 2", True), (b"SELECT 1/0", False)):
            pg.send_query_params(query, None)
            pg.send_flush_request()
            pg.flush()
            assert (result(pg).status == psycopg.pq.ExecStatus.TUPLES_OK) == good
            assert result(pg) is None
        pg.send_query_params(b"SELECT 3", None)  # skipped, up to the Sync
        pg.send_flush_request()
        pg.flush()
        pg.pipeline_sync()
        pg.flush()
        assert result(pg).status == psycopg.pq.ExecStatus.PIPELINE_ABORTED
        assert result(pg) is None
        assert result(pg).status == psycopg.pq.ExecStatus.PIPELINE_SYNC
        pg.exit_pipeline_mode()
        assert connection.execute("SELECT 4").fetchone() == (4,)


def test_large_values(whole: Relay, postgres_server: Server) -> None:
    size = 17 * 2**20
    with connect(whole, postgres_server, autocommit=True) as connection:
        assert connection.execute("SELECT length(%s)", ["x" * size]).fetchone() == (size,)
        assert connection.execute(f"SELECT length('{'x' * size}')").fetchone() == (size,)
        assert len(connection.execute(f"SELECT repeat('y', {size})").fetchone()[0]) == size
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s", ["z" * 50_000]) for _ in range(20)]
        assert all(len(cursor.fetchone()[0]) == 50_000 for cursor in cursors)
    assert all(len(head.data) <= 65536 for head in whole.only().requests)


def test_notifications(relay: Relay, postgres_server: Server) -> None:
    with (
        connect(relay, postgres_server, autocommit=True) as listening,
        connect(relay, postgres_server, autocommit=True) as talking,
    ):
        listening.execute("LISTEN news")
        for n in range(3):
            talking.execute("SELECT pg_notify('news', %s)", [str(n)])
        heard = [note.payload for note in listening.notifies(stop_after=3, timeout=30)]
        assert heard == ["0", "1", "2"]
        listening.execute("NOTIFY news, 'self'")
        assert [note.payload for note in listening.notifies(stop_after=1, timeout=30)] == ["self"]


def test_cancel(relay: Relay, postgres_server: Server) -> None:
    with connect(relay, postgres_server, autocommit=True) as connection:
        started = threading.Event()
        relay.refuse = lambda head: started.set() if "pg_sleep" in head.fields.get("query", "") else None

        def cancel() -> None:
            started.wait(30)
            for _ in range(100):  # it may not have begun
                connection.cancel_safe(timeout=30)
                if done.wait(0.1):
                    return

        done = threading.Event()
        canceller = threading.Thread(target=cancel)
        canceller.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(60)")
        done.set()
        canceller.join()
    assert relay.dialogues[1].commands == ["cancel"]


def test_the_end_of_an_idle_connection(relay: Relay, postgres_server: Server) -> None:
    with (
        connect(relay, postgres_server, autocommit=True) as idle,
        connect(relay, postgres_server, autocommit=True) as other,
    ):
        other.execute("SELECT pg_terminate_backend(%s)", [idle.info.backend_pid])
        assert relay.dialogues[0].closed.wait(30)
        with pytest.raises(psycopg.OperationalError, match="closed the connection"):
            list(idle.notifies(timeout=30))


def play(relay: Relay, server: Server, scene: Callable[[asyncpg.Connection], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        account = {"user": server.user, "password": server.password, "database": server.database}
        connection = await asyncpg.connect(host="127.0.0.1", port=relay.port, **account)
        try:
            await scene(connection)
        finally:
            await connection.close(timeout=30)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_asyncpg(relay: Relay, postgres_server: Server) -> None:
    async def scene(connection: asyncpg.Connection) -> None:
        assert await connection.fetchval("SELECT $1::int + 1", 1) == 2
        assert await connection.fetchval("SELECT $1::int + 1", 2) == 3
        await connection.execute("CREATE TEMP TABLE t (n int)")
        await connection.executemany("INSERT INTO t VALUES ($1)", [(n,) for n in range(1000)])
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.fetch("SELECT $1 FROM nowhere", 1)
        async with connection.transaction():
            assert len([row async for row in connection.cursor("SELECT n FROM t", prefetch=100)]) == 1000
        await connection.copy_records_to_table("t", records=[(n,) for n in range(1000)])
        assert await connection.fetchval("SELECT count(*) FROM t") == 2000

    play(relay, postgres_server, scene)


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench(whole: Relay, postgres_server: Server, mode: str) -> None:
    environment = {**os.environ, "PGPASSWORD": postgres_server.password, "PGUSER": postgres_server.user}
    network = ["-h", "127.0.0.1", "-p", str(whole.port), postgres_server.database]
    for options in (["-i", "-q"], ["-M", mode, "-c", "2", "-t", "50", "-n"]):
        subprocess.run(
            [require("pgbench"), *options, *network], env=environment, check=True, capture_output=True, timeout=100
        )
    assert sum(dialogue.answered for dialogue in whole.dialogues) > 700


@pytest.mark.parametrize("code", Postgres.error_codes)
def test_an_error_that_refuses_the_start(whole: Relay, postgres_server: Server, code: str) -> None:
    whole.refuse, whole.code = lambda head: True, code
    with pytest.raises(psycopg.OperationalError, match="FATAL"):
        connect(whole, postgres_server)


@pytest.mark.parametrize("code", [None, "40001", "40P01", "57014", "55P03"])
@pytest.mark.parametrize("parameters", [None, [1]], ids=["simple", "extended"])
def test_an_error_after_which_the_connection_works(
    whole: Relay, postgres_server: Server, code: str | None, parameters: list[int] | None
) -> None:
    whole.code = code
    query = "SELECT 'broken'" if parameters is None else "SELECT 'broken', %s"
    with connect(whole, postgres_server) as connection:
        whole.refuse = lambda head: "broken" in head.fields.get("query", "")
        for _ in range(3):
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(query, parameters)
            assert code is None or caught.value.sqlstate == code
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
            connection.rollback()
            assert connection.execute("SELECT 1").fetchone() == (1,)
            connection.rollback()
    assert len(whole.only().refused) == 3


def test_an_error_outside_a_transaction(whole: Relay, postgres_server: Server) -> None:
    with connect(whole, postgres_server) as connection:
        whole.refuse = lambda head: head.fields.get("query") == "BEGIN"
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT 1")
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        whole.refuse = lambda head: False
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_asyncpg_gets_its_own_error(whole: Relay, postgres_server: Server) -> None:
    whole.code = "40001"

    async def scene(connection: asyncpg.Connection) -> None:
        for number, ask in ((0, connection.fetch), (1, connection.fetch), (0, connection.execute)):
            seen: list[object] = []  # fetch prepares and executes
            whole.refuse = lambda head, seen=seen, number=number: seen.append(head) or len(seen) == number + 1
            with pytest.raises(asyncpg.SerializationError):
                await ask(f"SELECT 1 /* {ask.__name__} {number} */")
            whole.refuse = lambda head: False
            assert await connection.fetchval("SELECT $1::int", 2) == 2

    play(whole, postgres_server, scene)


def test_an_error_that_ends_the_connection(whole: Relay, postgres_server: Server) -> None:
    with connect(whole, postgres_server) as connection:
        whole.refuse, whole.code = lambda head: True, "57P01"
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT 1")
        assert connection.closed
