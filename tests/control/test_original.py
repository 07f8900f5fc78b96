from __future__ import annotations

import pytest

from tests.control.interface import interface
from tests.hubs import COUNTS
from vaurien import plugins
from vaurien.handlers.base import BaseHandler

NAMES = ["abort", "blackout", "delay", "dummy", "error", "hang", "transient"]
GIVEN = {"behavior:delay": {"sleep": 5.0, "before": False}}


class Mine(BaseHandler):
    """A handler of the first release."""

    name = "mine"
    options = {"sleep": ("How long", int, 1)}

    def __call__(self, client_sock, backend_sock, to_backend):
        return True


@pytest.fixture(scope="module", params=COUNTS)
def _served(request):
    with interface(options=GIVEN, workers=request.param) as served:
        yield served


@pytest.fixture
def served(_served):
    _served.proxy("first", mix="100:dummy")
    _served.proxy("second", mix="100:hang")
    yield _served
    _served.clear()


def shares(served, name="first"):
    return served.get(f"/api/v1/proxies/{name}/mix")["mix"]


@pytest.mark.parametrize("word", ["behavior", "handler"])
def test_a_behavior_is_set_by_its_name(served, word):
    assert served.get(f"/{word}") == {"behavior": "dummy"}
    answer = served.ask("PUT", f"/{word}", {"name": "error", "warmup": 3})
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert served.get(f"/{word}") == {"behavior": "error"}
    assert shares(served) == [{"percent": 100.0, "behavior": "error", "options": {"warmup": 3}}]


def test_only_the_first_proxy_is_meant(served):
    served.ask("PUT", "/behavior", {"name": "error"})
    assert shares(served, "second") == [{"percent": 100.0, "behavior": "hang", "options": {}}]


def test_an_option_given_live_comes_before_the_command_line(served):
    served.ask("PUT", "/behavior", {"name": "delay", "sleep": 2})
    assert shares(served)[0]["options"] == {"sleep": 2, "before": False}


def test_an_option_not_given_live_is_that_of_the_command_line(served):
    served.ask("PUT", "/behavior", {"name": "delay", "sleep": 2})
    served.ask("PUT", "/behavior", {"name": "delay"})
    assert shares(served)[0]["options"] == {"sleep": 5.0, "before": False}


def test_a_mix_is_told_as_text_and_can_be_put_back(served):
    assert served.ask("PUT", "/behavior", {"name": "20:delay,10:error"}).status == 200
    assert served.get("/behavior") == {"behavior": "20:delay,10:error"}


@pytest.mark.parametrize("mix", ["", "0:delay"])
def test_no_behavior_is_dummy(served, mix):
    served.ask("PUT", "/api/v1/proxies/first/mix", {"mix": mix})
    assert served.get("/behavior") == {"behavior": "dummy"}


@pytest.mark.parametrize("word", ["behaviors", "handlers"])
def test_the_behaviors_are_those_of_the_original(served, word):
    assert served.get(f"/{word}") == {"behaviors": NAMES}


def test_and_those_that_were_registered(served):
    plugins.register("handler", Mine)
    assert served.get("/behaviors") == {"behaviors": sorted([*NAMES, "mine"])}
    assert served.ask("PUT", "/behavior", {"name": "mine", "sleep": 2}).status == 200


def test_the_backend(served):
    assert served.get("/backend") == {"backend": "127.0.0.1:9"}
    assert served.ask("PUT", "/backend", {"backend": "localhost:7"}).json == {"status": "ok"}
    assert served.get("/backend") == {"backend": "localhost:7"}


@pytest.mark.parametrize(
    ("path", "body", "name", "words"),
    [
        ("/behavior", {"name": "x"}, "name", "the 'x' behavior does not exist"),
        ("/behavior", {}, "name", "name is missing"),
        ("/behavior", {"name": 1}, "name", "name: 1 is not valid; expected text"),
        ("/behavior", {"name": "delay", "slep": 2}, "slep", "did you mean 'sleep'?"),
        ("/behavior", {"name": "delay", "sleep": "x"}, "sleep", "expected seconds"),
        ("/behavior", {"name": "20:delay,10:error", "sleep": 1}, "sleep", "options need a single behavior"),
        ("/behavior", {"name": "200:delay"}, None, "0 to 100 percent"),
        ("/behavior", b"", None, "the body is"),
        ("/behavior", [], None, "expected an object"),
        ("/backend", {}, "backend", "backend is missing"),
        ("/backend", {"backend": "x"}, "backend", "expected host:port"),
        ("/backend", {"backend": None}, "backend", "backend: null is not valid; expected text"),
    ],
)
def test_an_error_is_as_the_original_told_it(served, path, body, name, words):
    before = served.get("/api/v1/config")
    answer = served.ask("PUT", path, body)
    [error] = answer.json["errors"]
    assert (answer.status, answer.json["status"], error["location"], error["name"]) == (400, "error", "body", name)
    assert words in error["description"]
    assert served.get("/api/v1/config") == before


def test_a_method_that_there_is_not(served):
    answer = served.ask("DELETE", "/behavior")
    assert (answer.status, answer.headers["allow"], answer.json["status"]) == (405, "GET, PUT", "error")


def test_without_a_proxy(served):
    served.clear()
    assert served.ask("GET", "/behavior").status == 404
    assert served.ask("PUT", "/backend", {"backend": "h:1"}).json["errors"][0]["description"] == "there is no proxy"


@pytest.mark.parametrize("path", ["/behavior", "/backend", "/handlers"])
def test_a_web_page_may_not(served, path):
    assert served.ask("GET", path, Host="evil.example").status == 403
    assert served.ask("PUT", path, {"name": "hang"}, Origin="http://evil.example").status == 403
