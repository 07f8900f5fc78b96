"""`vaurien run` around programs that know nothing of it: their requests, over HTTPS too, are broken."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import vaurien
from tests.servers import require

authority = pytest.importorskip("vaurien.tls.authority")

BODY = b"hello\n"

PYTHON = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(url).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""
CLIENTS = """
import sys, httpx, requests
print(httpx.get(sys.argv[1]).status_code)
print(requests.get(sys.argv[2]).status_code)
"""
NODE = """
const ask = (urls) => {
  if (!urls.length) return
  const client = require(urls[0].startsWith('https') ? 'https' : 'http')
  client.get(urls[0], (response) => {
    console.log(response.statusCode)
    response.resume().on('end', () => ask(urls.slice(1)))
  })
}
ask(process.argv.slice(1))
"""
JAVA = """
import java.net.URI;
import java.net.http.*;
public class Ask {
    public static void main(String[] urls) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String url : urls) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(url)).build();
            System.out.println(client.send(request, HttpResponse.BodyHandlers.discarding()).statusCode());
        }
    }
}
"""


class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hello)
        self.asked: list[str] = []

    def handle_error(self, *args: object) -> None:
        """Say nothing: faults end connections in the middle."""


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    with Server() as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("ca")
    made = authority.Authority.create()
    made.save(folder)
    return made, folder / "ca.pem"


@pytest.fixture(scope="module")
def secure(ca: Any) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca[0].issue(["localhost", "127.0.0.1"]).load(context)
    with serving(context) as server:
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    (folder / "Ask.java").write_text(JAVA)
    return folder


def command(program: str, folder: Path) -> list[str]:
    """The program, which asks for each URL that is given to it and prints the status."""
    match program:
        case "curl":
            return [require("curl"), "-sS", "-o", os.devnull, "-w", "%{http_code}\n"]
        case "python":
            return [sys.executable, "-c", PYTHON]
        case "httpx and requests":
            return [sys.executable, "-c", CLIENTS]
        case "node":
            return [require("node"), "-e", NODE]
        case _:
            require("javac")
            return [require("java"), str(folder / "Ask.java")]


def run(options: Sequence[str], program: Sequence[str], ca: Any) -> subprocess.CompletedProcess[str]:
    return started(["--backend", f"forward?ca={ca[1]}", *options], program)


def started(options: Sequence[str], program: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """The end of ``vaurien run``, without what this machine says of proxies."""
    words = [sys.executable, "-m", "vaurien", "run", *options, "--", *program]
    given = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.run(words, capture_output=True, text=True, timeout=120, env=given)


@pytest.mark.parametrize("program", ["curl", "python", "httpx and requests", "node", "java"])
def test_a_fault_hits_what_a_program_asks_for_inside_tls(
    program: str, programs: Path, ca: Any, secure: Server, tmp_path: Path
) -> None:
    """One of two requests is hit, the other one is not; the server sees the one, and nothing else."""
    url = f"https://localhost:{secure.server_port}/"
    fault = "http_status status=503 match.host=localhost match.path=/broken"
    words = command(program, programs)
    urls = [f"{url}broken", f"{url}whole"]
    if program == "curl":  # which has one -o for each URL
        urls = [urls[0], "-o", os.devnull, urls[1]]
    del secure.asked[:]
    report = tmp_path / "report.json"
    ran = run(["--fault", fault, "--report", str(report), "--quiet"], [*words, *urls], ca)
    assert (ran.returncode, ran.stdout.split()) == (0, ["503", "200"]), ran.stderr
    assert secure.asked == ["/whole"]
    [proxy] = json.loads(report.read_text())["proxies"]
    assert proxy["faults"][0]["hits"] == 1


def test_a_request_without_tls_is_hit_too(plain: Server, ca: Any) -> None:
    url = f"http://127.0.0.1:{plain.server_port}/"
    ran = run(["--fault", "http_status status=418", "--quiet"], [sys.executable, "-c", PYTHON, url, url], ca)
    assert ran.stdout.split() == ["418", "418"], ran.stderr


def test_another_server_is_left_alone(secure: Server, ca: Any) -> None:
    url = f"https://localhost:{secure.server_port}/"
    fault = "http_status status=503 match.host=*.example.test"
    ran = run(["--fault", fault, "--quiet"], [sys.executable, "-c", PYTHON, url], ca)
    assert ran.stdout.split() == ["200"], ran.stderr


def test_tls_that_passes_through_is_broken_without_a_key(secure: Server, ca: Any) -> None:
    """The client trusts the server itself, not the run's authority."""
    url = f"https://localhost:{secure.server_port}/"
    program = [require("curl"), "-sS", "--cacert", str(ca[1]), "-w", "%{http_code}", url]
    assert "200" in run(["--tls", "", "--fault", "noop", "--quiet"], program, ca).stdout
    ran = run(["--tls", "", "--fault", "tls_alert alert=unrecognized_name", "--quiet"], program, ca)
    assert ran.returncode == 35
    assert "unrecognized name" in ran.stderr


