"""PostgreSQL's own way into TLS, with libpq's and asyncpg's: the proxy answers it, and faults act inside."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import pytest

import vaurien
from tests.tls_peers import TlsClient, TlsPeer, read_all, server_context, serving
from tests.waiting import PATIENCE, until
from vaurien.events import Failed

SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
GSS_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x30"


def backend_of(server, ca, *, tls):
    return f"tls://localhost:{server.port}?ca={ca}" if tls else server.address


def failures(proxy):
    return [event.error for event in proxy.events if isinstance(event, Failed)]


@pytest.mark.server
@pytest.mark.parametrize(
    ("driver", "client_tls", "backend_tls"),
    [
        ("psycopg", False, False),
        ("psycopg", True, False),
        ("psycopg", True, True),
        ("asyncpg", False, False),
        ("asyncpg", True, False),
        ("asyncpg", False, True),
        ("asyncpg", True, True),
    ],
)
def test_a_fifth_of_the_queries_fails(postgres_tls_server, tls_ca, driver, client_tls, backend_tls):
    pytest.importorskip(driver)
    server = postgres_tls_server
    backend = backend_of(server, tls_ca, tls=backend_tls)
    settings = {"protocol": "postgres", "seed": 3, "tls": "auto" if client_tls else ()}
    with vaurien.Proxy(
        backend, faults="error code=40001 probability=0.2 scope=exchange match.command=SELECT", **settings
    ) as proxy:
        failed = (_psycopg if driver == "psycopg" else _asyncpg)(proxy, server, client_tls)
        assert failed == proxy.hits("error") > 0
        assert failed < 50
        assert not failures(proxy)


def _psycopg(proxy, server, client_tls):
    import psycopg

    mode = {"sslmode": "verify-full", "sslrootcert": str(proxy.ca_file)} if client_tls else {"sslmode": "disable"}
    failed = 0
    with psycopg.connect(
        host="localhost",
        hostaddr="127.0.0.1",
        port=proxy.port,
        user=server.user,
        password=server.password,
        dbname=server.database,
        autocommit=True,
        channel_binding="disable",
        gssencmode="disable",
        **mode,
    ) as connection:
        assert connection.pgconn.ssl_in_use == client_tls
        for number in range(100):
            try:
                assert connection.execute("SELECT %s::int", [number]).fetchone() == (number,)
            except psycopg.errors.SerializationFailure:
                failed += 1
    return failed


def _asyncpg(proxy, server, client_tls):
    import asyncpg

    async def run():
        failed = 0
        context = proxy.ssl_context() if client_tls else False
        connection = await asyncpg.connect(
            host="localhost",
            port=proxy.port,
            user=server.user,
            password=server.password,
            database=server.database,
            ssl=context,
        )
        for number in range(100):
            try:
                assert await connection.fetchval(f"SELECT {number}") == number
            except asyncpg.SerializationError:
                failed += 1
        await connection.close()
        return failed

    return asyncio.run(run())


def test_requests_for_encryption_are_answered(tls_authority, tls_ca):
    """GSSAPI is declined, TLS is begun, whatever the pieces that it is asked for in."""

    def talk(raw):
        assert raw.recv(8) == SSL_REQUEST
        raw.sendall(b"S")
        asked.append(TlsPeer(raw, server_context(tls_authority.issue(["localhost"]))).recv(100))

    asked = []
    with serving(None, talk) as address:
        backend = f"tls://localhost:{address[1]}?ca={tls_ca}"
        with vaurien.Proxy(backend, protocol="postgres", tls="auto") as proxy:
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for byte in GSS_REQUEST:
                    raw.sendall(bytes([byte]))
                assert raw.recv(10) == b"N"
                raw.sendall(SSL_REQUEST)
                assert raw.recv(10) == b"S"
                peer = TlsPeer(raw, proxy.ssl_context(), "localhost")
                peer.sendall(b"\0\0\0\x0b\0\x03\0\0ab\0")
                until(lambda: asked)
    assert asked == [b"\0\0\0\x0b\0\x03\0\0ab\0"]


def test_tls_without_being_asked_for():
    with serving(None, lambda raw: raw.sendall(raw.recv(100))) as address:
        with vaurien.Proxy(address, protocol="postgres", tls="auto") as proxy:
            context = proxy.ssl_context()
            context.set_alpn_protocols(["postgresql"])
            with TlsClient((proxy.host, proxy.port), context) as client:
                assert client.object.selected_alpn_protocol() == "postgresql"
                client.sendall(b"\0\0\0\x0b\0\x03\0\0ab\0")
                assert client.recv(100)


def test_plain_text_behind_the_request_is_never_taken_for_the_clients():
    """What was slipped in before TLS is no part of what is said inside (CVE-2021-23214)."""
    with vaurien.Proxy("127.0.0.1:1", protocol="postgres", tls="auto") as proxy:
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
            raw.sendall(SSL_REQUEST + b"\0\0\0\x0b\0\x03\0\0ab\0")
            assert raw.recv(1) == b"S"
            with contextlib.suppress(ConnectionResetError):
                assert read_all(raw) == b""
        until(lambda: not proxy.connections)
        assert [text.rpartition(": ")[0] for text in failures(proxy)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"N", "it answers b'N' to the request for TLS; expected b'S'"),
        (b"E\0\0\0", "it answers b'E' to the request for TLS; expected b'S'"),
        (b"", "it closes the connection instead of an answer to the request for TLS"),
    ],
)
def test_a_backend_that_does_not_speak_tls(answer, reason):
    def talk(raw):
        raw.recv(8)
        raw.sendall(answer)

    with serving(None, talk) as address:
        with vaurien.Proxy(f"tls://localhost:{address[1]}", protocol="postgres") as proxy:
            with (
                pytest.raises(ConnectionResetError),  # it may come before connect returns
                socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw,
            ):
                read_all(raw)
            assert [text.partition(": ")[2] for text in failures(proxy)] == [reason]


def test_a_backend_that_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        backend = f"tls://localhost:{listening.getsockname()[1]}"
        with vaurien.Proxy(backend, protocol="postgres", timeout=0.2) as proxy:
            with (
                pytest.raises(ConnectionResetError),  # it may come before connect returns
                socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw,
            ):
                read_all(raw)
            [text] = failures(proxy)
            assert text.endswith("no answer to the request for TLS after 0.2 s")
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
                until(lambda: proxy.connections)
                proxy.close()  # while it waits
                with pytest.raises(ConnectionResetError):
                    read_all(raw)


def test_a_client_that_says_nothing():
    with vaurien.Proxy("127.0.0.1:1", protocol="postgres", tls="auto", timeout=0.2) as proxy:
        for said in (b"", SSL_REQUEST[:4], SSL_REQUEST):
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
                raw.sendall(said)
                with contextlib.suppress(ConnectionResetError):
                    read_all(raw)
        until(lambda: len(failures(proxy)) == 3)
        assert all(text.endswith("not done after 0.2 s") for text in failures(proxy))


def test_a_client_that_leaves_while_it_asks():
    with vaurien.Proxy("127.0.0.1:1", protocol="postgres", tls="auto") as proxy:
        with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
            raw.sendall(SSL_REQUEST[:4])
            raw.shutdown(socket.SHUT_WR)
            assert read_all(raw) == b""
        until(lambda: not proxy.connections)
        assert not failures(proxy)


def test_a_client_that_asks_again_and_again_stops_no_other():
    def flood():
        with contextlib.suppress(OSError):
            while True:
                greedy.sendall(GSS_REQUEST * 8192)

    def drain():
        with contextlib.suppress(OSError):
            while greedy.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        with vaurien.Proxy(server.getsockname(), protocol="postgres", tls="auto") as proxy:
            address = (proxy.host, proxy.port)
            with socket.create_connection(address) as greedy, socket.create_connection(address, PATIENCE) as other:
                threads = [threading.Thread(target=each) for each in (flood, drain)]
                for each in threads:
                    each.start()
                try:
                    for _ in range(10):
                        other.sendall(GSS_REQUEST)
                        assert other.recv(1) == b"N"
                finally:
                    greedy.shutdown(socket.SHUT_RDWR)
                    for each in threads:
                        each.join()
