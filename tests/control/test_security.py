from __future__ import annotations

import asyncio

import pytest

from vaurien.control.responses import BODY_LIMIT
from vaurien.control.security import Guard, Refusal, exposed, host_name, read_token
from vaurien.errors import OptionError
from vaurien.model import Address

LOCAL, WIDE, UNIX = Address("localhost", 8080), Address("0.0.0.0", 8080), Address(path="/run/vaurien.sock")


async def nobody(scope, receive, send):
    raise AssertionError("a refused request must not arrive")


def refusal(listen, path="/api/v1/proxies", token=None, names=(), **headers):
    """The status of the refusal of a request with *headers*; nothing when it passes."""
    try:
        Guard(nobody, listen, token=token, names=names).check(headers, path)
    except Refusal as refused:
        return refused.status
    return None


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "localhost."]
)
def test_the_loopback_may_be_called_by_its_names(host):
    assert refusal(LOCAL, host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
            "[::1",
            "a b",
            "toxiproxy",
        ),
        *(
            "localhost:8474.evil.example",
            "localhost:x",
            "[::1]evil.example",
            "evil.example@localhost",
            "localhost#.evil.example",
            "localhost?.evil.example",
            "localhost/.evil.example",
        ),
    ],
)
def test_no_other_name_leads_to_the_loopback(host):
    """A page may let its own name point to 127.0.0.1."""
    assert refusal(LOCAL, host=host) == 403


@pytest.mark.parametrize("host", ["10.0.0.1:8080", "toxiproxy:8474", "localhost", "[2001:db8::1]"])
def test_bound_wider_addresses_and_names_without_a_dot_are_ours(host):
    assert refusal(WIDE, host=host) is None


def test_bound_wider_a_name_with_a_dot_must_be_given():
    assert refusal(WIDE, host="chaos.example") == 403
    assert refusal(WIDE, host="chaos.example:80", names=["Chaos.Example"]) is None


def test_where_every_name_will_do_a_page_is_known_by_its_origin():
    """Browsers send it with all that may change something, also to the page's own site."""
    assert refusal(WIDE, names=None, host="toxiproxy.chaos.svc.cluster.local:8474") is None
    assert refusal(WIDE, names=None) is None
    for origin in ("http://evil.example:8474", "null", ""):
        assert refusal(WIDE, names=None, host="evil.example:8474", origin=origin) == 403


def test_a_body_that_is_announced_as_too_long():
    assert refusal(LOCAL, host="localhost", **{"content-length": str(BODY_LIMIT)}) is None
    assert refusal(LOCAL, host="localhost", **{"content-length": str(BODY_LIMIT + 1)}) == 413


def test_a_request_without_host_is_refused():
    assert refusal(LOCAL) == 403


def test_who_reaches_a_unix_socket_is_no_web_page():
    assert refusal(UNIX, host="whatever") is None
    assert refusal(UNIX) is None


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "https://localhost:8081", "http://localhost", "file://", "x"),
        *("http://[", "http://[::1", "//[", "]", "http://[x]", "\x00", "http://\u00e9"),
    ],
)
@pytest.mark.parametrize("listen", [LOCAL, WIDE])
def test_another_site_may_not_ask(listen, origin):
    assert refusal(listen, host="localhost:8080", origin=origin) == 403


def test_our_own_pages_may():
    assert refusal(LOCAL, host="localhost:8080", origin="http://localhost:8080") is None


@pytest.mark.parametrize(
    "given", ["", "secret", "Basic secret", "Bearer", "Bearer other", "Bearer secret2", "Bearer sécret"]
)
def test_without_the_token_nothing_is_told(given):
    assert refusal(LOCAL, host="localhost", token="secret", authorization=given) == 401
    assert refusal(LOCAL, host="localhost", token="secret") == 401


@pytest.mark.parametrize("given", ["Bearer secret", "bearer  secret"])
def test_with_the_token_everything_is(given):
    assert refusal(LOCAL, host="localhost", token="secret", authorization=given) is None


def test_health_needs_no_token_and_nothing_else_does_without():
    assert refusal(LOCAL, "/healthz", host="localhost", token="secret") is None
    assert refusal(LOCAL, "/healthz/", host="localhost", token="secret") == 401


def test_a_refusal_says_what_is_expected_and_not_the_token():
    sent = []

    async def send(message):
        sent.append(message)

    guard = Guard(nobody, LOCAL, token="secret")
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"Host", b"localhost")]}
    asyncio.run(guard(scope, None, send))
    start, body = sent
    assert start["status"] == 401
    assert (b"www-authenticate", b"Bearer") in start["headers"]
    assert b"Authorization: Bearer TOKEN" in body["body"]
    assert b"secret" not in body["body"]
    assert "secret" not in repr(guard)


@pytest.mark.parametrize(
    ("listen", "token", "open_to_all"),
    [
        (LOCAL, None, False),
        (Address("::1", 1), None, False),
        (UNIX, None, False),
        (WIDE, "secret", False),
        (WIDE, None, True),
        (Address("", 1), None, True),
        (Address("192.0.2.1", 1), None, True),
    ],
)
def test_what_is_exposed(listen, token, open_to_all):
    assert exposed(listen, token) is open_to_all


def test_a_token_is_read_without_the_end_of_its_line(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    assert read_token(str(tmp_path / "token")) == "secret"


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"a\nb", "sécret".encode(), b"\xff", b"a\x00b"])
def test_a_token_that_is_none_is_told_without_its_text(tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(OptionError, match="expected a file with") as caught:
        read_token(str(tmp_path / "token"), source="--token-file")
    assert "words" not in str(caught.value)


@pytest.mark.parametrize(("host", "name"), [("A.b:1", "a.b"), ("[::1]:2", "::1"), ("", ""), ("[x", "")])
def test_the_name_in_a_host_header(host, name):
    assert host_name(host) == name
