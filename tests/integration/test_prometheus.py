"""A real Prometheus reads the figures of a real program."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests import prometheus_server
from tests.servers import require
from tests.waiting import until
from vaurien.client import Client

pytestmark = pytest.mark.server


@pytest.fixture
def program(echo_server):
    """``vaurien serve`` with both kinds of metrics: its address, and a client; the fault of its proxy *db* has hit."""
    command = [sys.executable, "-m", "vaurien", "serve", "--port", "0", "-proxy-metrics", "-runtime-metrics"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            interface = int(re.search(r"HTTP at \S+:(\d+),", process.stdout.readline())[1])
            client = Client(port=interface)
            proxy = client.create_proxy(name="db", backend=echo_server.address)
            client.add_fault("db", behavior="latency", options={"latency": 1})
            host, _, port = proxy["listen"].rpartition(":")
            with socket.create_connection((host, int(port)), timeout=30) as user:
                user.sendall(b"hello")
                assert user.recv(5) == b"hello"
                yield f"127.0.0.1:{interface}", client
        finally:
            process.terminate()


def test_prometheus_knows_what_has_hit(program):
    address, client = program
    with prometheus_server.running(vaurien=address) as measuring:

        def value(expression):
            samples = prometheus_server.asked(measuring, expression)
            return [float(one["value"][1]) for one in samples]

        until(lambda: value('up{job="vaurien"}') == [1])
        hits = client.list_faults("db")[0]["hits"]
        until(lambda: value('vaurien_faults_total{proxy="db",behavior="latency"}') == [hits])
        assert hits > 0
        sent = 'toxiproxy_proxy_sent_bytes_total{proxy="db",direction="upstream"}'
        assert value(sent) == [5]
        client.delete_proxy("db")
        until(lambda: value(sent) == [])


def test_the_page_is_what_the_program_of_prometheus_wants_of_one(program):
    promtool, (address, _) = require("promtool"), program
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        page = answer.read()
    done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=60)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
