"""Limits that protect people, over nodes that are processes and a real NATS server."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import urllib.error
import urllib.request

import pytest

from tests import nats_server, prometheus_server
from tests.fleet_processes import eventually_all, running
from tests.servers import free_port
from tests.waiting import until
from vaurien.cli.ctl import main as ctl
from vaurien.client import Refused

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Nodes *a*, *b* and *c* with a proxy of the fleet, called *api*; *c* wants times to live by itself."""
    with nats_server.running(tmp_path_factory.mktemp("limits") / "js") as server:
        url = f"{server.url}/limits"
        with running(url, "a", "b", "c", arguments={"c": ["--require-ttl"]}) as nodes:
            until(lambda: len(nodes[0].client.get_fleet()["nodes"]) == 3)
            nodes[0].fleet().create_proxy(name="api", backend="127.0.0.1:9")
            until(lambda: all(node.client.list_proxies() for node in nodes))
            yield nodes


@pytest.fixture(autouse=True)
def nothing_left(fleet):
    yield
    client = fleet[0].client
    client.set_fleet_limits()
    if client.get_fleet()["stopped"]:
        client.resume_fleet()
    for fault in fleet[0].fleet().list_faults("api"):
        fleet[0].fleet().remove_fault("api", fault["name"])
    fleet[0].fleet().set_mix("api", mix="")
    eventually_all(fleet, "api", [])
    until(lambda: all(node.client.get_limits() == client.get_limits() for node in fleet))


def limited(fleet, **limits):
    """Set *limits* at one node, and have all know them."""
    fleet[0].client.set_fleet_limits(**limits)
    wanted = fleet[0].client.get_limits()
    until(lambda: all(node.client.get_limits() == wanted for node in fleet))


def refusal(edit, *arguments, **options):
    with pytest.raises(Refused) as raised:
        edit(*arguments, **options)
    return str(raised.value)


def test_no_more_nodes_have_faults_than_the_budget_permits(fleet):
    limited(fleet, max_nodes=2)
    fleet[1].fleet().add_fault("api", behavior="freeze", name="one", ttl=600)
    until(lambda: sum(node.faults("api") == ["one"] for node in fleet) == 2)
    fleet[2].fleet().add_fault("api", behavior="freeze", name="two", ttl=600)
    until(lambda: sum(node.faults("api") == ["one", "two"] for node in fleet) == 2)
    assert [node.faults("api") for node in fleet].count([]) == 1
    spared = next(node.name for node in fleet if not node.faults("api"))
    fleet[0].fleet(nodes=f"name={spared}").add_fault("api", behavior="freeze", name="three", ttl=600)
    until(lambda: "three" in {one.get("fault") for one in fleet[2].client.get_fleet()["desired"]})
    until(lambda: all(report["revision"] == fleet[0].client.get_fleet()["revision"] for report in reports(fleet)))
    assert [node.faults("api") for node in fleet].count([]) == 1


def reports(fleet):
    return fleet[0].client.get_fleet()["nodes"]


def test_no_more_exchanges_are_hit_than_the_budget_permits(fleet):
    limited(fleet, max_share=0.2)
    door = fleet[1].fleet()
    door.add_fault("api", behavior="freeze", name="some", probability=0.15, ttl=600)
    said = refusal(fleet[2].fleet().add_fault, "api", behavior="hang", probability=0.1, ttl=600)
    assert "at most 0.2 of the exchanges of proxy 'api' in total, these make 0.25" in said
    assert "these make 0.25" in refusal(door.set_mix, "api", mix="10:delay")
    door.set_mix("api", mix="5:delay")
    eventually_all(fleet, "api", ["some"])


def test_a_fault_without_an_end_is_refused_by_a_limit_and_by_a_node_that_was_started_so(fleet):
    a, b, c = fleet
    b.fleet().add_fault("api", behavior="freeze", name="endless")
    assert "a time to live: the fleet requires one" in refusal(c.fleet().add_fault, "api", behavior="hang")
    limited(fleet, require_ttl=True)
    assert "a time to live: the fleet requires one" in refusal(a.fleet().add_fault, "api", behavior="hang")
    assert "expected faults with a ttl in its place" in refusal(b.fleet().set_mix, "api", mix="5:delay")
    c.fleet().add_fault("api", behavior="hang", ttl=600)
    eventually_all(fleet, "api", ["endless", "hang"])


