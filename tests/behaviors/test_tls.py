"""Faults of TLS that need no key, between a client and a server that speak it: all of it passes through the proxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.running import Running, read, read_all, running
from tests.running import backend as plain_backend
from tests.tls_peers import secured
from tests.waiting import PATIENCE, until
from vaurien.behaviors.tls_alert import TlsAlert
from vaurien.behaviors.tls_close import TlsClose
from vaurien.events import Injected
from vaurien.model import Fault, Policy
from vaurien.testing import Chunk, play

authority = pytest.importorskip("vaurien.tls.authority")

ANSWER = bytes(range(256)) * 200


class Server:
    """Answers a line with `ANSWER`, over TLS, one client after the other; `seen` is how each ended."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = self.listening.getsockname()
        self.seen: list[str] = []
        self._context = context
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._answer(self.listening.accept()[0])

    def _answer(self, client: socket.socket) -> None:
        client.settimeout(PATIENCE)
        try:
            with secured(self._context, client) as secure:
                while secure.recv(65536):
                    secure.sendall(ANSWER)
                self.seen.append("end")
        except OSError as error:
            self.seen.append(getattr(error, "reason", None) or type(error).__name__)

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self.listening.close()


@pytest.fixture(scope="module")
def ca() -> Any:
    return authority.Authority.create()


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}[request.param]


@pytest.fixture
def server(ca: Any, version: ssl.TLSVersion) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue(["localhost"]).load(context)
    context.maximum_version = version
    server = Server(context)
    yield server
    server.close()


@pytest.fixture
def trusting(ca: Any) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.certificate.decode())


def fault(name: str, **options: Any) -> Fault:
    return Fault(name="it", behavior=name, options=options)


