"""SMTP, MySQL and PostgreSQL where the client has TLS and the backend has none, or the other way round."""

from __future__ import annotations

import smtplib
import socket
import ssl
import subprocess
from contextlib import closing

import pytest

import vaurien
from tests.servers import free_port, require
from tests.tls_peers import TlsPeer, read_all, server_context, serving
from tests.waiting import PATIENCE, until
from vaurien.events import Failed, ProtocolLost

SSL_REQUEST, GSS_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x08\x04\xd2\x16\x30"
STARTUP = b"\0\0\0\x28\0\3\0\0user\0vaurien\0database\0postgres\0\0"

FAULT = "error code=451 probability=0.2 scope=exchange match.verb=MAIL"


def trouble(proxy):
    return [event for event in proxy.events if isinstance(event, (Failed, ProtocolLost))]


@pytest.fixture
def mail_server(tls_authority):
    """Makes aiosmtpd with STARTTLS or without; remembers the mails, and whether each came by TLS."""
    controllers = pytest.importorskip("aiosmtpd.controller")
    started = []

    class Keep:
        def __init__(self):
            self.mails = []

        async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd calls it
            self.mails.append((envelope.content, session.ssl is not None))
            return "250 OK"

    def start(*, tls):
        context = server_context(tls_authority.issue(["localhost"])) if tls else None
        controller = controllers.Controller(
            Keep(), hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=tls
        )
        controller.start()
        started.append(controller)
        return controller

    yield start
    for one in started:
        one.stop()


def send(client, count):
    refused = 0
    for number in range(count):
        try:
            client.sendmail("a@x.test", ["b@y.test"], f"Subject: {number}\r\n\r\nSTARTTLS\r\nEHLO x\r\n".encode())
        except smtplib.SMTPSenderRefused:
            refused += 1
    return refused


@pytest.mark.parametrize("extra", [[], ["latency latency=2"], ["slicer average_size=3 size_variation=1"]], ids=str)
def test_smtp_with_tls_before_a_backend_without(mail_server, extra):
    server = mail_server(tls=False)
    with vaurien.Proxy(
        ("127.0.0.1", server.port), protocol="smtp", tls="auto", faults=[FAULT, *extra], seed=1
    ) as proxy:
        context = proxy.ssl_context()
        context.check_hostname = False
        with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
            client.starttls(context=context)
            assert isinstance(client.sock, ssl.SSLSocket)
            assert send(client, 30) == proxy.hits("error") > 0
        assert len(server.handler.mails) == 30 - proxy.hits("error")
        assert not any(tls for _, tls in server.handler.mails)
        assert server.handler.mails[0][0].endswith(b"STARTTLS\r\nEHLO x\r\n")
        with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:  # that wants none
            client.ehlo()
            assert client.has_extn("starttls")
            send(client, 3)
        assert not trouble(proxy)


@pytest.mark.parametrize("extra", [[], ["latency latency=2"], ["slicer average_size=3 size_variation=1"]], ids=str)
def test_smtp_without_tls_before_a_backend_that_wants_it(mail_server, tls_ca, extra):
    server = mail_server(tls=True)
    backend = f"tls://localhost:{server.port}?ca={tls_ca}"
    with vaurien.Proxy(backend, protocol="smtp", faults=[FAULT, *extra], seed=1) as proxy:
        with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
            client.ehlo()
            assert not client.has_extn("starttls")
            assert send(client, 30) == proxy.hits("error") > 0
        assert len(server.handler.mails) == 30 - proxy.hits("error")
        assert all(tls for _, tls in server.handler.mails)
        assert not trouble(proxy)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ([b"220 hi\r\n", b"250 localhost\r\n"], "it does not offer STARTTLS"),
        ([b"220 hi\r\n", b"250-localhost\r\n250 STARTTLS\r\n", b"454 no\r\n"], "it answers b'454 no\\r\\n'"),
        ([b"220 hi\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n"], "expected 220"),
        ([b"HTTP/1.1 400 Bad\r\n\r\n" * 5000], "which is no reply of SMTP"),
    ],
)
def test_a_mail_server_that_does_not_begin_tls(says, error, tls_ca):
    def talk(raw):
        for one in says:
            raw.sendall(one)
            if not raw.recv(1000):
                break

    with serving(None, talk) as address:
        with vaurien.Proxy(f"tls://localhost:{address[1]}?ca={tls_ca}", protocol="smtp") as proxy:
            with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
                smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE)
            until(lambda: trouble(proxy))
            assert error in trouble(proxy)[0].error


def test_a_mail_server_that_says_nothing_is_given_up(tls_ca):
    with serving(None, read_all) as address:
        with vaurien.Proxy(f"tls://localhost:{address[1]}?ca={tls_ca}", protocol="smtp", timeout=0.3) as proxy:
            with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
                smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE)
            until(lambda: trouble(proxy))
            assert "not done after 0.3 s" in trouble(proxy)[0].error