FAULT = {"name": "x", "behavior": "freeze"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/proxies/api/toxics", {"type": "latency", "attributes": {"latency": 100}}),
        ("POST", "/proxies/api/toxics/some", {"toxicity": 0.9}),
        ("PATCH", "/proxies/api/toxics/some", {"toxicity": 0.9}),
        ("POST", "/proxies/api", {"enabled": False}),
        ("PATCH", "/proxies/api", {"enabled": False}),
        ("PUT", "/behavior", {"name": "delay"}),
        ("PATCH", "/api/v1/proxies/api", {"enabled": False}),
        ("PATCH", "/api/v1/proxies/api", {"mix": "50:delay"}),
        ("PATCH", "/api/v1/proxies/api", {"faults": [FAULT]}),
        ("PATCH", "/api/v1/proxies/api/faults/some", {"probability": 0.9}),
        ("PATCH", "/api/v1/proxies/api/faults/some", {"ttl": None}),
        ("PUT", "/api/v1/proxies/api/mix", {"mix": "10:delay"}),
        ("PUT", "/api/v1/config", {"proxies": [{"name": "api", "backend": "127.0.0.1:9", "faults": [FAULT]}]}),
        ("POST", "/api/v1/proxies", {"name": "new", "backend": "127.0.0.1:9", "mix": "100:delay"}),
    ],
)
def test_no_door_leads_round_the_limits(fleet, method, path, body):
    node = fleet[1]
    node.fleet().add_fault("api", behavior="freeze", name="some", probability=0.1, ttl=600)
    limited(fleet, max_share=0.2, require_ttl=True)
    before = node.fleet().list_faults("api")
    request = urllib.request.Request(
        f"http://127.0.0.1:{node.port}{path}?scope=fleet",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 400
    said = refused.value.read().decode()
    assert any(word in said for word in ("the fleet requires", "in total, these make", "the limits of the fleet")), said
    assert node.fleet().list_faults("api") == before


def test_faults_end_everywhere_when_the_controller_is_silent(fleet, capsys):
    beat = ["--host", f"127.0.0.1:{fleet[1].port}", "fleet", "heartbeat"]
    limited(fleet, heartbeat=3)
    fleet[0].fleet().add_fault("api", behavior="freeze", ttl=600)
    assert ctl.main(beat) == 0
    eventually_all(fleet, "api", ["freeze"])
    eventually_all(fleet, "api", [])  # no heartbeat comes
    assert ctl.main(beat) == 0
    eventually_all(fleet, "api", ["freeze"])
    capsys.readouterr()


class Answers(http.server.BaseHTTPRequestHandler):
    """A service that is well until it is told otherwise, and has a page for Prometheus."""

    def do_GET(self):
        body = b"requests_total 1\n" if self.path == "/metrics" else b""
        self.send_response(200 if self.server.well else 503)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Service:
    """What a probe asks, until it is ill."""

    def __init__(self, kind):
        self.stack = contextlib.ExitStack()
        if kind == "tcp":
            self.listener = socket.create_server(("127.0.0.1", free_port()))
            self.probe = {"url": f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"}
            return
        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.listener.well = True
        self.thread = threading.Thread(target=self.listener.serve_forever, args=(0.01,))
        self.thread.start()
        where = f"127.0.0.1:{self.listener.server_address[1]}"
        if kind == "http":
            self.probe = {"url": f"http://{where}/health"}
            return
        measuring = self.stack.enter_context(prometheus_server.running(service=where))
        self.probe = {"url": f"http://{measuring.address}", "query": "up{job='service'} > 0"}
        until(lambda: prometheus_server.asked(measuring, self.probe["query"]))

    def falls_ill(self):
        if isinstance(self.listener, socket.socket):
            self.listener.close()
        else:
            self.listener.well = False

    def close(self):
        self.stack.close()
        if not isinstance(self.listener, socket.socket):
            self.listener.shutdown()
            self.thread.join()
            self.listener.server_close()
        self.listener = None


@pytest.mark.parametrize("kind", ["http", "tcp", "prometheus"])
def test_a_probe_that_fails_stops_all_nodes(fleet, kind):
    service = Service(kind)
    try:
        limited(fleet, probe={**service.probe, "every": 0.2, "failures": 2, "timeout": 5})
        fleet[1].fleet().add_fault("api", behavior="freeze", ttl=600)
        fleet[2].client.add_fault("api", behavior="hang", ttl=600)
        until(lambda: fleet[0].client.get_fleet()["leader"])
        eventually_all(fleet[:2], "api", ["freeze"])
        assert not fleet[1].client.get_fleet()["stopped"]
        service.falls_ill()
        eventually_all(fleet, "api", [])
        assert all(node.client.get_fleet()["stopped"] for node in fleet)
        until(lambda: [one["by"] for one in fleet[1].client.get_audit()][-1] == "probe")
    finally:
        service.close()


def test_one_call_stops_everything_and_the_trail_says_who_did_what_from_where(fleet):
    a, b, c = fleet
    c.client.add_fault("api", behavior="hang", name="own", ttl=600)
    a.fleet().add_fault("api", behavior="freeze", ttl=600)
    until(lambda: set(c.faults("api")) == {"own", "freeze"})
    b.client.stop_fleet(reason="an incident")
    eventually_all(fleet, "api", [])
    until(lambda: all(node.client.get_fleet()["stopped"] for node in fleet))
    c.fleet().add_fault("api", behavior="freeze", name="meanwhile", ttl=600)
    until(lambda: all(report["revision"] == a.client.get_fleet()["revision"] for report in reports(fleet)))
    eventually_all(fleet, "api", [])
    a.client.resume_fleet()
    eventually_all(fleet, "api", ["freeze", "meanwhile"])
    lines = [(one["key"], one["via"], one["entry"] is not None) for one in b.client.get_audit()[-4:]]
    assert lines == [
        ("fault.api.freeze", "a", True),
        ("stop", "b", True),
        ("fault.api.meanwhile", "c", True),
        ("stop", "a", False),
    ]
    assert all(one["by"].startswith("127.0.0.1") and one["at"] > 0 for one in b.client.get_audit()[-4:])
    assert b.client.get_audit()[-3]["entry"]["reason"] == "an incident"
