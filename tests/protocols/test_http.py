import random

import pytest

from vaurien.errors import OptionError
from vaurien.framing import HEAD_LIMIT, Head, Mark, Piece
from vaurien.model import TO_BACKEND, TO_CLIENT, Address, Direction
from vaurien.protocols.http import HttpProtocol
from vaurien.testing.framing import Segment, Transcript, check_framing

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NONE = b"HTTP/1.1 204 No Content\r\n\r\n"
UP, DOWN = TO_BACKEND, TO_CLIENT


def played(*segments: Segment) -> Transcript:
    return check_framing(HttpProtocol(), segments)


def shape(transcript: Transcript, side: bool) -> list[str]:
    """The events of one direction as words: ``head``, ``body 5``, ``end``."""
    return [f"body {len(event[1])}" if event[0] == "body" else str(event[0]) for event in transcript.events[side]]  # type: ignore[arg-type]


def request_of(data: bytes) -> Head:
    pieces = HttpProtocol().framer().feed(TO_BACKEND, data)
    head = pieces[0][0]
    assert isinstance(head, Head)
    return head


def fields(data: bytes) -> dict[str, str]:
    return dict(request_of(data).fields)


def names(pieces: list[Piece]) -> list[tuple[str, bytes]]:
    return [("head" if isinstance(what, Head) else what.value, data) for what, data in pieces]


REQUESTS = {
    "no body": (GET, ["head", "end"]),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a\n\n", ["head", "end"]),
    "no fields": (b"GET / HTTP/1.0\r\n\r\n", ["head", "end"]),
    "content length": (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", ["head", "body 3", "end"]),
    "content length of zero": (b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", ["head", "end"]),
    "the same length twice": (
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\ncontent-length: 3, 3\r\n\r\nabc",
        ["head", "body 3", "end"],
    ),
    "chunked": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\n\r\n",
        ["head", "body 33", "end"],
    ),
    "chunked with trailers": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n1\r\na\r\n0\r\nDigest: 1\r\nX: 2\r\n\r\n",
        ["head", "body 28", "end"],
    ),
    "codings in two fields": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ["head", "body 5", "end"],
    ),
    "a folded coding": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        ["head", "body 5", "end"],
    ),
    "transfer encoding overrides length": (
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ["head", "body 5", "end"],
    ),
    "pipelined": (GET * 3, ["head", "end"] * 3),
    "pipelined after a body": (
        b"PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx" + GET,
        ["head", "body 1", "end", "head", "end"],
    ),
    "empty lines before it": (b"\r\n\n" + GET, ["body 3", "head", "end"]),
    "names and values in the wild": (b"GET / HTTP/1.1\r\nX(y): \xe9\xff\r\nEmpty:\r\n\r\n", ["head", "end"]),
    "a name that only looks like a length": (
        b"GET / HTTP/1.1\r\nX-Content-Length: 5\r\nA: content-length: 5\r\n\r\n",
        ["head", "end"],
    ),
}


