from __future__ import annotations

import re

import pytest

from tests.control.interface import interface
from vaurien import dashboard
from vaurien.control import pages


@pytest.fixture(scope="module")
def served():
    with interface() as one:
        yield one


def test_the_document_and_all_that_it_names_are_there(served):
    document = served.ask("GET", "/")
    assert document.status == 200
    assert document.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:href|src)="(/dashboard/[^"]+)"', document.body.decode())
    assert named
    for path in named:
        assert served.ask("GET", path).status == 200


@pytest.mark.parametrize("name", dashboard.names())
def test_a_file_is_sent_as_it_is_and_only_once(served, name):
    answer = served.ask("GET", f"/dashboard/{name}")
    assert answer.body == dashboard.read(name)
    assert "charset" not in answer.headers["content-type"] or answer.headers["content-type"].startswith("text/")
    again = served.ask("GET", f"/dashboard/{name}", if_none_match=answer.headers["etag"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["/", "/dashboard/app.js"])
def test_a_browser_is_told_what_the_page_may_do(served, path):
    policy = served.ask("GET", path).headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "path", ["/dashboard/", "/dashboard/none.js", "/dashboard/../security.py", "/dashboard/__init__.py"]
)
def test_there_is_nothing_else(served, path):
    assert served.ask("GET", path).body == b"404 page not found\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_answered_as_before(served, method):
    answer = served.ask(method, "/", b"")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


def test_the_page_needs_no_token_but_all_that_it_shows_does():
    with interface(token="secret") as one:
        assert {one.ask("GET", path).status for path in pages.paths()} == {200}
        assert one.ask("GET", "/api/v1/proxies").status == 401
        assert one.ask("GET", "/api/v1/live").status == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80"])
def test_a_page_that_renamed_itself_is_refused(served, host):
    assert served.ask("GET", "/", host=host).status == 403


def test_without_a_dashboard_there_is_nothing():
    with interface(dashboard="off") as one:
        for path in pages.paths():
            assert one.ask("GET", path).body == b"404 page not found\n"


def test_a_page_that_may_only_read_can_change_nothing():
    with interface(dashboard="read-only") as one:
        assert b'<html data-mode="read-only" ' in one.ask("GET", "/").body
        proxy = {"name": "p", "backend": "127.0.0.1:9"}
        origin = f"http://127.0.0.1:{one.address.port}"
        refused = one.ask("POST", "/api/v1/proxies", proxy, origin=origin)
        assert refused.status == 403
        assert "--dashboard read-only" in refused.json["error"]["message"]
        assert one.ask("POST", "/reset", origin=origin).status == 403
        assert one.ask("GET", "/api/v1/proxies", origin=origin).json["proxies"] == []
        assert one.ask("POST", "/api/v1/proxies", proxy).status == 201  # a program's
