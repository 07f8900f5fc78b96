"""What ``/api/v1`` says to requests that cannot be served: which field it is, and what would be right.

That every route of every interface refuses them, and changes nothing, is in `test_every_route`.
"""

from __future__ import annotations

import json
import socket

import msgspec
import pytest

from tests.control.interface import interface
from tests.hubs import COUNTS
from tests.running import PATIENCE, read_all
from vaurien import plugins
from vaurien.control import bodies, v1

NAMES = {"proxy": "p", "fault": "f", "connection": "1", "behavior": "delay", "protocol": "tcp"}
WITH_BODY = [route for route in v1.ROUTES if route.body is not None]


def path(route):
    return route.path.format(**NAMES)


def label(route):
    return f"{route.method} {route.path}"


@pytest.fixture(scope="module", params=COUNTS)
def served(request):
    with interface(workers=request.param) as served:
        served.proxy("p", mix="20:delay", faults=[{"name": "f", "behavior": "delay", "options": {"sleep": 1}}])
        yield served


@pytest.fixture
def refused(served):
    """Ask for what cannot be; the error, once it is clear that nothing has changed."""
    before = served.get("/api/v1/config")["proxies"]

    def ask(method, where, body=None, **headers):
        answer = served.ask(method, where, body, **headers)
        assert 400 <= answer.status < 500, answer
        assert answer.headers["content-type"] == "application/json"
        assert served.get("/api/v1/config")["proxies"] == before  # the revision counts an edit that was taken back
        return answer.status, answer.json["error"]

    return ask


BODIES = [
    (b"", "the body is empty; expected a JSON object"),
    (b"{", "the body is not JSON: it ends too early, at line 1, column 2"),
    (b'"\xff"', "the body is not JSON: byte 0xff at position 1 is not UTF-8"),
    (b"[" * 100_000, "nested too deeply"),
    (b"null", "the body: null is not valid; expected an object"),
    (b"[]", "the body: [] is not valid; expected an object"),
    (b'"x"', 'the body: "x" is not valid; expected an object'),
    (b'{"x": 1}', ""),
]


@pytest.mark.parametrize(("body", "words"), BODIES)
@pytest.mark.parametrize("route", WITH_BODY, ids=label)
def test_a_body_that_is_none(refused, route, body, words):
    status, error = refused(route.method, path(route), body)
    assert status == 400
    assert words in error["message"]


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({}, "/name", "name is missing; expected text"),
        ({"name": "a"}, "/backend", "backend is missing; expected text (host:port"),
        ({"name": 1, "backend": "h:1"}, "/name", "name: 1 is not valid; expected text"),
        ({"name": "", "backend": "h:1"}, "/name", 'name: "" is not valid; expected text ('),
        ({"name": "a/b", "backend": "h:1"}, "/name", bodies.NAMEABLE),
        ({"name": ".", "backend": "h:1"}, "/name", bodies.NAMEABLE),
        ({"name": "..", "backend": "h:1"}, "/name", bodies.NAMEABLE),
        ({"name": "a", "backend": "h"}, "/backend", "expected host:port"),
        ({"name": "a", "backend": "h:0"}, "/backend", "expected a port from 1"),
        ({"name": "a", "backend": "h\0:1"}, "/backend", "without control characters"),
        ({"name": "a", "backend": f"{'h' * 64}:1"}, "/backend", "1 to 63 characters"),
        ({"name": "a", "backend": "h:1", "listen": "x"}, "/listen", "expected host:port"),
        ({"name": "a", "backend": "h:1", "backlog": 2**40}, "/backlog", "a whole number from 1 to 2147483647"),
        ({"name": "a", "backend": "h:1", "timeout": -1}, "/timeout", "a number from 0 to"),
        (
            {"name": "a", "backend": "h:1", "enabled": "yes"},
            "/enabled",
            'enabled: "yes" is not valid; expected true or false',
        ),
        ({"name": "a", "backend": "h:1", "protocol": "htpt"}, "/protocol", "did you mean 'http'?"),
        ({"name": "a", "backend": "h:1", "protocol": "this.Class"}, "/protocol", "start it with --allow-plugin"),
        ({"name": "a", "backend": "h:1", "protocol_options": {"x": 1}}, "/protocol_options/x", "unknown option"),
        (
            {"name": "a", "backend": "h:1", "mix": 1},
            "/mix",
            "mix: 1 is not valid; expected text (shares, or their text, such as 20:delay,10:error) or a list",
        ),
        ({"name": "a", "backend": "h:1", "mix": "120:delay"}, "/mix", "0 to 100 percent"),
        ({"name": "a", "backend": "h:1", "tls_key": "x"}, "/tls_key", 'tls_key: "x" is not valid; expected a list'),
        ({"name": "a", "backend": "h:1", "tls_key": ["x", 5]}, "/tls_key/1", "tls_key[1]: 5 is not valid; expected"),
        ({"name": "a", "backend": "h:1", "mix": "20:dealy"}, "/mix", "did you mean 'delay'?"),
        (
            {"name": "a", "backend": "h:1", "mix": [{"percent": 101, "behavior": "delay"}]},
            "/mix/0/percent",
            "percent: 101 is not valid; expected a number from 0 to 100",
        ),
        ({"name": "a", "backend": "h:1", "mix": [{"percent": 60, "behavior": "delay"}] * 2}, "/mix", "add up to 120"),
        (
            {"name": "a", "backend": "h:1", "faults": [{"behavior": "delay", "options": {"sleep": "x"}}]},
            "/faults/0/options/sleep",
            "expected seconds",
        ),
        (
            {"name": "a", "backend": "h:1", "faults": [{"behavior": "delay"}, {"behavior": "delay"}]},
            "/faults/1/name",
            "given twice",
        ),
    ],
)
def test_a_proxy_that_cannot_be(refused, body, pointer, words):
    status, error = refused("POST", "/api/v1/proxies", body)
    assert (status, error["pointer"]) == (400, pointer)
    assert words in error["message"]
    if body and words != bodies.NAMEABLE:  # a configuration may hold what other interfaces named
        status, error = refused("PUT", "/api/v1/config", {"proxies": [{"name": "p", "backend": "h:1"}, body]})
        assert (status, error["pointer"]) == (400, f"/proxies/1{pointer}")


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({}, "/behavior", "behavior is missing; expected text"),
        ({"behavior": "dely"}, "/behavior", "did you mean 'delay'?"),
        ({"behavior": "antigravity.fly"}, "/behavior", "start it with --allow-plugin"),
        ({"behavior": "delay", "name": "a/b"}, "/name", bodies.NAMEABLE),
        ({"behavior": "delay", "options": {"slep": 1}}, "/options/slep", "did you mean 'sleep'?"),
        ({"behavior": "delay", "options": {"sleep": -1}}, "/options/sleep", "expected seconds"),
        ({"behavior": "delay", "options": {"a/b~c": 1}}, "/options/a~1b~0c", "unknown option"),
        (
            {"behavior": "delay", "probability": 1.5},
            "/probability",
            "probability: 1.5 is not valid; expected a number from 0 to 1, such as 0.3",
        ),
        ({"behavior": "delay", "stream": "sideways"}, "/stream", "expected one of upstream, downstream, both"),
        (
            {"behavior": "delay", "scope": []},
            "/scope",
            "scope: [] is not valid; expected one of connection, exchange, chunk",
        ),
        ({"behavior": "delay", "probabilty": 1}, "/probabilty", "unknown field"),
    ],
)
def test_a_fault_that_cannot_be(refused, body, pointer, words):
    status, error = refused("POST", "/api/v1/proxies/p/faults", body)
    assert (status, error["pointer"]) == (400, pointer)
    assert words in error["message"]


