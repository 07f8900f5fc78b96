"""TLS that is not offered, or refused, as real clients of real servers report it."""

from __future__ import annotations

import contextlib
import smtplib
import ssl

import pytest

import vaurien
from tests.servers import free_port
from tests.tls_peers import server_context
from tests.waiting import PATIENCE, until
from vaurien.events import Failed

pytestmark = pytest.mark.server


@contextlib.contextmanager
def proxied(port, protocol, ca, fault, own_tls):
    """A proxy before *port*; with *own_tls* it has a certificate."""
    address, tls = (f"tls://localhost:{port}?ca={ca}", "auto") if own_tls else (("127.0.0.1", port), ())
    with vaurien.Proxy(address, protocol=protocol, tls=tls, faults=[fault]) as proxy:
        yield proxy


@contextlib.contextmanager
def mail_server(context):
    controllers = pytest.importorskip("aiosmtpd.controller")
    handlers = pytest.importorskip("aiosmtpd.handlers")
    controller = controllers.Controller(handlers.Sink(), hostname="127.0.0.1", port=free_port(), tls_context=context)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def mail(tls_authority):
    """The port of aiosmtpd with STARTTLS."""
    with mail_server(server_context(tls_authority.issue(["localhost"]))) as port:
        yield port


@pytest.fixture(scope="module")
def mail_without_tls():
    with mail_server(None) as port:
        yield port


@pytest.mark.parametrize("own_tls", [False, True])
def test_smtplib(mail, tls_ca, own_tls):
    with proxied(mail, "smtp", tls_ca, "starttls_stripped", own_tls) as proxy:
        with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
            with pytest.raises(smtplib.SMTPNotSupportedError, match="STARTTLS extension not supported"):
                client.starttls(context=ssl.create_default_context())
            assert client.docmd("STARTTLS")[0] == 502
            assert client.mail("a@example.test")[0] == 250
        assert proxy.hits("starttls_stripped")
    with proxied(mail, "smtp", tls_ca, "starttls_refused", own_tls) as proxy:
        with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
            with pytest.raises(smtplib.SMTPResponseException, match="TLS not available due to temporary reason"):
                client.starttls(context=ssl.create_default_context())
            assert client.mail("a@example.test")[0] == 250
        assert proxy.hits("starttls_refused")


POSTGRES = {
    ("starttls_stripped", "require"): "server does not support SSL, but SSL was required",
    ("starttls_stripped", "verify-full"): "server does not support SSL, but SSL was required",
    ("starttls_stripped", "prefer"): "",
    ("starttls_refused", "require"): "server sent an error response during SSL exchange",
    ("starttls_refused", "disable"): "",
}


CASES = [(*case, own_tls) for case, error in POSTGRES.items() for own_tls in ((False, True) if error else (False,))]
"""libpq in plain text before a proxy that speaks TLS with it: the offer of SCRAM-SHA-256-PLUS stays."""


@pytest.mark.parametrize(("fault", "sslmode", "own_tls"), CASES)
def test_libpq(postgres_tls_server, tls_ca, fault, sslmode, own_tls):
    psycopg = pytest.importorskip("psycopg")
    server, error = postgres_tls_server, POSTGRES[fault, sslmode]
    with proxied(server.port, "postgres", tls_ca, fault, own_tls) as proxy:
        parameters = {"user": server.user, "password": server.password, "dbname": server.database, "sslmode": sslmode}
        connect = {"host": "localhost", "hostaddr": "127.0.0.1", "port": proxy.port, "sslrootcert": str(tls_ca)}
        if error:
            with pytest.raises(psycopg.OperationalError, match=error):
                psycopg.connect(**connect, **parameters)
        else:
            with psycopg.connect(**connect, **parameters) as connection:
                assert not connection.pgconn.ssl_in_use
                assert connection.execute("SELECT 1").fetchone() == (1,)
        assert proxy.hits(fault) == (sslmode != "disable")


@pytest.mark.parametrize("own_tls", [False, True])
@pytest.mark.parametrize(
    ("fault", "error"),
    [("starttls_stripped", "SSL is required but the server"), ("starttls_refused", "WRONG_VERSION_NUMBER")],
)
def test_pymysql(mariadb_tls_server, tls_ca, fault, error, own_tls):
    pymysql = pytest.importorskip("pymysql")
    server = mariadb_tls_server
    with proxied(server.port, "mysql", tls_ca, fault, own_tls) as proxy:
        with pytest.raises(pymysql.err.OperationalError, match=error):
            pymysql.connect(
                host="localhost",
                port=proxy.port,
                user=server.user,
                password=server.password,
                ssl={"ca": str(tls_ca), "check_hostname": False},
            )
        assert proxy.hits(fault)


RECORDS = [
    ("tls_alert alert=internal_error", "alert internal error"),
    ("tls_alert alert=internal_error match.sni=local*", "alert internal error"),
    ("tls_plaintext", "wrong version number"),
    ("tls_close", "EOF occurred"),
    ("tls_close how=reset", "reset by peer"),
    ("tls_close when=flight after=100", "EOF occurred"),
    ("tls_corrupt", "bad record mac"),
    ("tls_corrupt when=data", "bad record mac"),
    ("tls_close when=data", "unexpectedly closed"),
    ("tls_close when=cut", "unexpectedly closed"),
    ("tls_certificate flaw=expired match.sni=localhost", "certificate has expired"),
]


