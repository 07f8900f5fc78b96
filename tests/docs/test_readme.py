"""The README's lines for a command line, typed in as they stand; only the ports are free ones."""

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
    text = README.read_text(encoding="utf-8")
    [section] = re.findall(r"^## Many proxies.*?(?=^## )", text, re.DOTALL | re.MULTILINE)
    typed_in = "".join(re.findall(r"^```console\n(.*?)^```", section, re.DOTALL | re.MULTILINE))
    ports = {"8474": free_port(), "8002": free_port()}
    typed = [line.removeprefix("$ ").split(" #")[0].strip() for line in typed_in.splitlines()]
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
    assert serve == "vaurien serve"
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
                if line.startswith("vaurienctl fault"):
                    assert "downstream" in done.stdout
        finally:
            server.terminate()
    assert server.returncode == 0


def test_one_proxy_on_the_command_line(backend):
    """What the page says of the requests that the loop sends: with its seed, a fifth waits and a fifth fails."""
    text = README.read_text(encoding="utf-8")
    [command] = re.findall(r"^\$ vaurien (--proxy localhost:8000 .*)$", text, re.MULTILINE)
    [loop] = re.findall(r"^\$ (for i in .*)$", text, re.MULTILINE)
    arguments = command.replace("localhost:8000", "127.0.0.1:0").replace("8001", str(backend)).split()
    command = [sys.executable, "-m", "vaurien", *arguments, "--behavior-delay-sleep", "0.3", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as proxy:
        try:
            address = re.search(r"127\.0\.0\.1:\d+", proxy.stdout.readline())[0]
            seen = [line.split(" in ") for line in run(loop.replace("localhost:8000", address)).stdout.splitlines()]
        finally:
            proxy.terminate()
    assert len(seen) == 10
    assert [status for status, _ in seen].count("200") == 8
    assert sum(status.startswith("50") for status, _ in seen) == 2
    assert sum(status == "200" and float(took.split()[0]) >= 0.3 for status, took in seen) >= 2
