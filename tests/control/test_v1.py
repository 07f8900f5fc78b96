from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib
import socket
import time
from types import SimpleNamespace

import msgspec
import pytest

from tests.control.interface import interface
from tests.hubs import COUNTS, config
from tests.running import PATIENCE, Echo, until
from vaurien import __version__, plugins
from vaurien.control import bodies
from vaurien.control.v1 import proxies
from vaurien.model import Address, Fault, ProxyConfig
from vaurien.proxies.hub import Hub


@pytest.fixture
def served(shared_interface):
    shared_interface.hub.tls_files.allow(["/*"])
    yield shared_interface
    shared_interface.hub.tls_files.allow([])
    shared_interface.clear()


@pytest.fixture(scope="module")
def echo():
    with Echo() as echo:
        yield f"127.0.0.1:{echo.address[1]}"


@contextlib.contextmanager
def client(proxy):
    """A client of *proxy* whose connection is there."""
    host, _, port = proxy["address"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as one:
        one.sendall(b"hello")
        assert one.recv(5) == b"hello"
        yield one


def test_health_and_version(served):
    assert served.get("/healthz") == {"status": "ok"}
    assert served.get("/api/v1/version") == {"version": __version__}


def test_a_list_that_is_asked_for_while_a_proxy_ends_has_it_or_not():
    async def play():
        hub = Hub()
        await hub.create(config("a"))
        listing = asyncio.create_task(proxies.list_proxies(SimpleNamespace(hub=hub)))
        ending = asyncio.create_task(hub.delete("a"))
        listed = await listing
        await ending
        return [one["name"] for one in listed["proxies"]]

    assert asyncio.run(play()) in ([], ["a"])


def test_a_proxy_from_its_beginning_to_its_end(served, echo):
    made = served.proxy("web", echo, mix="20:delay")
    assert made["name"] == "web"
    assert made["address"] == made["listen"]
    assert made["mix"] == [{"percent": 20.0, "behavior": "delay", "options": {}}]
    with client(made):
        now = served.get("/api/v1/proxies/web")
        hits = ("mix_hits", "hits", "last_hit")
        assert now | {name: made[name] for name in hits} == {**made, "connections": 1, "accepted": 1}
        assert list(now["mix_hits"]) == ["delay"]  # with several workers the seed's draws are another worker's
    assert [proxy["name"] for proxy in served.get("/api/v1/proxies")["proxies"]] == ["web"]
    assert served.ask("DELETE", "/api/v1/proxies/web").status == 204
    assert served.ask("GET", "/api/v1/proxies/web").status == 404
    with pytest.raises(ConnectionRefusedError):
        client(made).__enter__()


def test_every_field_of_the_model_is_one_of_the_interface():
    fields = {*ProxyConfig.__struct_fields__} - {"policy"} | {"mix", "faults"}
    assert set(bodies.ProxyBody.__struct_fields__) == fields
    assert set(bodies.FaultBody.__struct_fields__) == set(Fault.__struct_fields__)


def test_a_proxy_is_switched_off_and_on_and_keeps_its_port(served, echo):
    made = served.proxy("web", echo)
    off = served.ask("PATCH", "/api/v1/proxies/web", {"enabled": False}).json
    assert (off["enabled"], off["address"]) == (False, made["address"])
    with pytest.raises(ConnectionRefusedError):
        client(made).__enter__()
    assert served.ask("PATCH", "/api/v1/proxies/web", {"enabled": True}).json == made
    with client(made):
        pass


def test_a_proxy_gets_another_backend_and_keeps_its_faults(served, echo):
    served.proxy("web", "127.0.0.1:9", faults=[{"behavior": "delay"}])
    changed = served.ask("PATCH", "/api/v1/proxies/web", {"backend": echo}).json
    assert (changed["backend"], len(changed["faults"])) == (echo, 1)


OTHER = {
    "protocol": "http",
    "protocol_options": {"overwrite_host_header": True},
    "seed": "other",
    "timeout": 1.5,
    "stay_connected": True,
    "drain_timeout": 2.5,
    "backlog": 7,
    "bufsize": 4096,
    "max_connections": 3,
    "pool_max_size": 5,
    "pool_timeout": 2.5,
    "delay_line": 1024,
    "dial_failure": "close",
    "route": ["*.example.test=127.0.0.1:1"],
    "upstream_proxy": None,
    "accept_proxy_protocol": True,
    "send_proxy_protocol": "v2",
    "starttls": False,
    "tls_key": ["key.pem"],
    "tls_passphrase_file": "passphrase",
    "tls_authority": "folder",
    "tls_client_ca": "ca.pem",
    "tls_client_certificate": "optional",
    "tls_min_version": "1.1",
    "tls_max_version": "1.2",
    "tls_ciphers": "DEFAULT",
    "tls_alpn": ["h2"],
    "enabled": False,
    "backend": "localhost:7",
}


def test_every_field_of_a_proxy_can_be_changed(served):
    """One after the other, and what is not named stays; null is the default again."""
    made = served.proxy("web", "127.0.0.1:9", mix="20:delay", faults=[{"behavior": "delay"}])
    assert {*OTHER, "listen", "mix", "faults", "name", "tls"} == set(bodies.ProxyChange.__struct_fields__)
    before = made
    for field, value in OTHER.items():
        if field == "protocol_options":
            continue
        patch = {field: value} if field != "protocol" else {key: OTHER[key] for key in ("protocol", "protocol_options")}
        after = served.ask("PATCH", "/api/v1/proxies/web", patch).json
        assert after == {**before, **patch}
        assert served.get("/api/v1/proxies/web") == after
        before = after
    nothing = dict.fromkeys(field for field in OTHER if field != "backend")
    assert served.ask("PATCH", "/api/v1/proxies/web", nothing).json == {**made, "backend": "localhost:7"}


def test_mix_and_faults_are_changed_under_live_connections(served, echo):
    made = served.proxy("web", echo, faults=[{"behavior": "noop"}])
    with client(made) as one:
        patch = {"mix": "20:delay", "faults": [{"behavior": "noop", "name": "n", "probability": 0.5}]}
        after = served.ask("PATCH", "/api/v1/proxies/web", patch).json
        assert (after["mix"][0]["percent"], after["faults"][0]["name"]) == (20, "n")
        one.sendall(b"again")
        assert one.recv(5) == b"again"
        assert served.ask("PATCH", "/api/v1/proxies/web", {"mix": "", "faults": []}).json == made | {
            "connections": 1,
            "accepted": 1,
            "faults": [],
            "fault_states": {},
        }


def test_a_proxy_tells_what_its_faults_have_done_and_how_long_they_stay(served, echo):
    faults = [
        {"behavior": "noop", "name": "stays"},
        {"behavior": "latency", "name": "leaves", "options": {"latency": 1}, "ttl": 600},
    ]
    made = served.proxy("web", echo, faults=faults)
    assert made["fault_states"]["stays"]["seconds_left"] is None
    assert 0 < made["fault_states"]["leaves"]["seconds_left"] <= 600
    with client(made):
        until(lambda: served.get("/api/v1/proxies/web")["fault_states"]["leaves"]["hits"])
        states = served.get("/api/v1/proxies/web")["fault_states"]
        assert (states["leaves"]["connections_hit"], states["stays"]["hits"]) == (1, 0)
    off = served.ask("PATCH", "/api/v1/proxies/web", {"enabled": False}).json
    assert off["fault_states"]["leaves"]["seconds_left"] is None


def test_another_protocol_begins_with_its_own_options(served):
    served.proxy("web", protocol="http", protocol_options={"overwrite_host_header": True})
    assert served.ask("PATCH", "/api/v1/proxies/web", {"protocol": "redis"}).json["protocol_options"] == {}


def test_a_proxy_of_toxiproxy_s_can_be_changed_here(served):
    """Whatever this interface would not have taken, where that is not what changes."""
    assert served.ask("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": "nope"}).status == 201
    assert served.ask("POST", "/proxies/p/toxics", {"name": "a/b", "type": "noop"}).status == 200
    after = served.ask("PATCH", "/api/v1/proxies/p", {"enabled": False, "timeout": 2}).json
    assert (after["enabled"], after["timeout"], after["backend"]) == (False, 2, "[nope]:0")
    assert served.get("/proxies/p")["upstream"] == "nope"


