"""How nodes of a fleet are started: on a server for trying it, steering it by default, with the same chance again."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests import nats_server
from tests.fleet_processes import eventually_all, running
from tests.servers import Echo, free_port
from tests.waiting import PATIENCE, until
from vaurien.client import Client

pytestmark = pytest.mark.server


def test_the_server_for_trying_it_is_one_that_nodes_join_until_it_is_ended(tmp_path):
    nats_server.program()
    port = free_port()
    command = [sys.executable, "-m", "vaurien", "fleet", "--dev", "--port", str(port), "--folder", str(tmp_path / "js")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            url = f"nats://127.0.0.1:{port}"
            assert f"NATS with JetStream at {url}, its files in {tmp_path / 'js'}" in server.stdout.readline()
            with running(url, "a", "b") as nodes:
                until(lambda: nodes[0].client.get_fleet()["trouble"] is None)
                until(lambda: len(nodes[0].client.get_fleet()["nodes"]) == 2)
                nodes[0].fleet().create_proxy(name="api", backend="127.0.0.1:9")
                until(lambda: all(node.client.list_proxies() for node in nodes))
                nodes[1].fleet().add_fault("api", behavior="freeze", ttl=600)
                eventually_all(nodes, "api", ["freeze"])
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE) == 0


def test_a_node_that_steers_its_fleet_by_default(tmp_path):
    arguments = {"a": ["--fleet-scope"]}
    with (
        nats_server.running(tmp_path / "js") as server,
        running(server.url, "a", "b", arguments=arguments) as (a, b),
    ):
        until(lambda: len(a.client.get_fleet()["nodes"]) == 2)
        a.client.create_proxy(name="api", backend="127.0.0.1:9")
        until(lambda: b.client.list_proxies())
        toxic = {"name": "slow", "type": "latency", "attributes": {"latency": 5}}
        target = f"http://127.0.0.1:{a.port}/proxies/api/toxics"
        with urllib.request.urlopen(
            urllib.request.Request(target, json.dumps(toxic).encode()), timeout=PATIENCE
        ) as answer:
            assert answer.status == 200
        eventually_all([a, b], "api", ["slow"])
        on_the_node = Client(port=a.port, query={"scope": "node"})
        on_the_node.add_fault("api", behavior="freeze", name="own")
        until(lambda: {one["name"] for one in on_the_node.list_faults("api")} == {"slow", "own"})
        assert [one["name"] for one in a.client.list_faults("api")] == ["slow"]
        b.client.add_fault("api", behavior="freeze", name="of b")  # which was not started so
        until(lambda: set(b.faults("api")) == {"slow", "of b"})
        assert {one["name"] for one in on_the_node.list_faults("api")} == {"slow", "own"}


def hits(node):
    """Which of so many connections the fault hits, one after the other."""
    host, port = node.client.list_proxies()[0]["address"].split(":")
    found = []
    for _ in range(24):
        with contextlib.suppress(ConnectionError), socket.create_connection((host, int(port)), PATIENCE) as client:
            client.settimeout(PATIENCE)
            client.sendall(b"hello")
            found.append(client.recv(5) != b"hello")
            continue
        found.append(True)
    return found


def test_chance_is_of_seed_node_and_connection_and_comes_again(tmp_path):
    echo = Echo()
    try:
        with nats_server.running(tmp_path / "js") as server:
            with running(server.url, "a", "b") as (a, b):
                a.fleet().create_proxy(name="api", backend=echo.address, seed="7")
                a.fleet().add_fault("api", behavior="reset_peer", probability=0.5, scope="connection")
                eventually_all([a, b], "api", ["reset_peer"])
                first, other = hits(a), hits(b)
                assert {True, False} == set(first) == set(other)
                assert first != other
                seeds = {one["name"]: one["seed"] for one in a.client.get_fleet()["nodes"]}
                assert seeds.keys() == {"a", "b"}
                assert [node.client.list_proxies()[0]["seed"] for node in (a, b)] == ["7@a", "7@b"]
            with running(server.url, "a") as [again]:
                eventually_all([again], "api", ["reset_peer"])
                assert hits(again) == first
    finally:
        echo.close()