KINDS = ["latency", "corrupt", "replace", "error", "slicer", "hang", "limit_data", "http_status"]
"""A behavior of each kind: numbers, choices, text, flags, sizes, nothing, an exchange's."""


@pytest.mark.parametrize("behavior", KINDS)
def test_every_option_of_a_behavior_that_cannot_be_names_all_that_helps(refused, behavior):
    """A wrong type, a value out of range and a misspelt name: the option, the value, what is right, the pointer."""
    for option in plugins.find(behavior, "behavior").declarations:
        for value in ([], {"a": 1}, -(2**80), "\u2603"):
            if accepted(option, value):
                continue
            status, error = refused(
                "POST", "/api/v1/proxies/p/faults", {"behavior": behavior, "options": {option.name: value}}
            )
            assert (status, error["pointer"]) == (400, f"/options/{option.name}")
            assert f"behavior {behavior!r} option {option.name}: " in error["message"]
            assert "is not valid; expected " in error["message"]
            assert "`" not in error["message"]
        wrong = {"behavior": behavior, "options": {f"{option.name}_": 1}}
        status, error = refused("POST", "/api/v1/proxies/p/faults", wrong)
        assert (status, error["pointer"]) == (400, f"/options/{option.name}_")
        assert f"did you mean {option.name!r}?" in error["message"]


def accepted(option, value):
    try:
        option.accepts(value)
    except (ValueError, TypeError, msgspec.ValidationError):
        return False
    return True


def test_a_fault_keeps_its_name(refused):
    status, error = refused("PATCH", "/api/v1/proxies/p/faults/f", {"name": "g"})
    assert (status, error["pointer"]) == (400, "/name")


def test_what_exists_already(refused):
    assert refused("POST", "/api/v1/proxies", {"name": "p", "backend": "h:1"})[0] == 409
    assert refused("POST", "/api/v1/proxies/p/faults", {"name": "f", "behavior": "delay"})[0] == 409


def test_an_address_that_cannot_be_had(refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        for method, where, body in [
            ("POST", "/api/v1/proxies", {"name": "new", "backend": "h:1", "listen": listen}),
            ("PATCH", "/api/v1/proxies/p", {"listen": listen}),
        ]:
            status, error = refused(method, where, body)
            assert status == 409
            assert error["message"] == f"cannot listen on {listen}: Address already in use"


@pytest.mark.parametrize("query", ["since=x", "since=-1", "since=" + "9" * 30, "sinse=1", "proxy=nobody"])
def test_events_of_nowhere(refused, query):
    status, error = refused("GET", f"/api/v1/events?{query}")
    assert status == (404 if "proxy" in query else 400)
    assert "expected" in error["message"] or "did you mean" in error["message"] or "known are" in error["message"]


def test_more_of_the_audit_trail_than_one_answer_has(refused):
    status, error = refused("GET", "/api/v1/fleet/audit?count=1001")
    assert status == 400
    assert error["message"] == "count: '1001' is not valid; expected a number of at most 1000"


def test_a_path_that_there_is_not(refused):
    status, error = refused("GET", "/api/v1/proxys")
    assert status == 404
    assert "/openapi.json" in error["message"]


def test_what_is_no_http_at_all(served):
    with socket.create_connection(("127.0.0.1", served.address.port), timeout=PATIENCE) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b"400" in read_all(client).split(b"\r\n")[0]


def test_the_errors_are_as_the_document_says(served):
    error = json.loads(served.ask("GET", "/api/v1/proxies/nobody").body)
    assert set(error) == {"error"}
    assert set(error["error"]) <= {"message", "pointer"}
