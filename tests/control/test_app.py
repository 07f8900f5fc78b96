"""The three interfaces on one port."""

from __future__ import annotations

import pytest

from tests.control.conftest import page
from tests.control.interface import interface
from tests.hubs import COUNTS


@pytest.fixture(scope="module", params=COUNTS)
def served(request):
    with interface(workers=request.param) as served:
        served.proxy("p")
        yield served


def test_a_proxy_is_the_same_in_all_of_them(served):
    assert served.ask("POST", "/proxies/p/toxics", {"type": "latency", "attributes": {"latency": 5}}).status == 200
    [fault] = served.get("/api/v1/proxies/p/faults")["faults"]
    assert (fault["behavior"], fault["stream"]) == ("latency", "downstream")
    served.ask("PUT", "/behavior", {"name": "hang"})
    assert served.get("/api/v1/proxies/p/mix")["text"] == "100:hang"
    assert served.get("/proxies/p")["upstream"] == served.get("/backend")["backend"]


@pytest.mark.parametrize("path", ["/proxies", "/version", "/proxies/p"])
def test_browsers_are_refused_where_toxiproxy_refuses_them(served, path):
    answer = served.ask("GET", path, User_Agent="Mozilla/5.0")
    assert (answer.status, answer.body) == (403, b"User agent not allowed\n")


@pytest.mark.parametrize("path", ["/api/v1/proxies", "/behavior", "/openapi.json"])
def test_and_nowhere_else(served, path):
    assert served.ask("GET", path, User_Agent="Mozilla/5.0").status == 200


@pytest.mark.parametrize("path", ["/proxies", "/version", "/reset", "/populate"])
def test_a_web_page_may_not_use_toxiproxy_s_either(served, path):
    assert served.ask("POST", path, b"[]", Host="evil.example").status == 403
    assert served.ask("POST", path, b"[]", Origin="http://evil.example").status == 403


def test_a_path_that_is_nobody_s(served):
    answer = served.ask("GET", "/nope")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert served.ask("GET", "/api/nope").json["error"]["message"].startswith("there is nothing at /api/nope")


@pytest.mark.parametrize("path", ["/api/v1/proxies", "/behavior", "/proxies", "/metrics", "/openapi.json", "/nope"])
def test_the_token_is_wanted_for_everything(path):
    with interface(token="secret", metrics=page(b"")) as served:
        assert served.ask("GET", path).status == 401
        assert served.ask("GET", path, Authorization="Bearer secret").status in (200, 404)
        assert served.ask("GET", "/healthz").status == 200
