"""Toxiproxy's contract, row by row, on the wire."""

from __future__ import annotations

import json
import re
import socket

import pytest

from tests.control.conftest import page, serving, where
from tests.hubs import COUNTS, adding
from tests.running import PATIENCE, read
from vaurien.control import responses
from vaurien.control.toxiproxy import app as toxiproxy
from vaurien.model import Fault, Scope, Stream

PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"
ROUTES = [
    ("GET", "/version"),
    ("POST", "/reset"),
    ("POST", "/populate"),
    ("GET", "/proxies"),
    ("POST", "/proxies"),
    ("GET", "/proxies/p"),
    ("POST", "/proxies/p"),
    ("PATCH", "/proxies/p"),
    ("DELETE", "/proxies/p"),
    ("GET", "/proxies/p/toxics"),
    ("POST", "/proxies/p/toxics"),
    ("GET", "/proxies/p/toxics/t"),
    ("POST", "/proxies/p/toxics/t"),
    ("PATCH", "/proxies/p/toxics/t"),
    ("DELETE", "/proxies/p/toxics/t"),
]


def failed(answer, status, message, media=PLAIN):
    """Assert that *answer* is this error, to the byte."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == media
    assert answer.body == toxiproxy.go_json.encode({"error": message, "status": status}) + b"\n"


@pytest.fixture
def p(api, echo):
    """A proxy called p; its address."""
    return api.proxy(echo)


@pytest.fixture
def t(api, p):
    """A toxic called t on p."""
    answer = api("POST", "/proxies/p/toxics", {"name": "t", "type": "latency", "attributes": {"latency": 5}})
    assert answer.status == 200


# Across all routes.


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_matched_route_answers_with_an_id(api, method, path):
    ids = {api(method, path).headers["x-toxiproxy-request-id"] for _ in range(2)}
    assert all(re.fullmatch(r"[a-z0-9]{20}", one) for one in ids)
    assert len(ids) == 2


@pytest.mark.parametrize(
    "path",
    ["/", "/nope", "/proxies/", "/version/", "/proxies/p/", "/proxies/p/toxics/", "/proxies/p/toxics/t/u", "/Proxies",
     "/metrics", "/proxies/a%2Fb"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path(api, method, path):
    answer = api(method, path)
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert answer.headers["content-type"] == PLAIN
    assert "x-toxiproxy-request-id" not in answer.headers


@pytest.mark.parametrize("path", dict.fromkeys(path for _, path in ROUTES))
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_wrong_method(api, method, path):
    if (method, path) in ROUTES:
        return
    answer = api(method, path)
    assert (answer.status, answer.body) == (405, b"")
    assert "x-toxiproxy-request-id" not in answer.headers


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_browsers_are_not_allowed(api, method, path):
    answer = api(method, path, User_Agent="Mozilla/5.0 (X11)")
    assert (answer.status, answer.body) == (403, b"User agent not allowed\n")
    assert answer.headers["content-type"] == PLAIN


def test_other_agents_are_allowed(api):
    assert api("GET", "/version", User_Agent="x Mozilla/5.0").status == 200


def test_the_content_type_of_a_request_does_not_matter(api, echo):
    body = {"name": "p", "listen": "127.0.0.1:0", "upstream": echo}
    assert api("POST", "/proxies", body, Content_Type="text/xml").status == 201


WITH_BODY = [(method, path) for method, path in ROUTES if method in ("POST", "PATCH") and path != "/reset"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "EOF"),
        (b"{", "unexpected EOF"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"\xef\xbb\xbf{}", "invalid character '\u00ef' looking for beginning of value"),
        (b"3", None),
    ],
)
@pytest.mark.parametrize(("method", "path"), WITH_BODY)
@pytest.mark.usefixtures("t")
def test_a_bad_body(api, method, path, body, message):
    answer = api(method, path, body)
    assert answer.status == 400
    error = answer.json()["error"]
    if message is None:
        assert error.startswith("bad request body: json: cannot unmarshal number into Go value of type ")
    else:
        assert error == f"bad request body: {message}"
    assert answer.headers["content-type"] == (JSON if path == "/populate" else PLAIN)


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(api):
    head = f"POST /proxies HTTP/1.1\r\nHost: localhost\r\nContent-Length: {responses.BODY_LIMIT + 1}\r\n\r\n"
    with socket.create_connection(api.address, timeout=PATIENCE) as client:
        client.sendall(head.encode())
        assert client.recv(12) == b"HTTP/1.1 413"


@pytest.mark.parametrize(
    "body", [b"[" + b"1," * 20_000 + b"1]", b"[" + b"{}" * 20_001, b"[" * 100_000, b'"' + b"\\ud800" * 20_001]
)
def test_a_body_that_would_take_long_to_read_is_refused(api, body):
    assert len(body) < responses.BODY_LIMIT
    answer = api("POST", "/populate", body)
    assert answer.status == 413
    assert b"bad request body: it has more than 20000 values and escapes" in answer.body


def test_a_body_of_a_thousand_proxies_is_read(api):
    proxy = {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9", "enabled": False, "toxics": []}
    many = [{**proxy, "name": f"p{number}"} for number in range(1000)]
    assert api("POST", "/populate", json.dumps(many).encode()).status == 201


@pytest.mark.parametrize("path", ["/proxies/q", "/proxies/q/toxics", "/proxies/q/toxics/t"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.usefixtures("t")
def test_a_proxy_that_is_not_there(api, method, path):
    """It is looked for before the body is read."""
    if (method, path.replace("q", "p")) in ROUTES:
        failed(api(method, path, b"nope" if method in ("POST", "PATCH") else None), 404, "proxy not found")


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.usefixtures("t")
def test_a_toxic_that_is_not_there(api, method):
    failed(api(method, "/proxies/p/toxics/u"), 404, "toxic not found")


# Proxies.


def test_version(api):
    answer = api("GET", "/version")
    assert (answer.status, answer.body) == (200, b'{"version": "2.13.0"}\n')
    assert answer.headers["content-type"] == "application/json;charset=utf-8"


@pytest.mark.parametrize("workers", COUNTS)
def test_metrics_with_a_flag(workers):
    with serving(lambda hub: toxiproxy.router(hub, metrics=page(b"figures\n")), workers=workers) as api:
        answer = api("GET", "/metrics")
        assert (answer.status, answer.body) == (200, b"figures\n")
        assert api("POST", "/metrics", b"x").body == b"figures\n"
        assert api("HEAD", "/metrics").status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_a_proxy_is_created(api, echo):
    answer = api("POST", "/proxies", {"name": "p", "listen": "localhost:0", "upstream": echo})
    assert answer.status == 201
    assert answer.headers["content-type"] == JSON
    port = where(answer.json()["listen"])[1]
    assert port != 0
    expected = (
        f'{{"name":"p","listen":"127.0.0.1:{port}","upstream":"{echo}","enabled":true,"Logger":{{}},"toxics":[]}}'
    )
    assert answer.body == expected.encode()
    with api.connect() as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"


def test_listen_may_be_missing(api, echo):
    for name, given in (("a", {}), ("b", {"listen": ""}), ("c", {"listen": None}), ("d", {"listen": "0.0.0.0:0"})):
        answer = api("POST", "/proxies", {"name": name, "upstream": echo, **given})
        assert re.fullmatch(r"\[::\]:[1-9]\d+", answer.json()["listen"])
        for host in ("127.0.0.1", "127.0.0.5"):
            socket.create_connection((host, where(answer.json()["listen"])[1]), timeout=PATIENCE).close()


@pytest.mark.parametrize("listen", ["localhost:45001", "0.0.0.0:45001", ":45001", "127.0.0.1:0"])
def test_a_disabled_proxy_shows_its_address_as_given(api, echo, listen):
    answer = api("POST", "/proxies", {"name": "p", "listen": listen, "upstream": echo, "enabled": False})
    assert answer.status == 201
    assert answer.json()["listen"] == listen
    assert answer.json()["enabled"] is False


def test_a_wildcard_is_shown_as_such_once_it_is_enabled(api, echo):
    api("POST", "/proxies", {"name": "p", "listen": "0.0.0.0:0", "upstream": echo, "enabled": False})
    assert re.fullmatch(r"\[::\]:[1-9]\d+", api("PATCH", "/proxies/p", {"enabled": True}).json()["listen"])


@pytest.mark.usefixtures("p")
def test_the_order_of_checks_for_a_proxy(api):
    bad = {"listen": "nope"}
    failed(api("POST", "/proxies", {"upstream": "", "name": "", **bad}), 400, "missing required field: name")
    failed(api("POST", "/proxies", {"upstream": "", "name": "p"} | bad), 400, "missing required field: upstream")
    failed(api("POST", "/proxies", {"upstream": "x:1", "name": "p"} | bad), 409, "proxy already exists")


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("nope", "listen tcp: address nope: missing port in address"),
        ("[::1]", "listen tcp: address [::1]: missing port in address"),
        ("::1:80", "listen tcp: address ::1:80: too many colons in address"),
        ("127.0.0.1:70000", "listen tcp: address 70000: invalid port"),
        ("127.0.0.1:nope", "listen tcp: lookup tcp/nope: unknown port"),
        ("no.such.host.invalid:0", "listen tcp: lookup no.such.host.invalid: no such host"),
        ("192.0.2.1:4000", "listen tcp 192.0.2.1:4000: bind: cannot assign requested address"),
    ],
)
def test_an_address_that_cannot_be_had(api, listen, message):
    failed(api("POST", "/proxies", {"name": "p", "listen": listen, "upstream": "x:1"}), 500, message)
    assert api("GET", "/proxies").body == b"{}"


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("bad", "address bad: missing port in address"),
        ("127.0.0.1:70000", "address 70000: invalid port"),
        ("127.0.0.1:nope", "lookup tcp/nope: unknown port"),
        ("no.such.host.invalid:1", "lookup no.such.host.invalid: no such host"),
        ("192.0.2.1:4000", "listen tcp 192.0.2.1:4000: bind: cannot assign requested address"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_update_to_an_address_that_cannot_be_had(api, p, method, listen, message):
    failed(api(method, "/proxies/p", {"listen": listen}), 500, message)
    assert where(api("GET", "/proxies/p").json()["listen"]) == p


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_address_in_use(api, p, host):
    body = {"name": "q", "listen": f"{host}:{p[1]}", "upstream": "x:1"}
    message = f"listen tcp 127.0.0.1:{p[1]}: bind: address already in use"
    failed(api("POST", "/proxies", body), 500, message)


def test_the_upstream_is_not_dialled(api):
    for name, upstream in (("a", "127.0.0.1:1"), ("b", "nowhere.invalid:80"), ("c", "nope"), ("d", "127.0.0.1:0")):
        api.proxy(upstream, name)
        assert api("GET", f"/proxies/{name}").json()["upstream"] == upstream
        with pytest.raises(ConnectionResetError), api.connect(name) as client:
            client.recv(1)


def test_proxies_are_listed_by_name(api, echo):
    assert api("GET", "/proxies").body == b"{}"
    for name in ("b", "a", "\u00e9"):
        api.proxy(echo, name)
    answer = api("GET", "/proxies")
    assert list(answer.json()) == ["a", "b", "\u00e9"]
    assert answer.json()["a"] == api("GET", "/proxies/a").json()
    assert api("GET", "/proxies/%C3%A9").json()["name"] == "\u00e9"


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_update_keeps_what_it_does_not_name(api, p, t, method):
    before = api("GET", "/proxies/p").json()
    for body in ({}, {"name": "other"}, {"enabled": None, "listen": None}, b"null"):
        answer = api(method, "/proxies/p", body)
        assert answer.status == 200
        assert answer.json() == before
    other = api(method, "/proxies/p", {"upstream": "other:1"}).json()
    assert other == before | {"upstream": "other:1"}


def test_another_upstream_drops_connections(api, p):
    with api.connect() as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
        api("PATCH", "/proxies/p", {"upstream": "127.0.0.1:1"})
        assert client.recv(1) == b""
    assert where(api("GET", "/proxies/p").json()["listen"]) == p


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0"])
@pytest.mark.usefixtures("t")
def test_port_0_is_another_port_also_when_the_proxy_was_created_with_it(api, p, method, listen):
    """`serve` and `populate` leave such a proxy alone; an update asks for it."""
    with api.connect() as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
        after = api(method, "/proxies/p", {"listen": listen}).json()
        assert client.recv(1) == b""
    assert where(after["listen"])[1] not in (0, p[1])
    assert [toxic["name"] for toxic in after["toxics"]] == ["t"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(p, timeout=PATIENCE)
    with api.connect() as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
    again = api(method, "/proxies/p", {"listen": after["listen"]}).json()
    assert again == after


def test_port_0_of_a_disabled_proxy_is_shown_until_it_has_one(api, p):
    off = api("PATCH", "/proxies/p", {"enabled": False, "listen": "127.0.0.1:0"}).json()
    assert (off["listen"], off["enabled"]) == ("127.0.0.1:0", False)
    assert where(api("PATCH", "/proxies/p", {"enabled": True}).json()["listen"])[1] != 0


@pytest.mark.usefixtures("t")
def test_another_address_drops_connections_and_keeps_toxics(api, p):
    with api.connect() as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
        after = api("PATCH", "/proxies/p", {"listen": "127.0.0.2:0"}).json()
        assert client.recv(1) == b""
    assert where(after["listen"]) != p
    assert [toxic["name"] for toxic in after["toxics"]] == ["t"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(p, timeout=PATIENCE)


def test_an_update_to_an_address_in_use_changes_nothing(api, echo, p):
    other = api.proxy(echo, "q")
    answer = api("PATCH", "/proxies/q", {"listen": f"127.0.0.1:{p[1]}"})
    failed(answer, 500, f"listen tcp 127.0.0.1:{p[1]}: bind: address already in use")
    assert where(api("GET", "/proxies/q").json()["listen"]) == other


def test_down_and_up(api, p):
    with api.connect() as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
        answer = api("POST", "/proxies/p", {"enabled": False})
        assert answer.json()["enabled"] is False
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(p, timeout=PATIENCE)
    assert api("POST", "/proxies/p", {"enabled": True}).json()["enabled"] is True
    socket.create_connection(p, timeout=PATIENCE).close()


def test_a_proxy_is_deleted(api, p):
    answer = api("DELETE", "/proxies/p")
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in answer.headers
    failed(api("GET", "/proxies/p"), 404, "proxy not found")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(p, timeout=PATIENCE)


@pytest.mark.usefixtures("t")
def test_reset(api, p):
    api("PATCH", "/proxies/p", {"enabled": False})
    answer = api("POST", "/reset")
    assert (answer.status, answer.body) == (204, b"")
    shown = api("GET", "/proxies/p").json()
    assert (shown["enabled"], shown["toxics"]) == (True, [])
    assert where(shown["listen"]) == p


# Toxics.

TOXICS = {
    "latency": {"latency": 0, "jitter": 0},
    "bandwidth": {"rate": 0},
    "slow_close": {"delay": 0},
    "timeout": {"timeout": 0},
    "reset_peer": {"timeout": 0},
    "slicer": {"average_size": 0, "size_variation": 0, "delay": 0},
    "limit_data": {"bytes": 0},
    "noop": {},
}


@pytest.mark.parametrize("kind", TOXICS)
@pytest.mark.usefixtures("p")
def test_every_toxic_shows_every_attribute(api, kind):
    given = {"average_size": 10} if kind == "slicer" else {}
    answer = api("POST", "/proxies/p/toxics", {"type": kind, "attributes": given})
    assert answer.status == 200
    assert answer.headers["content-type"] == JSON
    attributes = json.dumps(TOXICS[kind] | given, separators=(",", ":"))
    assert (
        answer.body
        == (
            f'{{"attributes":{attributes},"name":"{kind}_downstream","type":"{kind}","stream":"downstream","toxicity":1}}'
        ).encode()
    )
    assert api("GET", f"/proxies/p/toxics/{kind}_downstream").body == answer.body
    assert api("GET", "/proxies/p/toxics").body == b"[" + answer.body + b"]"


@pytest.mark.usefixtures("p")
def test_every_attribute_is_kept(api):
    for number, (kind, names) in enumerate(TOXICS.items()):
        given = {name: number + 9 - place for place, name in enumerate(names)}
        answer = api("POST", "/proxies/p/toxics", {"type": kind, "attributes": given, "toxicity": 0})
        assert answer.json()["attributes"] == given


@pytest.mark.usefixtures("p")
def test_packet_loss_has_shares(api):
    given = {"loss_rate": 0.25, "correlation": 0.5}
    answer = api("POST", "/proxies/p/toxics", {"type": "packet_loss", "attributes": given, "toxicity": 0.5})
    assert answer.json()["attributes"] == given
    assert answer.json()["toxicity"] == 0.5


@pytest.mark.usefixtures("p")
def test_names_are_read_whatever_their_case(api):
    body = b'{"TYPE": "latency", "Stream": "UpStream", "Toxicity": 0.5, "aTTributes": {"LATENCY": 7}, "x": 1} tail'
    assert api("POST", "/proxies/p/toxics", body).json() == {
        "attributes": {"latency": 7, "jitter": 0},
        "name": "latency_UpStream",
        "type": "latency",
        "stream": "UpStream",
        "toxicity": 0.5,
    }


@pytest.mark.usefixtures("p")
def test_null_is_not_given(api):
    body = {"type": "latency", "name": None, "stream": None, "toxicity": None, "attributes": {"latency": None}}
    answer = api("POST", "/proxies/p/toxics", body).json()
    assert (answer["name"], answer["toxicity"], answer["attributes"]["latency"]) == ("latency_downstream", 1, 0)
    assert api("POST", "/proxies/p/toxics", {"type": "timeout", "attributes": None}).status == 200


@pytest.mark.usefixtures("t")
def test_the_order_of_checks_for_a_toxic(api):
    ask = lambda **body: api("POST", "/proxies/p/toxics", body)  # noqa: E731
    stream = "stream was invalid, can be either upstream or downstream"
    bad = {"latency": "x"}
    kind = "bad request body: json: cannot unmarshal number into Go struct field ToxicWrapper.type of type string"
    failed(ask(type=3, stream="sideways"), 400, kind)
    for wrong in ("sideways", "", "both"):
        failed(ask(name="t", type="nope", stream=wrong, attributes=bad), 400, stream)
    for wrong in ("nope", "", "http://x", "os.system"):
        failed(ask(name="t", type=wrong, attributes=bad), 400, "invalid toxic type")
    failed(ask(name="t", type="latency", stream="upstream", attributes=bad), 409, "toxic already exists")
    message = (
        "bad request body: json: cannot unmarshal string into Go struct field "
        "LatencyToxic.attributes.latency of type int64"
    )
    failed(ask(type="latency", attributes=bad), 400, message)
    assert [toxic["name"] for toxic in api("GET", "/proxies/p/toxics").json()] == ["t"]


@pytest.mark.usefixtures("p")
def test_toxics_of_the_upstream_are_listed_first(api):
    for name, stream in (("a", "downstream"), ("b", "upstream"), ("c", "downstream"), ("d", "upstream")):
        api("POST", "/proxies/p/toxics", {"type": "noop", "name": name, "stream": stream})
    assert [toxic["name"] for toxic in api("GET", "/proxies/p/toxics").json()] == ["b", "d", "a", "c"]
    assert [toxic["name"] for toxic in api("GET", "/proxies/p").json()["toxics"]] == ["b", "d", "a", "c"]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.usefixtures("t")
def test_a_toxic_is_updated(api, method):
    path = "/proxies/p/toxics/t"
    before = api("GET", path).json()
    other = {"type": "timeout", "stream": "upstream", "name": "u"}
    assert api(method, path, {**other, "attributes": {"jitter": 3}}).json() == before | {
        "attributes": {"latency": 5, "jitter": 3}
    }
    after = api(method, path, {"toxicity": 0.25, "attributes": {}})
    assert after.json() == before | {"attributes": {"latency": 5, "jitter": 3}, "toxicity": 0.25}
    assert api("GET", path).body == after.body
    for body in ({}, b"null", {"toxicity": None, "attributes": None}):
        assert api(method, path, body).body == after.body


@pytest.mark.usefixtures("t")
def test_a_bad_update_changes_nothing(api):
    path = "/proxies/p/toxics/t"
    before = api("GET", path).body
    for body in ({"toxicity": "x"}, {"attributes": {"latency": 1.5}}, {"toxicity": -1}, {"toxicity": 2}):
        answer = api("PATCH", path, body)
        assert answer.status == 400
        assert answer.json()["error"].startswith("bad request body: ")
    assert api("GET", path).body == before


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1, -(2**63)])
@pytest.mark.usefixtures("p")
def test_a_number_of_64_bits_comes_back_exact(api, number):
    body = {"type": "slow_close", "attributes": {"delay": number}}
    assert api("POST", "/proxies/p/toxics", body).json()["attributes"] == {"delay": number}
    assert api("GET", "/proxies/p").json()["toxics"][0]["attributes"] == {"delay": number}


@pytest.mark.usefixtures("p")
def test_a_stream_comes_back_as_it_was_given(api):
    answer = api("POST", "/proxies/p/toxics", {"type": "latency", "stream": "UPSTREAM", "toxicity": 0.5})
    assert (answer.json()["name"], answer.json()["stream"]) == ("latency_UPSTREAM", "UPSTREAM")
    assert api.run(asynchronous(lambda: api.hub.get("p").policy.faults[0].stream)) is Stream.UPSTREAM
    path = "/proxies/p/toxics/latency_UPSTREAM"
    assert api("GET", path).body == answer.body
    assert api("GET", "/proxies/p").json()["toxics"] == [answer.json()]
    assert api("PATCH", path, {"attributes": {"latency": 1}}).json()["stream"] == "UPSTREAM"
    assert api("GET", "/proxies/p/toxics").json()[0]["stream"] == "UPSTREAM"


async def asynchronous(look):
    return look()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("latency", "latency"),
        ("latency", "jitter"),
        ("bandwidth", "rate"),
        ("slow_close", "delay"),
        ("timeout", "timeout"),
        ("reset_peer", "timeout"),
        ("slicer", "delay"),
        ("limit_data", "bytes"),
    ],
)
@pytest.mark.usefixtures("p")
def test_a_number_below_zero_is_taken_shown_and_means_zero(api, kind, name):
    given = {"average_size": 10} if kind == "slicer" else {}
    answer = api("POST", "/proxies/p/toxics", {"type": kind, "attributes": {**given, name: -5}})
    assert (answer.status, answer.json()["attributes"][name]) == (200, -5)
    path = f"/proxies/p/toxics/{kind}_downstream"
    assert api("GET", path).body == answer.body
    assert api("PATCH", path, {"toxicity": 0.5}).json()["attributes"][name] == -5
    [fault] = api.run(asynchronous(lambda: api.hub.get("p").policy.faults))
    assert fault.options[name] == 0
    assert api("PATCH", path, {"attributes": {name: 7}}).json()["attributes"][name] == 7
    assert api("PATCH", path, {"attributes": {name: -1}}).json()["attributes"][name] == -1
    assert api("GET", path).json()["attributes"][name] == -1


@pytest.mark.parametrize("name", ["average_size", "size_variation"])
@pytest.mark.parametrize("value", [-1, 0, 11])
@pytest.mark.usefixtures("p")
def test_a_slicer_refuses_sizes_that_make_no_sense(api, name, value):
    given = {"average_size": 10, "size_variation": 5, name: value}
    answer = api("POST", "/proxies/p/toxics", {"type": "slicer", "attributes": given})
    if given["average_size"] > 0 and 0 <= given["size_variation"] <= given["average_size"]:
        assert answer.json()["attributes"] == given | {"delay": 0}
    else:
        assert answer.status == 400
        assert answer.json()["error"].startswith("bad request body: behavior 'slicer'")
        assert "size" in answer.json()["error"]
        assert api("GET", "/proxies/p/toxics").body == b"[]"


@pytest.mark.usefixtures("p")
def test_what_another_interface_changes_is_shown_as_it_is(api):
    body = {"type": "latency", "stream": "UPSTREAM", "attributes": {"latency": -5}}
    api("POST", "/proxies/p/toxics", body)
    changed = Fault("latency_UPSTREAM", "latency", {"latency": 3}, Stream.UPSTREAM)
    api.run(api.hub.update_policy("p", lambda policy: policy.with_changed_fault(changed.name, lambda _: changed)))
    [toxic] = api("GET", "/proxies/p/toxics").json()
    assert (toxic["stream"], toxic["attributes"]["latency"]) == ("upstream", 3)


def test_a_proxy_of_the_same_name_inherits_no_spelling(api, echo, p):
    body = {"type": "latency", "name": "t", "stream": "UPSTREAM"}
    api("POST", "/proxies/p/toxics", body)
    api("DELETE", "/proxies/p/toxics/t")
    assert api("POST", "/proxies/p/toxics", {**body, "stream": "upstream"}).json()["stream"] == "upstream"
    assert api("GET", "/proxies/p/toxics/t").json()["stream"] == "upstream"


@pytest.mark.usefixtures("t")
def test_a_toxic_is_removed(api):
    answer = api("DELETE", "/proxies/p/toxics/t")
    assert (answer.status, answer.body) == (204, b"")
    assert api("GET", "/proxies/p/toxics").body == b"[]"


@pytest.mark.usefixtures("p")
def test_other_behaviors_can_be_had_as_toxics(api):
    body = {"type": "corrupt", "stream": "upstream", "attributes": {"mode": "zero", "RATE": 2}}
    answer = api("POST", "/proxies/p/toxics", body)
    assert answer.status == 200
    assert answer.json()["attributes"] == {"mode": "zero", "rate": 2}
    failed_ = api("POST", "/proxies/p/toxics", {"type": "corrupt", "attributes": {"mode": "odd"}})
    assert failed_.status == 400
    assert "one of flip, zero, random" in failed_.json()["error"]


@pytest.mark.parametrize("number", ["9" * 5000, "1e400", "-" + "9" * 30])
@pytest.mark.usefixtures("p")
def test_numbers_beyond_measure(api, number):
    for kind, name in (("corrupt", "rate"), ("latency", "latency"), ("packet_loss", "loss_rate"), ("delay", "sleep")):
        body = f'{{"type": "{kind}", "attributes": {{"{name}": {number}}}}}'
        assert api("POST", "/proxies/p/toxics", body.encode()).status == 400
    assert api("GET", "/proxies/p/toxics").body == b"[]"


@pytest.mark.usefixtures("p")
def test_faults_made_elsewhere_are_shown_as_toxics(api):
    """By a file, or by another interface: with units, in both directions, per exchange."""
    faults = [
        Fault("late", "latency", {"latency": "1.5s", "jitter": 2.0, "correlation": 0.5}),
        Fault("wrong", "error", {"inject": True}, scope=Scope.EXCHANGE),
    ]
    for fault in faults:
        api.run(api.hub.update_policy("p", adding(fault)))
    late, wrong = api("GET", "/proxies/p/toxics").json()
    assert late["attributes"] == {"latency": 1500, "jitter": 2, "correlation": 0.5}
    assert b'"latency":1500,"jitter":2,' in api("GET", "/proxies/p/toxics/late").body
    assert late["stream"] == "both"
    assert (wrong["type"], wrong["attributes"]) == ("error", {"inject": True})
    assert api("PATCH", "/proxies/p/toxics/late", {"attributes": {"jitter": 3}}).json()["attributes"]["jitter"] == 3
    assert api("DELETE", "/proxies/p/toxics/wrong").status == 204


def test_a_proxy_on_the_address_of_one_that_is_disabled(api, p):
    """Created without a word, as a disabled proxy holds no port; and refused once both are to be enabled."""
    assert api("POST", "/proxies/p", {"enabled": False}).status == 200
    listen = f"127.0.0.1:{p[1]}"
    body = {"name": "q", "listen": listen, "upstream": "127.0.0.1:9"}
    assert api("POST", "/proxies", body).status == 201
    failed(api("POST", "/proxies/p", {"enabled": True}), 500, f"listen tcp {listen}: bind: address already in use")
    assert api("POST", "/proxies/q", {"enabled": False}).status == 200
    assert api("POST", "/proxies/p", {"enabled": True}).json()["enabled"]