@contextlib.contextmanager
def client(proxy: Running, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """A client that has begun nothing yet."""
    with (
        proxy.connect() as plain,
        context.wrap_socket(plain, server_hostname="localhost", do_handshake_on_connect=False) as secure,
    ):
        secure.settimeout(PATIENCE)
        yield secure


def handshake_error(proxy: Running, context: ssl.SSLContext) -> OSError:
    with client(proxy, context) as secure:
        try:
            secure.do_handshake()
        except OSError as error:
            return error
    pytest.fail("the handshake was done")


def exchange(secure: ssl.SSLSocket) -> bytes:
    secure.do_handshake()
    secure.sendall(b"hello\n")
    return read(secure, len(ANSWER))


@pytest.mark.parametrize("alert", ["handshake_failure", "unrecognized_name", "internal_error", "protocol_version"])
def test_a_hello_is_answered_with_the_alert(
    server: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion, alert: str
) -> None:
    with running(server.address, "", fault("tls_alert", alert=alert)) as proxy:
        error = handshake_error(proxy, trusting)
    assert alert.replace("_", " ") in str(error).replace("_", " ").lower()
    until(lambda: server.seen)  # it got no hello


def test_an_alert_may_come_behind_some_of_the_flight(server: Server, trusting: ssl.SSLContext) -> None:
    with running(server.address, "", fault("tls_alert", after=3)) as proxy:
        with socket.create_connection(proxy.address, PATIENCE) as plain:
            plain.sendall(hello(trusting))
            plain.shutdown(socket.SHUT_WR)
            got = read_all(plain)
    whole = 5 + int.from_bytes(got[3:5])
    behind = got[whole:].removeprefix(b"\x14\x03\x03\x00\x01\x01")
    assert got[:2] == b"\x16\x03"  # ServerHello, whole
    assert behind == b"\x15\x03\x03\x00\x02\x02\x28"


def hello(context: ssl.SSLContext) -> bytes:
    """A ClientHello of *context*."""
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def test_a_hello_is_answered_in_plain_text(server: Server, trusting: ssl.SSLContext) -> None:
    with running(server.address, "", fault("tls_plaintext")) as proxy:
        assert "WRONG_VERSION_NUMBER" in str(handshake_error(proxy, trusting))
        with proxy.connect() as plain:
            plain.sendall(hello(trusting))
            assert read_all(plain).startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize(("how", "error"), [("fin", ssl.SSLError), ("reset", ConnectionResetError)])
def test_a_hello_is_answered_by_an_end(
    server: Server, trusting: ssl.SSLContext, how: str, error: type[Exception]
) -> None:
    with running(server.address, "", fault("tls_close", how=how)) as proxy:
        assert isinstance(handshake_error(proxy, trusting), error)


@pytest.mark.parametrize("after", [0, 1, 5, 100])
def test_a_flight_is_cut_at_the_byte(server: Server, trusting: ssl.SSLContext, after: int) -> None:
    with running(server.address, "", fault("tls_close", when="flight", after=after)) as proxy:
        with proxy.connect() as plain:
            plain.sendall(hello(trusting))
            assert len(read_all(plain)) == after
        assert "EOF" in str(handshake_error(proxy, trusting))


@pytest.mark.parametrize("when", ["data", "cut"])
def test_python_takes_an_end_without_close_notify_for_a_normal_one(
    server: Server, trusting: ssl.SSLContext, when: str
) -> None:
    with running(server.address, "", fault("tls_close", when=when, after=20_000)) as proxy:
        with client(proxy, trusting) as secure:
            secure.do_handshake()
            secure.sendall(b"hello\n")
            got = read_all(secure)
    assert 0 < len(got) < len(ANSWER)
    assert got == ANSWER[: len(got)]


def test_an_end_without_close_notify_is_none_to_those_that_look(server: Server, trusting: ssl.SSLContext) -> None:
    with running(server.address, "", fault("tls_close", when="data", after=20_000)) as proxy:
        with proxy.connect() as plain:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            one = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
            talk(plain, incoming, outgoing, one.do_handshake)
            one.write(b"hello\n")
            with pytest.raises(ssl.SSLEOFError):
                while True:
                    assert talk(plain, incoming, outgoing, lambda: one.read(65536))


def talk(plain: socket.socket, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, act: Any) -> Any:
    """What *act* gives, once what it needs has come."""
    while True:
        try:
            return act()
        except ssl.SSLWantReadError:
            plain.sendall(outgoing.read())
            data = plain.recv(65536)
            incoming.write(data) if data else incoming.write_eof()
        finally:
            if outgoing.pending:
                plain.sendall(outgoing.read())


def test_a_record_is_broken_after_the_handshake(server: Server, trusting: ssl.SSLContext) -> None:
    with running(server.address, "", fault("tls_corrupt", when="data", after=2000)) as proxy:
        with client(proxy, trusting) as secure:
            with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
                exchange(secure)
            until(lambda: server.seen)  # a client that goes may reset, and its alert is lost
    assert "BAD_RECORD_MAC" in server.seen[0]


def test_a_record_of_the_flight_is_broken(server: Server, trusting: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    with running(server.address, "", fault("tls_corrupt")) as proxy:
        error = handshake_error(proxy, trusting)
    assert isinstance(error, ssl.SSLError)
    if version is ssl.TLSVersion.TLSv1_3:
        assert "BAD_RECORD_MAC" in str(error)


@pytest.mark.parametrize("after", [0, 300])
def test_a_stalled_handshake_goes_on_once_the_fault_is_gone(
    server: Server, trusting: ssl.SSLContext, after: int
) -> None:
    with running(server.address, "", fault("tls_stall", after=after)) as proxy:
        with client(proxy, trusting) as secure:
            answers: list[bytes] = []
            asking = threading.Thread(target=lambda: answers.append(exchange(secure)))
            asking.start()
            proxy.events.wait(Injected)
            assert not answers
            proxy.call(lambda: proxy.proxy.set_policy(Policy()))
            asking.join(PATIENCE)
            assert answers == [ANSWER]


def test_a_slow_flight_comes_in_pieces_and_the_rest_at_once(server: Server, trusting: ssl.SSLContext) -> None:
    with running(server.address, "", fault("tls_slow", size=200, delay=1)) as proxy:
        with client(proxy, trusting) as secure:
            assert exchange(secure) == ANSWER


@pytest.mark.parametrize("name", ["tls_alert", "tls_stall", "tls_slow", "tls_plaintext", "tls_close", "tls_corrupt"])
def test_what_is_not_tls_passes(name: str) -> None:
    with plain_backend() as listening, running(listening.getsockname(), "", fault(name)) as proxy:
        with proxy.connect() as plain, listening.accept()[0] as other:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert read(other, 18) == b"GET / HTTP/1.1\r\n\r\n"
            other.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            assert read(plain, 19) == b"HTTP/1.1 200 OK\r\n\r\n"


def test_a_fault_that_comes_late_leaves_a_connection_alone(server: Server, trusting: ssl.SSLContext) -> None:
    with running(server.address) as proxy, client(proxy, trusting) as secure:
        assert exchange(secure) == ANSWER
        proxy.set_policy("", fault("tls_close", when="cut"))
        secure.sendall(b"again\n")
        assert read(secure, len(ANSWER)) == ANSWER


def test_a_hello_in_one_byte_pieces_is_answered(trusting: ssl.SSLContext) -> None:
    whole = hello(trusting)
    played = play(TlsAlert(), [Chunk(whole[at : at + 1], at=at / 1000) for at in range(len(whole))])
    assert played.to_client == b"\x15\x03\x03\x00\x02\x02\x28"
    assert played.end == "close"
    assert played.to_backend == whole[:-1]


def test_a_record_is_cut_in_its_middle_however_it_comes(trusting: ssl.SSLContext) -> None:
    """With a stream that is made by hand, so that the byte is known."""
    finished = b"\x14\x03\x03\x00\x01\x01" + b"\x17\x03\x03\x00\x35" + bytes(0x35)
    data = b"\x17\x03\x03\x00\x64" + bytes(100)
    for size in (1, 7, 1000):
        script = [Chunk(hello(trusting)), Chunk(b"\x16\x03\x03\x00\x04hell", to_backend=False), Chunk(finished)]
        script += [Chunk(data[at : at + size], to_backend=False) for at in range(0, len(data), size)]
        played = play(TlsClose(when="cut"), script)
        assert len(played.to_client) == 9 + 55
        assert played.end == "close"
