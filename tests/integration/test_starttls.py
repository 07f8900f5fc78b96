"""STARTTLS of SMTP and the SSL flag of MySQL: with a certificate faults act inside, without one the proxy says so."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl

import pytest

import vaurien
from tests.servers import free_port
from tests.tls_peers import TlsPeer, read_all, server_context, serving
from tests.waiting import PATIENCE, until
from vaurien.events import Encrypted, Failed
from vaurien.framing import Head
from vaurien.model import Address, Direction
from vaurien.protocols import mysql
from vaurien.protocols.mysql.packets import Can


def backend_url(port, ca):
    return f"tls://localhost:{port}?ca={ca}"


def failures(proxy):
    return [event.error for event in proxy.events if isinstance(event, Failed)]


@pytest.fixture
def mail(tls_authority):
    """aiosmtpd with STARTTLS; its address."""
    controllers = pytest.importorskip("aiosmtpd.controller")
    handlers = pytest.importorskip("aiosmtpd.handlers")
    context = server_context(tls_authority.issue(["localhost"]))
    controller = controllers.Controller(handlers.Sink(), hostname="127.0.0.1", port=free_port(), tls_context=context)
    controller.start()
    try:
        yield Address(controller.hostname, controller.port)
    finally:
        controller.stop()


def send_mail(proxy, context, count):
    """Send *count* mails inside TLS; how many of their senders were refused."""
    refused = 0
    with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
        client.starttls(context=context)
        client.ehlo()
        assert isinstance(client.sock, ssl.SSLSocket)
        for _ in range(count):
            code, _ = client.mail("a@example.test")
            if code == 250:
                client.rset()
            else:
                refused += 1
    return refused


@pytest.mark.parametrize("extra", [[], ["latency latency=5"], ["slicer average_size=3 size_variation=1"]], ids=str)
def test_smtp_inside_starttls(mail, tls_ca, extra):
    fault = "error code=451 probability=0.2 scope=exchange match.verb=MAIL"
    with vaurien.Proxy(
        backend_url(mail.port, tls_ca), protocol="smtp", tls="auto", faults=[fault, *extra], seed=1
    ) as proxy:
        context = proxy.ssl_context()
        context.check_hostname = False  # smtplib asks for the address that it was given
        assert send_mail(proxy, context, 40) == proxy.hits("error") > 0
        assert not failures(proxy)


def test_smtp_without_starttls_goes_through_the_same_proxy(mail, tls_ca):
    with vaurien.Proxy(backend_url(mail.port, tls_ca), protocol="smtp", tls="auto", mix="100:error") as proxy:
        with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
            assert client.ehlo()[0] != 250
        assert proxy.hits("error")


def test_a_proxy_without_a_certificate_says_that_it_sees_nothing(mail):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    faults = ["error match.verb=MAIL name=no_mail"]
    with vaurien.Proxy(mail, protocol="smtp", faults=faults) as proxy:
        assert send_mail(proxy, context, 1) == 0
        with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
            client.starttls(context=context)
            client.ehlo()
            assert [one.encrypted for one in proxy.connections if one.number == 2] == [True]
            [told] = [event for event in proxy.events if isinstance(event, Encrypted)]
            assert told.reason == (
                "connection 1 is encrypted: the no_mail of this proxy cannot see its requests; "
                "give the proxy a certificate (tls), or leave out STARTTLS"
            )
            diagnosis = proxy.why("no_mail")
        assert diagnosis.cause == "encrypted"
        assert diagnosis.text == (
            "2 connections encrypted, which hides the requests; "
            "give the proxy a certificate (tls), or leave out STARTTLS"
        )


def test_what_is_slipped_in_before_tls_is_not_said_inside(tls_authority, tls_ca):
    """CVE-2011-0411: the server must not take it for a command of the encrypted session, nor may the proxy."""
    heard = []

    def talk(raw):
        raw.sendall(b"220 ready\r\n")
        heard.append(raw.recv(1000))
        raw.sendall(b"220 go ahead\r\n")
        heard.append(read_all(raw))

    with serving(None, talk) as address:
        with vaurien.Proxy(backend_url(address[1], tls_ca), protocol="smtp", tls="auto") as proxy:
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
                assert raw.recv(100) == b"220 ready\r\n"
                raw.sendall(b"STARTTLS\r\nMAIL FROM:<evil@example.test>\r\n")
                raw.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    read_all(raw)
        assert heard[0].startswith(b"STARTTLS\r\n")


def test_a_handshake_after_starttls_that_never_comes(tls_authority, tls_ca):
    def talk(raw):
        raw.sendall(b"220 ready\r\n")
        raw.recv(1000)
        raw.sendall(b"220 go ahead\r\n")
        with contextlib.suppress(OSError):
            read_all(raw)

    with serving(None, talk) as address:
        with vaurien.Proxy(backend_url(address[1], tls_ca), protocol="smtp", tls="auto", timeout=0.3) as proxy:
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
                raw.recv(100)
                raw.sendall(b"STARTTLS\r\n")
                with contextlib.suppress(ConnectionResetError):
                    assert read_all(raw) == b"220 go ahead\r\n"
            until(lambda: failures(proxy))
            [text] = failures(proxy)
            assert text.endswith("not done after 0.3 s")


def test_a_backend_whose_certificate_is_refused(tls_authority):
    def talk(raw):
        raw.sendall(b"220 ready\r\n")
        raw.recv(1000)
        raw.sendall(b"250-localhost\r\n250 STARTTLS\r\n")
        raw.recv(1000)
        raw.sendall(b"220 go ahead\r\n")
        with contextlib.suppress(OSError):
            TlsPeer(raw, server_context(tls_authority.issue(["localhost"])))

    with serving(None, talk) as address:
        with vaurien.Proxy(f"tls://localhost:{address[1]}", protocol="smtp", tls="auto") as proxy:
            context = proxy.ssl_context()
            context.check_hostname = False
            with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
                send_mail(proxy, context, 1)
            until(lambda: failures(proxy))
            assert "certificate verify failed" in failures(proxy)[0]


def test_the_clients_hello_comes_with_the_request_for_tls():
    """MySQL's client does not wait for an answer: what comes in one piece is framed up to where TLS begins."""
    framer = mysql.Mysql().framer()
    framer.opens_tls = True
    greeting = b"\x0a5.5\0" + bytes(12) + b"\0" + b"\xff\xff" + bytes(3) + b"\xff\xff" + b"\x15" + bytes(10) + bytes(13)
    framer.feed(Direction.TO_CLIENT, len(greeting).to_bytes(3, "little") + b"\0" + greeting)
    flags = Can.PROTOCOL_41 | Can.SSL | Can.LONG_PASSWORD
    asks = flags.to_bytes(4, "little") + bytes(28)
    request, hello = b"\x20\0\0\1" + asks, b"\x16\x03\x01\x02\x00\x01"
    pieces = framer.feed(Direction.TO_BACKEND, request + hello)
    assert b"".join(data for _, data in pieces) == request
    assert framer.tls == "agreed"
    assert framer.release(Direction.TO_BACKEND) == b""
    assert framer.begin_tls() == hello
    login = b"\x20\0\0\2" + asks
    pieces = framer.feed(Direction.TO_BACKEND, login)
    assert [mark.fields for mark, _ in pieces if isinstance(mark, Head)] == [{"command": "connect"}]
    assert framer.lost is None


