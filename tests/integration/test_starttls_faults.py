"""TLS that is not offered, or refused, as real clients of real servers report it."""

from __future__ import annotations

import contextlib
import smtplib
import ssl

import pytest

import vaurien
from tests.servers import free_port
from tests.tls_peers import server_context
from tests.waiting import PATIENCE

pytestmark = pytest.mark.server


@contextlib.contextmanager
def proxied(port, protocol, ca, fault, own_tls):
    """A proxy before *port*; with *own_tls* it has a certificate."""
    address, tls = (f"tls://localhost:{port}?ca={ca}", "auto") if own_tls else (("127.0.0.1", port), ())
    with vaurien.Proxy(address, protocol=protocol, tls=tls, faults=[fault]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def mail(tls_authority):
    """The port of aiosmtpd with STARTTLS."""
    controllers = pytest.importorskip("aiosmtpd.controller")
    handlers = pytest.importorskip("aiosmtpd.handlers")
    context = server_context(tls_authority.issue(["localhost"]))
    controller = controllers.Controller(handlers.Sink(), hostname="127.0.0.1", port=free_port(), tls_context=context)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


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
