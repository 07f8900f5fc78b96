"""Each cause by name, in front of a real server, and the class of exception in which a real client shows it."""

from __future__ import annotations

import contextlib
import importlib
import smtplib
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import pytest

import vaurien
from tests.running import PATIENCE
from vaurien.config import presets

pytestmark = pytest.mark.server

Ask = Callable[[vaurien.Proxy], object]


def postgres(statement: str) -> Ask:
    def ask(proxy: vaurien.Proxy) -> object:
        psycopg = importlib.import_module("psycopg")
        options = {"user": "vaurien", "password": "secret", "dbname": "postgres", "sslmode": "disable"}
        with psycopg.connect(
            host=proxy.host, port=proxy.port, autocommit=True, gssencmode="disable", connect_timeout=60, **options
        ) as one:
            return one.execute(statement).rowcount

    return ask


def mysql(statement: str) -> Ask:
    def ask(proxy: vaurien.Proxy) -> object:
        pymysql = importlib.import_module("pymysql")
        account = {"user": "vaurien", "password": "secret", "database": "test"}
        with pymysql.connect(host=proxy.host, port=proxy.port, **account) as one, one.cursor() as cursor:
            return cursor.execute(statement)

    return ask


def redis(*words: str) -> Ask:
    def ask(proxy: vaurien.Proxy) -> object:
        client = importlib.import_module("redis").Redis(host=proxy.host, port=proxy.port, retry=None)
        with contextlib.closing(client):
            return client.execute_command(*words)

    return ask


def memcached(proxy: vaurien.Proxy) -> object:
    client = importlib.import_module("pymemcache").Client((proxy.host, proxy.port), timeout=PATIENCE)
    with contextlib.closing(client):
        return client.set("cause", b"1", noreply=False)


def mail(proxy: vaurien.Proxy) -> object:
    with smtplib.SMTP(proxy.host, proxy.port, timeout=PATIENCE) as one:
        return one.sendmail("a@x.test", ["b@y.test"], b"Subject: hello\r\n\r\nhello\r\n")


def http(proxy: vaurien.Proxy) -> object:
    return importlib.import_module("httpx").get(proxy.url("http")).raise_for_status()


WRITES = "CREATE TEMPORARY TABLE cause (n int)"
LOCKS = "DELETE FROM {} WHERE 1 = 0"

SHOWN: dict[str, tuple[str, Ask, str, str]] = {
    "postgres.deadlock": ("postgres", postgres(LOCKS.format("pg_class")), "psycopg.errors.DeadlockDetected", "deadl"),
    "postgres.serialization-failure": (
        "postgres",
        postgres(LOCKS.format("pg_class")),
        "psycopg.errors.SerializationFailure",
        "could not serialize access",
    ),
    "postgres.too-many-connections": ("postgres", postgres("SELECT 1"), "psycopg.OperationalError", "sorry, too many"),
    "postgres.admin-shutdown": ("postgres", postgres("SELECT 1"), "psycopg.errors.AdminShutdown", "administrator"),
    "postgres.read-only": ("postgres", postgres(WRITES), "psycopg.errors.ReadOnlySqlTransaction", "read-only"),
    "postgres.disk-full": ("postgres", postgres(WRITES), "psycopg.errors.DiskFull", "No space left on device"),
    "mysql.too-many-connections": ("mysql", mysql("SELECT 1"), "pymysql.err.OperationalError", r"\(1040, "),
    "mysql.lock-timeout": ("mysql", mysql(LOCKS.format("done")), "pymysql.err.OperationalError", r"\(1205, "),
    "mysql.deadlock": ("mysql", mysql(LOCKS.format("done")), "pymysql.err.OperationalError", r"\(1213, "),
    "mysql.read-only": ("mysql", mysql(WRITES), "pymysql.err.OperationalError", r"\(1290, "),
    "mysql.lost-connection": ("mysql", mysql("SELECT 1"), "pymysql.err.OperationalError", r"\(2013, "),
    "redis.loading": ("redis", redis("GET", "a"), "redis.exceptions.BusyLoadingError", "loading"),
    "redis.read-only": ("redis", redis("SET", "a", "1"), "redis.exceptions.ReadOnlyError", "read only replica"),
    "redis.out-of-memory": ("redis", redis("SET", "a", "1"), "redis.exceptions.OutOfMemoryError", "maxmemory"),
    "redis.moved": ("redis", redis("GET", "a"), "redis.exceptions.MovedError", "15495 127.0.0.1"),
    "redis.cluster-down": ("redis", redis("GET", "a"), "redis.exceptions.ClusterDownError", "cluster is down"),
    "memcache.out-of-memory": ("memcache", memcached, "pymemcache.MemcacheServerError", "out of memory storing"),
    "smtp.greylisting": ("smtp", mail, "smtplib.SMTPRecipientsRefused", "450, b'4.2.0 .*Greylisted"),
    "smtp.mailbox-full": ("smtp", mail, "smtplib.SMTPRecipientsRefused", "452, b'4.2.2 Mailbox full"),
    "http.rate-limited": ("http", http, "httpx.HTTPStatusError", "'429 Too Many Requests'"),
    "http.gateway-timeout": ("http", http, "httpx.HTTPStatusError", "'504 Gateway Timeout'"),
    "http.maintenance": ("http", http, "httpx.HTTPStatusError", "'503 Service Unavailable'"),
    "http.expired-token": ("http", http, "httpx.HTTPStatusError", "'401 Unauthorized'"),
}
"""Of each cause: its protocol, what a client does, and the exception that it meets, with words of it."""

