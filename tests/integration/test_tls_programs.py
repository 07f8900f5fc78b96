"""Clients as users have them, with TLS on either side of the proxy or on both: a fifth of their requests fails, and no
other.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

import vaurien
from tests.tls_peers import TlsClient, read_all, serving
from tests.waiting import PATIENCE, until
from vaurien.events import Failed
from vaurien.tls.authority import Authority

COUNT = 20

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


class Web(NamedTuple):
    """A proxy before nginx, the URL of a page behind it, and what its clients are to trust."""

    proxy: vaurien.Proxy
    url: str
    ca_file: Path

    @property
    def context(self):
        return ssl.create_default_context(cafile=self.ca_file)


@pytest.fixture(params=["TLS to plain", "TLS to TLS", "plain to TLS"])
def web(request, nginx_server, nginx_tls_server, tls_ca):
    client, _, backend = request.param.partition(" to ")
    where = nginx_server.address if backend == "plain" else f"https://localhost:{nginx_tls_server.port}?ca={tls_ca}"
    tls = "auto" if client == "TLS" else ()
    with vaurien.Proxy(where, protocol="http", tls=tls, mix="20:error", seed=4) as proxy:
        url = f"http{'s' if tls else ''}://localhost:{proxy.port}/hello"
        yield Web(proxy, url, proxy.ca_file if tls else tls_ca)
        assert not [event for event in proxy.events if isinstance(event, Failed)]


def check(web, statuses):
    assert len(statuses) == COUNT
    assert sum(status >= 500 for status in statuses) == web.proxy.hits("error") > 0
    assert statuses.count(200) == COUNT - web.proxy.hits("error") > COUNT / 2


def test_curl(web):
    command = [program("curl"), "-sS", "--cacert", web.ca_file, "-w", "%{http_code}\n", *["-o", "/dev/null"] * COUNT]
    check(web, [int(line) for line in output(*command, *[web.url] * COUNT).split()])


def test_httpx(web):
    httpx = pytest.importorskip("httpx")
    with httpx.Client(verify=web.context, trust_env=False) as client:
        check(web, [client.get(web.url).status_code for _ in range(COUNT)])


def test_requests(web):
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.trust_env = False
        check(web, [session.get(web.url, verify=web.ca_file).status_code for _ in range(COUNT)])


def test_aiohttp(web):
    aiohttp = pytest.importorskip("aiohttp")

    async def run():
        async with aiohttp.ClientSession() as session:
            statuses = []
            for _ in range(COUNT):
                async with session.get(web.url, ssl=web.context) as response:
                    await response.read()
                    statuses.append(response.status)
            return statuses

    check(web, asyncio.run(run()))


NODE = """
const client = require(process.argv[1].startsWith("https") ? "https" : "http");
const agent = new client.Agent({keepAlive: true});
const get = () => new Promise((done, failed) => client.get(process.argv[1], {agent}, (response) => {
    response.resume();
    response.on("end", () => done(response.statusCode));
}).on("error", failed));
(async () => {
    for (let i = 0; i < Number(process.argv[2]); i++) console.log(await get());
    agent.destroy();
})();
"""


def test_node(web):
    trust = {"NODE_EXTRA_CA_CERTS": str(web.ca_file)}
    check(web, [int(line) for line in output(program("node"), "-e", NODE, web.url, COUNT, env=trust).split()])


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
def test_java(web, tmp_path):
    java, keytool = program("java"), program("keytool")
    program("javac")  # a source is compiled before it runs
    source, store = tmp_path / "Get.java", tmp_path / "trust.p12"
    source.write_text(JAVA)
    trust = ["-alias", "vaurien", "-file", web.ca_file, "-keystore", store, "-storepass", "changeit"]
    output(keytool, "-importcert", "-noprompt", *trust)
    settings = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    check(web, [int(line) for line in output(java, *settings, source, web.url, COUNT).split()])


def test_openssl(web):
    if not web.url.startswith("https"):
        pytest.skip("it speaks TLS alone")
    where = ["-connect", f"{web.proxy.host}:{web.proxy.port}", "-servername", "localhost", "-CAfile", web.ca_file]
    requests = ["GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"] * (COUNT - 1)
    last = "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    command = [program("openssl"), "s_client", *where, "-verify_return_error", "-quiet"]
    said = output(*command, input="".join([*requests, last]))
    check(web, [int(status) for status in re.findall(r"HTTP/1\.1 (\d+)", said)])


@pytest.mark.parametrize(("client_tls", "backend_tls"), [(True, False), (True, True), (False, True)])
def test_redis(redis_server, redis_tls_server, tls_ca, client_tls, backend_tls):
    redis = pytest.importorskip("redis")
    backend = f"tls://localhost:{redis_tls_server.port}?ca={tls_ca}" if backend_tls else redis_server.address
    with vaurien.Proxy(backend, protocol="redis", tls="auto" if client_tls else (), mix="20:error", seed=4) as proxy:
        failed = 0
        scheme, trust = ("rediss", {"ssl_ca_certs": str(proxy.ca_file)}) if client_tls else ("redis", {})
        with redis.Redis.from_url(f"{scheme}://localhost:{proxy.port}", retry=None, protocol=2, **trust) as client:
            for number in range(60):
                try:
                    client.set("n", number)
                except redis.RedisError:
                    failed += 1
        assert 0 < failed <= proxy.hits("error")
        assert not [event for event in proxy.events if isinstance(event, Failed)]


# What is left behind, and what is kept in memory.


def alive():
    """How many there are of each kind of what a connection has: its own objects, tasks, OpenSSL's.

    A timer that was cancelled has no callback any more; those are swept out from time to time.
    """
    gc.collect()
    kinds = (asyncio.Task, asyncio.Future, ssl.SSLObject, ssl.MemoryBIO)
    return Counter(
        type(one).__name__
        for one in gc.get_objects()
        if (isinstance(one, kinds) or repr(type(one)).startswith("<class 'vaurien.engine."))
        and getattr(one, "callback", one) is not None
    )


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
            with TlsClient(where, context) as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
            until(lambda: not proxy.connections)
            alive_before = alive()  # which also closes what others have left to the garbage collector
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
            until(lambda: proxy.accepted == count + 1 and not proxy.connections)
            until(lambda: not alive() - alive_before)
            if open_before:
                until(lambda: len(os.listdir("/proc/self/fd")) <= open_before)


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
