"""Clients as users have them, through TLS that the proxy opens: a fifth of their requests fails, and no other."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

import vaurien
from tests.tls_peers import TlsClient, read_all, serving
from tests.waiting import PATIENCE, until
from vaurien.events import Failed
from vaurien.tls.authority import Authority

COUNT = 20
FAULT = "http_status status=503 probability=0.2 scope=exchange"

pytestmark = pytest.mark.server


def program(name):
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def output(*command, **settings):
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=PATIENCE, check=True, **settings
    ).stdout


@pytest.fixture(params=["to plain", "to TLS"])
def https(request, nginx_server, nginx_tls_server, tls_ca):
    """A proxy with TLS to its clients, before nginx."""
    backend = nginx_server.address
    if request.param == "to TLS":
        backend = f"https://localhost:{nginx_tls_server.port}?ca={tls_ca}"
    with vaurien.Proxy(backend, protocol="http", tls="auto", faults=FAULT, seed=4) as proxy:
        yield proxy
        assert not [event for event in proxy.events if isinstance(event, Failed)]


def url(proxy):
    return f"https://localhost:{proxy.port}/hello"


def check(proxy, statuses):
    assert len(statuses) == COUNT
    assert set(statuses) == {200, 503}
    assert statuses.count(503) == proxy.hits("http_status")


def test_curl(https):
    command = [program("curl"), "-sS", "--cacert", https.ca_file, "-w", "%{http_code}\n", *["-o", "/dev/null"] * COUNT]
    check(https, [int(line) for line in output(*command, *[url(https)] * COUNT).split()])


def test_httpx(https):
    httpx = pytest.importorskip("httpx")
    with httpx.Client(verify=https.ssl_context(), trust_env=False) as client:
        check(https, [client.get(url(https)).status_code for _ in range(COUNT)])


def test_requests(https):
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.trust_env = False
        check(https, [session.get(url(https), verify=https.ca_file).status_code for _ in range(COUNT)])


def test_aiohttp(https):
    aiohttp = pytest.importorskip("aiohttp")

    async def run():
        async with aiohttp.ClientSession() as session:
            statuses = []
            for _ in range(COUNT):
                async with session.get(url(https), ssl=https.ssl_context()) as response:
                    await response.read()
                    statuses.append(response.status)
            return statuses

    check(https, asyncio.run(run()))


NODE = """
const https = require("https");
const agent = new https.Agent({keepAlive: true});
const get = () => new Promise((done, failed) => https.get(process.argv[1], {agent}, (response) => {
    response.resume();
    response.on("end", () => done(response.statusCode));
}).on("error", failed));
(async () => {
    for (let i = 0; i < Number(process.argv[2]); i++) console.log(await get());
    agent.destroy();
})();
"""


def test_node(https):
    trust = {"NODE_EXTRA_CA_CERTS": str(https.ca_file)}
    check(https, [int(line) for line in output(program("node"), "-e", NODE, url(https), COUNT, env=trust).split()])


JAVA = """
import java.net.URI;
import java.net.http.*;

