"""The README's lines about many proxies, typed in as they stand; only the ports are free ones."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.servers import free_port
from tests.waiting import PATIENCE

README = Path(__file__).parents[2] / "README.md"
PROGRAMS = {"vaurien": "-m vaurien", "vaurienctl": "-m vaurien.cli.ctl.main"}


@pytest.fixture
def lines():
    """The commands, with free ports, and what `export` sets among them."""
    [block] = re.findall(
        r"^## Many proxies.*?^```console\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    ports = {"8474": free_port(), "8002": free_port()}
    typed = [line.removeprefix("$ ").split(" #")[0].strip() for line in block.splitlines()]
    return [re.sub(r"\b(8474|8002)\b", lambda found: str(ports[found[0]]), line) for line in typed], ports


def run(line, **variables):
    program, _, arguments = line.partition(" ")
    command = f"{sys.executable} {PROGRAMS[program]} {arguments}" if program in PROGRAMS else line
    return subprocess.run(
        command,
        shell=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **variables},
    )


@pytest.fixture
def backend():
    """The port of a web server."""
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(PATIENCE)


def test_many_proxies(lines, backend):
    typed, ports = lines
    serve, export, *others = typed
    assert serve == "vaurien serve &"
    name, _, url = export.removeprefix("export ").partition("=")
    command = [sys.executable, "-m", "vaurien", "serve", "-port", str(ports["8474"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert f"HTTP at localhost:{ports['8474']}" in server.stdout.readline()
            for line in others:
                done = run(line.replace("8001", str(backend)), **{name: url})
                assert (done.returncode, done.stderr) == (0, ""), line
                if line.startswith("curl"):
                    assert float(done.stdout.split()[0]) > 0.2, "300 ms, and 50 ms more or less"
        finally:
            server.terminate()
    assert server.returncode == 0