@pytest.mark.server
@pytest.mark.parametrize("extra", [[], ["latency latency=2"]], ids=str)
def test_mysql_inside_tls(mariadb_tls_server, tls_ca, extra):
    pymysql = pytest.importorskip("pymysql")
    server = mariadb_tls_server
    fault = "error code=1213 probability=0.2 scope=exchange match.command=query"
    with vaurien.Proxy(
        backend_url(server.port, tls_ca), protocol="mysql", tls="auto", faults=[fault, *extra], seed=1
    ) as proxy:
        failed = 0
        connection = pymysql.connect(
            host="localhost",
            port=proxy.port,
            user=server.user,
            password=server.password,
            database=server.database,
            ssl={"ca": str(proxy.ca_file), "check_hostname": True},
            autocommit=None,
        )
        with connection, connection.cursor() as cursor:
            for number in range(50):
                try:
                    cursor.execute("SELECT %s", [number])
                except pymysql.err.OperationalError as error:
                    failed += error.args[0] == 1213
                else:
                    assert cursor.fetchone() == (number,)
        assert failed == proxy.hits("error") > 0
        assert not failures(proxy)


@pytest.mark.server
def test_mysql_without_a_certificate_says_that_it_sees_nothing(mariadb_tls_server, tls_ca):
    pymysql = pytest.importorskip("pymysql")
    server = mariadb_tls_server
    with vaurien.Proxy(server.address, protocol="mysql", mix="100:error") as proxy:
        connection = pymysql.connect(
            host="localhost",
            port=proxy.port,
            user=server.user,
            password=server.password,
            ssl={"ca": str(tls_ca)},
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            [told] = [event for event in proxy.events if isinstance(event, Encrypted)]
            assert "the 100:error of this proxy cannot see its requests" in told.reason
            assert "or set ssl-mode=DISABLED" in told.reason


@pytest.mark.server
def test_postgres_without_a_certificate_says_that_it_sees_nothing(postgres_tls_server, tls_ca):
    psycopg = pytest.importorskip("psycopg")
    server = postgres_tls_server
    with vaurien.Proxy(server.address, protocol="postgres", mix="100:error") as proxy:
        with psycopg.connect(
            host="localhost",
            hostaddr="127.0.0.1",
            port=proxy.port,
            user=server.user,
            password=server.password,
            dbname=server.database,
            sslmode="verify-full",
            sslrootcert=str(tls_ca),
        ) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            [told] = [event for event in proxy.events if isinstance(event, Encrypted)]
            assert told.reason.endswith("give the proxy a certificate (tls), or set sslmode=disable")
            assert [one.encrypted for one in proxy.connections] == [True]
