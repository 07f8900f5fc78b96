"""PyMySQL and the mariadb client through a proxy in front of MariaDB."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import exchanges
from tests.integration.exchanges import CALM, accepted, chosen, drawn, fault, framed, mix_errors
from tests.running import PATIENCE, Running
from tests.servers import Server, require
from vaurien.events import Closed, Injected
from vaurien.protocols.mysql import Mysql

pymysql = pytest.importorskip("pymysql")
pytestmark = pytest.mark.server

LARGE = 64 * 2**20
LOSSES = {"1053", "1927", "2013"}
"""After these a server ends the connection."""


@pytest.fixture(scope="module")
def server(mariadb_server: Server) -> Server:
    """With room for large values, and a table that changes can be seen in."""
    with connected(exchanges.where(mariadb_server)) as one, one.cursor() as cursor:
        cursor.execute(f"SET GLOBAL max_allowed_packet = {LARGE}")
        cursor.execute("CREATE OR REPLACE TABLE done (what VARCHAR(20))")
    return mariadb_server


def connected(address: tuple[str, int], **options: object) -> pymysql.Connection:
    account = {"user": "vaurien", "password": "secret", "database": "test", "autocommit": True}
    times = {"connect_timeout": PATIENCE, "read_timeout": 30, "write_timeout": 30}
    host, port = address
    return pymysql.connect(host=host, port=port, max_allowed_packet=LARGE, **account, **times, **options)


def ask(one: pymysql.Connection, query: str, *values: object) -> tuple[tuple[object, ...], ...]:
    with one.cursor() as cursor:
        cursor.execute(query, values or None)
        return cursor.fetchall()


def statements(host: str, port: int) -> object:
    with connected((host, port)) as one, one.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE t (n INT PRIMARY KEY, v LONGBLOB)")
        results: list[object] = [
            cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(n, "v" * n) for n in range(500)])
        ]
        results += [
            ask(one, "SELECT n, LENGTH(v), v IS NULL FROM t ORDER BY n"),
            ask(one, "SELECT 1 FROM t WHERE n < 0"),
        ]
        large = bytes(range(256)) * 80_000  # 20 MB: more than one packet
        cursor.execute("INSERT INTO t VALUES (1000, _binary %s)", (large,))
        results += [ask(one, "SELECT v FROM t WHERE n = 1000")[0][0] == large]
        with pytest.raises(pymysql.IntegrityError) as caught:
            cursor.execute("INSERT INTO t VALUES (1, 'again')")
        results += [caught.value.args, ask(one, "SELECT @a := 1, CAST('x' AS CHAR), NULL, 1.5, NOW() > 0")]
        one.begin()
        cursor.execute("DELETE FROM t")
        one.rollback()
        results += [ask(one, "SELECT COUNT(*) FROM t"), one.ping(), one.select_db("test"), one.character_set_name()]
        ask(one, "PREPARE s FROM 'SELECT ? + 1'")
        return [*results, ask(one, "EXECUTE s USING 5"), ask(one, "SHOW WARNINGS")]


def several_results(host: str, port: int) -> object:
    with connected((host, port), client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS) as one, one.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE PROCEDURE two() BEGIN SELECT 1, 2; SELECT 'three'; END")
        cursor.callproc("two")
        results: list[object] = [cursor.fetchall(), cursor.nextset(), cursor.fetchall(), cursor.nextset()]
        cursor.execute("SELECT 1; SET @x = 2; SELECT @x")
        while True:
            results.append(cursor.fetchall())
            if not cursor.nextset():
                break
        with pytest.raises(pymysql.ProgrammingError):
            cursor.execute("SELECT 1; SELECT nonsense FROM nowhere")
            cursor.nextset()
        with one.cursor(pymysql.cursors.SSCursor) as streaming:
            streaming.execute("SELECT seq, REPEAT('x', 100) FROM seq_1_to_20000")
            results.append(sum(row[0] for row in streaming.fetchall_unbuffered()))
        return results


def files(host: str, port: int) -> object:
    path = Path(require("mariadb"))  # any large file will do, as long as it is the same one
    with connected((host, port), local_infile=True) as one, one.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE f (line LONGBLOB)")
        cursor.execute(f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE f CHARACTER SET binary FIELDS ESCAPED BY ''")
        return ask(one, "SELECT COUNT(*), SUM(CRC32(line)) FROM f")


@pytest.mark.parametrize("policy", CALM)
@pytest.mark.parametrize("work", [statements, several_results, files])
def test_clients_get_what_they_get_without_a_proxy(server: Server, policy: str, work) -> None:
    exchanges.same_as_without(work, server, "mysql", policy, least=4)


@pytest.mark.parametrize("code", Mysql.error_codes)
def test_each_error_is_what_the_client_knows_it_as(server: Server, code: str) -> None:
    with framed(server, "mysql") as proxy, connected(proxy.address) as one:
        proxy.set_policy("", fault("error", code=code))
        with pytest.raises(pymysql.OperationalError) as caught:
            ask(one, "SELECT 1")
        assert caught.value.args[0] == int(code)
        proxy.set_policy("")
        if code in LOSSES:
            with pytest.raises(pymysql.Error):
                ask(one, "SELECT 2")
            proxy.events.wait(Closed)
        else:
            assert ask(one, "SELECT 2") == ((2,),)
        assert accepted(proxy) == 1


def test_a_login_is_refused(server: Server) -> None:
    with framed(server, "mysql", "", fault("error", code="1040")) as proxy:
        with pytest.raises(pymysql.OperationalError, match="Too many connections") as caught:
            connected(proxy.address)
        assert caught.value.args[0] == 1040


@pytest.fixture
def terminal(server: Server) -> Iterator[tuple[Running, subprocess.Popen[str]]]:
    """The mariadb client, on pipes."""
    with framed(server, "mysql") as proxy:
        host, port = proxy.address
        account = [
            "--user=vaurien",
            "--password=secret",
            f"--host={host}",
            f"--port={port}",
            "--protocol=tcp",
            "--skip-ssl",
        ]
        command = [require("mariadb"), "--no-defaults", *account, "--force", "--unbuffered", "--batch", "-N", "test"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, text=True, bufsize=1, **pipes) as process:
            try:
                yield proxy, process
                process.stdin.close()
                process.wait(PATIENCE)
            finally:
                process.kill()


def test_the_mariadb_client_shows_the_error(terminal: tuple[Running, subprocess.Popen[str]]) -> None:
    proxy, process = terminal

    def heard(query: str, start: str) -> bool:
        """Whether a line that begins with *start* comes; there are others around an error."""
        process.stdin.write(query + "\n")
        return any(line.startswith(start) for line in process.stdout)

    assert heard("SELECT 1;", "1")
    for code, state in (("1213", "40001"), ("1205", "HY000"), ("1290", "HY000")):
        proxy.set_policy("", fault("error", code=code))
        assert heard("SELECT 2;", f"ERROR {code} ({state}) at line")
    proxy.set_policy("")
    assert heard("SELECT 3;", "3")


def test_the_seed_says_which_queries_fail(server: Server) -> None:
    with framed(server, "mysql", seed="7") as proxy, connected(proxy.address) as one:
        mix_errors(proxy, 20, "1213")
        failed = set()
        for number in range(1, 1001):
            try:
                assert ask(one, f"SELECT {number}") == ((number,),)
            except pymysql.OperationalError:
                failed.add(number)
        proxy.set_policy("")
        assert accepted(proxy) == 1
    assert failed == drawn(1000, 20, seed="7")
    assert len(chosen(proxy)) == len(failed)


def test_abort_commits_and_blackout_does_not(server: Server) -> None:
    with framed(server, "mysql") as proxy:
        for mix in ("100:abort", "100:blackout"):
            with connected(proxy.address) as one:
                proxy.set_policy(mix)
                with pytest.raises(pymysql.OperationalError) as caught:
                    ask(one, "INSERT INTO done VALUES (%s)", mix)
                assert caught.value.args[0] == 2013  # lost connection, says PyMySQL
                proxy.set_policy("")
        with connected(proxy.address) as one:
            assert ask(one, "SELECT what FROM done") == (("100:abort",),)
            ask(one, "DELETE FROM done")


def test_hang_is_cured_live(terminal: tuple[Running, subprocess.Popen[str]]) -> None:
    proxy, process = terminal
    process.stdin.write("SELECT 1;\n")
    assert process.stdout.readline() == "1\n"
    proxy.set_policy("100:hang")
    process.stdin.write("SELECT 2;\n")
    proxy.events.wait(Injected)
    proxy.set_policy("")
    assert process.stdout.readline() == "2\n"


def test_transient_fails_at_first(server: Server) -> None:
    with framed(server, "mysql") as proxy, connected(proxy.address) as one:
        proxy.set_policy("", fault("transient", agitate=2, code="1205"))
        for _ in range(2):
            with pytest.raises(pymysql.OperationalError, match="Lock wait timeout"):
                ask(one, "SELECT 1")
        assert ask(one, "SELECT 1") == ((1,),)
