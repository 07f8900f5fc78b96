"""`caching_sha2_password` where one side has TLS and the other has none: real clients, and a server from a script.

No server that Debian has knows this method, so `tests.mysql_server` takes its place.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from contextlib import closing, contextmanager

import pytest

import vaurien
from tests.mysql_server import Sha2Server
from tests.servers import require
from tests.tls_peers import server_context, serving
from tests.waiting import until
from vaurien.events import Failed, ProtocolLost
from vaurien.model import Address, ProxyConfig
from vaurien.proxies.managed_proxy import LocalProxy
from vaurien.proxies.proxy import TcpProxy
from vaurien.tls import rsa_key

pymysql = pytest.importorskip("pymysql")

PASSWORD = "of more than the twenty bytes of a challenge"


@pytest.fixture
def sided(tls_authority, tls_ca):
    """Makes a server and a proxy before it, of which one has TLS; and the options of a client."""

    @contextmanager
    def make(*, client_tls, **settings):
        context = None if client_tls else server_context(tls_authority.issue(["localhost"]))
        server = Sha2Server(PASSWORD.encode(), context=context, **settings)
        with serving(None, server.talk) as address:
            backend = address if client_tls else f"tls://localhost:{address[1]}?ca={tls_ca}"
            with vaurien.Proxy(backend, protocol="mysql", tls="auto" if client_tls else ()) as proxy:
                own = {"ssl": {"ca": str(proxy.ca_file)}} if client_tls else {"ssl_disabled": True}
                yield server, proxy, {"host": "localhost", "port": proxy.port, "user": "me", **own}

    return make


def trouble(proxy):
    return [event for event in proxy.events if isinstance(event, (Failed, ProtocolLost))]


@pytest.mark.parametrize("settings", [{}, {"method": b"mysql_native_password"}], ids=["greeted", "switched"])
@pytest.mark.parametrize("client_tls", [True, False])
def test_pymysql(sided, client_tls, settings):
    with sided(client_tls=client_tls, **settings) as (server, proxy, options):
        for _ in range(2):  # the second time the server knows the hash
            with closing(pymysql.connect(password=PASSWORD, **options)) as connection, connection.cursor() as cursor:
                cursor.execute("DO 1")
        assert server.asked == ["encrypted" if client_tls else "clear", "nothing"]
        assert not trouble(proxy)


@pytest.mark.parametrize("client_tls", [True, False])
def test_a_wrong_password(sided, client_tls):
    with sided(client_tls=client_tls) as (server, proxy, options):
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            pymysql.connect(password="another", **options)
        assert server.asked == ["encrypted" if client_tls else "clear"]
        assert not trouble(proxy)


@pytest.mark.parametrize("client_tls", [True, False])
def test_sha256_password(sided, client_tls):
    with sided(client_tls=client_tls, own=b"sha256_password") as (server, proxy, options):
        pymysql.connect(password=PASSWORD, **options).close()
        assert server.asked == ["encrypted" if client_tls else "clear"]
        assert not trouble(proxy)


@pytest.mark.server
@pytest.mark.parametrize("client_tls", [True, False])
def test_the_client_of_mariadb(sided, client_tls):
    with sided(client_tls=client_tls) as (server, proxy, _):
        own = [f"--ssl-ca={proxy.ca_file}", "--ssl-verify-server-cert"] if client_tls else ["--skip-ssl"]
        subprocess.run(
            [require("mariadb"), "--no-defaults", "--host=127.0.0.1", f"--port={proxy.port}", "--user=me", *own],
            input="DO 1;\n",
            env={**os.environ, "MYSQL_PWD": PASSWORD},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert server.asked == ["encrypted" if client_tls else "clear"]
        assert not trouble(proxy)


def test_mysql_connector(sided):
    connector = pytest.importorskip("mysql.connector")
    with sided(client_tls=True) as (server, proxy, options):
        account = {key: options[key] for key in ("host", "port", "user")}
        connector.connect(use_pure=True, password=PASSWORD, ssl_ca=str(proxy.ca_file), **account).close()
        assert server.asked == ["encrypted"]
        assert not trouble(proxy)


def test_a_client_that_has_the_key_of_the_server_already(sided):
    with sided(client_tls=False) as (_, proxy, options):
        with pytest.raises(pymysql.err.OperationalError):
            pymysql.connect(password=PASSWORD, server_public_key=rsa_key.public_key(), **options)
        until(lambda: trouble(proxy))
        assert "with a key of the server's that the proxy does not have" in trouble(proxy)[0].error
        assert PASSWORD not in repr(proxy.events)


def test_a_password_that_is_too_long_for_the_key(sided):
    with sided(client_tls=True, bits=1024) as (_, proxy, options):
        with pytest.raises(pymysql.err.OperationalError):
            pymysql.connect(password="x" * 100, **options)
        until(lambda: trouble(proxy))
        assert "the password cannot be encrypted for it" in trouble(proxy)[0].error
        assert "xxx" not in repr(proxy.events)


def test_the_key_is_made_in_a_thread_before_the_proxy_listens(monkeypatch):
    made = []

    def loop_thread():
        return next(thread for thread in threading.enumerate() if thread.name == "vaurien")

    monkeypatch.setattr(rsa_key, "make", lambda: made.append(threading.current_thread()))
    with vaurien.Proxy("tls://127.0.0.1:1", protocol="mysql"):
        [thread] = made
        assert thread not in (threading.main_thread(), loop_thread())
    with vaurien.Proxy("127.0.0.1:1", protocol="mysql"):
        assert len(made) == 1


def test_the_key_is_made_in_a_thread_before_another_backend_is_dialled(monkeypatch):
    seen = []

    async def change():
        proxy = TcpProxy(
            ProxyConfig(name="a", protocol="mysql", backend=Address("127.0.0.1", 1), listen=Address("127.0.0.1", 0))
        )
        monkeypatch.setattr(rsa_key, "make", lambda: seen.append((threading.current_thread(), proxy.backend.tls)))
        await proxy.start()
        try:
            assert seen == []
            await LocalProxy(proxy).set_backend(Address.parse("tls://127.0.0.1:1"))
            assert proxy.backend.tls is not None
        finally:
            await proxy.stop()

    asyncio.run(change())
    [(thread, dialled_by_tls)] = seen
    assert (thread is threading.current_thread(), dialled_by_tls) == (False, None)
