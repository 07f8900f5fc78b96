"""What cannot be served is refused by every route of every interface, in its own words, and changes nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import Any

import msgspec
import pytest

from tests.control.conftest import page
from tests.control.interface import Answer, interface
from tests.hubs import COUNTS
from tests.running import PATIENCE, read_all
from vaurien.control import openapi, original, responses, v1
from vaurien.control.toxiproxy import app as toxiproxy

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class One(msgspec.Struct, frozen=True):
    """A route: *body* is one that it takes, of which it cannot do without the fields *needed*."""

    api: str
    method: str
    path: str
    body: Any = None
    needed: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


PROXY = {"name": "new", "listen": "127.0.0.1:0", "backend": "127.0.0.1:9", "faults": [], "mix": "", "seed": "1"}
FAULT = {
    "name": "g",
    "behavior": "delay",
    "options": {"sleep": 1},
    "stream": "both",
    "probability": 1,
    "scope": "chunk",
    "window": {"count": 1},
    "match": {},
    "ttl": 5,
    "expect_hits": "1..",
}
TOXIC = {"name": "u", "type": "latency", "stream": "upstream", "toxicity": 1, "attributes": {"latency": 1}}
UPSTREAM = {"name": "new", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9", "enabled": True}
LIMITS = {
    "protocol": "http",
    "protocol_options": {"overwrite_host_header": True},
    "timeout": 1,
    "stay_connected": True,
    "drain_timeout": 2,
    "backlog": 5,
    "bufsize": 4096,
    "max_connections": 3,
    "pool_max_size": 5,
    "pool_timeout": 2,
    "delay_line": 1024,
    "enabled": True,
}
V1_BODIES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "set_config": ({"proxies": []}, ("proxies",)),
    "read_config_text": ({"toml": ""}, ("toml",)),
    "create_proxy": ({**PROXY, **LIMITS}, ("name", "backend")),
    "change_proxy": ({**PROXY, **LIMITS, "name": "proxy"}, ()),
    "set_mix": ({"mix": "20:delay"}, ("mix",)),
    "add_fault": (FAULT, ("behavior",)),
    "select_nodes": ({"nodes": "role=a", "share": 0.5, "max_nodes": 3}, ()),
    "stop_fleet": ({"reason": "an incident"}, ("reason",)),
    "set_fleet_limits": ({"max_nodes": 3}, ()),
    "set_schedule": ({"toml": ""}, ("toml",)),
    "add_topology": ({"topology": "isolate a"}, ("topology",)),
    "add_preset": ({"preset": "3g"}, ("preset",)),
    "change_fault": ({**FAULT, "name": "fault"}, ()),
}
OURS = [
    One("v1", route.method, route.path.replace("{", "").replace("}", ""), *V1_BODIES.get(route.name, (None, ())))
    for route in v1.ROUTES
]
ORIGINAL = [
    *(One("original", "GET", path) for path in original.PATHS),
    One("original", "PUT", "/behavior", {"name": "delay", "sleep": 1}, ("name",)),
    One("original", "PUT", "/handler", {"name": "delay", "sleep": 1}, ("name",)),
    One("original", "PUT", "/backend", {"backend": "127.0.0.1:8"}, ("backend",)),
]
ANY_METHOD = "/metrics"
"""Answers to any method, as Toxiproxy's does, and reads no body."""

TOXIPROXY = [
    One("toxiproxy", "GET", "/version"),
    One("toxiproxy", "GET", ANY_METHOD),
    One("toxiproxy", "POST", "/reset"),
    One("toxiproxy", "POST", "/populate", [UPSTREAM]),
    One("toxiproxy", "GET", "/proxies"),
    One("toxiproxy", "POST", "/proxies", UPSTREAM, ("name", "upstream")),
    One("toxiproxy", "GET", "/proxies/proxy"),
    One("toxiproxy", "POST", "/proxies/proxy", UPSTREAM),
    One("toxiproxy", "PATCH", "/proxies/proxy", UPSTREAM),
    One("toxiproxy", "DELETE", "/proxies/proxy"),
    One("toxiproxy", "GET", "/proxies/proxy/toxics"),
    One("toxiproxy", "POST", "/proxies/proxy/toxics", TOXIC, ("type",)),
    One("toxiproxy", "GET", "/proxies/proxy/toxics/fault"),
    One("toxiproxy", "POST", "/proxies/proxy/toxics/fault", {"attributes": {"sleep": 1}, "toxicity": 1}),
    One("toxiproxy", "PATCH", "/proxies/proxy/toxics/fault", {"attributes": {"sleep": 1}, "toxicity": 1}),
    One("toxiproxy", "DELETE", "/proxies/proxy/toxics/fault"),
]
DOCUMENT = One("v1", "GET", openapi.PATH)
ROUTES = [*OURS, DOCUMENT, *ORIGINAL, *TOXIPROXY]
CHANGING = [one for one in ROUTES if one.method != "GET"]
WITH_BODY = [one for one in ROUTES if one.body is not None]
PATHS = sorted({(one.api, one.path) for one in ROUTES})
NAMES = ("proxy", "fault", "connection", "behavior", "protocol")


