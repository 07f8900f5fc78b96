"""Toxiproxy's public clients, as their users have them, against our interface, with a Redis behind it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time

import pytest

from tests.control.conftest import serving
from tests.hubs import COUNTS
from tests.running import PATIENCE, read
from vaurien.control.toxiproxy import app as toxiproxy
from vaurien.engine.loop.clock import SLACK

LATE = 0.15
"""Seconds that the latency toxic adds in these tests: well above what a machine under load adds."""


@pytest.fixture(scope="module", params=COUNTS)
def _api(request):
    with serving(toxiproxy.router, workers=request.param) as api:
        yield api


@pytest.fixture
def api(_api):
    """The interface without any proxy."""
    yield _api
    for name in list(_api.hub.proxies):
        _api.run(_api.hub.delete(name))


@pytest.fixture
def redis(redis_server):
    return f"127.0.0.1:{redis_server.port}"


def connect(listen):
    host, _, port = listen.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE)


def round_trip(client):
    """Seconds that Redis takes to answer."""
    began = time.monotonic()
    client.sendall(b"PING\r\n")
    assert read(client, 7) == b"+PONG\r\n"
    return time.monotonic() - began


def refused(listen):
    try:
        connect(listen).close()
    except ConnectionRefusedError:
        return True
    return False


def test_python(api, redis):
    client = pytest.importorskip("toxiproxy", reason="toxiproxy-python is not installed")
    server = client.Toxiproxy()
    server.update_api_consumer(*api.address)
    assert server.running()
    assert b"2.13.0" in server.version()
    proxy = server.create(name="p", upstream=redis)
    with pytest.raises(client.exceptions.ProxyExists):
        client.api.APIConsumer.post("/proxies", json={"name": "p", "upstream": redis})
    with connect(proxy.listen) as one:
        round_trip(one)
        proxy.add_toxic(type="latency", attributes={"latency": int(LATE * 1000)})
        assert round_trip(one) >= LATE - SLACK
        toxic = proxy.get_toxic("latency_downstream")
        assert (toxic.type, toxic.stream, toxic.toxicity) == ("latency", "downstream", 1)
        proxy.destroy_toxic("latency_downstream")
        assert proxy.toxics() == {}
        with proxy.down():
            assert refused(proxy.listen)
            assert one.recv(1) == b""
    assert not refused(proxy.listen)
    with pytest.raises(client.exceptions.InvalidToxic):
        proxy.add_toxic(type="nope")
    with pytest.raises(client.exceptions.NotFound):
        proxy.destroy_toxic("nope")
    server.populate([{"name": name, "upstream": redis, "listen": "127.0.0.1:0"} for name in ("q", "r")])
    assert sorted(server.proxies()) == ["p", "q", "r"]
    proxy.disable()
    proxy.add_toxic(type="bandwidth", attributes={"rate": 0}, stream="upstream")
    assert server.reset()
    assert proxy.toxics() == {}
    assert server.get_proxy("p").enabled
    server.destroy_all()
    assert server.proxies() == {}


def test_chaos_toolkit(api, redis, monkeypatch):
    proxies = pytest.importorskip("chaostoxi.proxy.actions", reason="chaostoolkit-toxiproxy is not installed")
    monkeypatch.setattr(proxies, "environ", {})  # it would leave the proxy's port in the process's
    from chaostoxi.proxy import probes
    from chaostoxi.toxic import actions as toxics

    host, port = redis.split(":")
    configuration = {"toxiproxy_host": api.address[0], "toxiproxy_port": api.address[1]}
    where = {"configuration": configuration}
    assert proxies.create_proxy("p", host, int(port), **where)
    listen = f"127.0.0.1:{configuration['p_PORT']}"
    with connect(listen) as one:
        round_trip(one)
        assert toxics.create_latency_toxic("p", "slow", int(LATE * 1000), **where)
        assert round_trip(one) >= LATE - SLACK
        toxics.delete_toxic("p", "slow", **where)
        proxies.disable_proxy("p", **where)
        assert refused(listen)
        assert one.recv(1) == b""
    proxies.enable_proxy("p", **where)
    assert probes.proxy_exist("p", **where)
    assert toxics.create_slicer_toxic("p", "cut", 2, 1, 0, **where)
    assert toxics.create_timeout_toxic("p", "silent", 0, **where)
    assert toxics.create_limiter_toxic("p", "short", 3, **where)
    assert toxics.create_bandwith_degradation_toxic("p", "narrow", 1, **where)
    assert toxics.create_slow_connection_close_toxic("p", "late", 1, **where)
    proxies.reset(**where)
    assert api("GET", "/proxies/p/toxics").json() == []
    proxies.delete_proxy("p", **where)
    assert not probes.proxy_exist("p", **where)


NODE = """
const { Toxiproxy } = require("toxiproxy-node-client");
const net = require("node:net");
const [base, upstream, late] = process.argv.slice(2);
const expect = (fact, what) => { if (!fact) throw new Error(what); };
const dial = (listen) => new Promise((resolve, reject) => {
    const socket = net.connect(Number(listen.split(":").pop()), "127.0.0.1", () => resolve(socket));
    socket.on("error", reject);
});
const ask = (socket) => new Promise((resolve) => {
    const began = performance.now();
    socket.once("data", () => resolve(performance.now() - began));
    socket.write("PING\\r\\n");
});
const refused = (listen) => dial(listen).then((socket) => { socket.destroy(); return false; }, () => true);

