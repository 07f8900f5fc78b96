"""psycopg and asyncpg through a proxy in front of PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import select
import subprocess
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.integration import exchanges
from tests.integration.exchanges import CALM, accepted, chosen, drawn, fault, framed, mix_errors, where
from tests.running import PATIENCE
from tests.servers import Server, require
from vaurien.events import Closed, Injected
from vaurien.model import Fault
from vaurien.protocols.postgres import Postgres

asyncpg = pytest.importorskip("asyncpg")
psycopg = pytest.importorskip("psycopg")
errors = psycopg.errors
pytestmark = pytest.mark.server

RAISED: dict[str, tuple[type[Exception], type[Exception]]] = {
    "53300": (errors.TooManyConnections, asyncpg.TooManyConnectionsError),
    "57P03": (errors.CannotConnectNow, asyncpg.CannotConnectNowError),
    "40001": (errors.SerializationFailure, asyncpg.SerializationError),
    "40P01": (errors.DeadlockDetected, asyncpg.DeadlockDetectedError),
    "53200": (errors.OutOfMemory, asyncpg.OutOfMemoryError),
    "53100": (errors.DiskFull, asyncpg.DiskFullError),
    "25006": (errors.ReadOnlySqlTransaction, asyncpg.ReadOnlySQLTransactionError),
    "55P03": (errors.LockNotAvailable, asyncpg.LockNotAvailableError),
    "57014": (errors.QueryCanceled, asyncpg.QueryCanceledError),
    "08006": (errors.ConnectionFailure, asyncpg.ConnectionFailureError),
    "57P01": (errors.AdminShutdown, asyncpg.AdminShutdownError),
    "57P02": (errors.CrashShutdown, asyncpg.CrashShutdownError),
}
"""What psycopg and asyncpg make of each error."""

STAYS = {"25006", "40001", "40P01", "53100", "53200", "55P03", "57014"}
LARGE = bytes(range(256)) * 80_000  # 20 MB


@pytest.fixture(scope="module")
def server(postgres_server: Server) -> Server:
    """With a table that changes can be seen in."""
    with connected(*exchanges.where(postgres_server)) as one:
        one.execute("DROP TABLE IF EXISTS done")
        one.execute("CREATE TABLE done (what text)")
    return postgres_server


def connected(host: str, port: int, **options: Any) -> psycopg.Connection[Any]:
    account = {"user": "vaurien", "password": "secret", "dbname": "postgres", "sslmode": "disable"}
    options = {"autocommit": True, "gssencmode": "disable", "connect_timeout": PATIENCE, **account, **options}
    return psycopg.connect(host=host, port=port, **options)


def statements(host: str, port: int) -> object:
    with connected(host, port) as one:
        ask = lambda query, *values, **how: one.execute(query, values or None, **how).fetchall()  # noqa: E731
        one.execute("CREATE TEMP TABLE t (n int PRIMARY KEY, v bytea)")
        with one.cursor() as cursor:
            cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(n, b"v" * n) for n in range(300)])
        results: list[object] = [ask("SELECT n, length(v) FROM t ORDER BY n"), ask("SELECT 1 WHERE false")]
        results += [ask("SELECT %s::int + 1", n) for n in range(20)]  # prepared from the sixth on
        one.execute("INSERT INTO t VALUES (1000, %s)", (LARGE,))
        results += [one.execute("SELECT v FROM t WHERE n = 1000", binary=True).fetchone()[0] == LARGE]
        with pytest.raises(errors.UniqueViolation) as caught:
            one.execute("INSERT INTO t VALUES (1)")
        results += [caught.value.diag.constraint_name]
        with pytest.raises(errors.DivisionByZero), one.transaction():
            one.execute("DELETE FROM t")
            one.execute("SELECT 1/0")
        results += [ask("SELECT count(*) FROM t")]
        with psycopg.ClientCursor(one) as simple:
            simple.execute("SELECT 1; SELECT 'two'; UPDATE t SET n = n WHERE n < 5")
            results += [simple.fetchall(), simple.nextset(), simple.fetchall(), simple.nextset(), simple.rowcount]
        with one.transaction(), one.cursor("named") as cursor:
            cursor.execute("SELECT g FROM generate_series(1, 5000) g")
            results += [cursor.fetchmany(7), sum(row[0] for row in cursor)]
        return results


def copies(host: str, port: int) -> object:
    with connected(host, port) as one, one.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE c (n int, v text)")
        with cursor.copy("COPY c FROM STDIN") as into:
            for number in range(20_000):
                into.write_row((number, f"line {number}\n" * 10))
        with pytest.raises(errors.BadCopyFileFormat), cursor.copy("COPY c FROM STDIN") as into:
            into.write("too\tmany\tcolumns\n")
        with cursor.copy("COPY (SELECT * FROM c ORDER BY n) TO STDOUT") as out:
            text = b"".join(out)
        with cursor.copy("COPY c TO STDOUT (FORMAT binary)") as out:
            binary = b"".join(out)
        cursor.execute("SELECT count(*) FROM c")
        return [len(text), hash(text), len(binary), cursor.fetchone()]


def pipelines(host: str, port: int) -> object:
    with connected(host, port) as one:
        one.execute("CREATE TEMP TABLE p (n int)")
        with one.pipeline() as pipeline:
            cursors = [one.execute("INSERT INTO p VALUES (%s) RETURNING n", (number,)) for number in range(200)]
            pipeline.sync()
            results: list[object] = [cursor.fetchone() for cursor in cursors]
        with pytest.raises(errors.UndefinedTable), one.pipeline():
            one.execute("SELECT 1")
            one.execute("SELECT * FROM nowhere")
            one.execute("SELECT 2")
        return [*results, one.execute("SELECT count(*) FROM p").fetchone()]


def unasked(host: str, port: int) -> object:
    with connected(host, port) as one, connected(host, port) as other:
        told: list[object] = []
        one.add_notice_handler(lambda notice: told.append(notice.message_primary))
        one.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
        one.execute("LISTEN news")
        for number in range(5):
            other.execute("SELECT pg_notify('news', %s)", (str(number),))
        told += [note.payload for note in one.notifies(timeout=PATIENCE, stop_after=5)]
        waiting = threading.Thread(target=lambda: told.append(interrupted(one)))
        waiting.start()
        seen = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        while waiting.is_alive() and other.execute(seen, (one.info.backend_pid,)).fetchone() != (1,):
            pass
        one.cancel_safe(timeout=PATIENCE)  # `cancel` would keep the interpreter, and the proxy with it, waiting
        waiting.join(PATIENCE)
        return told


def interrupted(one: psycopg.Connection[Any]) -> str:
    with pytest.raises(errors.QueryCanceled) as caught:
        one.execute("SELECT pg_sleep(30)")
    return str(caught.value)


def run(work: Callable[[asyncpg.Connection], Coroutine[Any, Any, Any]], host: str, port: int) -> Any:
    async def main() -> Any:
        account = {"user": "vaurien", "password": "secret", "database": "postgres", "ssl": False}
        one = await asyncpg.connect(host=host, port=port, timeout=PATIENCE, command_timeout=30, **account)
        try:
            return await work(one)
        finally:
            await one.close(timeout=PATIENCE) if not one.is_closed() else None

    return asyncio.run(main())


async def asynchronous(one: asyncpg.Connection) -> object:
    await one.execute("CREATE TEMP TABLE a (n int PRIMARY KEY, v bytea); SELECT 1")
    await one.executemany("INSERT INTO a VALUES ($1, $2)", [(number, b"v" * number) for number in range(300)])
    prepared = await one.prepare("SELECT $1::int + n FROM a ORDER BY n LIMIT 3")
    results: list[object] = [[tuple(row) for row in await prepared.fetch(number)] for number in range(5)]
    async with one.transaction():
        results += [[row[0] async for row in one.cursor("SELECT n FROM a ORDER BY n", prefetch=7)]]
    await one.execute("INSERT INTO a VALUES (1000, $1)", LARGE)
    results += [await one.fetchval("SELECT v FROM a WHERE n = 1000") == LARGE]
    results += [await one.copy_records_to_table("a", records=[(n, None) for n in range(2000, 12_000)])]
    out = io.BytesIO()
    results += [await one.copy_from_query("SELECT n FROM a ORDER BY n", output=out), len(out.getvalue())]
    with pytest.raises(asyncpg.UniqueViolationError):
        await one.execute("INSERT INTO a VALUES ($1)", 1)
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await one.fetch("SELEC 1")
    with pytest.raises(TimeoutError):
        await one.execute("SELECT pg_sleep(30)", timeout=0.05)
    return [*results, await one.fetchval("SELECT count(*) FROM a")]


@pytest.mark.parametrize("policy", CALM)
@pytest.mark.parametrize("work", [statements, copies, pipelines, unasked])
def test_psycopg_gets_what_it_gets_without_a_proxy(server: Server, policy: str, work) -> None:
    exchanges.same_as_without(work, server, "postgres", policy, least=4)


@pytest.mark.parametrize("policy", CALM)
def test_asyncpg_gets_what_it_gets_without_a_proxy(server: Server, policy: str) -> None:
    exchanges.same_as_without(lambda host, port: run(asynchronous, host, port), server, "postgres", policy, least=10)


@pytest.mark.parametrize("code", Postgres.error_codes)
@pytest.mark.parametrize("simple", [True, False])
def test_psycopg_raises_its_own_class(server: Server, code: str, simple: bool) -> None:
    with framed(server, "postgres") as proxy:
        factory = psycopg.ClientCursor if simple else psycopg.Cursor
        one = connected(*proxy.address, cursor_factory=factory)
        proxy.set_policy("", fault("error", code=code))
        with pytest.raises(psycopg.Error) as caught:
            one.execute("SELECT 1")
        assert type(caught.value) is RAISED[code][0]
        assert caught.value.sqlstate == code
        proxy.set_policy("")
        if code in STAYS:
            assert one.execute("SELECT 2").fetchone() == (2,)
            assert accepted(proxy) == 1
        else:
            proxy.events.wait(Closed)
            with pytest.raises(psycopg.OperationalError):
                one.execute("SELECT 2")
        one.close()


@pytest.mark.parametrize("code", Postgres.error_codes)
@pytest.mark.parametrize("method", ["execute", "fetchval"])
def test_asyncpg_raises_its_own_class(server: Server, code: str, method: str) -> None:
    with framed(server, "postgres") as proxy:

        async def work(one: asyncpg.Connection) -> None:
            proxy.set_policy("", fault("error", code=code))
            with pytest.raises(asyncpg.PostgresError) as caught:
                await getattr(one, method)("SELECT 1")
            if code not in STAYS:  # asyncpg's class for every fatal error, with the server's words at the end
                assert type(caught.value) is asyncpg.ConnectionDoesNotExistError
                assert "closed in the middle of operation: " in str(caught.value)
            else:
                assert type(caught.value) is RAISED[code][1]
                assert caught.value.sqlstate == code
            proxy.set_policy("")
            if code in STAYS:
                assert await one.fetchval("SELECT 2") == 2

        run(work, *proxy.address)
        assert accepted(proxy) == 1


@pytest.mark.parametrize("code", ["53300", "57P03"])
def test_a_start_up_is_refused(server: Server, code: str) -> None:
    with framed(server, "postgres", "", fault("error", code=code)) as proxy:
        with pytest.raises(psycopg.OperationalError, match=r"sorry, too many clients|is starting up"):
            connected(*proxy.address)
        with pytest.raises(RAISED[code][1]):
            run(asynchronous, *proxy.address)


def test_an_error_fails_the_transaction(server: Server) -> None:
    with framed(server, "postgres") as proxy, connected(*proxy.address, autocommit=False) as one:
        one.execute("INSERT INTO done VALUES ('failed')")
        proxy.set_policy("", fault("error", code="40001"))
        with pytest.raises(errors.SerializationFailure):
            one.execute("SELECT 1")
        assert one.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        proxy.set_policy("")
        one.rollback()
        assert one.execute("SELECT count(*) FROM done WHERE what = 'failed'").fetchone() == (0,)


@pytest.mark.parametrize("simple", [True, False])
def test_the_seed_says_which_queries_fail(server: Server, simple: bool) -> None:
    factory = psycopg.ClientCursor if simple else psycopg.Cursor
    with framed(server, "postgres", seed="7") as proxy:
        with connected(*proxy.address, prepare_threshold=None, cursor_factory=factory) as one:
            mix_errors(proxy, 20, "40001")
            failed = set()
            for number in range(1, 1001):
                try:
                    assert one.execute("SELECT %s::int", (number,)).fetchone() == (number,)
                except errors.SerializationFailure:
                    failed.add(number)
            proxy.set_policy("")
        assert accepted(proxy) == 1
    assert failed == drawn(1000, 20, seed="7")
    assert len(chosen(proxy)) == len(failed)


def test_abort_commits_and_blackout_does_not(server: Server) -> None:
    with framed(server, "postgres") as proxy:
        for mix in ("100:abort", "100:blackout"):
            one = connected(*proxy.address)
            proxy.set_policy(mix)
            with pytest.raises(psycopg.OperationalError, match="closed the connection unexpectedly"):
                one.execute("INSERT INTO done VALUES (%s)", (mix,))
            proxy.set_policy("")
            one.close()
        with connected(*proxy.address) as one:
            assert one.execute("SELECT what FROM done").fetchall() == [("100:abort",)]
            one.execute("DELETE FROM done")


def test_hang_is_cured_live(server: Server) -> None:
    with framed(server, "postgres") as proxy, connected(*proxy.address) as one:
        proxy.set_policy("100:hang")
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(one.execute("SELECT 2").fetchone()))
        asking.start()
        proxy.events.wait(Injected)
        proxy.set_policy("")
        asking.join(PATIENCE)
        assert answers == [(2,)]


def test_transient_fails_at_first(server: Server) -> None:
    with framed(server, "postgres") as proxy, connected(*proxy.address) as one:
        proxy.set_policy("", fault("transient", agitate=2, code="55P03"))
        for _ in range(2):
            with pytest.raises(errors.LockNotAvailable):
                one.execute("SELECT 1")
        assert one.execute("SELECT 1").fetchone() == (1,)


def matching(behavior: str, options: dict[str, object], **match: str) -> Fault:
    return Fault(name=behavior, behavior=behavior, options=options, match=match)


@pytest.mark.parametrize("simple", [True, False])
@pytest.mark.parametrize("command", ["COMMIT", "SELECT", "INSERT"])
def test_a_command_is_matched_by_its_name(server: Server, command: str, simple: bool) -> None:
    factory = psycopg.ClientCursor if simple else psycopg.Cursor
    with framed(server, "postgres", "", matching("error", {"code": "40001"}, command=command)) as proxy:
        with connected(*proxy.address, autocommit=False, cursor_factory=factory) as one:
            failed = []
            for text in ("SELECT %s::int", " /* a */ -- b\n insert into done values (%s)"):
                try:
                    one.execute(text, ("1",))
                except errors.SerializationFailure:
                    failed.append(text.split()[0])
                    one.rollback()
            try:
                one.execute("DELETE FROM done")
                one.commit()
            except errors.SerializationFailure:
                failed.append("COMMIT")
                one.rollback()
    assert failed == [{"INSERT": "/*"}.get(command, command)]


def test_what_a_server_never_refuses_is_spared(server: Server) -> None:
    """With an error for each exchange, the end of a failed transaction and the goodbye still reach the server."""
    everything_fails = fault("error", code="40001")
    with framed(server, "postgres") as proxy, connected(*where(server)) as other:
        for end in (b"ROLLBACK", b"COMMIT", b"abort", b"ROLLBACK TO SAVEPOINT before"):
            one = connected(*proxy.address, autocommit=False)
            one.execute("SAVEPOINT before")
            proxy.set_policy("", everything_fails)
            with pytest.raises(errors.SerializationFailure):
                one.execute("SELECT 2")
            assert one.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
            assert one.pgconn.exec_(end).status == psycopg.pq.ExecStatus.COMMAND_OK
            pid = one.info.backend_pid
            one.close()
            while other.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() != (0,):
                pass
            proxy.set_policy("")


def test_a_match_hits_what_a_share_spares(server: Server) -> None:
    with framed(server, "postgres", "", matching("error", {"code": "57014"}, command="ROLLBACK")) as proxy:
        with connected(*proxy.address) as one, pytest.raises(errors.QueryCanceled):
            one.execute("ROLLBACK")


@pytest.mark.parametrize("mode", ["simple", "extended"])
def test_pgbench_tries_again_until_it_is_through(server: Server, mode: str) -> None:
    def bench(port: int, *options: str) -> str:
        network = ["-h", "127.0.0.1", "-p", str(port), "-U", "vaurien", "postgres"]
        environment = {**os.environ, "PGPASSWORD": "secret"}
        command = [require("pgbench"), *options, *network]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    bench(server.port, "-i", "-q")
    with framed(server, "postgres", seed="3") as proxy:
        mix_errors(proxy, 5, "40001")
        options = ["-M", mode, "-c", "2", "-t", "100", "-n", "--max-tries=1000", "--failures-detailed"]
        out = bench(proxy.address[1], *options)
    assert "number of transactions actually processed: 200/200" in out
    assert "number of failed transactions: 0 (0.000%)" in out
    assert int(out.partition("number of transactions retried: ")[2].split()[0]) > 20


def test_messages_are_not_held_back_for_a_sync(server: Server) -> None:
    """A failure is answered at once, a lock is taken, rows flow: all before Sync, with a fault for another query."""
    never = matching("error", {}, query="SELECT 'another'")
    with framed(server, "postgres", "", never) as proxy:
        one, other = connected(*proxy.address), connected(*where(server))
        with one, other, one.pipeline() as pipeline:
            one.execute("SELECT pg_advisory_lock(4711)")
            while other.execute("SELECT pg_try_advisory_lock(4711)").fetchone() != (False,):
                other.execute("SELECT pg_advisory_unlock(4711)")
            rows = one.execute("SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
            one.pgconn.flush()
            assert select.select([one.pgconn.socket], [], [], PATIENCE)[0]
            pipeline.sync()
            assert len(rows.fetchall()) == 1000
        with contextlib.closing(connected(*proxy.address)) as one:
            one.pgconn.enter_pipeline_mode()
            one.pgconn.send_prepare(b"p", b"SELEC")
            one.pgconn.flush()
            assert select.select([one.pgconn.socket], [], [], PATIENCE)[0]
            one.pgconn.consume_input()
            assert one.pgconn.get_result().status == psycopg.pq.ExecStatus.FATAL_ERROR


@pytest.mark.parametrize("hit", [1, 2, 3])
def test_an_error_in_a_pipeline_with_flush_skips_the_rest(server: Server, hit: int) -> None:
    """As after a real failure: what follows in the pipeline is skipped, and its Sync is answered."""
    status = psycopg.pq.ExecStatus
    with framed(server, "postgres", "", matching("error", {"code": "40001"}, query=f"SELECT {hit}")) as proxy:
        with connected(*proxy.address) as one:
            one.execute("BEGIN")
            pg = one.pgconn
            pg.enter_pipeline_mode()
            for number in (1, 2, 3):
                pg.send_query_params(f"SELECT {number}".encode(), None)
                pg.send_flush_request()
            pg.pipeline_sync()
            found = []
            while not found or found[-1] != status.PIPELINE_SYNC:
                pg.flush()
                while pg.is_busy():
                    assert select.select([pg.socket], [], [], PATIENCE)[0]
                    pg.consume_input()
                result = pg.get_result()
                found += [result.status] if result is not None else []
            rest = [status.PIPELINE_ABORTED] * (3 - hit)
            assert found == [status.TUPLES_OK] * (hit - 1) + [status.FATAL_ERROR, *rest, status.PIPELINE_SYNC]
            pg.exit_pipeline_mode()
            assert one.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
            one.execute("ROLLBACK")
            assert one.execute("SELECT 4").fetchone() == (4,)


def test_a_refused_execution_leaves_no_transaction_open(server: Server) -> None:
    """asyncpg prepares with Flush; when the execution, which has the Sync, is refused, the server gets a Sync."""
    with framed(server, "postgres") as proxy, connected(*where(server)) as other:

        async def scene(one: asyncpg.Connection) -> None:
            prepared = await one.prepare("SELECT count(*) FROM done")
            assert await prepared.fetchval() >= 0
            proxy.set_policy("", fault("error", code="40001", warmup=1))
            with pytest.raises(asyncpg.SerializationError):
                await one.fetch("SELECT what FROM done")
            proxy.set_policy("")
            pid = one.get_server_pid()
            while other.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() != ("idle",):
                pass
            assert await one.fetchval("SELECT 5") == 5

        run(scene, *proxy.address)