@pytest.mark.parametrize(("data", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_requests(data: bytes, expected: list[str]) -> None:
    transcript = played((UP, data))
    assert transcript.framing.lost is None
    assert shape(transcript, UP) == expected
    assert len(transcript.framing.waiting) == expected.count("head")


HEAD_REQUEST = b"HEAD / HTTP/1.1\r\n\r\n"
RESPONSES = {
    "content length": (GET, OK, ["head", "body 2", "end"]),
    "no content": (GET, NONE, ["head", "end"]),
    "not modified": (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ["head", "end"]),
    "to HEAD": (HEAD_REQUEST, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", ["head", "end"]),
    "to HEAD, chunked": (HEAD_REQUEST, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ["head", "end"]),
    "chunked": (
        GET,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ["head", "body 12", "end"],
    ),
    "until the end": (GET, b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ["head", "body 19", "end"]),
    "until the end, coded": (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxyz", ["head", "body 3", "end"]),
    "no reason": (GET, b"HTTP/1.1 204\r\n\r\n", ["head", "end"]),
    "interim": (GET, b"HTTP/1.1 100 Continue\r\n\r\n" + OK, ["body 25", "head", "body 2", "end"]),
    "early hints": (GET, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + NONE, ["body 40", "head", "end"]),
    "pipelined": (
        GET + HEAD_REQUEST + GET,
        OK + OK[:-2] + NONE,
        ["head", "body 2", "end", "head", "end", "head", "end"],
    ),
    "to nobody": (b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 1\r\n\r\nx", ["body 52"]),
}


@pytest.mark.parametrize(("request_", "response", "expected"), RESPONSES.values(), ids=RESPONSES)
def test_responses(request_: bytes, response: bytes, expected: list[str]) -> None:
    transcript = played((UP, request_), (DOWN, response))
    assert transcript.framing.lost is None
    assert shape(transcript, DOWN) == expected
    assert not transcript.framing.waiting


LOST = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", r"not a method of HTTP: it begins with b'\x16'"),
    "HTTP/0.9": (b"GET /\r\n", "not the first line of an HTTP/1 message: b'GET /"),
    "SMTP": (b"EHLO client\r\n", "not the first line of an HTTP/1 message: b'EHLO"),
    "a CR before the request": (b"\rGET / HTTP/1.1\r\n\r\n", "no end of line within 2 bytes"),
    "not quite an empty line": (b"\r\rGET / HTTP/1.1\r\n\r\n", "no end of line within 2 bytes"),
    "space before the colon": (b"GET / HTTP/1.1\r\nContent-Length : 5\r\n\r\n", "not field lines of HTTP/1"),
    "space before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "not field lines of HTTP/1"),
    "a bare CR": (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "not field lines of HTTP/1"),
    "NUL": (b"GET / HTTP/1.1\r\nA: \0\r\n\r\n", "not field lines of HTTP/1"),
    "no colon": (b"GET / HTTP/1.1\r\nHost\r\n\r\n", "not field lines of HTTP/1"),
    "two lengths": (b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "2 different values"),
    "two lengths in one": (b"GET / HTTP/1.1\r\nContent-Length: 5, 6\r\n\r\n", "2 different values"),
    "a folded length": (
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\n 6\r\n\r\n",
        "not a number of at most 19 digits: b'5 6'",
    ),
    "a negative length": (b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", "not a number of at most 19 digits: b'-5'"),
    "a signed length": (b"GET / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", "not a number of at most 19 digits"),
    "no length": (b"GET / HTTP/1.1\r\nContent-Length:\r\n\r\n", "not a number of at most 19 digits: b''"),
    "a huge length": (b"GET / HTTP/1.1\r\nContent-Length: 1" + b"0" * 19 + b"\r\n\r\n", "not a number of at most 19"),
    "a length in other digits": (b"GET / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", "not a number of at most 19"),
    "a coding that is not the last": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "chunked is not the last transfer coding",
    ),
    "chunked twice": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", "or applied twice"),
    "a body without end": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
        "a request whose last transfer coding is not chunked",
    ),
    "a coding in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding in a message of HTTP/1.0",
    ),
    "a head over the limit": (b"GET / HTTP/1.1\r\nA: " + b"x" * HEAD_LIMIT, "no empty line within 65520 bytes"),
    "a line over the limit": (b"GET /" + b"x" * HEAD_LIMIT, "no end of line within 65536 bytes"),
}


@pytest.mark.parametrize(("data", "reason"), LOST.values(), ids=LOST)
def test_what_is_not_a_request_goes_on_as_turns(data: bytes, reason: str) -> None:
    sizes = (1, 2, 3, 7) if len(data) < 1000 else (4099,)
    transcript = check_framing(HttpProtocol(), [(UP, data), (DOWN, b"what?"), (UP, GET)], sizes)
    assert transcript.framing.lost is not None
    assert reason in transcript.framing.lost


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = {
    "a size in words": (b"ten\r\n", "not the first line of a chunk"),
    "a negative size": (b"-1\r\n", "not the first line of a chunk"),
    "a prefixed size": (b"0x1\r\n", "not the first line of a chunk"),
    "a size over 64 bits": (b"1" + b"0" * 16 + b"\r\n", "not the first line of a chunk"),
    "a bare line feed": (b"1\nx\r\n", "not the first line of a chunk"),
    "a bare CR in an extension": (b"1;a\rb\r\nx\r\n", "not the first line of a chunk"),
    "an extension over the limit": (b"1;" + b"x" * 4097 + b"\r\n", "not the first line of a chunk"),
    "more than its size": (b"1\r\nxy\r\n", "a chunk that is not 1 bytes long"),
    "a trailer without colon": (b"0\r\nx\r\n\r\n", "not a trailer section"),
}


@pytest.mark.parametrize(("data", "reason"), BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_bad_chunks_end_the_message(data: bytes, reason: str) -> None:
    transcript = played((UP, CHUNKED + data))
    assert transcript.framing.lost == reason


@pytest.mark.parametrize("greeting", [b"SSH-2.0-x\r\n", b"\x4a\0\0\0\x0a8.0", b"220 mail ESMTP\r\n", b"HELLO\r\n"])
def test_what_is_not_a_response_is_passed_on_before_the_client_speaks(greeting: bytes) -> None:
    framing = HttpProtocol().framer()
    assert names(framing.feed(TO_CLIENT, greeting)) == [("body", greeting)]
    assert framing.lost is not None


def test_upgrade_makes_a_tunnel_of_both_directions() -> None:
    upgrade = b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    transcript = played((UP, upgrade), (DOWN, switch + b"\x81\x05hello"), (UP, b"\x81\x85"), (DOWN, GET))
    assert transcript.framing.lost is None
    assert shape(transcript, UP) == ["head", "end", "body 2"]
    assert shape(transcript, DOWN) == ["head", "end", f"body {7 + len(GET)}"]


def test_a_refused_upgrade_goes_on_as_http() -> None:
    upgrade = b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n"
    transcript = played((UP, upgrade), (DOWN, OK), (UP, GET), (DOWN, OK))
    assert shape(transcript, UP) == ["head", "end"] * 2
    assert shape(transcript, DOWN) == ["head", "body 2", "end"] * 2


CONNECT = b"CONNECT db:443 HTTP/1.1\r\nHost: db:443\r\n\r\n"


def test_connect_makes_a_tunnel() -> None:
    established = b"HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n"
    transcript = played((UP, CONNECT), (DOWN, established), (UP, b"\x16\x03\x01"), (DOWN, b"\x16\x03\x03"))
    assert transcript.framing.lost is None
    assert shape(transcript, UP) == ["head", "end", "body 3"]
    assert shape(transcript, DOWN) == ["head", "end", "body 3"]


def test_a_refused_connect_goes_on_as_http() -> None:
    refused = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno"
    transcript = played((UP, CONNECT), (DOWN, refused), (UP, GET), (DOWN, OK))
    assert shape(transcript, UP) == ["head", "end"] * 2
    assert shape(transcript, DOWN) == ["head", "body 2", "end"] * 2


def test_a_client_that_does_not_await_the_tunnel_is_not_lost() -> None:
    transcript = played((UP, CONNECT + b"\x16\x03\x01"), (DOWN, b"HTTP/1.1 200 OK\r\n\r\nx"), (UP, b"y"))
    assert transcript.framing.lost is None
    assert shape(transcript, UP) == ["head", "end", "body 4"]


def test_a_large_body_is_not_held() -> None:
    framing = HttpProtocol().framer()
    framing.feed(TO_BACKEND, b"PUT / HTTP/1.1\r\nContent-Length: 9000000000000000000\r\n\r\n")
    chunk = b"x" * 65536
    for _ in range(10):
        (piece,) = framing.feed(TO_BACKEND, chunk)
        assert piece[0] is Mark.BODY
        assert piece[1] is chunk  # not even copied
    assert framing.held(TO_BACKEND) == 0


EXPECT = b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"


def test_a_client_waits_for_100_continue() -> None:
    assert request_of(EXPECT).waits
    assert not request_of(GET).waits
    assert not request_of(EXPECT.replace(b"HTTP/1.1", b"HTTP/1.0")).waits
    assert not request_of(EXPECT.replace(b"Length: 2", b"Length: 0")).waits
    transcript = played((UP, EXPECT), (DOWN, b"HTTP/1.1 100 Continue\r\n\r\n"), (UP, b"hi"), (DOWN, OK))
    assert shape(transcript, UP) == ["head", "body 2", "end"]
    assert shape(transcript, DOWN) == ["body 25", "head", "body 2", "end"]


def test_fields_of_a_request() -> None:
    data = b"GET /a/b?c=d#e HTTP/1.1\r\nHost: Example:81\r\nX-A: 1\r\nx-a:  2 \r\nFold: a\r\n\tb\r\n\r\n"
    assert fields(data) == {
        "method": "GET",
        "path": "/a/b",
        "host": "Example:81",
        "header.host": "Example:81",
        "header.x-a": "1, 2",
        "header.fold": "a b",
    }
    asked = request_of(data).fields
    assert asked["header.X-A"] == "1, 2"
    assert asked.get("header.none") is None
    assert len(asked) == 6


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://Db:81/x?y", "Db:81", "/x"),
        (b"http://user:pw@db", "db", "/"),
        (b"https://db?q", "db", ""),
        (b"*", "a", "*"),
        (b"//x", "a", "//x"),
    ],
)
def test_an_absolute_target_overrides_the_host(target: bytes, host: str, path: str) -> None:
    asked = fields(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (asked["host"], asked["path"]) == (host, path)


def test_fields_of_connect_and_of_a_response() -> None:
    assert {"host": "db:443", "path": ""}.items() <= fields(CONNECT).items()
    framing = HttpProtocol().framer()
    framing.feed(TO_BACKEND, GET)
    head = framing.feed(TO_CLIENT, b"HTTP/1.1 503 No\r\nRetry-After: 1\r\n\r\n")[0][0]
    assert isinstance(head, Head)
    assert dict(head.fields) == {"status": "503", "header.retry-after": "1"}


@pytest.mark.parametrize(
    ("data", "close"),
    [
        (GET, False),
        (b"GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: x\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", False),
        (EXPECT, True),
    ],
)
def test_an_error_keeps_the_connection_where_it_can(data: bytes, close: bool) -> None:
    reply = HttpProtocol().error_reply(request_of(data), random.Random(1), "503")
    assert reply.close == close
    words = b"close" if close else b"keep-alive"
    assert reply.data == (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 24\r\nConnection: "
        + words
        + b"\r\n\r\n503 Service Unavailable\n"
    )


def test_an_error_closes_where_the_proxy_does_or_the_request_is_not_known() -> None:
    assert HttpProtocol(keep_alive=False).error_reply(request_of(GET), random.Random(1), "500").close
    assert HttpProtocol().error_reply(Head(True), random.Random(1), "500").close


def test_an_error_that_answers_head_has_no_body() -> None:
    reply = HttpProtocol().error_reply(request_of(HEAD_REQUEST), random.Random(1), "500")
    assert reply.data.endswith(b"Content-Length: 26\r\nConnection: keep-alive\r\n\r\n")


@pytest.mark.parametrize("code", [*HttpProtocol.error_codes, None])
def test_an_error_has_the_status_of_its_code(code: str | None) -> None:
    reply = HttpProtocol().error_reply(request_of(GET), random.Random(7), code)
    transcript = played((UP, GET), (DOWN, reply.data))
    status = transcript.events[DOWN][0][2]["status"]  # type: ignore[index]
    assert status in HttpProtocol.error_codes
    assert code in (None, status)


def test_chance_is_the_callers_and_is_a_servers_error() -> None:
    replies = {HttpProtocol().error_reply(request_of(GET), random.Random(seed)).data for seed in range(50)}
    statuses = {reply.split()[1] for reply in replies}
    assert statuses == {b"500", b"501", b"502", b"503", b"504"}


def test_an_error_code_must_be_known() -> None:
    with pytest.raises(OptionError, match="code: '200' is not valid; expected one of 400, 401, 402, "):
        HttpProtocol().error_reply(request_of(GET), random.Random(1), "200")


BACKEND = Address("db", 81)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (GET, b"GET / HTTP/1.1\r\nHost: db:81\r\n\r\n"),
        (
            b"GET / HTTP/1.1\r\nA: host: x\r\nhost:a:8000 \r\nB: c\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: host: x\r\nhost:db:81\r\nB: c\r\n\r\n",
        ),
        (b"GET / HTTP/1.1\nHOST: \n\n", b"GET / HTTP/1.1\nHOST: db:81\n\n"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: db:81\r\n\r\n"),
        (
            b"GET http://u@a:1/x?http://a/ HTTP/1.1\r\nHost: a:1\r\n\r\n",
            b"GET http://u@db:81/x?http://a/ HTTP/1.1\r\nHost: db:81\r\n\r\n",
        ),
        (
            b"GET /?u=http://a/ HTTP/1.1\r\nReferer: http://a/\r\nHost: a\r\n\r\n",
            b"GET /?u=http://a/ HTTP/1.1\r\nReferer: http://a/\r\nHost: db:81\r\n\r\n",
        ),
        (b"GET / HTTP/1.1\r\nHost: db:81\r\n\r\n", None),
        (b"GET / HTTP/1.0\r\n\r\n", None),
        (CONNECT, None),
    ],
)
def test_the_host_is_rewritten(before: bytes, after: bytes | None) -> None:
    assert HttpProtocol().rewrite(request_of(before), BACKEND) == after


@pytest.mark.parametrize(
    ("backend", "host"),
    [
        (Address("db", 80), b"db"),
        (Address("", 81), b"localhost:81"),
        (Address("", 80), b"localhost"),
        (Address("::1", 80), b"[::1]"),
        (Address("::1", 81), b"[::1]:81"),
        (Address("b\u00fccher.example", 80), b"xn--bcher-kva.example"),
    ],
)
def test_the_host_is_the_backends_address(backend: Address, host: bytes) -> None:
    assert HttpProtocol().rewrite(request_of(GET), backend) == b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"


def test_the_host_is_left_alone() -> None:
    assert HttpProtocol(overwrite_host_header=False).rewrite(request_of(GET), BACKEND) is None
    assert HttpProtocol().rewrite(request_of(GET), Address(path="/run/app.sock")) is None
    assert HttpProtocol().rewrite(Head(True), BACKEND) is None


GO_ON, KEPT = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
PERSISTENCE: dict[str, tuple[bytes, bytes, bool]] = {
    "by default": (GO_ON, KEPT + b"\r\n", True),
    "close in the answer": (GO_ON, KEPT + b"connection: x, Close\r\n\r\n", False),
    "close in the request": (GO_ON.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), KEPT + b"\r\n", False),
    "an answer of HTTP/1.0": (GO_ON, KEPT.replace(b"1.1", b"1.0") + b"\r\n", False),
    "a request of HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", KEPT + b"\r\n", False),
    "HTTP/1.0 that is kept alive": (
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        KEPT.replace(b"1.1", b"1.0") + b"Connection: Keep-Alive\r\n\r\n",
        True,
    ),
    "an interim answer that says close": (GO_ON, b"HTTP/1.1 103 H\r\nConnection: close\r\n\r\n" + KEPT + b"\r\n", True),
    "no length": (GO_ON, b"HTTP/1.1 200 OK\r\n\r\nabc", False),
    "an upgrade": (GO_ON, b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n", False),
    "half an answer": (GO_ON, KEPT, False),
}