def test_nothing_is_trusted_outside_the_command(secure: Server, ca: Any, tmp_path: Path) -> None:
    """A program that has the certificate of a run, and not its variables, does not trust it."""
    show = "import os, shutil, sys; shutil.copy(os.environ['SSL_CERT_FILE'], sys.argv[1])"
    first = tmp_path / "first.pem"
    assert run(["--fault", "noop", "--quiet"], [sys.executable, "-c", show, str(first)], ca).returncode == 0
    url = f"https://localhost:{secure.server_port}/"
    program = [require("curl"), "-sS", "--cacert", str(first), url]
    ran = run(["--fault", "noop", "--quiet"], program, ca)  # another run has another authority
    assert ran.returncode == 60, ran.stderr


def test_a_scenario_may_have_a_forward_proxy_beside_others(
    plain: Server, secure: Server, ca: Any, tmp_path: Path
) -> None:
    scenario = tmp_path / "chaos.toml"
    scenario.write_text(
        f"""
[[proxy]]
name = "web"
listen = "127.0.0.1:0"
backend = "127.0.0.1:{plain.server_port}"
protocol = "http"

[[proxy]]
name = "out"
listen = "127.0.0.1:0"
backend = "forward?ca={ca[1]}"
protocol = "http"
tls = "auto"

[[proxy.fault]]
behavior = "http_status"
status = 503
"""
    )
    program = (
        "import os, urllib.error, urllib.request\n"
        "print(urllib.request.urlopen('http://' + os.environ['VAURIEN_ADDRESS_WEB']).status)\n"
        "try:\n"
        f"    urllib.request.urlopen('https://localhost:{secure.server_port}/')\n"
        "except urllib.error.HTTPError as error:\n"
        "    print(error.code)\n"
    )
    ran = started([str(scenario), "--quiet"], [sys.executable, "-c", program])
    assert ran.stdout.split() == ["200", "503"], ran.stderr


@contextlib.contextmanager
def counting() -> Iterator[tuple[str, list[object]]]:
    """A server that counts its connections: its URL, and who has connected."""
    connected: list[object] = []

    class Server(http.server.ThreadingHTTPServer):
        asked: list[str] = []

        def process_request(self, request: Any, client_address: Any) -> None:
            connected.append(client_address)
            super().process_request(request, client_address)

    with Server(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", connected
        finally:
            server.shutdown()
            thread.join()


def test_clients_keep_their_connection_to_the_forward_proxy() -> None:
    requests = pytest.importorskip("requests")
    curl = require("curl")
    with counting() as (one, of_one), counting() as (other, of_other):
        with vaurien.Proxy("forward", protocol="http") as proxy:
            where = f"http://{proxy.host}:{proxy.port}"
            told = "%{http_code} %{num_connects}\n"
            urls = [one, one, other, other, one]
            command = [curl, "-s", "--noproxy", "", "-x", where, "-w", told, *urls]
            for _ in urls:
                command += ["-o", os.devnull]
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
            assert said.splitlines() == ["200 1", "200 0", "200 0", "200 0", "200 0"]
            assert len(of_one) == 2
            assert len(of_other) == 1
            before = proxy.accepted
            with requests.Session() as session:
                session.trust_env, session.proxies = False, {"http": where}
                assert [session.get(url, timeout=60).text for url in urls] == [BODY.decode()] * 5
            assert proxy.accepted - before == 1
            proxy.mix("100:error")
            with requests.Session() as session:
                session.trust_env, session.proxies = False, {"http": where}
                assert {session.get(one, timeout=60).status_code // 100 for _ in range(5)} == {5}