@pytest.mark.parametrize(
    ("patch", "pointer", "words"),
    [
        ({"name": "other"}, "/name", "a proxy keeps its name; expected 'web', or no name"),
        ({"backend": None}, "/backend", "backend: null is not valid; expected text"),
        ({"listen": "x"}, "/listen", "expected host:port"),
        ({"protocol": "htpt"}, "/protocol", "did you mean 'http'?"),
        ({"protocol_options": {"x": 1}}, "/protocol_options/x", "unknown option"),
        ({"timeout": -1}, "/timeout", "expected a number from 0 to"),
        ({"mix": "120:delay"}, "/mix", "0 to 100 percent"),
        ({"faults": [{"behavior": "dely"}]}, "/faults/0/behavior", "did you mean 'delay'?"),
        ({"address": "x:1"}, "/address", "unknown field"),
    ],
)
def test_a_change_that_cannot_be(served, patch, pointer, words):
    before = served.proxy("web")
    answer = served.ask("PATCH", "/api/v1/proxies/web", {"enabled": False, **patch})
    assert (answer.status, answer.json["error"]["pointer"]) == (400, pointer)
    assert words in answer.json["error"]["message"]
    assert served.get("/api/v1/proxies/web") == before


def test_a_change_is_all_or_nothing_whatever_is_wrong_with_it(served, echo, tmp_path):
    made = served.proxy("web", echo)
    down = {"behavior": "refuse"}
    wrong = [{"listen": "127.0.0.2:0", "faults": [{**down, "probability": 0.5}]}]
    if served.workers > 1:  # several of them cannot close a Unix socket for all
        wrong.append({"listen": f"unix:{tmp_path}/web.sock", "faults": [down]})
    with client(made) as one:
        for patch in wrong:
            assert served.ask("PATCH", "/api/v1/proxies/web", patch).status == 400
            assert served.get("/api/v1/proxies/web") == {**made, "connections": 1, "accepted": 1}
        one.sendall(b"still")
        assert one.recv(5) == b"still"