def test_a_mail_server_that_takes_no_client_says_so_itself(tls_ca):
    def talk(raw):
        raw.sendall(b"554 no\r\n")
        read_all(raw)

    with serving(None, talk) as address:
        with vaurien.Proxy(f"tls://localhost:{address[1]}?ca={tls_ca}", protocol="smtp") as proxy:
            with pytest.raises(smtplib.SMTPConnectError, match="554"):
                smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE)


def test_both_ends_pass_where_the_backend_has_tls(tls_authority, tls_ca):
    """What the backend sends behind the client's end, and the end itself."""

    def talk(raw):
        raw.sendall(b"220 hi\r\n")
        raw.recv(1000)
        raw.sendall(b"250-x\r\n250 STARTTLS\r\n")
        raw.recv(1000)
        raw.sendall(b"220 go\r\n")
        peer = TlsPeer(raw, server_context(tls_authority.issue(["localhost"])))
        heard.append(read_all(peer))
        peer.sendall(b"221 bye\r\n")
        peer.end()

    heard = []
    with serving(None, talk) as address:
        with vaurien.Proxy(f"tls://localhost:{address[1]}?ca={tls_ca}", protocol="smtp") as proxy:
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
                raw.sendall(b"QUIT\r\n")
                raw.shutdown(socket.SHUT_WR)
                assert read_all(raw) == b"220 hi\r\n221 bye\r\n"
            assert heard == [b"QUIT\r\n"]


def test_what_is_slipped_in_before_tls_is_not_said_inside(tls_ca):
    heard = []

    def talk(raw):
        raw.sendall(b"220 ready\r\n")
        heard.append(read_all(raw))

    with serving(None, talk) as address:
        with vaurien.Proxy(address, protocol="smtp", tls="auto") as proxy:
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
                assert raw.recv(100) == b"220 ready\r\n"
                raw.sendall(b"STARTTLS\r\nMAIL FROM:<evil@example.test>\r\n")
                raw.shutdown(socket.SHUT_WR)
                read_all(raw)
        assert heard == [b""]


@pytest.mark.parametrize("fault", ["starttls_stripped", "starttls_refused"])
def test_faults_of_starttls_act_on_tls_that_the_backend_has_not(mail_server, fault):
    server = mail_server(tls=False)
    with vaurien.Proxy(("127.0.0.1", server.port), protocol="smtp", tls="auto", faults=[fault]) as proxy:
        with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
            with pytest.raises(smtplib.SMTPException):
                client.starttls()
            send(client, 1)
        assert proxy.hits(fault)
        assert len(server.handler.mails) == 1


@pytest.mark.server
@pytest.mark.parametrize("extra", [[], ["latency latency=2"], ["slicer average_size=7 size_variation=3"]], ids=str)
@pytest.mark.parametrize("client_tls", [True, False])
def test_mysql(mariadb_tls_server, tls_ca, client_tls, extra):
    pymysql = pytest.importorskip("pymysql")
    server = mariadb_tls_server
    fault = "error code=1213 probability=0.2 scope=exchange match.command=query"
    backend = ("127.0.0.1", server.port) if client_tls else f"tls://localhost:{server.port}?ca={tls_ca}"
    tls = "auto" if client_tls else ()
    with vaurien.Proxy(backend, protocol="mysql", tls=tls, faults=[fault, *extra], seed=1) as proxy:
        own = {"ssl": {"ca": str(proxy.ca_file)}} if client_tls else {"ssl_disabled": True}

        def connect(password=server.password):
            return pymysql.connect(
                host="localhost",
                port=proxy.port,
                user=server.user,
                password=password,
                database=server.database,
                autocommit=None,
                **own,
            )

        failed, ciphers = 0, set()
        with closing(connect()) as connection, connection.cursor() as cursor:
            for number in range(40):
                try:
                    cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'" if number % 2 else f"SELECT {number}")
                except pymysql.err.OperationalError as error:
                    failed += error.args[0] == 1213
                else:
                    found = cursor.fetchone()
                    if number % 2:
                        ciphers.add(found[1])
                    else:
                        assert found == (number,)
        assert failed == proxy.hits("error") > 0
        assert len(ciphers) == 1
        assert bool(ciphers.pop()) != client_tls  # what the server has seen
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            connect("wrong")
        if client_tls:  # it may also do without
            own = {"ssl_disabled": True}
            connect().close()
        assert not trouble(proxy)


@pytest.mark.server
def test_mysql_that_offers_no_tls(mariadb_server, tls_ca):
    pymysql = pytest.importorskip("pymysql")
    server = mariadb_server
    with vaurien.Proxy(f"tls://localhost:{server.port}?ca={tls_ca}", protocol="mysql") as proxy:
        with pytest.raises(pymysql.err.OperationalError):
            pymysql.connect(host="127.0.0.1", port=proxy.port, user="x", ssl_disabled=True)
        until(lambda: trouble(proxy))
        assert "its greeting does not offer TLS" in trouble(proxy)[0].error