@pytest.fixture(scope="module", params=COUNTS)
def served(request):
    """The interfaces, with a proxy called *proxy* that has a fault called *fault*."""
    with interface(metrics=page(b""), workers=request.param) as served:
        fault = {"name": "fault", "behavior": "delay", "stream": "downstream", "options": {"sleep": 1}}
        served.proxy("proxy", mix="20:delay", faults=[fault])
        yield served


@pytest.fixture
def refused(served):
    """Check that an answer is an error of its interface, and that nothing has changed; its message."""
    before = served.get("/api/v1/config")

    def check(one: One, answer: Answer, *statuses: int, allow: str | None = None) -> str:
        assert answer.status in statuses, answer
        if one.method != "HEAD":
            message = told(one.api, answer)
            assert len(message) > 5 or answer.status == 405
        assert served.get("/api/v1/config") == before
        return "" if one.method == "HEAD" else message

    return check


def told(api: str, answer: Answer) -> str:
    """The message in *answer*, as *api* tells errors."""
    if api == "v1":
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json) == {"error"}
        return answer.json["error"]["message"]
    if api == "original":
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["status"] == "error"
        return answer.json["errors"][0]["description"]
    if answer.status == 405:  # Toxiproxy says no more
        assert answer.body == b""
        return ""
    assert answer.json["status"] == answer.status
    assert answer.json["error"].isprintable()
    return answer.json["error"]