GRPC = {
    "grpc.unavailable": ("UNAVAILABLE", "connection refused", None),
    "grpc.resource-exhausted": ("RESOURCE_EXHAUSTED", "too many requests", "500"),
}
"""Of each cause of gRPC: the code, its words, and the pushback."""

SERVERS = {
    "postgres": "postgres_server",
    "mysql": "mariadb_server",
    "redis": "redis_server",
    "memcache": "memcached_server",
    "smtp": "aiosmtpd",
    "http": "nginx_server",
}


@pytest.fixture
def behind(request: pytest.FixtureRequest) -> Iterator[Callable[[str], vaurien.Proxy]]:
    """Makes the proxy of a protocol, in front of a real server."""
    with contextlib.ExitStack() as stack:

        def make(protocol: str) -> vaurien.Proxy:
            server = request.getfixturevalue(SERVERS[protocol])
            backend = server if isinstance(server, tuple) else ("127.0.0.1", server.port)
            return stack.enter_context(vaurien.Proxy(backend, protocol=protocol))

        yield make


def test_each_cause_is_shown_here():
    causes = {name for name in presets.names() if "." in name and not name.startswith("llm.")}  # test_llm.py has those
    assert causes == SHOWN.keys() | GRPC.keys()


@pytest.mark.parametrize("name", SHOWN)
def test_a_client_shows_the_cause_by_its_own_exception(behind, name):
    protocol, ask, raised, words = SHOWN[name]
    module, _, error = raised.rpartition(".")
    expected: Any = getattr(pytest.importorskip(module), error)
    proxy = behind(protocol)
    with proxy.preset(name):
        with pytest.raises(expected, match=words):
            ask(proxy)
        proxy.expect(name)


@pytest.mark.parametrize("name", GRPC)
def test_a_client_of_grpc_shows_the_cause(name):
    grpc = pytest.importorskip("grpc")
    code, words, pushback = GRPC[name]
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with vaurien.Proxy(("127.0.0.1", port), protocol="grpc") as proxy, proxy.preset(name):
            with grpc.insecure_channel(f"{proxy.host}:{proxy.port}") as channel:
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary("/shop.Shop/Buy")(b"", timeout=PATIENCE)
            assert (caught.value.code().name, caught.value.details()) == (code, words)
            assert ("grpc-retry-pushback-ms", pushback) in caught.value.trailing_metadata() or pushback is None
            proxy.expect(name)
    finally:
        server.stop(0).wait(PATIENCE)


def test_clients_try_again_at_the_time_that_the_answer_names(behind):
    httpx = pytest.importorskip("httpx")
    proxy = behind("http")
    with proxy.preset("http.rate-limited"), proxy.fault("noop"):
        answer = httpx.get(proxy.url("http"))
        assert (answer.headers["retry-after"], answer.headers["x-ratelimit-remaining"]) == ("1", "0")
    with proxy.preset("http.expired-token"):
        assert httpx.get(proxy.url("http")).headers["www-authenticate"] == 'Bearer error="invalid_token"'