@pytest.mark.parametrize("workers", COUNTS)
def test_a_proxy_has_the_seed_of_the_program_unless_it_is_given_one(workers):
    with interface(seed="12345", workers=workers) as served:
        assert served.proxy("a")["seed"] == "12345"
        assert served.proxy("b", seed="7")["seed"] == "7"
        body = {"proxies": [{"name": "c", "backend": "h:1"}]}
        assert served.ask("PUT", "/api/v1/config", body).json["proxies"][0]["seed"] == "12345"


def test_a_proxy_that_does_not_run_yet(served):
    assert served.proxy("later", enabled=False)["enabled"] is False


def test_a_list_is_asked_for_while_proxies_come(served):
    async def come():
        for number in range(30):
            config = ProxyConfig(name=f"p{number}", listen=Address("127.0.0.1"), backend=Address("h", 1))
            await served.hub.create(config)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        change = pool.submit(served.run, come())
        while not change.done():
            names = [one["name"] for one in served.get("/api/v1/proxies")["proxies"]]
            assert names == [f"p{number}" for number in range(len(names))]
        change.result()


def test_a_mix_as_text_and_as_shares(served):
    served.proxy("web")
    shares = [{"percent": 20.0, "behavior": "delay", "options": {"sleep": 2}}]
    expected = {"text": "20:delay", "mix": shares}
    assert served.ask("PUT", "/api/v1/proxies/web/mix", {"mix": shares}).json == expected
    assert served.get("/api/v1/proxies/web/mix") == expected
    assert served.ask("PUT", "/api/v1/proxies/web/mix", {"mix": ""}).json == {"text": "", "mix": []}


def test_a_fault_from_its_beginning_to_its_end(served):
    served.proxy("web")
    where = "/api/v1/proxies/web/faults"
    given = {
        "behavior": "delay",
        "options": {"sleep": 2},
        "stream": "upstream",
        "probability": 0.5,
        "scope": "exchange",
    }
    added = served.ask("POST", where, given)
    assert added.status == 201
    assert {name: added.json[name] for name in given} == given
    assert served.get(where) == {"faults": [added.json]}
    changed = served.ask("PATCH", f"{where}/delay", {"options": {"before": False}, "probability": None}).json
    assert changed == {**added.json, "options": {"sleep": 2, "before": False}, "probability": 1.0}
    assert served.get(f"{where}/delay") == changed
    assert served.ask("PATCH", f"{where}/delay", {"options": {"sleep": None}}).json["options"] == {"before": False}
    assert served.ask("DELETE", f"{where}/delay").status == 204
    assert served.get(where) == {"faults": []}


