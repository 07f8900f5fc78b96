"""Real clients and a real server, with a framer between them."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.protocols.answering_relay import Relay, relayed
from tests.servers import Server, require
from vaurien.protocols.mysql import Mysql

mysql_connector = pytest.importorskip("mysql.connector")
pymysql = pytest.importorskip("pymysql")
constants = pytest.importorskip("pymysql.constants")
CLIENT, COMMAND, SERVER_STATUS = constants.CLIENT, constants.COMMAND, constants.SERVER_STATUS

pytestmark = pytest.mark.server


@pytest.fixture(params=[65536, 1], ids=["chunks", "bytes"])
def relay(request: pytest.FixtureRequest, mariadb_server: Server) -> Iterator[Relay]:
    with relayed(Mysql(), (mariadb_server.host, mariadb_server.port), request.param) as relay:
        yield relay


@pytest.fixture
def whole(mariadb_server: Server) -> Iterator[Relay]:
    with relayed(Mysql(), (mariadb_server.host, mariadb_server.port)) as relay:
        yield relay


def connect(relay: Relay, server: Server, **options: object) -> contextlib.closing[pymysql.Connection]:
    account = {"user": server.user, "password": server.password, "database": server.database}
    return contextlib.closing(pymysql.connect(host="127.0.0.1", port=relay.port, **account | options))


def connector(relay: Relay, server: Server) -> mysql_connector.abstracts.MySQLConnectionAbstract:
    account = {"user": server.user, "password": server.password, "database": server.database}
    return mysql_connector.connect(host="127.0.0.1", port=relay.port, use_pure=True, ssl_disabled=True, **account)


def rows(connection: pymysql.Connection, query: str) -> tuple[tuple[object, ...], ...]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return tuple(cursor.fetchall())


def test_login_queries_and_goodbye(relay: Relay, mariadb_server: Server) -> None:
    with connect(relay, mariadb_server) as connection:
        connection.ping()
        assert rows(connection, "SELECT 1, 'two' UNION SELECT 3, NULL") == ((1, "two"), (3, None))
        assert rows(connection, "SET @x = 1") == ()
        with pytest.raises(pymysql.err.OperationalError):
            rows(connection, "SELECT nonsense")
    dialogue = relay.only()
    assert dialogue.commands[0] == "connect"
    assert dialogue.commands[-1] == "quit"
    assert len(dialogue.asked("nonsense")) == 1


def test_transactions(relay: Relay, mariadb_server: Server) -> None:
    with connect(relay, mariadb_server) as connection:
        rows(connection, "CREATE OR REPLACE TABLE t (n INT)")
        for finish in (connection.rollback, connection.commit):
            connection.begin()
            rows(connection, "INSERT INTO t VALUES (1), (2)")
            finish()
        assert rows(connection, "SELECT count(*) FROM t") == ((2,),)


def test_several_results_of_one_command(relay: Relay, mariadb_server: Server) -> None:
    with connect(relay, mariadb_server, client_flag=CLIENT.MULTI_STATEMENTS) as connection:
        rows(connection, "CREATE OR REPLACE PROCEDURE two() BEGIN SELECT 1; SELECT 2, 3; END")
        for query, count in [("SELECT 1; SET @a = 2; SELECT 3", 3), ("CALL two()", 3), ("SELECT 1; SELECT no", 2)]:
            with connection.cursor() as cursor, contextlib.suppress(pymysql.err.OperationalError):
                cursor.execute(query)
                results = 1
                while cursor.nextset():
                    results += 1
                assert results == count
    dialogue = relay.only()
    assert dialogue.commands.count("query") == dialogue.answered - 1


def test_load_data_local(whole: Relay, mariadb_server: Server, tmp_path: object) -> None:
    path = f"{tmp_path}/rows"
    with open(path, "w") as file:
        file.writelines(f"{n}\n" for n in range(400_000))  # packets enough for their numbers to pass 255
    with connect(whole, mariadb_server, local_infile=True) as connection:
        connection.max_allowed_packet = 8192
        rows(connection, "CREATE OR REPLACE TABLE loaded (n INT)")
        rows(connection, f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE loaded")
        assert rows(connection, "SELECT count(*) FROM loaded") == ((400_000,),)
        with pytest.raises(pymysql.err.MySQLError):
            rows(connection, f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE absent")
        with pytest.raises(pymysql.err.MySQLError):
            rows(connection, "LOAD DATA LOCAL INFILE '/nowhere' INTO TABLE loaded")
        assert rows(connection, "SELECT 1") == ((1,),)


def test_values_of_more_than_one_packet(whole: Relay, mariadb_server: Server) -> None:
    size = 17 * 2**20
    with connect(whole, mariadb_server, max_allowed_packet=64 * 2**20) as connection:
        rows(connection, "SET GLOBAL max_allowed_packet = 67108864")
    with connect(whole, mariadb_server, max_allowed_packet=64 * 2**20) as connection:
        assert rows(connection, f"SELECT length('{'x' * size}')") == ((size,),)
        assert rows(connection, f"SELECT repeat('y', {size}), 1")[0][1] == 1
        assert rows(connection, f"SELECT repeat('y', {2**24 - 1 - 4})") == (("y" * (2**24 - 5),),)
    assert all(len(head.data) < 2048 for head in whole.dialogues[1].requests)


def test_one_of_every_other_command(relay: Relay, mariadb_server: Server) -> None:
    with connect(relay, mariadb_server) as connection:
        connection.select_db("mysql")
        connection._execute_command(COMMAND.COM_STATISTICS, b"")
        assert b"Uptime" in connection._read_packet().get_all_data()
        connection._execute_command(COMMAND.COM_FIELD_LIST, b"user\0%")
        while not connection._read_packet().is_eof_packet():
            pass
        connection._execute_command(COMMAND.COM_SET_OPTION, b"\0\0")
        connection._read_packet()
        with connect(relay, mariadb_server) as other:
            connection.kill(other.thread_id())
            other._sock.settimeout(30)
            other._rfile.read()  # perhaps an error that nothing asked for, then the end
        assert rows(connection, "SHOW PROCESSLIST")


def test_prepared_statements_by_hand(relay: Relay, mariadb_server: Server) -> None:
    with connect(relay, mariadb_server) as connection:

        def ask(command: int, payload: bytes) -> bytes:
            connection._execute_command(command, payload)
            return connection._read_packet().get_all_data()

        def ends() -> int:
            """Read up to an EOF; its status."""
            while not (packet := connection._read_packet()).is_eof_packet():
                pass
            return int.from_bytes(packet.get_all_data()[3:5], "little")

        prepared = ask(COMMAND.COM_STMT_PREPARE, b"SELECT seq, ? FROM seq_1_to_5")
        number = prepared[1:5]
        ends(), ends()
        cursor = number + b"\1\1\0\0\0" + b"\0\1\xfd\0" + b"\3abc"
        ask(COMMAND.COM_STMT_EXECUTE, cursor)
        assert ends() & 0x40
        connection._execute_command(COMMAND.COM_STMT_FETCH, number + b"\2\0\0\0")
        assert not ends() & SERVER_STATUS.SERVER_STATUS_LAST_ROW_SENT
        connection._execute_command(COMMAND.COM_STMT_FETCH, number + b"\xff\0\0\0")
        assert ends() & SERVER_STATUS.SERVER_STATUS_LAST_ROW_SENT
        connection._execute_command(COMMAND.COM_STMT_SEND_LONG_DATA, number + b"\0\0long")
        ask(COMMAND.COM_STMT_RESET, number)
        ask(COMMAND.COM_STMT_EXECUTE, number + b"\0\1\0\0\0" + b"\0\1\xfd\0" + b"\3abc")
        ends(), ends()
        connection._execute_command(COMMAND.COM_STMT_CLOSE, number)
        ask(COMMAND.COM_STMT_PREPARE, b"SET @x = 1")
        with pytest.raises(pymysql.err.ProgrammingError):
            ask(COMMAND.COM_STMT_PREPARE, b"SELECT no FROM where")
    dialogue = relay.only()
    assert {head.fields["command"] for head in dialogue.asked("seq_1_to_5")} == {
        "stmt_prepare",
        "stmt_execute",
        "stmt_fetch",
        "stmt_send_long_data",
        "stmt_reset",
        "stmt_close",
    }


def test_mysql_connector(relay: Relay, mariadb_server: Server) -> None:
    account = (mariadb_server.user, mariadb_server.password, mariadb_server.database)
    with connector(relay, mariadb_server) as connection:
        with connection.cursor(prepared=True) as cursor:
            for n in range(3):
                cursor.execute("SELECT seq, ? FROM seq_1_to_3", (n,))
                assert len(cursor.fetchall()) == 3
        connection.cmd_reset_connection()
        connection.cmd_change_user(*account)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == [(1,)]
    commands = relay.only().commands
    assert {"change_user", "reset_connection", "stmt_prepare", "stmt_execute"} <= set(commands)


@pytest.mark.parametrize("options", [[], ["--compress"]], ids=["plain", "compressed"])
def test_command_line_client(relay: Relay, mariadb_server: Server, options: list[str]) -> None:
    queries = "SELECT 1; SELECT seq FROM seq_1_to_300; SHOW TABLES;\nSELECT nonsense;\nSELECT 'after'"
    network = ["--host=127.0.0.1", f"--port={relay.port}", f"--user={mariadb_server.user}", mariadb_server.database]
    done = subprocess.run(
        [require("mariadb"), "--no-defaults", "--force", *options, *network],
        input=queries,
        env={**os.environ, "MYSQL_PWD": mariadb_server.password},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "after" in done.stdout
    assert "300" in done.stdout
    assert ("query" in relay.only().commands) == (not options)


def test_slap(whole: Relay, mariadb_server: Server) -> None:
    network = ["--host=127.0.0.1", f"--port={whole.port}", f"--user={mariadb_server.user}"]
    load = ["--auto-generate-sql", "--concurrency=4", "--number-of-queries=400"]
    subprocess.run(
        [require("mariadb-slap"), "--no-defaults", *load, *network],
        env={**os.environ, "MYSQL_PWD": mariadb_server.password},
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert sum(dialogue.answered for dialogue in whole.dialogues) > 400


@pytest.mark.parametrize("code", Mysql.error_codes)
def test_an_error_that_refuses_the_login(whole: Relay, mariadb_server: Server, code: str) -> None:
    whole.refuse, whole.code = lambda head: True, code
    with pytest.raises(pymysql.err.OperationalError) as caught:
        connect(whole, mariadb_server)
    assert caught.value.args[0] == int(code)


@pytest.mark.parametrize("code", [None, "1205", "1213", "1290", "1317"])
def test_an_error_after_which_the_connection_works(whole: Relay, mariadb_server: Server, code: str | None) -> None:
    whole.code = code
    with connect(whole, mariadb_server) as connection:
        whole.refuse = lambda head: "broken" in head.fields.get("query", "")
        for _ in range(3):
            with pytest.raises(pymysql.err.OperationalError) as caught:
                rows(connection, "SELECT 'broken'")
            assert code is None or caught.value.args[0] == int(code)
            assert rows(connection, "SELECT 1") == ((1,),)
    assert len(whole.only().refused) == 3


def test_a_broken_prepare(whole: Relay, mariadb_server: Server) -> None:
    whole.code = "1213"
    with connector(whole, mariadb_server) as connection:
        for command in ("stmt_prepare", "stmt_execute"):
            with connection.cursor(prepared=True) as cursor:
                whole.refuse = lambda head, command=command: head.fields["command"] == command
                with pytest.raises(mysql_connector.errors.InternalError) as caught:
                    cursor.execute("SELECT ?", (1,))
                assert caught.value.sqlstate == "40001"
                whole.refuse = lambda head: False
                cursor.execute("SELECT ?", (2,))
                assert cursor.fetchall() == [(2,)]


def test_an_error_that_loses_the_connection(whole: Relay, mariadb_server: Server) -> None:
    with connect(whole, mariadb_server) as connection:
        whole.refuse, whole.code = lambda head: True, "2013"
        with pytest.raises(pymysql.err.OperationalError) as caught:
            rows(connection, "SELECT 1")
        assert caught.value.args[0] == 2013
        with pytest.raises(pymysql.err.MySQLError):
            rows(connection, "SELECT 1")


def test_a_broken_query_of_more_than_one_packet(whole: Relay, mariadb_server: Server) -> None:
    with connect(whole, mariadb_server, max_allowed_packet=64 * 2**20) as connection:
        whole.refuse = lambda head: "xxx" in head.fields.get("query", "")
        with pytest.raises(pymysql.err.OperationalError):
            rows(connection, f"SELECT '{'x' * 17 * 2**20}'")
        assert rows(connection, "SELECT 1") == ((1,),)


def test_tls_is_opaque(whole: Relay, mariadb_server: Server) -> None:
    with pytest.raises(pymysql.err.OperationalError):  # the server here has no certificate
        connect(whole, mariadb_server, ssl={"ca": None, "check_hostname": False}, ssl_verify_cert=False)
    assert whole.dialogues[0].framing.lost is None
