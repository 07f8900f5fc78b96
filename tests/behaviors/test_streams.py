"""The faults of streamed answers, byte by byte, against a server in the shape of language models'."""

from __future__ import annotations

import re
import socket
import threading

import pytest

import vaurien
from tests import llm_server
from tests.running import PATIENCE, backend, pair, read_all, running
from vaurien.errors import OptionError
from vaurien.model import Fault, Stream

PATHS = sorted(llm_server.STREAMS)
OPENAI = "/v1/chat/completions"
EVENTS = list(llm_server.openai_chunks())


@pytest.fixture(scope="module")
def model():
    with llm_server.served() as address:
        yield address


@pytest.fixture
def proxy(model):
    with vaurien.Proxy(model, protocol="http") as proxy:
        yield proxy


def connected(proxy):
    return socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE)


def ask(client, path=OPENAI, more=""):
    client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: 0\r\n\r\n".encode())


def read_until(client, end):
    """Bytes up to *end*; the stream must not end before."""
    data = b""
    while not data.endswith(end):
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return data


def chunks(answer):
    """The chunks of a chunked answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    found = []
    while body:
        line, _, body = body.partition(b"\r\n")
        size = int(line, 16)
        found.append(body[:size])
        assert body[size : size + 2] == b"\r\n"
        body = body[size + 2 :]
    assert found.pop() == b""
    return found


def answer(proxy, fault, path=OPENAI):
    """The chunks of an answer that *fault* acts on; the next one, after the fault, comes whole."""
    with connected(proxy) as client:
        with proxy.fault(f"{fault} name=f"):
            ask(client, path)
            first = chunks(read_until(client, b"\r\n0\r\n\r\n"))
            assert proxy.expect("f") == 1
            assert (proxy.hits("f").exchanges_hit, proxy.hits("f").connections_hit) == (1, 1)
            client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            assert read_until(client, b"\r\n\r\nok")  # so the first is through
        ask(client, path)
        assert b"".join(chunks(read_until(client, b"\r\n0\r\n\r\n"))) == b"".join(llm_server.STREAMS[path][1]())
    return first


@pytest.mark.parametrize("path", PATHS)
class TestWhatChangesTheEvents:
    def test_drop(self, proxy, path):
        events = list(llm_server.STREAMS[path][1]())
        assert answer(proxy, "stream_drop after=1 events=2", path) == [events[0], *events[3:]]

    def test_duplicate(self, proxy, path):
        events = list(llm_server.STREAMS[path][1]())
        assert answer(proxy, "stream_duplicate after=2", path) == [*events[:3], *events[2:]]

    def test_reorder(self, proxy, path):
        first, second, third, fourth, *rest = llm_server.STREAMS[path][1]()
        assert answer(proxy, "stream_reorder after=1 events=2", path) == [first, third, fourth, second, *rest]


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/stream"])
def test_an_answer_with_a_length_gets_chunks(proxy, path):
    first, _, *rest = llm_server.STREAMS[path][1]()
    with proxy.fault("stream_drop", after=1), connected(proxy) as client:
        ask(client, f"{path}?length")
        assert chunks(read_until(client, b"\r\n0\r\n\r\n")) == [first, *rest]
        proxy.expect("stream_drop")


def test_an_array_of_json_with_a_length_is_no_stream(proxy):
    whole = b"".join(llm_server.STREAMS["/stream"][1]())
    with proxy.fault("stream_drop", after=1), connected(proxy) as client:
        ask(client, "/stream?length")
        assert read_until(client, whole).lower().count(b"content-length: ") == 1
        assert proxy.hits("stream_drop") == 0


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_up_to_the_end_of_the_connection(proxy, path):
    first, _, *rest = llm_server.STREAMS[path][1]()
    with proxy.fault("stream_drop", after=1), connected(proxy) as client:
        ask(client, f"{path}?eof")
        data = b"".join(iter(lambda: client.recv(65536), b""))
        assert data.partition(b"\r\n\r\n")[2] == first + b"".join(rest)
        proxy.expect("stream_drop")


@pytest.mark.parametrize("between", ["noop", "slicer average_size=7 size_variation=0 delay=0"])
def test_two_faults_of_events_on_an_answer_with_a_length(proxy, between):
    """The first sends chunks, with another head: the second takes these apart, however they are cut."""
    first, _, *rest = EVENTS
    with (
        proxy.fault("stream_drop", after=1),
        proxy.fault(f"{between} name=between stream=downstream"),
        proxy.fault("stream_duplicate", after=0),
        connected(proxy) as client,
    ):
        ask(client, f"{OPENAI}?length")
        assert b"".join(chunks(read_until(client, b"\r\n0\r\n\r\n"))) == first + first + b"".join(rest)
        assert proxy.hits("stream_drop") == proxy.hits("stream_duplicate") == 1


def test_a_fault_of_events_behind_one_that_writes_another_head(proxy):
    """What is not known of passes whole."""
    with (
        proxy.fault("replace", pattern="HTTP/1.1 200", by="HTTP/1.1 203", stream="downstream"),
        proxy.fault("stream_duplicate"),
        connected(proxy) as client,
    ):
        ask(client, f"{OPENAI}?length")
        data = read_until(client, EVENTS[-1])
        assert data.startswith(b"HTTP/1.1 203")
        assert data.endswith(b"".join(EVENTS))
        assert proxy.hits("stream_duplicate") == 0


def test_split_in_the_middle_of_an_event(proxy):
    parts = answer(proxy, "stream_split pause=0")
    assert b"".join(parts) == b"".join(EVENTS)
    assert len(parts) == 2 * len(EVENTS)


def test_split_in_the_middle_of_a_character(proxy):
    parts = answer(proxy, "stream_split where=character pause=1")
    assert b"".join(parts) == b"".join(EVENTS)
    cut = [part for part in parts if re.search(rb"[\xc0-\xff][\x80-\xbf]*$", part)]
    assert len(cut) == sum(not event.isascii() for event in EVENTS)
    with pytest.raises(UnicodeDecodeError):
        cut[0].decode()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("stream_cut", EVENTS[:-1]),
        ("stream_cut after=2", EVENTS[:2]),
        ("stream_cut after=0", []),
    ],
)
def test_a_clean_cut_looks_complete(proxy, fault, expected):
    assert answer(proxy, fault) == expected


@pytest.mark.parametrize("path", ["/v1/messages", "/api/chat"])
def test_a_cut_before_the_event_that_says_that_all_is_there(proxy, path):
    assert answer(proxy, "stream_cut", path) == list(llm_server.STREAMS[path][1]())[:-1]


def test_a_cut_that_ends_the_connection(proxy):
    with proxy.fault("stream_cut", after=2, how="fin"), connected(proxy) as client:
        ask(client)
        data = b"".join(iter(lambda: client.recv(65536), b""))
        assert data.count(b"data: ") == 2
        assert not data.endswith(b"0\r\n\r\n")


def test_a_cut_by_a_reset(proxy):
    with proxy.fault("stream_cut", after=2, how="rst"), connected(proxy) as client:
        ask(client)
        with pytest.raises(ConnectionResetError):
            while client.recv(65536):
                pass


def test_a_stall_ends_with_the_fault(proxy):
    with connected(proxy) as client:
        with proxy.fault("stream_stall", after=2):
            ask(client)
            before = read_until(client, EVENTS[1] + b"\r\n")
            proxy.wait_for_hits("stream_stall", timeout=PATIENCE)
            client.settimeout(0.05)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.settimeout(PATIENCE)
        assert chunks(before + read_until(client, b"\r\n0\r\n\r\n")) == EVENTS


def test_a_stall_for_a_time(proxy):
    assert answer(proxy, "stream_stall after=1 seconds=10ms") == EVENTS


def test_slow_events_are_whole_and_in_order(proxy):
    assert answer(proxy, "stream_slow rate=1000 first=5ms") == EVENTS


@pytest.mark.parametrize(
    ("options", "event"),
    [
        ("message=Oh", rb'data: \{"error": \{"type": "server_error", "message": "Oh", .*\}\}\n\n'),
        ("shape=anthropic", rb'event: error\ndata: \{"type": "error", "error": \{"type": "api_error", .*\}\}\n\n'),
        (
            "shape=anthropic kind=overloaded_error",
            rb'event: error\ndata: \{"type": "error", "error": \{"type": "overloaded_error", .*\}\}\n\n',
        ),
        ("shape=text text='data: x\\n\\n'", rb"data: x\n\n"),
    ],
)
def test_an_error_in_mid_stream(proxy, options, event):
    *before, error = answer(proxy, f"stream_error after=2 {options}")
    assert before == EVENTS[:2]
    assert re.fullmatch(event, error, re.DOTALL)


def test_an_error_that_ends_nothing(proxy):
    parts = answer(proxy, "stream_error after=2 end=no")
    assert [*parts[:2], *parts[3:]] == EVENTS


@pytest.mark.parametrize(
    ("shape", "kind"), [("openai", '"code": "rate_limit_exceeded"'), ("anthropic", '"type": "error"')]
)
def test_rate_limited(proxy, shape, kind):
    with proxy.fault("rate_limited", retry_after="1200ms", limit=7, shape=shape), connected(proxy) as client:
        ask(client)
        head, _, body = read_until(client, b"}").decode().partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 429 ")
        assert {"retry-after: 2", "x-ratelimit-limit-requests: 7"} <= {*head.split("\r\n")}
        assert kind in body


def test_the_request_does_not_offer_to_compress(proxy):
    with connected(proxy) as client:
        for fault, sent in (("stream_drop", None), ("noop", "gzip")):
            with proxy.fault(fault, scope="exchange"):
                ask(client, more="Accept-Encoding: gzip\r\n")
                read_until(client, b"\r\n0\r\n\r\n")
                assert llm_server.Model.encodings[-1] == sent


def test_other_answers_pass_as_they_are(model):
    with vaurien.Proxy(model, protocol="http", faults=["stream_cut after=0", "stream_stall after=0"]) as proxy:
        with connected(proxy) as client:
            client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_until(client, b"\r\n\r\nok")
            assert proxy.hits() == {"stream_cut": 0, "stream_stall": 0}


def test_a_fault_that_is_removed_in_the_middle_leaves_the_answer_whole():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:
        with vaurien.Proxy(server.getsockname(), protocol="http") as proxy, connected(proxy) as client:
            with proxy.fault("stream_reorder", after=0, events=5):
                ask(client)
                peer, _ = server.accept()
                peer.settimeout(PATIENCE)
                peer.recv(65536)
                peer.sendall(head + b"9\r\ndata: a\n\n\r\n12\r\ndata: b\n\ndat")
                before = read_until(client, b"data: b\n\n\r\n")
            with peer:
                peer.sendall(b"a: c\n\n\r\n0\r\n\r\n")
                after = read_until(client, b"\r\n0\r\n\r\n")
            assert b"".join(chunks(before + after)) == b"data: b\n\ndata: a\n\ndata: c\n\n"


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SPLIT = Fault("split", "stream_split", options={"pause": 0})


def test_what_another_fault_keeps_of_an_answer_is_still_of_it():
    """Also once the answer has ended: the events are in it."""
    kept = Fault("kept", "coalesce", options={"wait": 3_600_000}, stream=Stream.DOWNSTREAM)
    with backend() as listening, running(listening.getsockname(), "", kept, SPLIT, protocol="http") as proxy:
        with pair(proxy, listening) as (client, server):
            ask(client)
            server.recv(65536)
            server.sendall(CHUNKED + b"c\r\ndata: a\n\ndat\r\n6\r\na: b\n\n\r\n0\r\n\r\n")
            answer = read_until(client, b"\r\n0\r\n\r\n")
    assert b"".join(chunks(answer)) == b"data: a\n\ndata: b\n\n"
    assert len(chunks(answer)) == 4  # they were split


def test_only_for_protocols_with_statuses(model):
    with vaurien.Proxy(model, protocol="redis") as proxy:
        with pytest.raises(OptionError, match="a proxy whose protocol is http"):
            proxy.fault("stream_cut")


ENDLESS = b"data: " + b"\xff\xc3(" * 700_000
"""2 MB of a line that does not end, and is no UTF-8."""


@pytest.mark.parametrize("fault", ["stream_drop", "stream_duplicate", "stream_reorder", "stream_slow", "stream_stall"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_line_without_end_passes(fault, chunked):
    """No event of it ever counts, and what is kept of it is bounded (`EVENT_LIMIT`)."""
    given = {} if fault == "stream_slow" else {"after": 0}
    with backend() as listening, running(listening.getsockname(), protocol="http") as proxy:
        proxy.set_policy("", Fault("it", fault, given))
        with pair(proxy, listening) as (client, server):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_until(server, b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            sending = threading.Thread(target=answer_without_end, args=(server, head, chunked))
            sending.start()
            answer = read_all(client)
            sending.join()
        body = b"".join(chunks(answer)) if chunked else answer.partition(b"\r\n\r\n")[2]
        assert body == ENDLESS


def answer_without_end(server, head, chunked):
    if chunked:
        server.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(ENDLESS), ENDLESS))
    else:
        server.sendall(head + b"\r\n" + ENDLESS)
    server.shutdown(socket.SHUT_WR)
