"""Exchanges of every protocol byte by byte, with a backend that the test plays: order, ends, bytes of another kind."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

import pytest

from tests.integration.exchanges import VERBATIM, exchanges, fault, passes_unharmed
from tests.running import backend, pair, pour, read, read_all, reset, running
from tests.waiting import until
from vaurien.engine.loop.clock import SLACK
from vaurien.events import Closed, Encrypted, Failed, Injected, MixHit, ProtocolLost


@dataclass(frozen=True)
class ExchangeTracker:
    """Two requests that a client may send in one go, their responses, and what the server says first."""

    protocol: str
    requests: tuple[bytes, bytes]
    responses: tuple[bytes, bytes]
    greeting: bytes = b""


DIALOGUES = [
    ExchangeTracker(
        "http",
        (b"GET /1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"POST /2 HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none",
            b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ),
    ExchangeTracker(
        "redis",
        (b"*2\r\n$3\r\nGET\r\n$1\r\n1\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\n2\r\n$3\r\n\r\n2\r\n"),
        (b"$3\r\none\r\n", b"+OK\r\n"),
    ),
    ExchangeTracker(
        "memcache",
        (b"get 1\r\n", b"set 2 0 0 3\r\n\r\n2\r\n"),
        (b"VALUE 1 0 3\r\none\r\nEND\r\n", b"STORED\r\n"),
    ),
    ExchangeTracker(
        "smtp",
        (b"MAIL FROM:<1@x.test>\r\n", b"RCPT TO:<2@x.test>\r\n"),
        (b"250-one\r\n250 ok\r\n", b"250 ok\r\n"),
        b"220 mx.test\r\n",
    ),
]


@pytest.fixture(params=DIALOGUES, ids=lambda dialogue: dialogue.protocol)
def dialogue(request: pytest.FixtureRequest) -> ExchangeTracker:
    made: ExchangeTracker = request.param
    return made


@pytest.fixture
def stage(dialogue: ExchangeTracker):
    """A proxy without a fault, a client and a backend that has said its greeting."""
    options = VERBATIM.get(dialogue.protocol, {})
    with backend() as listening:
        where = listening.getsockname()
        with running(where, protocol=dialogue.protocol, protocol_options=options) as proxy:
            with pair(proxy, listening) as (client, server):
                server.sendall(dialogue.greeting)
                assert read(client, len(dialogue.greeting)) == dialogue.greeting
                yield proxy, client, server
            assert proxy.events.of(ProtocolLost, Failed) == []


def heard(receiver: socket.socket, *expected: bytes) -> bool:
    joined = b"".join(expected)
    return read(receiver, len(joined)) == joined


def test_a_delay_before_waits_for_each_request_in_order(stage, dialogue: ExchangeTracker) -> None:
    proxy, client, server = stage
    proxy.set_policy("", fault("delay", sleep=0.02))
    begun = time.monotonic()
    client.sendall(b"".join(dialogue.requests))
    assert heard(server, *dialogue.requests)
    assert time.monotonic() - begun >= 0.04 - 2 * SLACK
    assert exchanges(proxy, 2) == [1, 2]
    proxy.set_policy("")
    server.sendall(b"".join(dialogue.responses))
    assert heard(client, *dialogue.responses)


def test_a_delay_after_waits_for_each_response_in_order(stage, dialogue: ExchangeTracker) -> None:
    proxy, client, server = stage
    proxy.set_policy("", fault("delay", sleep=0.02, before=False))
    client.sendall(b"".join(dialogue.requests))
    assert heard(server, *dialogue.requests)
    assert proxy.events.of(Injected) == []
    begun = time.monotonic()
    server.sendall(b"".join(dialogue.responses))
    assert heard(client, *dialogue.responses)
    assert time.monotonic() - begun >= 0.04 - 2 * SLACK
    assert exchanges(proxy, 2) == [1, 2]


@pytest.mark.parametrize("before", [True, False])
def test_a_delay_that_is_taken_off_ends_at_once(stage, dialogue: ExchangeTracker, before: bool) -> None:
    proxy, client, server = stage
    proxy.set_policy("", fault("delay", sleep=3600, before=before))
    client.sendall(b"".join(dialogue.requests))
    if not before:
        assert heard(server, *dialogue.requests)
        server.sendall(b"".join(dialogue.responses))
    assert exchanges(proxy, 1) == [1]
    proxy.set_policy("")
    if before:
        assert heard(server, *dialogue.requests)
        server.sendall(b"".join(dialogue.responses))
    assert heard(client, *dialogue.responses)
    assert exchanges(proxy, 1) == [1]


def test_hang_is_cured_live(stage, dialogue: ExchangeTracker) -> None:
    proxy, client, server = stage
    proxy.set_policy("100:hang")
    client.sendall(dialogue.requests[0])
    assert exchanges(proxy, 1) == [1]
    client.sendall(dialogue.requests[1])
    proxy.set_policy("")
    assert heard(server, *dialogue.requests)
    server.sendall(b"".join(dialogue.responses))
    assert heard(client, *dialogue.responses)


def test_hang_lets_the_client_leave(stage, dialogue: ExchangeTracker) -> None:
    proxy, client, server = stage
    proxy.set_policy("100:hang")
    client.sendall(dialogue.requests[0])
    proxy.events.wait(Injected)
    reset(client)
    assert read_all(server) == b""


def test_abort_cuts_after_the_backend_has_answered(stage, dialogue: ExchangeTracker) -> None:
    proxy, client, server = stage
    proxy.set_policy("100:abort")
    client.sendall(dialogue.requests[0])
    assert heard(server, dialogue.requests[0])
    server.sendall(dialogue.responses[0])
    assert read_all(client) == b""
    assert read_all(server) == b""
    assert proxy.events.wait(Closed)[0].end == "closed by abort"


def test_blackout_cuts_before_the_backend_is_asked(stage, dialogue: ExchangeTracker) -> None:
    proxy, client, server = stage
    proxy.set_policy("100:blackout")
    client.sendall(dialogue.requests[0])
    assert read_all(client) == b""
    assert read_all(server) == b""


def test_an_error_comes_in_its_turn(stage, dialogue: ExchangeTracker) -> None:
    """The second request fails while the first is still at the backend."""
    proxy, client, server = stage
    proxy.set_policy("", fault("error", warmup=1, code=error_code(proxy)))
    client.sendall(b"".join(dialogue.requests))
    assert heard(server, dialogue.requests[0])
    proxy.events.wait(Injected)
    server.sendall(dialogue.responses[0])
    assert heard(client, dialogue.responses[0])
    assert client.recv(3)
    proxy.set_policy("")
    client.sendall(dialogue.requests[0])
    assert heard(server, dialogue.requests[0])
    assert exchanges(proxy, 1) == [2]


def error_code(proxy) -> str:
    """One after which the connection stays."""
    return str(type(proxy.proxy.state.protocol).error_codes[1])


def test_an_error_can_be_put_into_the_answer(stage, dialogue: ExchangeTracker) -> None:
    proxy, client, server = stage
    proxy.set_policy("", fault("error", inject=True))
    client.sendall(dialogue.requests[0])
    assert heard(server, dialogue.requests[0])
    server.sendall(dialogue.responses[0])
    assert len(read(client, len(dialogue.responses[0]) + 100)) == len(dialogue.responses[0]) + 100
    assert exchanges(proxy, 1) == [1]


def test_exchanges_are_told_apart_while_no_fault_is_in_play(stage, dialogue: ExchangeTracker) -> None:
    """Faults come and go live: what is under way is left alone, and the next exchange has its number."""
    proxy, client, server = stage
    refusal = b""
    for _ in range(3):
        client.sendall(dialogue.requests[0])
        assert heard(server, dialogue.requests[0])
        proxy.set_policy("", fault("error", code=error_code(proxy)))
        server.sendall(dialogue.responses[0])
        assert heard(client, dialogue.responses[0])
        client.sendall(dialogue.requests[0])
        if refusal:
            assert heard(client, refusal)
        refusal = refusal or client.recv(1000)
        proxy.set_policy("")
    assert exchanges(proxy, 3) == [2, 4, 6]


def test_a_fault_comes_while_a_request_that_was_seen_before_waits(stage, dialogue: ExchangeTracker) -> None:
    """What is recognized has its number and its turn like any other."""
    proxy, client, server = stage
    for _ in range(3):
        client.sendall(dialogue.requests[0])
        assert heard(server, dialogue.requests[0])
        server.sendall(dialogue.responses[0])
        assert heard(client, dialogue.responses[0])
    client.sendall(dialogue.requests[0])
    assert heard(server, dialogue.requests[0])
    proxy.set_policy("", fault("error", code=error_code(proxy)))
    client.sendall(dialogue.requests[0])
    assert exchanges(proxy, 1) == [5]
    server.sendall(dialogue.responses[0])
    assert heard(client, dialogue.responses[0])
    assert client.recv(3)


def test_a_mix_that_does_nothing_draws_no_number(stage, dialogue: ExchangeTracker) -> None:
    """Whether its exchanges pass at once, or one by one beside a fault."""
    proxy, client, server = stage
    for beside in ((), (fault("delay", sleep=0),)):
        proxy.set_policy("100:dummy", *beside)
        client.sendall(dialogue.requests[0])
        assert heard(server, dialogue.requests[0])
        server.sendall(dialogue.responses[0])
        assert heard(client, dialogue.responses[0])
    assert proxy.events.of(MixHit) == []


TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256))
ENCRYPTED = [("http", TLS), ("redis", TLS), ("memcache", TLS)]
"""Protocols whose clients may begin with TLS at once: the proxy says that it sees nothing of it."""

BAD = {
    "http": {
        "TLS": TLS,
        "redis": b"*1\r\n$4\r\nPING\r\n" * 5,
        "a head over the limit": b"GET / HTTP/1.1\r\n" + b"X-Long: value\r\n" * 10_000,
        "a line without end": b"GET /" + b"a" * 200_000,
        "a negative length": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n" + bytes(100_000),
        "a huge length": b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n" + bytes(100_000),
        "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12GET / HTTP/1.1\r\n\r\n",
        "a huge chunk": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n" + bytes(100_000),
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    },
    "redis": {
        "TLS": TLS,
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\0" + b"x" * 100_000,
        "a huge length": b"*2\r\n$3\r\nGET\r\n$99999999999999999999\r\n" + b"x" * 100_000,
        "a negative length": b"*2\r\n$3\r\nGET\r\n$-5\r\n" + b"x" * 100_000,
        "a negative count": b"*-5\r\n*x\r\n",
        "a line without end": b"A" * 1_000_000,
        "zeros": bytes(100_000),
    },
    "memcache": {
        "TLS": TLS,
        "a line without end": b"a" * 100_000,
        "a wrong binary length": b"\x80\x01\x00\x10\x08\x00\x00\x00\x00\x00\x00\x05" + bytes(100_000),
        "text after binary": b"\x80\x0a" + bytes(22) + b"get a\r\n" * 1000,
    },
    "mysql": {
        "TLS": TLS,
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 100_000,
        "zeros": bytes(100_000),
    },
    "postgres": {
        "TLS": TLS,
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 100_000,
        "a negative length": b"\xff\xff\xff\xf0" + bytes(100_000),
        "zeros": bytes(100_000),
    },
    "smtp": {
        "TLS": TLS,
        "a line without end": b"EHLO " + b"a" * 100_000,
        "zeros": bytes(100_000),
        "bytes after DATA": b"DATA\r\nSubject: x\r\n\r\nx\r\n.\r\n",
    },
}


@pytest.mark.parametrize(
    ("protocol", "said"),
    [pytest.param(protocol, said, id=f"{protocol}-{name}") for protocol in BAD for name, said in BAD[protocol].items()],
)
def test_what_is_not_the_protocol_passes_unharmed(protocol: str, said: bytes) -> None:
    (lost,) = passes_unharmed(protocol, said)
    assert lost.connection == 1
    assert isinstance(lost, Encrypted if (protocol, said) in ENCRYPTED else ProtocolLost)


def test_a_backend_of_another_protocol_passes_unharmed(dialogue: ExchangeTracker) -> None:
    (lost,) = passes_unharmed(dialogue.protocol, dialogue.requests[0], answer=b"\x00nothing of the kind" * 10_000)
    assert isinstance(lost, ProtocolLost)
    assert lost.protocol == dialogue.protocol


@pytest.mark.parametrize("size", [1, 5, 12, 18])
def test_half_a_request_reaches_the_backend_with_the_end_of_the_stream(dialogue: ExchangeTracker, size: int) -> None:
    assert passes_unharmed(dialogue.protocol, dialogue.requests[1][:size], greeting=dialogue.greeting, answer=b"") == []


def test_half_an_answer_reaches_the_client_with_the_end_of_the_stream(dialogue: ExchangeTracker) -> None:
    answer = dialogue.responses[0][:-1]
    said = dialogue.requests[0]
    assert passes_unharmed(dialogue.protocol, said, greeting=dialogue.greeting, answer=answer) == []


def test_nothing_is_read_while_nothing_is_taken(dialogue: ExchangeTracker) -> None:
    """What waits for a backend that does not read stays bounded, and nobody turns in circles meanwhile."""
    endless = {
        "http": b"POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
        "redis": b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\n",
        "memcache": b"set k 0 0 999999999\r\n",
        "smtp": b"BDAT 999999999\r\n",
    }[dialogue.protocol]
    with backend() as listening, running(listening.getsockname(), protocol=dialogue.protocol) as proxy:
        with pair(proxy, listening) as (client, _server):
            client.sendall(endless)
            held = []

            def stopped() -> bool:
                waiting, reading = proxy.call(lambda: waits(proxy))
                held.append(waiting)
                return waiting > 0 and not reading  # its source is not watched, so no callback can run

            pour(client, stopped)
            assert 0 < held[-1] < 2_000_000


def waits(proxy) -> tuple[int, bool]:
    (connection,) = proxy.proxy.live
    link = connection.link(True)
    return link.held, link.reading


class Counted:
    """An endpoint that notes the sizes of what is read."""

    def __init__(self, endpoint, reads: list[int]) -> None:
        self._endpoint, self._reads = endpoint, reads

    def recv_into(self, buffer) -> int:
        self._reads.append(self._endpoint.recv_into(buffer))
        return self._reads[-1]

    def __getattr__(self, name: str):
        return getattr(self._endpoint, name)


def test_an_idle_connection_is_read_once_for_each_chunk(dialogue: ExchangeTracker) -> None:
    """Half a head is held; the link waits for more and is called only when more comes."""
    reads: list[int] = []
    options = {"protocol": dialogue.protocol, "protocol_options": VERBATIM.get(dialogue.protocol, {})}
    with backend() as listening, running(listening.getsockname(), **options) as proxy:
        proxy.proxy.state.wrap_backend = lambda endpoint: Counted(endpoint, reads)
        with pair(proxy, listening) as (client, server):
            server.sendall(dialogue.greeting)
            assert heard(client, dialogue.greeting)
            client.sendall(dialogue.requests[0])
            assert heard(server, dialogue.requests[0])
            reads.clear()
            answer = dialogue.responses[0]
            for number, byte in enumerate(answer[:3], 1):
                server.sendall(bytes([byte]))
                until(lambda: len(reads) == number)  # noqa: B023 - it is awaited here
            for _ in range(100):
                proxy.call(lambda: None)  # a turn of the loop each
            assert reads == [1] * 3
            server.sendall(answer[3:])
            assert heard(client, answer)
