"""What curl, openssl, Python, Node and Java report for each fault of TLS: the table of docs/reference/tls-errors.md.

``make tls-errors`` writes the page. Each program asks once for each fault, through a proxy of its own: what it says is
what a user will find in a log.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.server
import re
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import vaurien
from tests.integration.error_pages import REFERENCE, Reports, curl_version, framed, node_version, printed, table
from tests.servers import require
from tests.tls_peers import secured
from vaurien.library.session_authority import session_authority

PAGE = REFERENCE / "tls-errors.md"
SIZE = 100_000
"""Bytes of an answer."""

PASSED_THROUGH = (
    "tls_alert alert=handshake_failure",
    "tls_alert alert=unrecognized_name",
    "tls_alert alert=internal_error",
    "tls_plaintext",
    "tls_stall",
    "tls_slow size=200 delay=1ms",
    "tls_close",
    "tls_close how=reset",
    "tls_close when=flight after=100",
    "tls_close when=data after=20KiB",
    "tls_close when=cut after=20KiB",
    "tls_corrupt",
    "tls_corrupt when=data after=20KiB",
)
OPENED = (
    "tls_alert alert=access_denied after=1",
    "tls_alert alert=access_denied when=data after=20KiB",
    *(
        f"tls_certificate flaw={flaw}"
        for flaw in (
            *("expired", "not_yet_valid", "wrong_host", "self_signed"),
            *("unknown_ca", "missing_intermediate", "weak_key"),
        )
    ),
    "tls_version",
    "tls_cipher",
    "tls_alpn",
    "tls_no_resumption",
    "tls_client_certificate",
)
PROGRAMS = ("curl", "openssl s_client", "Python", "Node", "Java")

_PATIENCE = 15
"""Seconds until a program gives up: more than an answer takes while all of them, and other tests, start."""

PYTHON = """
import json, sys, urllib.request
for url in sys.argv[1:]:
    try:
        said = f"{len(urllib.request.urlopen(url, timeout=PATIENCE).read())} bytes"
    except Exception as error:
        reason = getattr(error, "reason", None)
        error = reason if isinstance(reason, Exception) else error
        said = f"{type(error).__name__}: {error}"
    print(json.dumps(said))
""".replace("PATIENCE", str(_PATIENCE))
NODE = """
const https = require('https')
const ask = (urls) => {
  if (!urls.length) return
  let told = false
  const tell = (text) => { if (!told) { told = true; console.log(JSON.stringify(text)); ask(urls.slice(1)) } }
  const request = https.get(urls[0], { timeout: PATIENCE * 1000, agent: false }, (response) => {
    let size = 0
    response.on('data', (data) => { size += data.length })
    response.on('end', () => tell(`${size} bytes`))
    response.on('error', (error) => tell(`${error.code}: ${error.message}`))
  })
  request.on('timeout', () => { tell('timeout event'); request.destroy() })
  request.on('error', (error) => tell(`${error.code}: ${error.message.split('\\n')[0]}`))
}
ask(process.argv.slice(1))
""".replace("PATIENCE", str(_PATIENCE))
JAVA = """
import java.net.URI;
import java.net.http.*;
import java.time.Duration;
public class Ask {
    public static void main(String[] urls) {
        for (String url : urls) {
            HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
            HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(PATIENCE)).build();
            String said;
            try {
                said = client.send(request, HttpResponse.BodyHandlers.ofByteArray()).body().length + " bytes";
            } catch (Exception error) {
                Throwable cause = error;
                while (cause.getCause() != null) cause = cause.getCause();
                said = cause.getClass().getSimpleName() + ": " + cause.getMessage();
            }
            System.out.println('"' + said.replace("\\\\", "/").replace('"', '\\'').replace("\\n", " ") + '"');
        }
    }
}
""".replace("PATIENCE", str(_PATIENCE))


class _Answer(http.server.BaseHTTPRequestHandler):
    """An answer that ends with its connection: nothing but TLS says whether it is whole."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(bytes(SIZE))