@pytest.mark.parametrize(("asked", "answer", "reusable"), PERSISTENCE.values(), ids=PERSISTENCE)
def test_the_backends_connection_is_reusable_while_it_persists(asked: bytes, answer: bytes, reusable: bool) -> None:
    for whole in (False, True):
        framer = HttpProtocol().framer()
        for to_backend, data in ((UP, asked), (DOWN, answer)):
            if not (whole and framer.try_whole(Direction(to_backend), data)):
                framer.feed(Direction(to_backend), data)
        assert framer.reusable is reusable


@pytest.mark.parametrize("data", [b"", b"abc"])
def test_no_transfer_coding_beside_a_length(data: bytes) -> None:
    """``identity`` was a coding until RFC 7230, and is none."""
    coded = b"Transfer-Encoding: Identity\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)
    transcript = played(
        (UP, b"POST / HTTP/1.1\r\nHost: a\r\n" + coded), (DOWN, b"HTTP/1.1 200 OK\r\n" + coded), (UP, GET)
    )
    assert transcript.framing.lost is None
    assert len(transcript.framing.waiting) == 1


@pytest.mark.parametrize(
    ("data", "repeatable"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", False),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", False),
    ],
)
def test_handshakes_are_not_to_be_repeated(data: bytes, repeatable: bool) -> None:
    assert request_of(data).repeatable is repeatable


