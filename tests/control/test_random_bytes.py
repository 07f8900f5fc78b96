"""Random bytes in headers, paths, queries and fields: a request is served or refused, never answered by a 500."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.control.conftest import page
from tests.control.interface import interface
from tests.control.test_every_route import PATHS, WITH_BODY
from tests.running import PATIENCE, read_all

HEADERS = [
    *("Host", "Origin", "Authorization", "Content-Length", "Content-Type", "Transfer-Encoding", "Last-Event-ID"),
    *("User-Agent", "Connection", "Expect", "Upgrade", "X-Forwarded-For", "Cookie", "Accept-Encoding", "Range"),
]
ENDLESS = {"/api/v1/events", "/api/v1/live", "/api/v1/proxies/{proxy}/exchanges"}
LISTED = [b"http://[", b"http://[::1", b"//[", b"[", b"]:1", b"\xff", b"Bearer \xe9", b"-1", b"1e3", b"9" * 400, b"\0"]
BYTES = st.one_of(st.sampled_from(LISTED), st.binary(max_size=30), st.text(max_size=20).map(lambda text: text.encode()))

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([0, -1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, 10**400, 1e308, -1e308, 1e-320, 0.5]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(), max_size=10),
        st.sampled_from(["\ud800", "\0", "", "é", "x" * 300, "127.0.0.1:99999", "[::1", "unix:", "100:delay", "a.b"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module", params=[None, "secret"], ids=["open", "token"])
def served(request):
    with interface(metrics=page(b""), token=request.param) as served:
        yield served


def status(served, request: bytes) -> int:
    """The status of the first answer to *request*; 0 where there is none, as for an empty one."""
    with socket.create_connection(("127.0.0.1", served.address.port), timeout=PATIENCE) as one:
        one.sendall(request)
        one.shutdown(socket.SHUT_WR)
        answer = read_all(one)
    return int(answer.split()[1]) if answer else 0


@pytest.mark.parametrize("name", HEADERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=BYTES, path=st.sampled_from(PATHS))
def test_a_header(served, name, value, path):
    host = b"" if name == "Host" else b"Host: localhost\r\n"
    head = f"GET {path[1]} HTTP/1.1\r\n{name}: ".encode() + value + b"\r\n" + host
    if path[1] not in ENDLESS:
        assert status(served, head + b"Connection: close\r\n\r\n") < 500


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rest=BYTES, start=st.sampled_from(PATHS), method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "X"]))
def test_a_path_and_a_query(served, rest, start, method):
    if start[1] not in ENDLESS:
        head = f"{method} {start[1]}".encode() + rest + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        assert status(served, head + b"Content-Length: 0\r\n\r\n") < 500


@pytest.fixture(scope="module", params=[False, True], ids=["", "strict"])
def permitted(request):
    """Proxies are made without listening, so that what is accepted costs nothing."""
    with interface(metrics=page(b""), strict=request.param) as served:
        yield served


def strictly(value):
    """*value* as JSON, with lone surrogates as bytes that are not UTF-8, and as escapes."""
    yield json.dumps(value).encode()
    yield json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


FOR_AN_ADDRESS = (b'"status":500}\n', b'"status":500,"proxies":null}')
"""How Toxiproxy's own answer to an address that cannot be listened on ends, and that of its /populate."""


@pytest.mark.parametrize("one", WITH_BODY, ids=str)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_field(permitted, one, data):
    fault = {"name": "fault", "behavior": "delay", "stream": "downstream", "options": {"sleep": 1}}
    if "proxy" not in permitted.hub.proxies or not permitted.hub.get("proxy").policy.faults:
        permitted.clear()
        permitted.proxy("proxy", faults=[fault])
    body = one.body[0] if isinstance(one.body, list) else one.body
    fields = dict(body) | {"enabled": False} if "enabled" in body else dict(body)
    name = data.draw(st.sampled_from([*body, "\ud800", "\0", "X"]))
    inner = fields.get(name)
    if isinstance(inner, dict) and inner and data.draw(st.booleans()):
        fields[name] = {**inner, data.draw(st.sampled_from(sorted(inner))): data.draw(VALUES)}
    else:
        fields[name] = data.draw(VALUES)
    for content in strictly([fields] if isinstance(one.body, list) else fields):
        answer = permitted.ask(one.method, one.path, content)
        of_toxiproxy = answer.status == 500 and answer.body.endswith(FOR_AN_ADDRESS)
        assert answer.status < 500 or of_toxiproxy, answer