(async () => {
    const server = new Toxiproxy(base);
    expect((await server.getVersion()).includes("2.13.0"), "version");
    const proxy = await server.createProxy({ name: "p", listen: "127.0.0.1:0", upstream });
    const socket = await dial(proxy.listen);
    await ask(socket);
    const toxic = await proxy.addToxic({
        name: "slow", type: "latency", stream: "downstream", toxicity: 1,
        attributes: { latency: Number(late), jitter: 0 },
    });
    expect(await ask(socket) >= Number(late), "late");
    await toxic.update({ attributes: { latency: 0, jitter: 0 } });
    expect((await proxy.getToxic("slow")).attributes.latency === 0, "updated");
    await toxic.remove();
    const slicer = await proxy.addToxic({
        name: "sliced", type: "slicer", stream: "downstream", toxicity: 1,
        attributes: { average_size: 4, size_variation: 4, delay: 0 },
    });
    await ask(socket);
    await slicer.remove();
    const closed = new Promise((resolve) => socket.once("close", resolve));
    await proxy.update({ enabled: false, listen: proxy.listen, upstream });
    await closed;
    expect(await refused(proxy.listen), "refused");
    const others = await server.populate([
        { name: "q", listen: "127.0.0.1:0", upstream }, { name: "r", listen: "127.0.0.1:0", upstream },
    ]);
    expect(Object.keys(others).join() === "q,r", "populated");
    await server.reset();
    expect(!(await refused(proxy.listen)), "reset");
    await others.q.remove();
    expect(Object.keys(await server.getAll()).sort().join() === "p,r", "all");
    await server.createProxy({ name: "p", listen: "", upstream }).then(
        () => { throw new Error("created twice"); },
        (error) => expect(String(error.message).includes("409"), error),
    );
    console.log("fine");
    process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory):
    """A folder with the client from npm in it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    command = [npm, "install", "--no-audit", "--no-fund", "toxiproxy-node-client@4"]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not get the client within 100 seconds")
    if result.returncode != 0:
        pytest.skip(f"npm cannot install the client: {result.stderr.strip()[-200:]}")
    (folder / "test.js").write_text(NODE)
    return folder


def test_node(api, redis, node_folder):
    command = ["node", "test.js", f"http://127.0.0.1:{api.address[1]}", redis, str(int(LATE * 1000))]
    result = subprocess.run(command, cwd=node_folder, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "fine\n"), result.stderr
    assert json.loads(api("GET", "/proxies").body).keys() == {"p", "r"}