def spoken(served, head: str, *lines: str, body: bytes = b"") -> Answer:
    """Say *head* and *lines* and perhaps some *body*, and never more; what is answered before the connection ends."""
    with socket.create_connection(("127.0.0.1", served.address.port), timeout=PATIENCE) as client:
        client.sendall("\r\n".join([f"{head} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode() + body)
        raw = read_all(client)
    first, *headers = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    named = dict(header.lower().split(": ", 1) for header in headers)
    return Answer(int(first.split()[1]), named, raw.partition(b"\r\n\r\n")[2])


def test_these_are_all_routes(served):
    """Whatever is added to an interface is walked here too."""
    paths = {route.path for route in original.routes(served.hub, {})}
    assert paths == {one.path for one in ORIGINAL}
    router = toxiproxy.router(served.hub, metrics=lambda: b"")
    listed = {(method, route.path) for route in router.routes for method in route.endpoint._methods}
    named = {(method, path.replace("{proxy}", "proxy").replace("{toxic}", "fault")) for method, path in listed}
    assert {one for one in named if one[1] == ANY_METHOD} == {(method, ANY_METHOD) for method in METHODS}
    assert {one for one in named if one[1] != ANY_METHOD} | {("GET", ANY_METHOD)} == {
        (one.method, one.path) for one in TOXIPROXY
    }
    assert {route.name for route in v1.ROUTES if route.body is not None} == V1_BODIES.keys()


@pytest.mark.parametrize("one", ROUTES, ids=str)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
    ids=str,
)
def test_a_web_page_may_not(served, refused, one, headers):
    answer = served.ask(one.method, one.path, one.body, **headers)
    message = refused(one, answer, 403)
    assert "web page" in message


@pytest.mark.parametrize(("api", "path"), PATHS)
def test_a_method_that_there_is_not(served, refused, api, path):
    there = {one.method for one in ROUTES if one.path == path} if path != ANY_METHOD else {*METHODS}
    for method in METHODS:
        if method in there or (method == "HEAD" and api != "toxiproxy" and "GET" in there):
            continue
        one = One(api, method, path)
        message = refused(one, served.ask(method, path, b"{}"), 405)
        if api != "toxiproxy" and method != "HEAD":
            assert f"{method} is not a method of" in message
            assert ", ".join(other.method for other in ROUTES if other.path == path) in message


@pytest.mark.parametrize("one", ROUTES, ids=str)
def test_a_body_of_ten_megabytes_is_not_waited_for(served, refused, one):
    """The answer comes before its client has begun to send."""
    answer = spoken(served, str(one), f"Content-Length: {10 * 2**20}", "Expect: 100-continue")
    assert "1048576 bytes" in refused(one, answer, 413)
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("one", CHANGING, ids=str)
def test_ten_megabytes_without_a_length_are_refused_to_who_goes_on_sending(served, one):
    connection = http.client.HTTPConnection("127.0.0.1", served.address.port, PATIENCE)
    with contextlib.closing(connection):
        chunks = iter([b"x" * 2**16] * 160)
        connection.request(one.method, one.path, chunks, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    assert served.ask("GET", "/api/v1/proxies/proxy/faults/fault").status == 200


@pytest.mark.parametrize("one", CHANGING, ids=str)
def test_a_body_that_does_not_come_is_not_waited_for(served, refused, monkeypatch, one):
    monkeypatch.setitem(responses.body.__kwdefaults__, "timeout", 0.01)
    answer = spoken(served, str(one), "Content-Length: 10", body=b"{")
    assert "0.01 seconds" in refused(one, answer, 408)
    assert answer.headers["connection"] == "close"


NESTED = b"[" * 15_000
"""Deeper than Go's decoder goes (10000), and not so long that Toxiproxy's interface refuses it unread, with 413."""

NOT_EVEN_JSON = [b"", b"{", b'{"name" "x"}', b"\x00", b'"\xff"', NESTED, b"NaN", b"{'a': 1}"]
NUMBERS = ("9" * 5000, "-1e400", "1e400", "123456789" * 4)
OF_THE_WRONG_TYPE = [3, "x", True, 1e400, [1], [[]], [None], {"\u0000": {}}]


@pytest.mark.parametrize("one", WITH_BODY, ids=str)
def test_a_body_that_is_none(served, refused, one):
    for body in (*NOT_EVEN_JSON, *(json.dumps(value).encode() for value in OF_THE_WRONG_TYPE)):
        if one.api == "toxiproxy" and body.startswith(b'{"\\u') and not one.needed and one.path != "/populate":
            continue  # nobody's name is passed over, in Toxiproxy
        refused(one, served.ask(one.method, one.path, body), 400)


@pytest.mark.parametrize("one", WITH_BODY, ids=str)
def test_fields_of_the_wrong_type(served, refused, one):
    [body] = one.body if isinstance(one.body, list) else [one.body]
    for name in body:
        for wrong in ([[1]], [1], -1.5):
            changed = {**body, name: wrong}
            answer = served.ask(one.method, one.path, [changed] if isinstance(one.body, list) else changed)
            message = refused(one, answer, 400)
            assert name in (message + pointer(one.api, answer)), answer


TIMES = ("sleep", "timeout", "pool_timeout", "ttl")  # 10**35 seconds are a time, if a long one


@pytest.mark.parametrize("one", WITH_BODY, ids=str)
def test_numbers_beyond_measure(served, refused, one):
    [body] = one.body if isinstance(one.body, list) else [one.body]
    for name in body:
        for number in NUMBERS[:-1] if name in TIMES else NUMBERS:
            text = json.dumps({**body, name: "HERE"}).replace('"HERE"', number)
            text = f"[{text}]" if isinstance(one.body, list) else text
            refused(one, served.ask(one.method, one.path, text.encode()), 400)


def pointer(api: str, answer: Answer) -> str:
    """Which field *answer* says is wrong, beside its message."""
    if api == "v1":
        return answer.json["error"]["pointer"]
    return answer.json["errors"][0]["name"] if api == "original" else ""


@pytest.mark.parametrize("one", [one for one in WITH_BODY if one.needed], ids=str)
def test_fields_that_are_missing(served, refused, one):
    for name in one.needed:
        rest = {field: value for field, value in one.body.items() if field != name}
        message = refused(one, served.ask(one.method, one.path, rest), 400)
        assert name in message or message == "invalid toxic type"


@pytest.mark.parametrize("one", [one for one in WITH_BODY if one.api != "toxiproxy"], ids=str)
def test_fields_that_there_are_not(served, refused, one):
    """Toxiproxy passes over them, but for ``--strict``, which has tests of its own."""
    message = refused(one, served.ask(one.method, one.path, {**one.body, "nobody": 1}), 400)
    assert "nobody" in message


@pytest.mark.parametrize(
    "one", [one for one in ROUTES if one.api != "original" and not one.path.startswith("/api/v1/fleet/")], ids=str
)
def test_names_that_there_are_not(served, refused, one):
    for name in set(NAMES) & set(one.path.split("/")):
        path = f"{one.path}/".replace(f"/{name}/", "/nobody/").rstrip("/")
        message = refused(one, served.ask(one.method, path, one.body), 404)
        assert "nobody" in message or message in ("proxy not found", "toxic not found")
