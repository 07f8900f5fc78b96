"""WebSockets through a proxy, by real clients (websockets, Node) and a real server: what they show of each fault."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading

import pytest

import vaurien
from tests.running import PATIENCE, until
from vaurien.events import ProtocolLost

server = pytest.importorskip("websockets.sync.server")
client = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")
pytestmark = pytest.mark.server


class Backend:
    """An echo; *got* is what it has read, *codes* how its connections were closed."""

    def __init__(self):
        self.got, self.codes = [], []

    def __call__(self, one):
        with contextlib.suppress(exceptions.ConnectionClosed):
            for message in one:
                self.got.append(message)
                one.send(message)
        self.codes.append(one.protocol.close_code)


@pytest.fixture
def backend():
    handler = Backend()
    with server.serve(handler, "127.0.0.1", 0, close_timeout=0.1, max_size=None) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        handler.address = made.socket.getsockname()
        yield handler
        made.shutdown()
        thread.join(PATIENCE)


@pytest.fixture
def proxy(backend):
    with vaurien.Proxy(backend.address, protocol="http") as proxy:
        yield proxy


def connected(proxy, **options):
    return client.connect(proxy.url("ws"), close_timeout=0.1, open_timeout=PATIENCE, max_size=None, **options)


def talk(proxy, *messages, expected=None):
    """Send *messages*, and read as many answers as are *expected*."""
    with connected(proxy) as one:
        for message in messages:
            one.send(message)
        return [one.recv(timeout=PATIENCE) for _ in range(len(messages) if expected is None else expected)]


def test_nothing_changes_without_a_fault(proxy):
    messages = ["a", "é" * 40_000, b"", bytes(3_000_000)]
    assert talk(proxy, *messages) == messages
    with connected(proxy) as one:
        assert one.response.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
        assert one.ping().wait(PATIENCE)


def test_each_message_is_an_exchange(proxy):
    with proxy.fault("delay", sleep=0.001, match={"opcode": "text", "direction": "upstream"}):
        assert talk(proxy, "a", b"b", "c") == ["a", b"b", "c"]
        assert proxy.expect("delay").exchanges_hit == 2


@pytest.mark.parametrize(
    ("fault", "answers"),
    [
        ("ws_drop match.text=b", ["a", "c", "d"]),
        ("ws_drop match.text=regex:[bc] match.direction=downstream", ["a", "d"]),
        ("ws_drop match.number=2 match.direction=downstream", ["a", "c", "d"]),
        ("ws_drop match.number=regex:[13] match.direction=upstream", ["b", "d"]),
        ("ws_duplicate match.text=b match.direction=upstream", ["a", "b", "b", "c", "d"]),
        ("ws_duplicate match.text=b match.direction=downstream", ["a", "b", "b", "c", "d"]),
        ("ws_reorder match.direction=upstream", ["b", "a", "d", "c"]),
        ("ws_reorder match.direction=downstream", ["b", "a", "d", "c"]),
    ],
)
def test_messages_are_lost_doubled_and_swapped(proxy, fault, answers):
    with proxy.fault(f"{fault} name=f"):
        with connected(proxy) as one:
            assert "Sec-WebSocket-Extensions" not in one.response.headers
        assert talk(proxy, *"abcd", expected=len(answers)) == answers
        proxy.expect("f")


def test_messages_in_pieces_say_the_same(proxy):
    with proxy.fault("ws_fragment", size=1), connected(proxy) as one:
        assert "Sec-WebSocket-Extensions" in one.response.headers
        one.send("héllo")
        assert one.recv(timeout=PATIENCE) == "héllo"
        one.send(bytes(20_000))
        assert one.recv(timeout=PATIENCE) == bytes(20_000)
        assert proxy.expect("ws_fragment") >= 3
    with proxy.fault("ws_fragment", size=2), client.connect(proxy.url("ws"), compression=None) as one:
        one.send("héllo")
        assert list(one.recv_streaming()) == ["h", "él", "lo"]


def test_compressed_messages_of_before_are_left_whole(proxy):
    with connected(proxy) as one:
        one.send("first")
        assert one.recv(timeout=PATIENCE) == "first"
        with proxy.fault("ws_drop"):
            one.send("second")
            assert one.recv(timeout=PATIENCE) == "second"
            assert proxy.hits("ws_drop") == 0


@pytest.mark.parametrize(
    ("fault", "shown", "backend_codes"),
    [
        ("ws_close code=1013 reason=busy", "received 1013 .* busy", {1006, 1013}),
        ("ws_close code=1001 side=backend", "no close frame received", {1001}),
        ("ws_close side=both", "received 1011", {1011}),
        ("ws_cut", "no close frame received", {1006}),
        ("ws_cut how=rst", "no close frame received", {1006}),
        ("ws_corrupt how=utf8 match.direction=downstream", "sent 1007 .* invalid start byte", {1007}),
        ("ws_corrupt how=utf8 match.direction=upstream", "received 1007 .* invalid start byte", {1006, 1007}),
        ("ws_corrupt how=mask match.direction=downstream", "sent 1002 .* incorrect masking", {1002}),
        ("ws_corrupt how=mask match.direction=upstream", "received 1002 .* incorrect masking", {1006, 1002}),
        ("ws_corrupt how=reserved match.direction=upstream", "received 1002 .* reserved bits", {1006, 1002}),
        ("ws_corrupt how=control match.direction=downstream", "sent 1002 .* control frame too long", {1002}),
        ("error code=503", "received 1011 .* Service Unavailable", {1006, 1011}),
    ],
)
def test_connections_end_with_their_code(proxy, backend, fault, shown, backend_codes):
    with proxy.fault(f"{fault} match.opcode=text name=f"), connected(proxy) as one:
        one.send("hello")
        with pytest.raises(exceptions.ConnectionClosed, match=shown):
            one.recv(timeout=PATIENCE)
        proxy.expect("f")
    until(lambda: backend.codes)
    assert {*backend.codes} <= backend_codes


def test_a_lost_pong(proxy):
    with proxy.fault("ws_ping", match={"direction": "downstream"}), connected(proxy) as one:
        assert not one.ping().wait(0.1)
        proxy.wait_for_hits("ws_ping", timeout=PATIENCE)
        one.send("still there")
        assert one.recv(timeout=PATIENCE) == "still there"
    with proxy.fault("ws_ping"), pytest.raises(exceptions.ConnectionClosedError, match="keepalive ping timeout"):
        with connected(proxy, ping_interval=0.05, ping_timeout=0.05) as one:
            one.recv(timeout=PATIENCE)


def test_the_upgrade_is_refused(proxy):
    with proxy.fault("ws_refuse", status=503, retry_after=6.2):
        with pytest.raises(exceptions.InvalidStatus) as caught:
            connected(proxy)
        assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (503, "7")
        proxy.expect("ws_refuse")
    with proxy.fault("ws_refuse", wrong_key=True):
        with pytest.raises(exceptions.InvalidHandshake, match="Sec-WebSocket-Accept"):
            connected(proxy)


def test_a_hang_holds_its_direction(proxy):
    with connected(proxy) as one:
        with proxy.fault("hang", match={"text": "stuck"}):
            pass
        with proxy.fault("delay", sleep="1h", match={"opcode": "text", "direction": "upstream"}):
            one.send("stuck")
            proxy.wait_for_hits("delay", timeout=PATIENCE)
        assert one.recv(timeout=PATIENCE) == "stuck"


def test_a_share_of_the_messages(proxy):
    with proxy.mix("50:ws_drop"):
        with connected(proxy) as one:
            for number in range(60):
                one.send(str(number))
            one.send(b"")
            until(lambda: proxy.hits("ws_drop") > 5)
        assert 0 < proxy.hits("ws_drop") < 100


def masked(first, payload=b"", length=None):
    """A frame of a client, whose length may be wrong."""
    return bytes([first]) + (bytes([0x80 | len(payload)]) if length is None else length) + b"\0\0\0\0" + payload


LONG = b"\xff"
FORBIDDEN = {
    "a reserved bit": (masked(0xA1), "a WebSocket frame with a reserved bit: 0xa1"),
    "an opcode without a name": (masked(0x83), "a WebSocket frame with the reserved opcode 3"),
    "no mask": (b"\x81\x01a", "a WebSocket frame without a mask"),
    "a ping in two pieces": (masked(0x09), "a control frame of WebSocket that is too long, or in pieces"),
    "a ping of 126 bytes": (
        masked(0x89, bytes(126), b"\xfe\0\x7e"),
        "a control frame of WebSocket that is too long, or in pieces",
    ),
    "a piece of nothing": (masked(0x80, b"x"), "a WebSocket frame with opcode 0 in the wrong place"),
    "a message inside another": (
        masked(0x01, b"x") + masked(0x81, b"y"),
        "a WebSocket frame with opcode 1 in the wrong place",
    ),
    "2^63 bytes": (
        masked(0x82, b"x", LONG + b"\x80" + bytes(7)),
        "a WebSocket frame of 9223372036854775808 bytes; at most 2^63-1 are allowed",
    ),
    "no UTF-8": (masked(0x81, b"\xff\xfe"), None),
    "half a character": (masked(0x81, b"\xc3"), None),
    "a close of 1 byte": (masked(0x88, b"x"), None),
    "a close with a code that is none": (masked(0x88, b"\x03\xe7"), None),
    "a close whose reason is no UTF-8": (masked(0x88, b"\x03\xe8\xff"), None),
}


def answer_to(address, frames):
    """What a server says to *frames*, up to its end."""
    with socket.create_connection(address, timeout=PATIENCE) as raw:
        raw.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += raw.recv(65536)
        raw.sendall(frames)
        if frames == FORBIDDEN["2^63 bytes"][0]:  # of which this server waits for the rest
            raw.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: raw.recv(65536), b""))


@pytest.mark.parametrize("faults", [(), ("ws_drop match.text=never",), ("ws_fragment size=100",)], ids=str)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_frames_that_are_forbidden_are_refused_as_without(backend, what, faults):
    frames, reason = FORBIDDEN[what]
    with vaurien.Proxy(backend.address, protocol="http", faults=faults) as proxy:
        answer = answer_to((proxy.host, proxy.port), frames)
        assert answer[:1] == b"\x88" or what == "2^63 bytes", "a close, with its code"
        assert answer == answer_to(backend.address, frames)
        lost = [event.reason for event in proxy.events if isinstance(event, ProtocolLost)]
        assert lost == ([] if reason is None else [reason])
        assert talk(proxy, "another") == ["another"]


NODE = """
const socket = new WebSocket(process.argv[1]);
const got = [];
let code = null;
process.on("exit", () => console.log(JSON.stringify([got, code])));
socket.onopen = () => { for (const text of "abc") socket.send(text); };
socket.onmessage = (event) => { got.push(event.data); if (got.length == 3) socket.close(); };
socket.onclose = (event) => { code = event.code; };
socket.onerror = () => {};
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize(
    ("fault", "got", "code"),
    [
        ("noop", ["a", "b", "c"], [1000, 1005]),
        ("ws_reorder match.direction=upstream", None, None),
        ("ws_fragment size=1", ["a", "b", "c"], [1000, 1005]),
        ("ws_close code=1013 match.text=b", None, [1013]),
        ("ws_cut match.text=b", None, [1006]),
        ("ws_refuse", [], [None, 1006]),
        ("ws_corrupt how=utf8 match.direction=downstream", [], [1007, 1006]),
    ],
)
def test_nodes_own_client(proxy, fault, got, code):
    with proxy.fault(f"{fault} name=f"):
        command = ["node", "--experimental-websocket", "-e", NODE, proxy.url("ws")]
        if fault.startswith("ws_reorder"):  # the last one waits for another
            command[3] = NODE.replace('"abc"', '"abcd"').replace("== 3", "== 4")
            got, code = ["b", "a", "d", "c"], [1000, 1005]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        found, closed = json.loads(done.stdout)
        assert closed in code
        if got is not None:
            assert found == got
