"""Bad frames before a real server: it refuses them through the proxy by the same word as without, or the proxy does."""

from __future__ import annotations

import contextlib
import socket
import subprocess

import pytest

from tests.http2 import Side
from tests.integration.exchanges import fault, where
from tests.protocols.test_http2 import BAD
from tests.protocols.test_http2_bad_frames import BLOCKS, PASSING
from tests.running import PATIENCE, Running, read, running, talking
from tests.servers import Server, require
from vaurien.events import Failed, ProtocolLost
from vaurien.framing import http2 as h2
from vaurien.framing.http2 import Code, Setting
from vaurien.model import Fault

pytestmark = pytest.mark.server

PATH = b"\x82\x86\x04\x06/hello\x01\x04test"
"""A block: GET, http, a path and an authority; nothing of it goes into a table of HPACK."""

ORDER = {
    "DATA before the head of its stream": h2.data(3, b"x", end=True),
    "DATA behind the end of its stream": h2.data(1, b"x", end=True),
    "HEADERS behind the end of their stream": h2.headers(1, PATH, end=True),
    "a stream below one that was opened": h2.headers(5, PATH, end=True) + h2.headers(3, PATH, end=True),
    "trailers that do not end the stream": h2.headers(3, PATH, end=False) + h2.headers(3, b"\x40\x01a\x01b", end=False),
    "trailers with a pseudo-header": h2.headers(3, PATH, end=False) + h2.headers(3, b"\x82", end=True),
    "a request without a method": h2.headers(3, PATH[1:], end=True),
    "a request with an upper-case name": h2.headers(3, PATH + b"\x40\x01A\x01b", end=True),
    "a request with a connection header": h2.headers(3, PATH + b"\x40\x0aconnection\x05close", end=True),
    "a stream that depends on itself": h2.frame(h2.HEADERS, 0x25, 3, (3).to_bytes(4, "big") + b"\x01" + PATH),
    "RST_STREAM of an idle stream": h2.rst_stream(9, Code.CANCEL),
    "WINDOW_UPDATE of an idle stream": h2.window_update(9, 1),
    "a window above 2^31-1 on the connection": h2.window_update(0, h2.MOST),
    "a window above 2^31-1 on a stream": h2.headers(3, PATH, end=False) + h2.window_update(3, h2.MOST),
    "a window above 2^31-1 by the settings": h2.headers(3, PATH, end=False)
    + h2.window_update(3, h2.MOST - 65_535)
    + h2.settings([(Setting.INITIAL_WINDOW_SIZE, h2.MOST)]),
    "more DATA than the window takes": h2.headers(3, PATH, end=False) + h2.data(3, bytes(16_384), end=False) * 600,
}
"""Frames that are right in themselves, and wrong where they are."""

TO_SERVER = PASSING | BLOCKS | ORDER
POLICIES: dict[str, tuple[Fault, ...]] = {"alone": (), "changed": (fault("http_headers", set=["x-new: 1"]),)}
DONE = h2.frame(h2.PING, 0, 0, b"the rest")
LAST = h2.frame(h2.PING, 0, 0, b"the last")


def said(address: tuple[str, int], bad: bytes) -> list[tuple[str, int, int]]:
    """What the server of *address* says of *bad*, behind a request that it has answered: which streams end, and why."""
    with socket.create_connection(address, PATIENCE) as sock:
        side = Side(sock)
        sock.sendall(h2.PREFACE + h2.settings([]) + h2.headers(1, PATH, end=True))
        frame = side.frame()
        while not (frame.stream == 1 and frame.flags & h2.END_STREAM):
            frame = side.frame()
        heard: list[tuple[str, int, int]] = []
        try:
            sock.sendall(h2.frame(h2.SETTINGS, h2.ACK, 0) + bad + DONE)
            while True:
                frame = side.frame()
                if frame.kind == h2.GOAWAY:
                    last, code = frame.payload[:4], frame.payload[4:8]
                    heard.append(("GOAWAY", int.from_bytes(last, "big"), int.from_bytes(code, "big")))
                elif frame.kind == h2.RST_STREAM:
                    heard.append(("RST_STREAM", frame.stream, int.from_bytes(frame.payload, "big")))
                elif frame.kind == h2.PING and frame.flags & h2.ACK and frame.payload == DONE[9:]:
                    sock.sendall(LAST)  # that answer may have overtaken others
                elif frame.kind == h2.PING and frame.flags & h2.ACK and frame.payload == LAST[9:]:
                    return [*heard, ("goes on", 0, 0)]
        except (AssertionError, ConnectionError):
            return [*heard, ("ends", 0, 0)]


def goes_on(proxy: Running) -> bool:
    """Whether another client has its answer, and nobody waits."""
    return said(proxy.address, b"") == [("goes on", 0, 0)]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("what", TO_SERVER)
