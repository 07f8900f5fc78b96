"""What is secret about TLS is in no log, event, answer, state file, trace, report, or entry of a fleet.

A key, the passphrase of another one, the key of a client certificate, that of an authority, and a password for another
proxy are planted and used; then everything that the program writes is searched for them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import io
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import nats_server
from tests.fleet_processes import running
from tests.hubs import config as proxy_config
from tests.tls_peers import TlsClient, read_all, server_context, serving
from tests.waiting import PATIENCE, eventually, until
from vaurien import config
from vaurien.cli.ctl import main as ctl
from vaurien.config import Given
from vaurien.control.bodies import flat
from vaurien.fleet.desired import EditScope, edit_scope
from vaurien.fleet.node import Node
from vaurien.fleet.store import MemoryStore, SharedMemory
from vaurien.model import Address
from vaurien.proxies.hub import Hub

authorities = pytest.importorskip("vaurien.tls.authority")

PASSPHRASE, PASSWORD = b"planted-passphrase", b"planted-password"
LOGIN = base64.b64encode(b"somebody:" + PASSWORD)

TOML = """
[vaurien]
seed = "1"

[[proxy]]
name = "web"
listen = "127.0.0.1:0"
backend = "tls://localhost:{backend}?ca={folder}/ca.pem&certificate={folder}/client.pem&key={folder}/client-key.pem"
protocol = "http"
tls = "{folder}/own.pem"
tls_key = "{folder}/locked.pem"
tls_passphrase_file = "{folder}/passphrase.txt"
tls_client_ca = "{folder}/ca.pem"
tls_client_certificate = "optional"

[[proxy.fault]]
behavior = "tls_alert"
alert = "access_denied"
when = "data"
match.sni = "alert.test"

[[proxy]]
name = "auto"
listen = "127.0.0.1:0"
backend = "localhost:{backend}"
tls = "auto"
tls_authority = "{folder}"

[[proxy]]
name = "out"
listen = "127.0.0.1:0"
backend = "forward"
protocol = "http"
upstream_proxy = "127.0.0.1:{upstream}"
"""


def body(pem: bytes, public: bytes = b"") -> list[bytes]:
    """The lines of a key, without those around them, which say what it is, and without what *public* has, too.

    A key is written with its public half, which is in its certificate: there a line of it is the same by chance.
    """
    lines = [line for line in pem.splitlines() if line and not line.startswith(b"-")]
    return [line for line in lines if base64.b64decode(line) not in public]


class Planted:
    """The files in *folder*, and the *secrets* in them."""

    def __init__(self, folder: Path) -> None:
        from cryptography.hazmat.primitives import serialization

        self.folder, self.authority = folder, authorities.Authority.create()
        self.authority.save(folder)
        own, client = self.authority.issue(["localhost", "alert.test"]), self.authority.issue(["client.test"])
        cipher = serialization.BestAvailableEncryption(PASSPHRASE)
        key = serialization.load_pem_private_key(own.key, None)
        locked = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
        for name, content in {
            "own.pem": own.chain,
            "locked.pem": locked,
            "passphrase.txt": PASSPHRASE + b"\n",
            "client.pem": client.chain,
            "client-key.pem": client.key,
        }.items():
            (folder / name).write_bytes(content)
        self.secrets = [PASSPHRASE, PASSWORD, LOGIN, b"PRIVATE KEY", b"_TRAFFIC_SECRET", b"CLIENT_RANDOM"]
        self.secrets += body(locked)
        for pem in (own.key, client.key, (folder / "ca-key.pem").read_bytes()):
            public = serialization.load_pem_private_key(pem, None).public_key()
            lines = body(
                pem, public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            )
            assert lines
            self.secrets += lines

    @property
    def ca(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.folder / "ca.pem")

    def found_in(self, data: bytes) -> list[bytes]:
        return [secret for secret in self.secrets if secret in data]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("planted"))


def answer(stream: Any) -> None:
    """Answer one request of HTTP."""
    stream.recv(65536)
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")


def refuse(stream: Any) -> None:
    """Another proxy, which does not like the password."""
    stream.recv(65536)
    stream.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture(scope="module")
def chaos(planted: Planted) -> Iterator[Path]:
    """A configuration with all of it, and its backends."""
    wants = server_context(planted.authority.issue(["localhost"]), verify_mode=ssl.CERT_REQUIRED)
    wants.load_verify_locations(planted.folder / "ca.pem")
    with serving(wants, answer) as backend, serving(None, refuse) as upstream:
        file = planted.folder / "chaos.toml"
        file.write_text(TOML.format(folder=planted.folder, backend=backend[1], upstream=upstream[1]))
        yield file


def command(*words: object) -> list[str]:
    return [sys.executable, "-c", "import sys; from vaurien.cli.main import main; sys.exit(main())", *map(str, words)]


def output(*words: object) -> bytes:
    done = subprocess.run(command(*words), capture_output=True, timeout=PATIENCE, check=False)
    return done.stdout + done.stderr


def controlled(port: int, *words: str) -> bytes:
    """What vaurienctl says."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        assert ctl.main(["--host", f"http://localhost:{port}", *words]) == 0
    return (out.getvalue() + err.getvalue()).encode()


