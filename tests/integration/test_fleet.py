"""A fleet of processes on a real NATS server, and what is left of it when one of them is killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest

from tests import nats_server
from tests.fleet_processes import COMMAND, NodeProcess, eventually_all, running
from tests.servers import Echo, free_port
from tests.waiting import until
from vaurien.cli.ctl import main as ctl
from vaurien.client import Refused

nats = pytest.importorskip("nats")

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with nats_server.running(tmp_path_factory.mktemp("fleet") / "js") as server:
        yield server


@pytest.fixture(scope="module")
def fleet(server):
    """Nodes *a*, *b* and *c*; *a* and *b* have the role payments."""
    payments = ["--label", "role=payments"]
    given = {"a": payments, "b": payments, "c": ["--label", "role=search"]}
    with running(f"{server.url}/doors", "a", "b", "c", arguments=given) as nodes:
        until(lambda: len(nodes[0].client.get_fleet()["nodes"]) == 3)
        yield nodes


@pytest.fixture
def proxy(fleet):
    """A proxy of the fleet, called *api*; when the test is over nothing is desired."""
    with_echo = Echo()
    fleet[0].fleet().create_proxy(name="api", backend=with_echo.address)
    until(lambda: all([one["name"] for one in node.client.list_proxies()] == ["api"] for node in fleet))
    yield "api"
    if fleet[0].client.get_fleet()["stopped"]:
        fleet[0].client.resume_fleet()
    fleet[0].client.set_fleet_limits()
    fleet[0].fleet().delete_proxy("api")
    until(lambda: not any(node.client.list_proxies() for node in fleet))
    with_echo.close()


def test_a_fault_reaches_the_nodes_that_are_selected_and_they_tell(fleet, proxy):
    a, b, c = fleet
    b.fleet(nodes="role=payments").add_fault(proxy, behavior="latency", options={"latency": 1}, ttl=600)
    eventually_all([a, b], proxy, ["latency"])
    assert c.faults(proxy) == []
    address = next(one["address"] for one in a.client.list_proxies())
    _exchange(address)
    until(lambda: _hits(c, "a") > 0)
    [shown] = a.fleet().list_faults(proxy)
    assert (shown["name"], shown["hits"] > 0) == ("latency", True)
    desired = next(one for one in c.client.get_fleet()["desired"] if one.get("fault"))
    assert (desired["on"], desired["author"]["via"]) == ({"nodes": "role=payments"}, "b")
    a.fleet().remove_fault(proxy, "latency")
    eventually_all(fleet, proxy, [])


def _exchange(address):
    import socket

    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 60) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"


def _hits(asked, name):
    node = next(one for one in asked.client.get_fleet()["nodes"] if one["name"] == name)
    return sum(one["hits"] for one in node["faults"])


def test_toxiproxys_interface_steers_the_fleet_when_it_is_asked_to(fleet, proxy):
    _toxiproxy(
        fleet[2], "POST", f"/proxies/{proxy}/toxics?scope=fleet", {"type": "latency", "attributes": {"latency": 1}}
    )
    eventually_all(fleet, proxy, ["latency_downstream"])
    assert "latency_downstream" in _toxiproxy(fleet[0], "GET", "/proxies?scope=fleet").decode()
    _toxiproxy(fleet[1], "DELETE", f"/proxies/{proxy}/toxics/latency_downstream?scope=fleet")
    eventually_all(fleet, proxy, [])


def _toxiproxy(node, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{node.port}{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def test_vaurienctl_steers_the_fleet(fleet, proxy, capsys):
    def run(*arguments, status=0):
        assert ctl.main(["--host", f"127.0.0.1:{fleet[1].port}", *arguments]) == status
        return capsys.readouterr()

    run("--fleet", "--nodes", "name=c", "fault", "add", proxy, "freeze", "--ttl", "600")
    eventually_all([fleet[2]], proxy, ["freeze"])
    assert fleet[0].faults(proxy) == []
    rows = [line.split("\t") for line in run("fleet", "show").out.splitlines()]
    assert [row[:2] for row in rows] == [["a", "role=payments"], ["b", "role=payments"], ["c", "role=search"]]
    until(lambda: "api/freeze" in run("fleet", "show").out)
    assert "fault.api.freeze" in run("fleet", "audit").out
    run("fleet", "limits", "require_ttl=true")
    assert "expected a time to live" in run("--fleet", "fault", "add", proxy, "hang", status=1).err
    run("fleet", "stop", "an", "incident")
    eventually_all(fleet, proxy, [])
    assert "everything is stopped" in run("fleet", "show").err
    run("fleet", "resume")
    eventually_all([fleet[2]], proxy, ["freeze"])
    assert "expected --fleet beside it" in run("--nodes", "a=b", "list", status=2).err


def test_nodes_tell_what_happens_to_those_that_listen_at_any_node(fleet, proxy):
    a, _, c = fleet
    heard: list[dict] = []
    told = threading.Thread(target=lambda: heard.extend(itertools.islice(a.client.fleet_events(), 3)), daemon=True)
    told.start()
    until(lambda: _add_and_remove(c, proxy) and not told.is_alive())
    assert {(event["type"], event["proxy"]) for event in heard} == {("PolicyChanged", proxy)}
    assert {event["node"] for event in heard} <= {"a", "b", "c"}


def test_vaurienctl_follows_what_nodes_tell_until_the_node_ends(fleet, proxy, server):
    with running(f"{server.url}/doors", "late") as [late]:
        command = [sys.executable, "-m", "vaurien.cli.ctl.main", "--host", f"127.0.0.1:{late.port}", "fleet", "events"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
            lines: list[str] = []
            reading = threading.Thread(target=lambda: lines.append(follower.stdout.readline()), daemon=True)
            reading.start()
            until(lambda: _add_and_remove(fleet[0], proxy) and lines)
            assert json.loads(lines[0])["proxy"] == proxy
            late.stop()
            follower.communicate(timeout=60)


def _add_and_remove(node, proxy):
    node.fleet().add_fault(proxy, behavior="freeze", ttl=600)
    node.fleet().remove_fault(proxy, "freeze")
    return True


def test_a_fault_that_is_there_is_selected_anew(fleet, proxy, capsys):
    a, b, c = fleet
    a.fleet(nodes="role=payments").add_fault(proxy, behavior="latency", options={"latency": 1}, ttl=600)
    eventually_all([a, b], proxy, ["latency"])
    command = ["--host", f"127.0.0.1:{c.port}", "fleet", "select", proxy, "latency", "nodes=role=search"]
    assert ctl.main(command) == 0
    eventually_all([c], proxy, ["latency"])
    eventually_all([a, b], proxy, [])
    assert ctl.main([*command[:-1], "share=2"]) == 1
    assert "share" in capsys.readouterr().err
    a.fleet().remove_fault(proxy, "latency")


def test_an_edit_that_comes_too_late_gets_the_configuration_of_now(fleet, proxy):
    before = fleet[0].fleet().get_config()["revision"]
    fleet[0].fleet().set_mix(proxy, mix="10:delay")
    body = json.dumps({"mix": ""}).encode()
    target = f"http://127.0.0.1:{fleet[1].port}/api/v1/proxies/{proxy}/mix?scope=fleet&revision={before}"
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(urllib.request.Request(target, body, method="PUT"), timeout=60)
    answer = json.loads(raised.value.read())
    assert raised.value.code == 409
    assert answer["config"]["proxies"][0]["mix"][0]["behavior"] == "delay"
    fleet[0].fleet().set_mix(proxy, mix="")


def _written(server, bucket, entries):
    """Have *entries* in *bucket*, as any client of the server can."""

    async def write():
        client = await nats.connect(server.url)
        kv = await client.jetstream().key_value(bucket)
        for key, value in entries.items():
            await (kv.delete(key) if value is None else kv.put(key, value))
        await client.close()

    asyncio.run(write())


def test_an_entry_runs_no_code_and_hides_no_other(server, tmp_path, monkeypatch):
    """One that was written past the nodes, with what no door of a node would have let in."""
    (tmp_path / "of_the_entry.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Fault: pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = b'{"type":"fault","proxy":"api","fault":{"name":"code","behavior":"of_the_entry.Fault"}}'
    wrong = b'{"type":"fault","proxy":"api","fault":{"name":"wrong","behavior":"latency","options":{"latency":[{}]}}}'
    mix = b'{"type":"mix","proxy":"api","mix":{"shares":[{"percent":10,"behavior":"of_the_entry.Fault"}]}}'
    protocol = b'{"type":"proxy","proxy":{"name":"p","listen":{},"backend":{"port":9},"protocol":"of_the_entry.Fault"}}'
    entries = {"fault.api.code": code, "fault.api.wrong": wrong, "mix.api": mix, "proxy.p": protocol}
    with running(f"{server.url}/hostile", "a") as [node]:
        node.fleet().create_proxy(name="api", backend="127.0.0.1:9")
        _written(server, "hostile", entries)
        until(lambda: [one["problems"].keys() for one in node.client.get_fleet()["nodes"]] == [entries.keys()])
        node.fleet().add_fault("api", behavior="freeze", name="good", ttl=600)
        until(lambda: node.faults("api") == ["good"])
        listed = {one["name"]: one["warning"] for one in node.fleet().list_faults("api")}
        assert listed.keys() == {"code", "wrong", "good"}
        assert "--allow-plugin 'of_the_entry.Fault'" in listed["code"]
        for path in (
            "/proxies",
            "/api/v1/proxies/p",
            "/api/v1/proxies/api",
            "/api/v1/config",
            "/protocols",
            "/behavior",
        ):
            asked = urllib.request.Request(f"http://127.0.0.1:{node.port}{path}?scope=fleet")
            with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(asked, timeout=30) as answer:
                answer.read()
        toxics = json.load(urllib.request.urlopen(f"http://127.0.0.1:{node.port}/proxies/api/toxics?scope=fleet"))
        assert {one["name"] for one in toxics} == {"code", "wrong", "good"}
        for name in ("code", "wrong"):
            node.fleet().remove_fault("api", name)
        node.fleet().delete_proxy("p")
        assert not (tmp_path / "ran").exists()


def test_lines_of_others_in_the_audit_trail_hide_none_of_ours(server, fleet, proxy):
    async def publish():
        client = await nats.connect(server.url)
        for line in (b"\xff", b"[1]", b"{" * 1000):
            await client.jetstream().publish("vaurien.doors.audit", line)
        await client.close()

    asyncio.run(publish())
    fleet[1].fleet().add_fault(proxy, behavior="freeze", name="ours", ttl=600)
    changes = fleet[0].client.get_audit()
    assert [one.get("key") for one in changes[-4:]] == [None, None, None, "fault.api.ours"]
    assert all(one["unreadable"] for one in changes[-4:-1])


def test_an_entry_that_the_server_would_not_take_is_refused_and_holds_up_no_audit_trail(fleet, proxy):
    door = fleet[0].fleet()
    with pytest.raises(Refused, match=r"entry 'fault.api.big' has \d+ bytes; expected at most 1044480"):
        door.add_fault(proxy, behavior="replace", name="big", options={"pattern": "x", "by": "y" * 1_045_000})
    door.add_fault(proxy, behavior="replace", name="fits", options={"pattern": "x", "by": "y" * 1_040_000}, ttl=600)
    door.add_fault(proxy, behavior="freeze", name="small", ttl=600)
    assert [one["key"] for one in fleet[1].client.get_audit()[-2:]] == ["fault.api.fits", "fault.api.small"]


@pytest.mark.parametrize("wrong", [["--node", "a\nb"], ["--node", "n" * 201], ["--label", "a=\x1b[31m"]])
def test_names_and_labels_are_text_that_can_be_shown(server, wrong):
    done = subprocess.run([*COMMAND, "--fleet", server.url, *wrong], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "is not valid; expected" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_node_of_a_name_is_refused(server, fleet):
    command = [*COMMAND, "--fleet", f"{server.url}/doors", "--node", "a"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "node 'a' exists already; expected a name that is free" in done.stderr
    assert fleet[0].client.get_fleet()["trouble"] is None


def test_an_unknown_scope_and_a_program_without_a_fleet(fleet):
    with pytest.raises(urllib.error.HTTPError, match="400"):
        _toxiproxy(fleet[0], "GET", "/proxies?scope=galaxy")


def test_without_a_store_a_node_ends_if_it_is_required_and_else_goes_on(server):
    nats_server.program()
    nowhere = f"nats://127.0.0.1:{free_port()}"
    done = subprocess.run(
        [*COMMAND, "--fleet", nowhere, "--node", "x", "--fleet-required"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.startswith("vaurien serve: no NATS with JetStream at nats://127")) == (1, True)
    with running(nowhere, "x") as [node]:
        health = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{node.port}/healthz", timeout=60).read())
        assert health["status"] == "ok"
        assert health["fleet"]
        node.client.create_proxy(name="mine", backend="127.0.0.1:9")
        with pytest.raises(Refused) as raised:
            node.fleet().list_proxies()
        assert raised.value.status == 503


def test_a_store_that_comes_later_is_joined(tmp_path):
    server = nats_server.NatsServer(tmp_path / "js")
    with running(server.url, "x") as [node]:
        server.start()
        try:
            until(lambda: node.client.get_fleet()["trouble"] is None)
            node.fleet().create_proxy(name="api", backend="127.0.0.1:9")
            until(lambda: [one["name"] for one in node.client.list_proxies()] == ["api"])
        finally:
            server.stop()


def test_nothing_outlives_its_time_whatever_is_killed(tmp_path):
    """The node that set the fault, then the server: the rest of the nodes end the fault by their own clocks."""
    with nats_server.running(tmp_path / "js") as server, running(server.url, "a", "b", "c") as nodes:
        a, b, c = nodes
        a.fleet().create_proxy(name="api", backend="127.0.0.1:9")
        until(lambda: all(len(node.client.list_proxies()) == 1 for node in nodes))
        a.fleet().add_fault("api", behavior="freeze", name="short", ttl=3)
        a.fleet().add_fault("api", behavior="freeze", name="long", ttl=600)
        eventually_all(nodes, "api", ["short", "long"])
        a.kill()
        server.kill()
        until(lambda: "away" in (b.client.get_fleet()["trouble"] or ""))
        health = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{b.port}/healthz", timeout=60).read())
        assert (health["status"], "away" in health["fleet"]) == ("ok", True)
        eventually_all([b, c], "api", ["long"])
        server.start()
        until(lambda: b.client.get_fleet()["trouble"] is None and c.client.get_fleet()["trouble"] is None)
        eventually_all([b, c], "api", ["long"])
        again = NodeProcess(server.url, "a").ready()
        try:
            eventually_all([again], "api", ["long"])
            again.fleet().remove_fault("api", "long")
            eventually_all([again, b, c], "api", [])
        finally:
            again.kill()


def test_the_state_file_is_the_stores_work(server):
    command = [*COMMAND, "--fleet", server.url, "--state", "x.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "-state: the store of the fleet keeps its proxies; expected -state or -fleet, not both" in done.stderr


def test_without_a_fleet_nothing_of_it_is_imported():
    command = [sys.executable, "-X", "importtime", *COMMAND[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.terminate()
        _, log = process.communicate(timeout=60)
    imported = {line.rpartition("|")[2].strip() for line in log.splitlines()}
    assert "vaurien.control.app" in imported
    assert not {name for name in imported if name.split(".")[0] == "nats" or name.startswith("vaurien.fleet")}


def test_the_login_of_the_store_is_not_among_the_settings(server):
    url = f"{server.url}/login".replace("://", "://me:s3cret@")
    with running(url, "a") as [node]:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.port}/api/v1/settings", timeout=30) as answer:
            text = answer.read().decode()
        assert json.dumps(f"{server.url}/login") in text
        assert "s3cret" not in text