    def log_message(self, *args: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that they are waited for

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self._context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._context is None:
            super().finish_request(request, client_address)
            return
        with secured(self._context, request) as secure:
            super().finish_request(secure, client_address)
            secure.setblocking(False)
            with contextlib.suppress(OSError):
                secure.unwrap()  # an answer is whole with its close_notify, and the client's is not waited for

    def handle_error(self, *args: object) -> None:
        """Say nothing: faults end connections in the middle."""


@contextlib.contextmanager
def _serving(context: ssl.SSLContext | None) -> Iterator[str]:
    with _Server(context) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def asked() -> dict[str, dict[str, str]]:
    """What each program says, by the fault."""
    faults = ("noop", *PASSED_THROUGH, *OPENED)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plain = stack.enter_context(_serving(None))
        secure = stack.enter_context(_serving(session_authority().server_context("localhost", "127.0.0.1")))
        ports = []
        for fault in faults:
            opened = fault in OPENED
            proxy = stack.enter_context(
                vaurien.Proxy(backend=plain if opened else secure, tls="auto" if opened else ())
            )
            stack.enter_context(proxy.fault(fault))
            ports.append(proxy.port)
        urls = [f"https://localhost:{port}/" for port in ports]
        trusted = str(session_authority().file)
        programs = stack.enter_context(concurrent.futures.ThreadPoolExecutor())
        running = {
            "curl": programs.submit(lambda: [_curl(url) for url in urls]),
            "openssl s_client": programs.submit(lambda: [_openssl(port) for port in ports]),
            "Python": programs.submit(printed, [sys.executable, "-c", PYTHON, *urls], SSL_CERT_FILE=trusted),
            "Node": programs.submit(printed, [require("node"), "-e", NODE, *urls], NODE_EXTRA_CA_CERTS=trusted),
            "Java": programs.submit(_java, folder, urls),
        }
        said = {name: one.result() for name, one in running.items()}
    return {fault: {name: _plain(said[name][number]) for name in PROGRAMS} for number, fault in enumerate(faults)}


def _curl(url: str) -> str:
    trusted = str(session_authority().file)
    command = [require("curl"), "-sS", "--noproxy", "*", "--max-time", str(_PATIENCE), "--cacert", trusted]
    ran = subprocess.run([*command, "-o", "/dev/null", "-w", "%{size_download}", url], capture_output=True, text=True)
    return f"{ran.stdout} bytes" if ran.returncode == 0 else ran.stderr.strip().partition("\n")[0]


def _openssl(port: int) -> str:
    """What ``openssl s_client`` says; of a chain that it does not trust, what is wrong with it."""
    trusted = ["-CAfile", str(session_authority().file), "-verify_hostname", "localhost", "-verify_return_error"]
    command = [require("openssl"), "s_client", "-quiet", "-alpn", "http/1.1", *trusted, "-connect", f"localhost:{port}"]
    request = b"GET / HTTP/1.0\r\n\r\n"
    try:
        ran = subprocess.run(command, input=request, capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return "nothing: it has no time-out"
    told = [line for line in ran.stderr.decode().splitlines() if re.search(r"error[:=]|errno", line)]
    if told:
        return told[0]
    return f"{len(ran.stdout.partition(bytes.fromhex('0d0a0d0a'))[2])} bytes"


def _java(folder: Path, urls: list[str]) -> list[str]:
    require("javac")
    store = str(folder / "trust.p12")
    command = [require("keytool"), "-importcert", "-noprompt", "-alias", "it", "-file", str(session_authority().file)]
    subprocess.run([*command, "-keystore", store, "-storepass", "changeit"], check=True, capture_output=True)
    (folder / "Ask.java").write_text(JAVA)
    trust = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    return printed([require("java"), *trust, str(folder / "Ask.java"), *urls])


def _plain(text: str) -> str:
    """*text* without numbers that are other ones each time."""
    text = re.sub(r" \(_ssl\.c:\d+\)", "", text)
    text = re.sub(r"\b[0-9A-F]{12,16}:error:[0-9A-F]+:", "", text)
    text = re.sub(r"localhost:\d+|127\.0\.0\.1:\d+", "localhost:443", text)
    text = re.sub(r"port \d+", "port 443", text)
    text = re.sub(r"after \d+ (ms|milliseconds)", rf"after {_PATIENCE}000 \1", text)
    text = re.sub(r"with EOF, \d+ bytes", "with EOF, some bytes", text)
    text = re.sub(r"NotAfter: .*|NotBefore: .*", lambda found: found[0].partition(":")[0], text)
    text = re.sub(r":\.\./(?:deps|ssl)/.*?\.c:\d*:?", ": ", text).removesuffix(": ")
    return re.sub(r"^(\d+) bytes$", lambda found: found[0] if found[1] == str(SIZE) else "fewer bytes, no error", text)


def versions() -> str:
    """The programs, and the TLS that they speak by."""
    java = subprocess.run([require("java"), "--version"], capture_output=True, text=True).stdout.split()[1]
    python = f"{sys.version_info.major}.{sys.version_info.minor} ({ssl.OPENSSL_VERSION.partition('  ')[0]})"
    curl, node = (f"{program} ({library})" for program, library in (curl_version(), node_version()))
    openssl = subprocess.run([require("openssl"), "version"], capture_output=True, text=True).stdout.split()[1]
    return f"{curl}, openssl {openssl}, Python {python}, {node}, Java {java}"


def page(said: Reports) -> str:
    """The page."""
    lines = [
        f"Each client asks once for an answer of {SIZE} bytes without a length, trusts the authority, and gives up",
        f"after {_PATIENCE} seconds. Where bytes are named, the client reports no error. OpenSSL has other words",
        "in other versions.",
        "",
        "## TLS that passes through the proxy",
        "",
        *table(said, PASSED_THROUGH, PROGRAMS),
        "",
        "An answer that a fault cuts is one that many clients take for a whole one: only close_notify would tell",
        "them. `tls_slow` is too fast here for any time-out.",
        "",
        "## TLS that the proxy opens",
        "",
        *table(said, OPENED, PROGRAMS),
    ]
    return framed("tls_errors", "What clients report for faults of TLS", versions(), lines)


if __name__ == "__main__":
    PAGE.write_text(page(asked()), encoding="utf-8")