def got(port: int, path: str) -> bytes:
    with contextlib.closing(http.client.HTTPConnection("localhost", port, timeout=PATIENCE)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()


def streamed(port: int, path: str, enough: bytes) -> bytes:
    """What the stream of events has up to the event *enough*."""
    with socket.create_connection(("localhost", port), PATIENCE) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        data = b""
        while enough not in data:
            data += raw.recv(65536)
        return data


def used(ports: dict[str, int], planted: Planted) -> None:
    """Use all secrets: each proxy passes bytes, or says why it does not."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic " + LOGIN + b"\r\n\r\n"
    with TlsClient(("127.0.0.1", ports["web"]), planted.ca) as client:
        client.sendall(request.replace(b"Proxy-Authorization", b"X-Nothing").replace(LOGIN, b"x"))
        assert read_all(client).endswith(b"hi")
    with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
        with TlsClient(("127.0.0.1", ports["web"]), planted.ca, "alert.test") as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            read_all(client)
    with TlsClient(("127.0.0.1", ports["auto"]), planted.ca), contextlib.suppress(OSError):
        pass
    for asked in (request.replace(b"GET /", b"GET http://db.test/"), request.replace(b"GET /", b"CONNECT db.test:443")):
        with socket.create_connection(("127.0.0.1", ports["out"]), PATIENCE) as raw:
            raw.sendall(asked)
            assert raw.recv(65536).startswith((b"HTTP/1.1 407 ", b"HTTP/1.1 502 "))


def test_no_secret_is_written_anywhere(planted: Planted, chaos: Path, tmp_path: Path) -> None:
    log, trace, state = tmp_path / "log", tmp_path / "trace", tmp_path / "state.json"
    written: dict[str, bytes] = {}
    words = ["--config", chaos, "--http", "--http-port", "0", "--log-level", "debug", "--log-output", log]
    process = subprocess.Popen(
        command(*words, "--trace", trace, "--state", state), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        try:
            assert process.stdout is not None
            said = b""
            while b"HTTP interface at" not in said:
                line = process.stdout.readline()
                assert line, process.stderr.read()  # type: ignore[union-attr]
                said += line
            port = int(re.search(rb"HTTP interface at \S+:(\d+)", said)[1])  # type: ignore[index]
            listening = re.findall(rb"vaurien \S+: 127.0.0.1:(\d+)", said)
            used(dict(zip(("web", "auto", "out"), map(int, listening), strict=True)), planted)
            changed = http.client.HTTPConnection("localhost", port, timeout=PATIENCE)
            changed.request("PATCH", "/api/v1/proxies/web", b'{"tls_min_version": "1.3"}')
            assert changed.getresponse().status == 200
            changed.close()
            written |= {
                path: got(port, path)
                for path in (
                    "/api/v1/config",
                    "/api/v1/proxies",
                    "/api/v1/proxies/web",
                    "/api/v1/proxies/web/connections",
                    "/api/v1/proxies/web/faults",
                    "/api/v1/process",
                    "/proxies",
                    "/metrics",
                    "/openapi.json",
                )
            }
            written["events"] = streamed(port, "/api/v1/events?since=0", b"Closed")
            for line in (["config"], ["list"], ["list", "--json"], ["inspect", "web"], ["inspect", "web", "--json"]):
                written[" ".join(line)] = controlled(port, *line)
            for line in (["connections", "web"], ["connections", "web", "--json"], ["why", "web"]):
                written[" ".join(line)] = controlled(port, *line)
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=PATIENCE)
    written |= {"said": said + out + err, "log": log.read_bytes(), "trace": trace.read_bytes()}
    written["state"] = state.read_bytes()
    written["--show-config"] = output("--config", chaos, "--show-config")
    reports = [tmp_path / f"report.{kind}" for kind in ("json", "md", "xml", "html")]
    asked = [word for report in reports for word in ("--report", report)]
    written["run"] = output("run", chaos, *asked, "--", sys.executable, "-c", "")
    written |= {report.suffix: report.read_bytes() for report in reports}
    assert {name: found for name, data in written.items() if (found := planted.found_in(data))} == {}
    for name in ("/api/v1/config", "config", "state", "--show-config", "log", "events"):
        assert bytes(planted.folder) in written[name], f"{name} names no file, so it may not have been looked at"


def test_no_secret_is_in_what_a_fleet_keeps(planted: Planted, chaos: Path) -> None:
    [web, *_] = config.load({}, {}, Given(str(chaos), "--config")).proxies

    async def whole() -> list[bytes]:
        shared, hub = SharedMemory(), Hub()
        hub.tls_files.allow(["/*"])
        await hub.create(proxy_config("own"))
        node = Node(MemoryStore(shared), hub, "a", {})
        await node.start(required=True)
        try:
            edit_scope.set(EditScope(None, ""))
            await node.refresh()
            await node.desired.create(web)
            await eventually(lambda: "web" in hub.proxies)
            return [*(one.value for one in shared.entries.values()), *shared.records]
        finally:
            await node.stop()
            await hub.stop()

    kept = asyncio.run(whole())
    assert any(bytes(planted.folder) in value for value in kept)
    assert [found for value in kept if (found := planted.found_in(value))] == []


@pytest.mark.server
def test_no_secret_is_in_what_a_node_and_its_nats_server_write(
    planted: Planted, chaos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password of the store is one more; the server's files are looked at as they are on the disk."""
    [web, *_] = config.load({}, {}, Given(str(chaos), "--config")).proxies
    server = nats_server.NatsServer(tmp_path / "js", more=["--user", "somebody", "--pass", PASSWORD.decode()])
    server.start()
    monkeypatch.setenv("LOG_LEVEL", "debug")
    written: dict[str, bytes] = {}
    try:
        url = f"nats://somebody:{PASSWORD.decode()}@127.0.0.1:{server.port}"
        with running(url, "a", arguments={"a": ["--allow-tls-file", "/*"]}) as [node]:
            sent = msgspec.json.decode(msgspec.json.encode(flat(web), enc_hook=str))
            node.fleet().create_proxy(**sent)
            until(lambda: node.client.list_proxies())
            [shown] = node.client.list_proxies()
            with TlsClient(("127.0.0.1", Address.parse(shown["address"]).port), planted.ca) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_all(client).endswith(b"hi")
            for path in ("config", "config?scope=fleet", "proxies", "proxies?scope=fleet", "fleet", "process"):
                written[path] = got(node.port, f"/api/v1/{path}")
            written["events"] = streamed(node.port, "/api/v1/events?since=0", b"Closed")
            written["said"] = node.stop().encode()
    finally:
        server.stop()
    files = [one for one in (tmp_path / "js").rglob("*") if one.is_file()]
    written |= {str(one.relative_to(tmp_path)): one.read_bytes() for one in files}
    written["server"] = (tmp_path / "js.log").read_bytes()
    assert {name: found for name, data in written.items() if (found := planted.found_in(data))} == {}
    named = {name for name, data in written.items() if bytes(planted.folder) in data}
    assert {"config", "config?scope=fleet", "proxies", "events", "said"} <= named
    assert any(name.startswith("js/") for name in named), "the server keeps it in other files"


def test_a_secret_that_is_written_is_found(planted: Planted) -> None:
    """The search itself: in each file that holds one."""
    for name in ("locked.pem", "client-key.pem", "ca-key.pem", "passphrase.txt"):
        assert planted.found_in((planted.folder / name).read_bytes()), name
    assert not planted.found_in((planted.folder / "own.pem").read_bytes())