@pytest.mark.parametrize("defaults", [field for field in msgspec.structs.fields(Fault) if not field.required], ids=str)
def test_what_a_fault_is_not_given_has_its_default(served, defaults):
    served.proxy("web")
    added = served.ask("POST", "/api/v1/proxies/web/faults", {"behavior": "delay"}).json
    default = defaults.default if defaults.default is not msgspec.NODEFAULT else defaults.default_factory()
    assert added[defaults.name] == msgspec.to_builtins(default)


def peer(client):
    return "{}:{}".format(*client.getsockname())


def test_a_fault_says_what_it_has_done(served, echo):
    made = served.proxy("web", echo)
    path = "/api/v1/proxies/web/faults"
    new = served.ask("POST", path, {"behavior": "delay", "options": {"sleep": 0.001}, "scope": "exchange"}).json
    figures = ("hits", "connections_hit", "exchanges_hit", "last_hit")
    assert [new[name] for name in figures] == [0, 0, 0, None]
    before = time.time()
    with client(made) as first, client(made):
        for _ in range(3):
            first.sendall(b"again")
            assert first.recv(5) == b"again"
    until(lambda: served.get(f"{path}/delay")["hits"] == 5)
    fault = served.get(f"{path}/delay")
    assert [fault[name] for name in figures[:3]] == [5, 2, 5]
    assert before <= fault["last_hit"] <= time.time()
    assert served.get(path)["faults"] == [fault]
    changed = served.ask("PATCH", f"{path}/delay", {"probability": 0.5}).json
    assert changed == {**fault, "probability": 0.5}
    served.ask("DELETE", f"{path}/delay")
    assert served.ask("POST", path, {"behavior": "delay"}).json["hits"] == 0


def test_a_proxy_says_what_its_mix_has_done(served, echo):
    made = served.proxy("web", echo, mix="100:noop")
    assert served.get("/api/v1/proxies/web")["mix_hits"]["noop"]["hits"] == 0
    delay = {"percent": 100, "behavior": "delay", "options": {"sleep": 0.001}}
    changed = served.ask("PATCH", "/api/v1/proxies/web", {"mix": [delay]})
    assert changed.status == 200, changed
    with client(made) as one:
        one.sendall(b"hello")
        assert one.recv(5) == b"hello"
    until(lambda: served.get("/api/v1/proxies/web")["mix_hits"]["delay"]["exchanges_hit"] == 2)
    now = served.get("/api/v1/proxies/web")
    assert (now["hits"], now["last_hit"]) == (2, now["mix_hits"]["delay"]["last_hit"])
    assert served.get("/api/v1/proxies/web/faults/delay/diagnosis")["cause"] == "acted"
    served.ask("PATCH", "/api/v1/proxies/web", {"mix": ""})
    assert served.get("/api/v1/proxies/web")["mix_hits"] == {}