def chunked(data: bytes) -> str | None:
    """Why a response with the chunks *data* is none of HTTP, if it is."""
    framer = HttpProtocol().framer()
    framer.feed(TO_BACKEND, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data
    assert b"".join(piece for _, piece in framer.feed(TO_CLIENT, whole)) == whole
    return framer.lost


@pytest.mark.parametrize("digits", ["{:x}", "{:X}", "0{:x}"])
def test_chunks_end_where_their_size_says(digits: str) -> None:
    """Small ones are matched many at a time, the others one by one."""
    for size in (*range(1, 260), 4095):
        chunk = digits.format(size).encode() + b"\r\n" + b"\r\n0"[: size % 4].ljust(size, b"\n") + b"\r\n"
        body = chunk * 3 + b"0\r\n\r\n"
        assert chunked(body) is None
        assert chunked(chunk + b"\n" + body) is not None
        assert chunked(chunk + b"z" + body) is not None


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("tls://db:5432", b"db:5432"),
        ("https://db", b"db"),
        ("tls://db:80", b"db:80"),
        ("https://10.0.0.1?server_name=db.test&verify=no", b"db.test"),
        ("https://[::1]:8443?ca=/a.pem", b"[::1]:8443"),
    ],
)
def test_the_host_of_a_backend_with_tls(address, host):
    data = HttpProtocol().rewrite(request_of(GET), Address.parse(address))
    assert data is not None
    assert b"\r\nHost: " + host + b"\r\n" in data