def greeted(proxy):
    """What goes wrong for a client that says EHLO inside TLS."""
    context = proxy.ssl_context()
    with smtplib.SMTP("localhost", proxy.port, timeout=PATIENCE) as client:
        assert client.ehlo()[0] == 250
        try:
            client.starttls(context=context)
            client.ehlo()
        except (OSError, smtplib.SMTPException) as error:
            client.close()
            return str(error).replace("_", " ")
        return ""


@pytest.mark.parametrize("own_tls", [True, False])
@pytest.mark.parametrize(("fault", "error"), RECORDS)
def test_records_of_tls_that_the_proxy_begins_in_the_middle(mail, mail_without_tls, tls_ca, own_tls, fault, error):
    backend = f"tls://localhost:{mail}?ca={tls_ca}" if own_tls else ("127.0.0.1", mail_without_tls)
    with vaurien.Proxy(backend, protocol="smtp", tls="auto", faults=[f"{fault} name=it"]) as proxy:
        with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
            assert client.ehlo()[0] == 250  # it sees no plain text
        assert not proxy.hits("it")
        assert error.lower() in greeted(proxy).lower()
        assert proxy.hits("it")
        until(lambda: not proxy.connections)


PASSED = [
    ("tls_corrupt", "bad record mac|decrypt error"),
    ("tls_close", "eof|lost connection|unexpectedly"),
    ("tls_alert alert=internal_error", "internal error"),
    ("tls_plaintext", "wrong version number"),
]


def errors_of_passed_tls(fault, protocol, address, act):
    with vaurien.Proxy(address, protocol=protocol, faults=[f"{fault} name=it"]) as proxy:
        with pytest.raises(Exception) as raised:  # noqa: PT011 - each client has its own class
            act(proxy)
        assert proxy.hits("it")
        until(lambda: not proxy.connections)
        return str(raised.value).lower().replace("_", " ")


@pytest.mark.parametrize(("fault", "error"), PASSED)
def test_records_that_pass_behind_starttls(mail, fault, error):
    def act(proxy):
        with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as client:
            client.starttls(context=ssl._create_unverified_context())
            client.ehlo()

    told = errors_of_passed_tls(fault, "smtp", ("127.0.0.1", mail), act)
    assert any(one in told for one in error.split("|")), told


@pytest.mark.parametrize(("fault", "error"), PASSED)
def test_records_that_pass_behind_a_request_of_postgres(postgres_tls_server, fault, error):
    psycopg = pytest.importorskip("psycopg")
    server = postgres_tls_server
    account = {"user": server.user, "password": server.password, "dbname": server.database}

    def act(proxy):
        psycopg.connect(host="localhost", hostaddr="127.0.0.1", port=proxy.port, sslmode="require", **account)

    told = errors_of_passed_tls(fault, "postgres", server.address, act)
    assert any(one in told for one in error.split("|")), told


@pytest.mark.parametrize(("fault", "error"), PASSED)
def test_records_that_pass_behind_a_request_of_mysql(mariadb_tls_server, tls_ca, fault, error):
    pymysql = pytest.importorskip("pymysql")
    server = mariadb_tls_server
    account = {"user": server.user, "password": server.password, "ssl": {"ca": str(tls_ca), "check_hostname": False}}

    def act(proxy):
        pymysql.connect(host="127.0.0.1", port=proxy.port, **account)

    told = errors_of_passed_tls(fault, "mysql", server.address, act)
    assert any(one in told for one in error.split("|")), told


def test_a_slow_flight_and_an_error_inside_act_on_one_connection(mail, tls_ca):
    faults = ["tls_slow size=500 delay=1 name=slow", "error code=451 match.verb=MAIL match.sni=localhost name=inside"]
    with vaurien.Proxy(f"tls://localhost:{mail}?ca={tls_ca}", protocol="smtp", tls="auto", faults=faults) as proxy:
        with smtplib.SMTP("localhost", proxy.port, timeout=PATIENCE) as client:
            client.ehlo()
            assert client.mail("a@example.test")[0] == 250  # its server name is not known
            client.rset()
            client.starttls(context=proxy.ssl_context())
            client.ehlo()
            assert client.mail("a@example.test")[0] == 451
        assert proxy.hits("slow") == proxy.hits("inside") == 1
        until(lambda: not proxy.connections)
        assert proxy.accepted == 1
        assert not [event for event in proxy.events if isinstance(event, Failed)]


def test_a_fault_of_records_is_for_server_names(mail, tls_ca):
    fault = "tls_close name=it match.sni=*.example.test"
    with vaurien.Proxy(f"tls://localhost:{mail}?ca={tls_ca}", protocol="smtp", tls="auto", faults=[fault]) as proxy:
        assert greeted(proxy) == ""
        assert not proxy.hits("it")


@pytest.mark.parametrize("client_only", [True, False])
def test_a_record_of_mysql_is_broken(mariadb_tls_server, tls_ca, client_only):
    pymysql = pytest.importorskip("pymysql")
    server = mariadb_tls_server
    backend = server.address if client_only else f"tls://localhost:{server.port}?ca={tls_ca}"
    with vaurien.Proxy(backend, protocol="mysql", tls="auto", faults=["tls_corrupt name=it"]) as proxy:
        with pytest.raises(pymysql.err.OperationalError, match=r"(?i)bad.record.mac"):
            pymysql.connect(
                host="localhost",
                port=proxy.port,
                user=server.user,
                password=server.password,
                ssl={"ca": str(proxy.ca_file)},
            )
        assert proxy.hits("it") == 1
        until(lambda: not proxy.connections)