def test_a_proxy_says_what_requests_have_asked_for(served, echo):
    made = served.proxy("web", echo, protocol="http", protocol_options={"header_faults": True})
    assert made["fault_states"]["header_faults"]["hits"] == 0
    host, _, port = made["address"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nx-envoy-fault-abort-request: 418\r\n\r\n")
        assert one.recv(12) == b"HTTP/1.1 418"
    until(lambda: served.get("/api/v1/proxies/web")["fault_states"]["header_faults"]["hits"] == 1)
    changed = served.ask(
        "PATCH", "/api/v1/proxies/web", {"mix": "1:delay"}
    ).json  # which keeps hits of faults that stay
    assert (changed["fault_states"]["header_faults"]["hits"], changed["hits"]) == (1, 1)


def test_presets_are_listed_and_added(served, echo):
    listed = {one["name"]: one for one in served.get("/api/v1/presets")["presets"]}
    assert listed["redis.loading"]["protocols"] == ["redis"]
    assert listed["redis.loading"]["faults"] == ["error name=redis.loading scope=exchange code=LOADING"]
    assert listed["brown-out"]["schedule"]
    served.proxy("web", echo, protocol="redis")
    path = "/api/v1/proxies/web/presets"
    added = served.ask("POST", path, {"preset": "redis.loading:0.25"})
    assert added.status == 201
    assert [(one["name"], one["probability"], one["hits"]) for one in added.json["faults"]] == [
        ("redis.loading", 0.25, 0)
    ]
    assert served.ask("POST", path, {"preset": "redis.loading"}).status == 409
    for wrong in ("smtp.greylisting", "brown-out", "nothing", "redis.loading:2"):
        assert served.ask("POST", path, {"preset": wrong}).json["error"]["pointer"] == "/preset"


def test_a_new_proxy_of_an_old_name_has_no_hits(served, echo):
    fault = {"behavior": "noop", "name": "f"}
    for _ in range(2):
        made = served.proxy("web", echo, faults=[fault])
        assert served.get("/api/v1/proxies/web/faults/f")["connections_hit"] == 0
        with client(made):
            pass
        served.ask("POST", "/api/v1/proxies/web/faults", {"behavior": "delay", "options": {"sleep": 0.001}})
        with client(made):
            until(lambda: served.get("/api/v1/proxies/web/faults/delay")["connections_hit"] == 1)
        served.ask("DELETE", "/api/v1/proxies/web")


def test_connections_are_seen_closed_and_reset(served, echo):
    made = served.proxy("web", echo, faults=[{"name": "slow", "behavior": "delay", "options": {"sleep": 0.001}}])
    where = "/api/v1/proxies/web/connections"
    with client(made) as first, client(made) as second:
        seen = sorted(served.get(where)["connections"], key=lambda one: one["peer"] != peer(first))
        one, other = [one["number"] for one in seen]
        assert (one, other) == (1, 2) if served.workers == 1 else one != other
        assert seen[0]["peer"] == peer(first)
        assert (seen[0]["sent"], seen[0]["received"], seen[0]["faults"]) == (5, 5, ["slow"])
        assert seen[0]["age"] >= 0
        assert served.get(f"{where}/{other}")["number"] == other
        assert served.ask("DELETE", f"{where}/{one}").status == 204
        assert first.recv(1) == b""
        assert served.ask("POST", f"{where}/{other}/reset").status == 204
        with pytest.raises(ConnectionResetError):
            second.recv(1)
    until(lambda: served.ask("DELETE", f"{where}/{one}").status == 404)  # it is known until its sockets are closed


def test_a_configuration_comes_back_as_it_was(served, echo):
    slow = {"behavior": "delay", "options": {"sleep": 0.001}}
    made = served.proxy("web", echo, mix="20:dummy,10:dummy", faults=[slow], timeout=5)
    served.proxy("db", enabled=False, max_connections=3)
    kept = served.get("/api/v1/config")
    with client(made) as one:
        assert served.ask("PUT", "/api/v1/config", kept).json == kept
        one.sendall(b"still")
        assert one.recv(5) == b"still"
    served.clear()
    assert served.ask("PUT", "/api/v1/config", kept).json["proxies"] == kept["proxies"]


@pytest.mark.parametrize(
    "upstream",
    ["nope", "nope:0", "[::1]", "[x", "a:b:c", "http://x:80", " x", "x:99999", "a\nb", "x y:1", "x" * 64 + ":1"],
)
@pytest.mark.parametrize("name", ["a/b", "\u00fc \U0001f600", "x" * 10_000, "line\nbreak", "...", "%2F", '"'])
def test_a_configuration_has_whatever_toxiproxy_s_interface_takes(served, name, upstream):
    off = {"name": name, "listen": "no such host:1", "upstream": upstream, "enabled": False}
    on = {"name": f"{name} on", "listen": "127.0.0.1:0", "upstream": upstream}
    toxics = [{"type": "noop", "name": name}]
    assert served.ask("POST", "/populate", [{**one, "toxics": toxics} for one in (off, on)]).status == 201
    before, kept = served.get("/proxies"), served.get("/api/v1/config")
    assert before[name]["upstream"] == upstream
    for _ in range(2):
        assert served.ask("PUT", "/api/v1/config", kept).json["proxies"] == kept["proxies"]
        assert served.get("/proxies") == before
        served.clear()


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_no_path_can_hold_is_refused(served, name):
    proxy, toxic = {"name": name, "upstream": "x:1"}, {"name": name, "type": "noop"}
    for refused in (proxy, {"name": "web", "upstream": "x:1", "toxics": [toxic]}):
        assert served.ask("POST", "/populate", [refused]).status == 400
    assert served.get("/proxies") == {}


def test_a_name_with_a_line_break_is_a_name(served):
    assert served.ask("POST", "/proxies", {"name": "a\nb", "upstream": "x:1", "listen": "127.0.0.1:0"}).status == 201
    assert served.get("/proxies/a%0Ab")["name"] == "a\nb"
    assert served.get("/api/v1/proxies/a%0Ab")["name"] == "a\nb"
    assert served.ask("DELETE", "/proxies/a%0Ab").status == 204


def test_a_configuration_comes_back_from_its_text(served, echo):
    fault = {"name": "slow", "behavior": "latency", "options": {"latency": 5}, "probability": 0.5, "ttl": 600}
    served.proxy("web", echo, protocol="http", mix="20:delay", faults=[fault], timeout=3)
    served.proxy("off", echo, enabled=False)
    before = served.get("/api/v1/config")["proxies"]
    text = served.get("/api/v1/config/text")
    assert text["ini"].startswith("[vaurien]\nname = web\n")
    web, off = text["toxiproxy"]
    toxic = {"name": "slow", "type": "latency", "stream": "downstream", "toxicity": 0.5}
    assert web["toxics"] == [{**toxic, "attributes": {"latency": 5, "jitter": 0}}]
    assert (off["upstream"], off["enabled"]) == (echo, False)
    served.clear()
    read = served.ask("POST", "/api/v1/config/text", {"toml": text["toml"]})
    assert read.status == 200
    assert served.get("/api/v1/config")["proxies"] == []
    assert served.ask("PUT", "/api/v1/config", read.json).status == 200
    assert served.get("/api/v1/config")["proxies"] == before


def test_without_a_proxy_there_are_texts_too(served):
    assert served.get("/api/v1/config/text") == {"toml": "", "ini": "[vaurien]\n", "toxiproxy": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[proxy", "the text: not valid TOML: "),
        ('[[proxy]]\nname = "$' + '{PATH}"', "would be a variable of the environment; expected its value"),
        ('[[proxy]]\nname = "a"\nfault = "antigravity.Fault"', "'antigravity.Fault' cannot be used"),
    ],
)
def test_a_text_that_cannot_be_read(served, text, message):
    answer = served.ask("POST", "/api/v1/config/text", {"toml": text})
    assert answer.status == 400
    assert answer.json["error"]["pointer"] == "/toml"
    assert message in answer.json["error"]["message"]


def test_a_configuration_takes_away_what_it_does_not_name(served):
    served.proxy("web")
    assert served.ask("PUT", "/api/v1/config", {"proxies": []}).json["proxies"] == []
    assert served.get("/api/v1/proxies")["proxies"] == []


def test_reset_takes_faults_away_and_switches_on(served):
    served.proxy("web", mix="20:delay", faults=[{"behavior": "delay"}])
    served.proxy("off", enabled=False)
    assert served.ask("POST", "/api/v1/reset").status == 204
    web, off = served.get("/api/v1/proxies")["proxies"]
    assert (web["mix"], web["faults"], off["enabled"]) == ([], [], True)


@pytest.mark.parametrize("kind", ["behavior", "protocol"])
def test_what_there_is_to_choose_from(served, kind):
    found = served.get(f"/api/v1/{kind}s")[f"{kind}s"]
    assert set(plugins.names(kind)) <= {one["name"] for one in found}
    for one in found:
        assert one == served.get(f"/api/v1/{kind}s/{one['name']}")
        declared = plugins.find(one["name"], one["kind"]).declarations
        assert list(one["options"]["properties"]) == [option.name for option in declared]
        assert one["summary"]


def test_the_schema_of_an_option_has_its_bounds(served):
    options = served.get("/api/v1/behaviors/delay")["options"]
    sleep = options["properties"]["sleep"]
    assert (sleep["type"], sleep["minimum"], sleep["default"]) == ("number", 0, 1.0)
    assert "500ms" in sleep["description"]
    assert options["additionalProperties"] is False


def test_head_is_get_without_the_body(served):
    answer = served.ask("HEAD", "/api/v1/version")
    assert (answer.status, answer.body) == (200, b"")


def test_a_name_with_spaces_and_signs(served):
    served.proxy("a b?#%")
    assert served.get("/api/v1/proxies/a%20b%3F%23%25")["name"] == "a b?#%"


def test_an_internal_error_is_not_shown(monkeypatch):
    def broken(*_):
        raise RuntimeError("secret")

    with interface() as served:
        monkeypatch.setattr(served.hub, "get", broken)
        answer = served.ask("GET", "/api/v1/proxies/p")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/json")
    assert "internal error" in answer.json["error"]["message"]
    assert b"secret" not in answer.body


def test_a_configuration_of_which_one_cannot_have_its_address(served):
    old = served.proxy("old")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        wanted = [{"name": "old", "backend": "h:1", "listen": listen}, {"name": "new", "backend": "h:2"}]
        answer = served.ask("PUT", "/api/v1/config", {"proxies": wanted})
    assert answer.status == 409
    assert listen in answer.json["error"]["message"]
    assert served.get("/api/v1/proxies/old")["address"] == old["address"]
    assert served.get("/api/v1/proxies/new")["enabled"] is True


def test_a_proxy_that_differs_says_why_and_is_tried_again(served, echo):
    made = served.proxy("other", echo)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        config = {"proxies": [{"name": "web", "listen": listen, "backend": echo}, {"name": "other", "backend": echo}]}
        refused = served.ask("PUT", "/api/v1/config", config)
        assert (refused.status, "already in use" in refused.json["error"]["message"]) == (409, True)
        web = served.get("/api/v1/proxies/web")
        assert (web["enabled"], web["listen"]) == (True, listen)
        assert web["differs"] == f"cannot listen on {listen}: Address already in use"
        assert [proxy["name"] for proxy in served.get("/api/v1/config")["proxies"]] == ["other", "web"]
        assert served.ask("POST", "/api/v1/proxies/web/faults", {"behavior": "noop"}).status == 201
        assert served.ask("PATCH", "/api/v1/proxies/web", {}).status == 409
    assert served.ask("PUT", "/api/v1/proxies/other/mix", {"mix": ""}).status == 200
    web = served.get("/api/v1/proxies/web")
    assert (web["differs"], [fault["name"] for fault in web["faults"]]) == (None, ["noop"])
    with client(web):
        pass
    assert made["differs"] is None


def test_an_edit_of_an_older_revision_is_refused_with_the_current_configuration(served, echo):
    served.proxy("web", echo)
    revision = served.get("/api/v1/config")["revision"]
    path, fault = "/api/v1/proxies/web", {"behavior": "noop"}
    assert served.ask("POST", f"{path}/faults?revision={revision}", fault).status == 201
    edits = [
        ("PUT", "/api/v1/config", {"proxies": []}),
        ("POST", "/api/v1/proxies", {"name": "new", "backend": echo}),
        ("PATCH", path, {"enabled": False}),
        ("DELETE", path, None),
        ("PUT", f"{path}/mix", {"mix": "20:delay"}),
        ("POST", f"{path}/faults", {"behavior": "delay"}),
        ("PATCH", f"{path}/faults/noop", {"probability": 0.5}),
        ("DELETE", f"{path}/faults/noop", None),
    ]
    current = served.get("/api/v1/config")
    for method, where, body in edits:
        refused = served.ask(method, f"{where}?revision={revision}", body)
        assert (refused.status, refused.json["config"]) == (409, current)
        assert f"has revision {current['revision']} now, not {revision}" in refused.json["error"]["message"]
        assert served.ask(method, f"{where}?revision=x", body).status == 400
    assert served.get("/api/v1/config") == current
    for method, where, body in edits[2:]:
        revision = served.get("/api/v1/config")["revision"]
        if method != "DELETE" or where != path:
            assert served.ask(method, f"{where}?revision={revision}", body).status in (200, 201, 204)


def test_a_unix_socket_is_of_its_user_alone(tmp_path):
    path = tmp_path / "api.sock"
    with interface(f"unix:{path}"):
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(PATIENCE)
            one.connect(str(path))
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.1 200")
    assert not path.exists()


def test_why_a_fault_has_not_hit(served, echo):
    made = served.proxy("web", echo)
    path = "/api/v1/proxies/web/faults"
    served.ask("POST", path, {"behavior": "hang", "probability": 1e-9, "scope": "exchange"})
    idle = served.ask("POST", path, {"behavior": "latency"}).json
    assert idle["warning"] == "latency and jitter are 0"
    found = served.get(f"{path}/hang/diagnosis")
    assert (found["cause"], found["hits"], found["connections"]) == ("no_connection", 0, 0)
    with client(made):
        until(lambda: served.get(f"{path}/hang/diagnosis")["cause"] == "spared")
    assert served.get(f"{path}/hang/diagnosis")["connections"] == 1
    assert served.get(f"{path}/latency/diagnosis")["cause"] == "without_effect"
    assert served.ask("GET", f"{path}/nope/diagnosis").status == 404


def test_why_the_mix_has_not_hit(served, echo):
    made = served.proxy("web", echo, mix="0.000001:delay")
    path = "/api/v1/proxies/web/faults/delay/diagnosis"
    assert served.get(path)["cause"] == "no_connection"
    with client(made) as one:
        one.sendall(b"hello")
        assert one.recv(5) == b"hello"
        until(lambda: served.get(path)["cause"] == "spared")
    found = served.get(path)
    assert (found["fault"], found["hits"], found["connections"], found["spared"]) == ("delay", 0, 1, found["exchanges"])


def test_why_a_fault_has_not_hit_a_client_of_plain_text(served, tmp_path):
    pytest.importorskip("cryptography")
    importlib.import_module("vaurien.tls.authority").Authority.create().save(tmp_path)
    made = served.proxy("web", tls=["auto"], tls_authority=str(tmp_path))
    served.ask("POST", "/api/v1/proxies/web/faults", {"behavior": "hang"})
    host, _, port = made["address"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as one:
        one.sendall(b"EHLO x\r\n")
        assert one.recv(1) == b""
    found = served.get("/api/v1/proxies/web/faults/hang/diagnosis")
    assert (found["cause"], found["connections"], found["without_tls"]) == ("not_tls", 1, 1)


def test_a_proxy_on_the_address_of_one_that_is_off(served):
    address = served.proxy("one")["address"]
    assert served.ask("PATCH", "/api/v1/proxies/one", {"enabled": False}).json["warning"] is None
    warning = "proxy 'one', which is switched off, has this address too: only one of them can be on"
    assert served.proxy("two", listen=address)["warning"] == warning
    shown = {one["name"]: one["warning"] for one in served.get("/api/v1/proxies")["proxies"]}
    assert shown == {"one": "proxy 'two' has this address too: only one of them can be on", "two": warning}
    answer = served.ask("PATCH", "/api/v1/proxies/one", {"enabled": True})
    assert (answer.status, answer.json["error"]["pointer"]) == (409, "/listen")
    assert answer.json["error"]["message"].endswith("Address already in use (by proxy 'two')")
    assert served.ask("DELETE", "/api/v1/proxies/two").status == 204
    assert served.ask("PATCH", "/api/v1/proxies/one", {"enabled": True}).json["warning"] is None


def test_behaviors_are_listed_that_suit_a_protocol(served):
    def names(query):
        return {one["name"] for one in served.get(f"/api/v1/behaviors{query}")["behaviors"]}

    assert names("") - names("?protocol=tcp") >= {"http_status", "http_headers"}
    assert names("?protocol=http") >= {"http_status", "latency"}
    assert served.ask("GET", "/api/v1/behaviors?protocol=none").status == 404
    assert "path" in served.get("/api/v1/protocols/http")["fields"]


def test_the_faults_of_a_preset_can_be_sent_as_they_are_listed(served):
    served.proxy("web")
    [preset] = [one for one in served.get("/api/v1/presets")["presets"] if one["name"] == "3g"]
    assert len(preset["fault_bodies"]) == len(preset["faults"])
    changed = served.ask("PATCH", "/api/v1/proxies/web", {"faults": preset["fault_bodies"]}).json
    assert [one["name"] for one in changed["faults"]] == [one["name"] for one in preset["fault_bodies"]]


def test_one_condition_of_a_match_is_taken_away(served):
    fault = {"behavior": "noop", "name": "f", "match": {"client": "10.0.0.1"}}
    served.proxy("web", faults=[fault])
    path = "/api/v1/proxies/web/faults/f"
    assert served.ask("PATCH", path, {"match": {"client": None}}).json["match"] == {}
    refused = served.ask("PATCH", path, {"match": {"client": 5}})
    assert (refused.status, refused.json["error"]["pointer"]) == (400, "/match/client")