class Get {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        for (int i = 0; i < Integer.parseInt(arguments[1]); i++)
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
    }
}
"""


@pytest.mark.slow
def test_java(https, tmp_path):
    java, keytool = program("java"), program("keytool")
    program("javac")  # a source is compiled before it runs
    source, store = tmp_path / "Get.java", tmp_path / "trust.p12"
    source.write_text(JAVA)
    trust = ["-alias", "vaurien", "-file", https.ca_file, "-keystore", store, "-storepass", "changeit"]
    output(keytool, "-importcert", "-noprompt", *trust)
    settings = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    check(https, [int(line) for line in output(java, *settings, source, url(https), COUNT).split()])


def test_openssl(https):
    where = ["-connect", f"{https.host}:{https.port}", "-servername", "localhost", "-CAfile", https.ca_file]
    request = "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    said = output(program("openssl"), "s_client", *where, "-verify_return_error", "-quiet", input=request)
    assert said.startswith(("HTTP/1.1 200 OK", "HTTP/1.1 503"))


@pytest.mark.parametrize("backend_tls", [False, True], ids=["to plain", "to TLS"])
def test_redis(redis_server, redis_tls_server, tls_ca, backend_tls):
    redis = pytest.importorskip("redis")
    backend = f"tls://localhost:{redis_tls_server.port}?ca={tls_ca}" if backend_tls else redis_server.address
    with vaurien.Proxy(backend, protocol="redis", tls="auto", mix="20:error", seed=4) as proxy:
        failed = 0
        with redis.Redis.from_url(
            f"rediss://localhost:{proxy.port}", ssl_ca_certs=str(proxy.ca_file), retry=None, protocol=2
        ) as client:
            for number in range(60):
                try:
                    client.set("n", number)
                except redis.RedisError:
                    failed += 1
        assert 0 < failed <= proxy.hits("error")
        assert not [event for event in proxy.events if isinstance(event, Failed)]


# What is left behind, and what is kept in memory.


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_handshakes_leave_nothing_behind(count):
    """Also those that fail, and those whose client goes away in the middle."""
    with serving(None, lambda stream: stream.sendall(stream.recv(10))) as address:
        with vaurien.Proxy(address, tls="auto") as proxy:
            where, context = (proxy.host, proxy.port), proxy.ssl_context()
            hello = ssl.MemoryBIO()
            with contextlib.suppress(ssl.SSLWantReadError):
                context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
            beginning, untrusting = hello.read(), ssl.create_default_context()
            open_before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
            for number in range(count):
                match number % 3:
                    case 0:
                        with TlsClient(where, context) as client:
                            client.sendall(b"x")
                            assert client.recv(1) == b"x"
                    case 1:
                        with socket.create_connection(where, PATIENCE) as raw:
                            raw.sendall(beginning)
                            assert raw.recv(1) == b"\x16"
                    case _:
                        with contextlib.suppress(OSError), TlsClient(where, untrusting):
                            pass
            until(lambda: proxy.accepted == count and not proxy.connections)
            if open_before:
                until(lambda: len(os.listdir("/proc/self/fd")) == open_before)


@pytest.mark.slow
def test_a_gibibyte_arrives_through_tls_on_both_sides(nginx_tls_server, tls_ca):
    curl, digest, received = program("curl"), hashlib.sha256(), hashlib.sha256()
    source = nginx_tls_server.folder / "www" / "1GiB"
    with open(source, "wb") as file:
        for _ in range(2**30 // 2**24):
            part = os.urandom(2**16) * 2**8
            file.write(part)
            digest.update(part)
    try:
        with vaurien.Proxy(f"https://localhost:{nginx_tls_server.port}?ca={tls_ca}", tls="auto") as proxy:
            command = [curl, "-sSf", "--cacert", str(proxy.ca_file), f"https://localhost:{proxy.port}/1GiB"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
                while chunk := running.stdout.read(1 << 20):
                    received.update(chunk)
            assert running.returncode == 0
            proxy.wait_for_connections(0)
    finally:
        source.unlink()
    assert received.hexdigest() == digest.hexdigest()


def test_a_client_that_does_not_read_stops_the_backend():
    """What the proxy holds is bounded, whatever the backend has to say."""
    sent = []

    def talk(stream):
        stream.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while sum(sent) < 256 * 2**20:
                sent.append(stream.send(bytes(1 << 20)))

    with serving(None, talk) as address, vaurien.Proxy(address, tls="auto") as proxy:
        with TlsClient((proxy.host, proxy.port), proxy.ssl_context()) as client:
            before = -1
            while sum(sent) != before or not sent:  # until it is stuck for the second of its time-out
                before = sum(sent)
                done = threading.Event()
                done.wait(1.5)
            assert sum(sent) < 64 * 2**20
            [info] = proxy.connections
            assert info.waiting < 2 * 2**20
            received = 0
            while data := client.recv(1 << 16):
                received += len(data)
            assert received == sum(sent)


def test_the_files_of_the_authority_are_enough(tmp_path, nginx_server):
    """What `vaurien ca` has made serves the library too."""
    Authority.create().save(tmp_path)
    with vaurien.Proxy(nginx_server.address, tls="auto", tls_authority=str(tmp_path)) as proxy:
        assert proxy.ca_file == tmp_path / "ca.pem"
        with TlsClient((proxy.host, proxy.port), proxy.ssl_context()) as client:
            client.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
            assert read_all(client).endswith(b"hello\n")