@pytest.mark.server
@pytest.mark.parametrize(
    ("sslmode", "channel_binding"),
    [("disable", "prefer"), ("disable", "disable"), ("allow", "prefer"), ("prefer", "prefer")],
)
def test_libpq_without_tls_before_a_backend_that_has_it(postgres_tls_server, tls_ca, sslmode, channel_binding):
    psycopg = pytest.importorskip("psycopg")
    server = postgres_tls_server
    fault = "error code=40001 probability=0.2 scope=exchange match.command=SELECT"
    with vaurien.Proxy(
        f"tls://localhost:{server.port}?ca={tls_ca}", protocol="postgres", faults=fault, seed=3
    ) as proxy:
        parameters = {"user": server.user, "password": server.password, "dbname": server.database}
        failed = 0
        with psycopg.connect(
            host="127.0.0.1",
            port=proxy.port,
            sslmode=sslmode,
            channel_binding=channel_binding,
            autocommit=True,
            **parameters,
        ) as connection:
            for number in range(40):
                try:
                    assert connection.execute("SELECT %s::int", [number]).fetchone() == (number,)
                except psycopg.errors.SerializationFailure:
                    failed += 1
        assert failed == proxy.hits("error") > 0
        assert not trouble(proxy)


PSQL = "host=127.0.0.1 port={} user={} password={} dbname={} sslmode={} connect_timeout=20"


def psql(proxy, server, sslmode, *arguments):
    connection = PSQL.format(proxy.port, server.user, server.password, server.database, sslmode)
    command = [require("psql"), "-X", "-At", "-d", connection, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture
def before_tls(postgres_tls_server, tls_ca):
    """Makes a proxy whose backend has TLS, and which has none with its clients."""

    def make(**settings):
        backend = f"tls://localhost:{postgres_tls_server.port}?ca={tls_ca}"
        return vaurien.Proxy(backend, protocol="postgres", **settings)

    return make


IS_ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


@pytest.mark.server
@pytest.mark.parametrize("faults", [[], ["slicer average_size=3 size_variation=1"], ["latency latency=2"]], ids=str)
@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
def test_psql_that_can_do_without_tls(postgres_tls_server, before_tls, sslmode, faults):
    with before_tls(faults=faults) as proxy:
        done = psql(proxy, postgres_tls_server, sslmode, "-c", IS_ENCRYPTED)
        assert (done.stdout, done.stderr) == ("t\n", "")  # what the server has seen
        assert not trouble(proxy)


@pytest.mark.server
def test_a_fault_answers_psql_behind_its_request_for_tls(postgres_tls_server, before_tls):
    with before_tls(faults=["error code=40001 match.query=prefix:SELECT"]) as proxy:
        done = psql(proxy, postgres_tls_server, "prefer", "-c", "SHOW port", "-c", "SELECT 1")
        assert done.stdout == f"{postgres_tls_server.port}\n"
        assert "could not serialize access" in done.stderr
        assert proxy.hits("error") == 1


@pytest.mark.server
def test_psql_that_insists_on_tls(postgres_tls_server, before_tls):
    with before_tls() as proxy:
        done = psql(proxy, postgres_tls_server, "require", "-c", "SELECT 1")
        assert "server does not support SSL, but SSL was required" in done.stderr
        assert done.returncode == 2


@pytest.mark.server
@pytest.mark.parametrize("fault", ["starttls_stripped", "starttls_refused"])
def test_faults_of_starttls_act_on_psql(postgres_tls_server, before_tls, fault):
    with before_tls(faults=[fault]) as proxy:
        done = psql(proxy, postgres_tls_server, "prefer", "-c", "SELECT 1")
        assert proxy.hits(fault) == 1
        assert (done.stdout == "1\n") == (fault == "starttls_stripped")


@pytest.mark.server
def test_requests_for_encryption_in_pieces_and_all_at_once(postgres_tls_server, before_tls):
    with before_tls() as proxy, socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
        raw.sendall(GSS_REQUEST[:3])
        raw.sendall(GSS_REQUEST[3:])
        assert raw.recv(10) == b"N"
        raw.sendall(SSL_REQUEST + STARTUP)
        answer = raw.recv(1)
        while len(answer) < 2:
            answer += raw.recv(1)
        assert answer == b"NR"  # behind it the server asks for a password
        raw.shutdown(socket.SHUT_WR)
        read_all(raw)


def test_what_a_client_has_begun_goes_before_its_end(tls_authority, tls_ca):
    def talk(raw):
        assert raw.recv(8) == SSL_REQUEST
        raw.sendall(b"S")
        peer = TlsPeer(raw, server_context(tls_authority.issue(["localhost"])))
        heard.append(read_all(peer))
        peer.end()

    heard = []
    with serving(None, talk) as address:
        with vaurien.Proxy(f"tls://localhost:{address[1]}?ca={tls_ca}", protocol="postgres") as proxy:
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
                raw.sendall(SSL_REQUEST[:5])
                raw.shutdown(socket.SHUT_WR)
                read_all(raw)
            until(lambda: heard)
    assert heard == [SSL_REQUEST[:5]]
