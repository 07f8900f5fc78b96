"""What the page about load testers says, k6 and Locust themselves do to a real Vaurien."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.control.interface import interface
from tests.http_server import http_server
from tests.servers import require
from tests.waiting import until

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "connect-other-tools.md"

PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

pytestmark = pytest.mark.server


@pytest.fixture
def served():
    """An interface, and the port of its proxy *db* in front of an HTTP server."""
    with http_server() as backend, interface() as one:
        yield one, int(one.proxy("db", f"127.0.0.1:{backend}")["listen"].rpartition(":")[2])


def code(language):
    [block] = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return block


def faults(vaurien):
    return vaurien.get("/api/v1/proxies/db/faults")["faults"]


def replaced(text, *pairs):
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_script_for_k6_breaks_what_it_loads_and_mends_it(served, tmp_path):
    program = require("k6")
    vaurien, port = served
    script = replaced(
        code("js"),
        ("localhost:8080", f"127.0.0.1:{vaurien.address.port}"),
        ("localhost:3000", f"127.0.0.1:{port}"),
        ("vus: 20", "vus: 2"),
        ('"60s"', '"4s"'),
        ('startTime: "20s"', 'startTime: "1s"'),
        ("sleep(20)", "sleep(1)"),
    )
    (tmp_path / "script.js").write_text(script)
    options = ["--no-usage-report", "--quiet", "--summary-export", "summary.json"]
    command = [program, "run", *options, "script.js"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # the threshold is kept: nothing has failed
    took = json.loads((tmp_path / "summary.json").read_text())["metrics"]["http_req_duration"]
    assert took["max"] >= 200
    assert took["min"] < 200
    assert faults(vaurien) == []


def test_the_file_for_locust_breaks_what_it_loads_and_mends_it(served, tmp_path):
    program = require("locust")
    vaurien, port = served
    (tmp_path / "locustfile.py").write_text(
        replaced(code("python"), ("Client()", f"Client(port={vaurien.address.port})"))
    )
    command = [program, "--headless", "--users", "2", "--spawn-rate", "2", "--host", f"http://127.0.0.1:{port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **PIPES) as locust:
        try:
            until(lambda: locust.poll() is not None or any(one["hits"] for one in faults(vaurien)))
        finally:
            locust.terminate()
        said, log = locust.communicate(timeout=60)
    assert locust.returncode == 0, said + log
    hits = re.search(r"hits: \[\('latency', (\d+)\)\]", said)
    assert hits is not None, said + log
    assert int(hits[1]) > 0
    assert faults(vaurien) == []
