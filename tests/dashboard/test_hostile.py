"""What clients and backends say, in each protocol, is text on the screens and in the report of a run, never markup."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import socket
import ssl
import subprocess
import sys
import urllib.request
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests import tls_peers
from tests.cli.programs import PROGRAM
from tests.running import read
from tests.waiting import PATIENCE, until
from vaurien.framing import http2 as h2
from vaurien.protocols.http2.blocks import encode

EVIL = b'<img/src=x/onerror="window.hit=1"><script>window.hit=1</script>\xe2\x80\xae'
EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
ACCEPT = b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n"
SWITCHED = b"HTTP/1.1 101 %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s\r\n" % (EVIL, ACCEPT)
UPGRADE = (
    b"GET /%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % EVIL
)


def sized(count: int, data: bytes, order: str = "big") -> bytes:
    """*data* behind its length, in *count* bytes."""
    return len(data).to_bytes(count, order) + data


def client_hello(name: bytes, protocol: bytes) -> bytes:
    """A ClientHello for the server *name*, and ALPN for *protocol* (RFC 8446, section 4.1.2)."""
    names = b"\0\0" + sized(2, sized(2, b"\0" + sized(2, name)))
    alpn = b"\0\x10" + sized(2, sized(2, sized(1, protocol)))
    versions = b"\0\x2b" + sized(2, sized(1, b"\x03\x04"))
    hello = b"\x03\x03" + bytes(32) + b"\0" + sized(2, b"\x13\x01") + b"\x01\0" + sized(2, names + alpn + versions)
    return b"\x16\x03\x01" + sized(2, b"\x01" + sized(3, hello))


def web_socket(opcode: int, data: bytes, *, masked: bool) -> bytes:
    """A frame of RFC 6455, section 5.2; the mask is four zeros."""
    return bytes([0x80 | opcode, (0x80 if masked else 0) | len(data)]) + (bytes(4) if masked else b"") + data


def mysql(number: int, data: bytes) -> bytes:
    return len(data).to_bytes(3, "little") + bytes([number]) + data


def postgres(kind: bytes, data: bytes) -> bytes:
    return kind + (len(data) + 4).to_bytes(4) + data


def called(path: bytes, *fields: tuple[bytes, bytes]) -> bytes:
    """A call by HTTP/2."""
    head = encode([(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", EVIL), *fields])
    return h2.PREFACE + h2.settings([]) + h2.headers(1, head, end=True)


class Attack(NamedTuple):
    """What a client and a backend say in turn, the backend first: an empty text is a turn in which it is silent."""

    protocol: str
    turns: tuple[bytes, ...]
    match: str
    """A field that is quoted by the reason why a fault has not hit."""
    behavior: str = "delay"


GREETING = mysql(
    0, b"\n" + EVIL + b"\0" + bytes(4) + b"x" * 8 + b"\0\0\x02\x21\0\0\0\0\0" + b"\x15" + bytes(10) + b"x" * 12 + b"\0"
)
LOGIN = mysql(1, b"\0\x82\0\0" + bytes(4) + b"\x21" + bytes(23) + EVIL + b"\0\0")
GRPC_ENDS = encode([(b":status", b"200"), (b"content-type", EVIL), (b"grpc-status", b"2"), (b"grpc-message", EVIL)])
ATTACKS = {
    "http": Attack(
        "http",
        (
            b"",
            b"GET /%s?q=%s HTTP/1.1\r\nHost: %s\r\nX-A: %s\r\n\r\n".replace(b"%s", EVIL),
            b"HTTP/1.1 500 %s\r\nServer: %s\r\nContent-Length: 0\r\n\r\n".replace(b"%s", EVIL),
        ),
        "path",
    ),
    "http method": Attack("http", (b"", b"%s / HTTP/1.1\r\n\r\n" % EVIL), "method"),
    "http answer": Attack("http", (b"", b"GET / HTTP/1.1\r\n\r\n", EVIL + b"\r\n\r\n"), "header.x-a"),
    "events": Attack(
        "http",
        (
            b"",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            EVENT_STREAM + b"event: %s\nid: %s\ndata: %s\n\n".replace(b"%s", EVIL),
        ),
        "header.x-a",
    ),
    "websocket": Attack(
        "http",
        (b"", UPGRADE, SWITCHED, web_socket(1, EVIL, masked=True), web_socket(8, b"\x03\xe8" + EVIL, masked=False)),
        "text",
        "ws_drop",
    ),
    "grpc": Attack(
        "grpc",
        (
            h2.settings([]),
            called(b"/%s/%s" % (EVIL, EVIL), (b"content-type", b"application/grpc"), (b"x-a", EVIL)),
            h2.headers(1, GRPC_ENDS, end=True),
        ),
        "service",
    ),
    "http2": Attack(
        "http2",
        (h2.settings([]), called(b"/" + EVIL), h2.headers(1, encode([(b":status", b"500"), (b"x", EVIL)]), end=True)),
        "path",
    ),
    "redis": Attack(
        "redis", (b"", b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(EVIL), EVIL), b"-ERR %s\r\n" % EVIL), "key"
    ),
    "redis command": Attack(
        "redis", (b"", b"*1\r\n$%d\r\n%s\r\n" % (len(EVIL), EVIL), b"-ERR %s\r\n" % EVIL), "command"
    ),
    "memcache": Attack("memcache", (b"", b"get %s\r\n" % EVIL, b"SERVER_ERROR %s\r\n" % EVIL), "key"),
    "smtp": Attack("smtp", (b"220 %s\r\n" % EVIL, b"MAIL FROM:<%s>\r\n" % EVIL, b"500 %s\r\n" % EVIL), "address"),
    "postgres": Attack(
        "postgres",
        (
            b"",
            postgres(b"", b"\0\x03\0\0user\0" + EVIL + b"\0\0"),
            postgres(b"R", bytes(4)) + postgres(b"Z", b"I"),
            postgres(b"Q", b"SELECT '%s'\0" % EVIL),
            postgres(b"E", b"SERROR\0C42601\0M%s\0\0" % EVIL) + postgres(b"Z", b"I"),
        ),
        "query",
    ),
    "mysql": Attack(
        "mysql",
        (
            GREETING,
            LOGIN,
            mysql(2, b"\0\0\0\x02\0\0\0"),
            mysql(0, b"\x03" + b"SELECT '%s'" % EVIL),
            mysql(1, b"\xff\x28\x04#42000" + EVIL),
        ),
        "query",
    ),
    "server name": Attack("tcp", (b"", client_hello(EVIL, EVIL)), "sni"),
    "application protocol": Attack("tcp", (b"", client_hello(b"localhost", EVIL)), "alpn"),
    "forward": Attack("http", (b"", b"CONNECT %s:443 HTTP/1.1\r\n\r\n" % EVIL), "path"),
}


def play(attack: Attack, address: str, listener: socket.socket) -> None:
    """Have a client say at *address*, and the backend of *listener* answer, what *attack* has."""
    host, port = address.split(":")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection((host, int(port)), PATIENCE))
        if not attack.turns[0]:
            client.sendall(attack.turns[1])  # some are dialled for only then
        backend = stack.enter_context(listener.accept()[0])
        backend.settimeout(PATIENCE)
        for number, text in enumerate(attack.turns):
            if number % 2 == 0:
                backend.sendall(text)
                read(client, len(text))
                continue
            if number > 1 or attack.turns[0]:
                client.sendall(text)
            backend.recv(65536)


NO_EXCHANGE = {"http method", "http answer", "events", "server name", "application protocol"}
"""Attacks of which the list of exchanges has nothing."""

NOT_QUOTED = {"http method", "http answer", "events", "forward"}
"""And those of which no reason for a fault without a hit has anything."""


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE)
        yield listening


def harmless(page) -> None:
    """Assert that no text has become an element, was run, or turns round what follows it."""
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0
    assert "\u202e" not in page.locator("main").inner_text()


def test_what_the_network_says_is_text_on_the_screens(new_tab, daemon, listener):
    backend = f"127.0.0.1:{listener.getsockname()[1]}"
    tab, events = new_tab(daemon.origin), new_tab(daemon.origin).open("#/events")
    for name, attack in ATTACKS.items():
        fault = {"behavior": attack.behavior, "name": "it", "match": {attack.match: "none"}}
        address = daemon.proxy(name, backend, protocol=attack.protocol, faults=[fault])["address"]
        page = tab.open(f"#/proxy/{quote(name)}")
        page.get_by_role("heading", name=name, exact=True).wait_for()
        page.get_by_text("has each listed here as it ends").wait_for()
        play(attack, address, listener)
        events.get_by_role("row").filter(has_text="Closed").filter(has_text=name).first.wait_for()
        if name not in NO_EXCHANGE:
            row = page.get_by_role("row").filter(has_text=re.compile("onerror", re.IGNORECASE))
            until(lambda row=row, attack=attack, address=address: row.count() or play(attack, address, listener))
        for one in (page, events):
            harmless(one)


def test_what_a_certificate_is_called_is_text_too(new_tab, daemon, tmp_path):
    x509 = pytest.importorskip("cryptography.x509", reason="the extra tls is not installed")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, EVIL.decode()[:60])])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(1))
    named = x509.SubjectAlternativeName([x509.DNSName(EVIL.decode("ascii", "ignore"))])
    form = serialization.Encoding.PEM
    secret = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    whole = made.add_extension(named, critical=False).sign(key, hashes.SHA256()).public_bytes(form)
    (tmp_path / "it.pem").write_bytes(secret + whole)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "it.pem")
    with tls_peers.serving(context, tls_peers.echo) as (host, port):
        listens = daemon.proxy("web", f"tls://{host}:{port}")["address"].split(":")
        page = new_tab(daemon.origin).open("#/events")
        with contextlib.suppress(OSError), socket.create_connection((listens[0], int(listens[1])), PATIENCE) as client:
            client.recv(1)
        page.get_by_role("row").filter(has_text="Failed").filter(has_text="certificate").first.wait_for()
        harmless(page)


PROXY = """
[[proxy]]
name = "{name}"
listen = "127.0.0.1:0"
backend = "127.0.0.1:{port}"
protocol = "{protocol}"
fault = ["{behavior} match.{match}=none"]
"""


def test_what_the_network_says_is_text_in_a_report(new_tab, tmp_path):
    """A fault that has not hit says what there was instead."""
    end = tmp_path / "end"
    with contextlib.ExitStack() as stack:
        listeners = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in ATTACKS}
        text = '[vaurien]\napi = "127.0.0.1:0"\n'
        for name, attack in ATTACKS.items():
            listeners[name].settimeout(PATIENCE)
            port = listeners[name].getsockname()[1]
            text += PROXY.format(name=name, port=port, **attack._asdict())
        (tmp_path / "run.toml").write_text(text)
        waiting = f"import os, time\nwhile not os.path.exists({str(end)!r}): time.sleep(0.05)"
        command = [*PROGRAM, "run", "run.toml", "--report", "out.html", "--", sys.executable, "-c", waiting]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        try:
            told = (re.search(r"interface at (http://\S+)", line) for line in process.stderr)
            origin = next(match[1] for match in told if match)
            with urllib.request.urlopen(f"{origin}/api/v1/proxies", timeout=PATIENCE) as answer:
                addresses = {one["name"]: one["address"] for one in json.load(answer)["proxies"]}
            for name, attack in ATTACKS.items():
                play(attack, addresses[name], listeners[name])
        finally:
            end.touch()
            process.communicate(timeout=PATIENCE)
    page = new_tab(f"file://{tmp_path}").open("out.html")
    page.get_by_role("heading", name="Vaurien's report").wait_for()
    harmless(page)
    for name in ATTACKS:
        section = page.locator("section").filter(has=page.get_by_role("heading", name=name, exact=True))
        why = section.get_by_role("table", name="Faults", exact=True).inner_text().lower()
        assert ("onerror" in why) == (name not in NOT_QUOTED), why