def test_the_server_refuses_as_without(nghttpd_server: Server, what: str, policy: str) -> None:
    expected = said(where(nghttpd_server), TO_SERVER[what])
    with running(where(nghttpd_server), "", *POLICIES[policy], protocol="http2") as proxy:
        assert said(proxy.address, TO_SERVER[what]) == expected
        assert goes_on(proxy)
        assert proxy.events.of(ProtocolLost, Failed) == []


@pytest.mark.parametrize("what", BAD)
def test_the_proxy_refuses_what_it_cannot_pass(nghttpd_server: Server, what: str) -> None:
    bad, code = BAD[what]
    if what == "an HPACK bomb":  # which builds on a table: both sides have agreed on none by now
        code = Code.COMPRESSION_ERROR
    bad = bad if what == "a long frame that is not DATA" else _on_stream_3(bad)
    with running(where(nghttpd_server), protocol="http2") as proxy:
        heard = said(proxy.address, bad)
        assert [(kind, number) for kind, _, number in heard] == [("GOAWAY", code), ("ends", 0)]
        assert goes_on(proxy)
        assert len(proxy.events.of(ProtocolLost)) == 1
        assert proxy.events.of(Failed) == []


def _on_stream_3(frames: bytes) -> bytes:
    """*frames* of stream 1 on stream 3, those of 3 on 5."""
    return b"".join(
        h2.frame(kind, flags, stream + 2 if stream else 0, payload)
        for kind, flags, stream, payload in h2.frames(frames)
    )


@pytest.mark.parametrize("faults", [(), (fault("delay", sleep=3600),), (fault("error", code="503"),)], ids=str)
def test_streams_that_are_reset_at_once(nghttpd_server: Server, faults: tuple[Fault, ...]) -> None:
    """CVE-2023-44487. What the backend says to so many, if it hears of them, the client hears."""
    count = 1000
    with running(where(nghttpd_server), "", *faults, protocol="http2") as proxy:
        with socket.create_connection(proxy.address, PATIENCE) as sock:
            side = Side(sock)
            streams = range(1, 2 * count, 2)
            flood = b"".join(h2.headers(one, PATH, end=True) + h2.rst_stream(one, Code.CANCEL) for one in streams)
            sock.sendall(h2.PREFACE + h2.settings([]) + h2.frame(h2.SETTINGS, h2.ACK, 0) + flood + DONE)
            frame = side.frame()
            while frame.kind != h2.PING and frame.kind != h2.GOAWAY:
                frame = side.frame()
            (connection,) = proxy.call(lambda: proxy.proxy.connections)
            assert proxy.call(lambda: connection.waiting) == 0
        proxy.set_policy("")
        assert goes_on(proxy)
        assert proxy.events.of(ProtocolLost, Failed) == []


def answering(bad: bytes) -> contextlib.AbstractContextManager[tuple[str, int]]:
    """A server that says *bad* to the first request of each connection, and then answers it."""

    def serve(sock: socket.socket) -> None:
        with contextlib.suppress(AssertionError):  # the client has left
            side = Side(sock)
            assert read(sock, len(h2.PREFACE)) == h2.PREFACE
            sock.sendall(h2.settings([]))
            while side.frame().kind != h2.HEADERS:
                pass
            answer = h2.headers(1, b"\x88", end=False) + h2.data(1, b"hello", end=True)
            sock.sendall(bad + answer)
            while True:
                side.frame()

    return talking(serve)


def curl(address: tuple[str, int]) -> tuple[int, str, str]:
    command = [require("curl"), "-sS", "--http2-prior-knowledge", "-m", "20", f"http://{address[0]}:{address[1]}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout, done.stderr


PROMISE = h2.frame(h2.PUSH_PROMISE, h2.END_HEADERS, 1, b"\0\0\0\2" + PATH)
TO_CLIENT = PASSING | {
    "HEADERS on the connection": h2.headers(0, b"\x88", end=True),
    "HEADERS on an idle stream": h2.headers(9, b"\x88", end=True),
    "a response without a status": h2.headers(1, b"\x00\x01a\x01b", end=False),
    "a promise that was not asked for": PROMISE,
    "a promise of an odd stream": h2.frame(h2.PUSH_PROMISE, h2.END_HEADERS, 1, b"\0\0\0\3" + PATH),
    "a window above 2^31-1 on a stream": h2.window_update(1, h2.MOST),
    "DATA before the head": h2.data(1, b"x", end=False),
}


@pytest.mark.parametrize("what", TO_CLIENT)
def test_the_client_refuses_as_without(what: str) -> None:
    with answering(TO_CLIENT[what]) as address, running(address, protocol="http2") as proxy:
        assert curl(proxy.address) == curl(address)
        assert proxy.events.of(ProtocolLost, Failed) == []


@pytest.mark.parametrize("what", BAD)
def test_the_proxy_refuses_for_the_client_what_it_cannot_pass(what: str) -> None:
    with answering(BAD[what][0]) as address, running(address, protocol="http2") as proxy:
        code, said_by, _ = curl(proxy.address)
        assert code
        assert said_by == ""
        assert len(proxy.events.wait(ProtocolLost)) == 1
        assert proxy.events.of(Failed) == []
