"""Toxiproxy's contract: many proxies at once, and what a strict server refuses."""

from __future__ import annotations

import json

import pytest

from tests.control.conftest import where
from tests.running import read

JSON = "application/json"


@pytest.fixture
def p(api, echo):
    """A proxy called p, with a toxic called t; its address."""
    address = api.proxy(echo)
    assert api("POST", "/proxies/p/toxics", {"name": "t", "type": "latency"}).status == 200
    return address


def test_populate_creates_in_order(api, echo):
    entries = [{"name": name, "listen": "127.0.0.1:0", "upstream": echo} for name in ("b", "a")]
    answer = api("POST", "/populate", entries)
    assert answer.status == 201
    assert answer.headers["content-type"] == JSON
    assert not answer.body.endswith(b"\n")
    assert [proxy["name"] for proxy in answer.json()["proxies"]] == ["b", "a"]
    assert answer.json()["proxies"][0] == api("GET", "/proxies/b").json()


@pytest.mark.parametrize("body", [b"[]", b"null"])
def test_populate_with_nothing(api, body):
    answer = api("POST", "/populate", body)
    assert (answer.status, answer.body) == (201, b'{"proxies":null}')


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "missing required field: name at proxy 2"),
        (None, "missing required field: name at proxy 2"),
        ({"name": "b"}, "missing required field: upstream at proxy 2"),
        ({"name": "b", "upstream": "x:1", "toxics": [{"type": "nope"}]}, "invalid toxic type"),
        (
            {"name": "b", "upstream": 3},
            "bad request body: json: cannot unmarshal number into Go struct field .upstream of type string",
        ),
    ],
)
def test_populate_checks_everything_first(api, echo, entry, message):
    answer = api("POST", "/populate", [{"name": "a", "upstream": echo}, entry])
    assert answer.headers["content-type"] == JSON
    expected = {"error": message, "status": 400, "proxies": None}
    assert (answer.status, answer.body) == (400, json.dumps(expected, separators=(",", ":")).encode())
    assert api("GET", "/proxies").body == b"{}"


STRUCT = 'struct { toxiproxy.Proxy; Enabled *bool "json:\\"enabled\\"" }'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", f"json: cannot unmarshal object into Go value of type []{STRUCT}"),
        (b"3", f"json: cannot unmarshal number into Go value of type []{STRUCT}"),
        (b"[3]", f"json: cannot unmarshal number into Go value of type {STRUCT}"),
        (b'[{"enabled": 1}]', "json: cannot unmarshal number into Go struct field .enabled of type bool"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
    ],
)
def test_what_is_no_array_of_proxies(api, body, message):
    answer = api("POST", "/populate", body)
    expected = {"error": f"bad request body: {message}", "status": 400, "proxies": None}
    assert (answer.status, answer.body) == (400, json.dumps(expected, separators=(",", ":")).encode())


def test_a_bad_address_of_a_proxy_that_exists_is_resolved_first(api, echo, p):
    for listen, message in (("bad", "address bad: missing port in address"), ("no.such.invalid:1", "no such host")):
        answer = api("POST", "/populate", [{"name": "p", "listen": listen, "upstream": echo}])
        assert answer.status == 500
        assert message in answer.json()["error"]
        assert "listen tcp" not in answer.json()["error"]
        new = api("POST", "/populate", [{"name": "new", "listen": listen, "upstream": echo}])
        assert new.json()["error"].startswith("listen tcp: ")
    assert where(api("GET", "/proxies/p").json()["listen"]) == p


def test_populate_leaves_the_same_alone_and_replaces_what_differs(api, echo, p):
    same = {"name": "p", "listen": f"localhost:{p[1]}", "upstream": echo}
    with api.connect() as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
        [shown] = api("POST", "/populate", [same]).json()["proxies"]
        assert [toxic["name"] for toxic in shown["toxics"]] == ["t"]
        client.sendall(b"again")
        assert read(client, 5) == b"again"
        [shown] = api("POST", "/populate", [same | {"upstream": "127.0.0.1:1"}]).json()["proxies"]
        assert shown["toxics"] == []
        assert client.recv(1) == b""


@pytest.mark.parametrize("listen", ["nope", "in use"])
def test_populate_stops_at_the_first_that_cannot_bind(api, echo, p, listen):
    wanted = f"127.0.0.1:{p[1]}" if listen == "in use" else listen
    entries = [{"name": "a", "listen": "127.0.0.1:0", "upstream": echo}]
    entries += [{"name": name, "listen": wanted, "upstream": echo} for name in ("b", "c")]
    answer = api("POST", "/populate", entries)
    assert answer.status == 500
    assert list(answer.json()) == ["error", "status", "proxies"]
    assert answer.json()["error"].startswith("listen tcp")
    assert [proxy["name"] for proxy in answer.json()["proxies"]] == ["a"]
    assert sorted(api("GET", "/proxies").json()) == ["a", "p"]


def test_a_listing_can_be_sent_back(api, echo):
    api.proxy(echo)
    listing = list(api("GET", "/proxies").json().values())
    assert api("POST", "/populate", listing).json() == {"proxies": listing}


# Strict.


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/proxies", {"name": "x", "upstream": "x:1", "listn": ""}, 'bad request body: json: unknown field "listn"'),
        ("/proxies", {"name": "x", "upstream": "nope"}, "bad request body: upstream: 'nope' is not valid; expected"),
        ("/proxies", {"name": "x", "upstream": "x:0"}, "bad request body: upstream: 'x:0' is not valid; expected"),
        ("/proxies", {"name": "x", "upstream": "x:1", "\ud800": 1}, 'bad request body: json: unknown field "\ufffd"'),
        ("/proxies/p/toxics", {"type": "noop", "kind": 1}, 'bad request body: json: unknown field "kind"'),
        ("/proxies/p/toxics", {"type": "noop", "attributes": {"a": 1}}, 'bad request body: json: unknown field "a"'),
        ("/proxies/p/toxics", {"type": "corrupt"}, "invalid toxic type"),
        ("/proxies/p/toxics/t", {"attribute": {}}, 'bad request body: json: unknown field "attribute"'),
    ],
)
def test_strict_refuses_what_is_passed_over_otherwise(api, strict_api, echo, path, body, message):
    for one in (api, strict_api):
        one.proxy(echo)
        assert one("POST", "/proxies/p/toxics", {"type": "noop", "name": "t", "stream": "upstream"}).status == 200
    try:
        assert api("POST", path, body).status in (200, 201)
        answer = strict_api("POST", path, body)
        assert answer.status == 400
        assert answer.json()["error"].startswith(message)
        listing = list(strict_api("GET", "/proxies").json().values())
        assert strict_api("POST", "/populate", listing).status == 201
    finally:
        strict_api("DELETE", "/proxies/p")
