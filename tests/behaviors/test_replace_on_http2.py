"""Other words, and other frames, in the messages of HTTP/2: frames, windows and other streams stay right."""

from __future__ import annotations

import pytest

from tests.http2 import ASKED, FAST, OK, Frame, Side, fault, sides
from vaurien.events import Injected
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Setting
from vaurien.model import Fault, Stream

LONGER = {"pattern": "hello", "by": "goodbye"}
TRAILERS = [("x-hello", "hello")]


def after_windows(side: Side, kind: int, stream: int) -> Frame:
    """The next frame that does not give back what was held or left out."""
    while (frame := side.frame()).kind == h2.WINDOW_UPDATE:
        pass
    assert (frame.kind, frame.stream) == (kind, stream), frame
    return frame


def head(side: Side, stream: int = 1) -> list[tuple[str, str]]:
    return side.fields(after_windows(side, h2.HEADERS, stream))


def text(side: Side, stream: int = 1) -> bytes:
    return after_windows(side, h2.DATA, stream).payload


def begun(client: Side, server: Side) -> None:
    """An answer whose body is to come."""
    client.ask(1)
    assert server.hears_head(1) == ASKED
    server.head(1)
    assert head(client) == OK


def answered(client: Side, server: Side, *parts: bytes) -> bytes:
    """The body that comes of *parts*."""
    begun(client, server)
    for part in parts:
        server.data(1, part)
    server.data(1, b"", end=True)
    return body(client)


def body(client: Side, stream: int = 1) -> bytes:
    got = b""
    while True:
        frame = after_windows(client, h2.DATA, stream)
        got += frame.payload
        if frame.flags & h2.END_STREAM:
            return got


@pytest.mark.parametrize("path", ["", "/slow"])
@pytest.mark.parametrize("cut", [1, 3, 100])
def test_the_text_is_replaced_and_the_frames_stay_right(path: str, cut: int) -> None:
    text = b"hello, hello world, hell"
    with sides(fault("replace", path, **LONGER)) as (_, client, server):
        parts = [text[at : at + cut] for at in range(0, len(text), cut)]
        assert answered(client, server, *parts) == text.replace(b"hello", b"goodbye")
        client.ask(3, FAST)
        assert head(server, 3) == FAST
        server.head(3)
        server.data(3, b"hello", end=True)
        assert head(client, 3) == OK
        assert body(client, 3) == (b"hello" if path else b"goodbye")


def test_headers_and_trailers_are_no_text() -> None:
    fields = [*OK, ("x-word", "hello")]
    with sides(fault("replace", pattern="hello", by="")) as (_, client, server):
        client.ask(1)
        assert server.hears_head(1) == ASKED
        server.head(1, fields)
        assert head(client) == fields
        server.data(1, b"hello you")
        server.head(1, TRAILERS, end=True)
        assert text(client) == b" you"
        assert head(client) == TRAILERS


def test_one_byte_of_every_head_is_in_the_pattern() -> None:
    """It would have been cut out of the block of headers, and of what says how long that is."""
    with sides(fault("replace", pattern=r"\x00", by="")) as (_, client, server):
        assert answered(client, server, b"a\0b") == b"ab"


def test_the_beginning_of_a_match_waits_for_the_rest_but_not_for_long() -> None:
    with sides(fault("replace", **LONGER)) as (_, client, server):
        begun(client, server)
        server.data(1, b"one hell")
        assert text(client) == b"one "
        assert text(client) == b"hell"  # nothing more has come
        server.data(1, b"o")
        assert text(client) == b"o"


def test_what_a_removed_fault_keeps_is_sent() -> None:
    with sides(fault("replace", pattern="b" * 300, by="", regex=True)) as (proxy, client, server):
        begun(client, server)
        server.data(1, b"bbb")
        proxy.set_policy("")
        server.data(1, b"!", end=True)
        assert body(client) == b"bbb!"


def test_two_faults_meet_the_same_text() -> None:
    first = Fault("a", "replace", {"pattern": "hello", "by": "good morning"})
    second = Fault("b", "replace", {"pattern": "good", "by": "bad"})
    with sides(first, second) as (_, client, server):
        assert answered(client, server, b"say hel", b"lo") == b"say bad morning"


def test_what_is_put_in_waits_for_the_window() -> None:
    with sides(fault("replace", pattern="a", by="12345")) as (_, client, server):
        client.sock.sendall(h2.settings([(Setting.INITIAL_WINDOW_SIZE, 10)]))
        assert server.hears(h2.SETTINGS, 0)
        begun(client, server)
        server.data(1, b"aaa", end=True)
        assert text(client) == b"1234512345"
        client.sock.sendall(h2.window_update(1, 10))
        assert body(client) == b"12345"


def test_the_request_is_replaced_upstream() -> None:
    upstream = Fault("it", "replace", {"pattern": "hello", "by": "bye"}, stream=Stream.UPSTREAM)
    with sides(upstream) as (_, client, server):
        client.ask(1, end=False)
        assert server.hears_head(1) == ASKED
        client.data(1, b"hello", end=True)
        assert text(server) == b"bye"
        server.head(1)
        server.data(1, b"hello", end=True)
        assert head(client) == OK
        assert body(client) == b"hello"


def test_frames_of_one_stream_are_gathered() -> None:
    with sides(fault("coalesce", size=6, wait=3_600_000)) as (proxy, client, server):
        client.ask(1)
        assert server.hears_head(1)
        client.ask(3, FAST)
        assert head(server, 3) == FAST
        server.head(1)
        for part in (b"ab", b"cd", b"efg"):
            server.data(1, part)
        assert head(client) == OK
        assert text(client) == b"abcdef"
        server.head(3)
        server.data(3, b"x", end=True)
        assert head(client, 3) == OK  # the others are not touched
        assert text(client, 3) == b"x"
        server.data(1, b"h", end=True)
        assert body(client) == b"gh"
        proxy.events.wait(Injected)


def test_all_frames_are_gathered_without_a_match() -> None:
    with sides(fault("coalesce", path="", size=1000, wait=1)) as (_, client, server):
        assert answered(client, server, b"ab", b"cd") == b"abcd"


@pytest.mark.parametrize(("offset", "got"), [(0, b"XYZhello"), (5, b"helloXYZ"), (3, b"helXYZlo")])
def test_bytes_are_put_into_the_text_and_not_into_the_head(offset: int, got: bytes) -> None:
    """They pushed the last bytes of the block of headers into the body."""
    with sides(fault("inject", data="XYZ", offset=offset)) as (_, client, server):
        assert answered(client, server, b"hello") == got
