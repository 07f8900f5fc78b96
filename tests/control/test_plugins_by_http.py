"""A caller of the HTTP interfaces runs no code but the plugins that the program was started with."""

from __future__ import annotations

import sys

import pytest

from tests.control.interface import interface
from vaurien import plugins

SPY = "open(__file__ + '.ran', 'w').close()\nfrom vaurien import Behavior\nclass Mine(Behavior, frozen=True): ...\n"
PATHS = [
    "os.system",
    "os._exit",
    "builtins.eval",
    "subprocess.Popen",
    "chaos_spy.Mine",  # in the working directory
    "tests.plugins.Noop",  # in a module that may be loaded already
    "vaurien.legacy.handler.BaseHandler",
    ".x",
    "x.",
    "..",
]


@pytest.fixture
def spy(tmp_path, monkeypatch):
    """A module in the working directory that leaves a trace when it is imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chaos_spy.py").write_text(SPY)
    yield tmp_path / "chaos_spy.py.ran"
    sys.modules.pop("chaos_spy", None)


@pytest.fixture(scope="module")
def served():
    with interface() as served:
        yield served


@pytest.fixture
def proxy(served):
    yield served.proxy("p", faults=[{"name": "f", "behavior": "delay"}])
    served.clear()


def requests(name):
    """Every request that can name a plugin."""
    new = {"name": "q", "backend": "127.0.0.1:9"}
    kept = {"name": "p", "backend": "127.0.0.1:9", "faults": [{"name": "f", "behavior": "delay"}]}
    one = {"behavior": name}
    share = [{"percent": 50, "behavior": name}]
    toxics = [{"name": "q", "upstream": "127.0.0.1:9", "listen": "127.0.0.1:0", "toxics": [{"type": name}]}]
    yield "POST", "/api/v1/proxies", {**new, "protocol": name}
    yield "POST", "/api/v1/proxies", {**new, "mix": f"50:{name}"}
    yield "POST", "/api/v1/proxies", {**new, "mix": share}
    yield "POST", "/api/v1/proxies", {**new, "faults": [one]}
    yield "PATCH", "/api/v1/proxies/p", {"protocol": name}
    yield "PATCH", "/api/v1/proxies/p", {"mix": share}
    yield "PATCH", "/api/v1/proxies/p", {"faults": [one]}
    yield "PUT", "/api/v1/config", {"proxies": [kept, {**new, "protocol": name}]}
    yield "PUT", "/api/v1/config", {"proxies": [kept, {**new, "faults": [one]}]}
    yield "PUT", "/api/v1/config", {"proxies": [kept, {**new, "mix": f"50:{name}"}]}
    yield "PUT", "/api/v1/proxies/p/mix", {"mix": f"50:{name}"}
    yield "PUT", "/api/v1/proxies/p/mix", {"mix": share}
    yield "POST", "/api/v1/proxies/p/faults", one
    yield "PATCH", "/api/v1/proxies/p/faults/f", one
    yield "GET", f"/api/v1/behaviors/{name}", None
    yield "GET", f"/api/v1/protocols/{name}", None
    yield "PUT", "/behavior", {"name": name}
    yield "PUT", "/handler", {"name": name}
    yield "PUT", "/handler", {"name": f"50:{name}"}
    yield "POST", "/proxies/p/toxics", {"type": name}
    yield "POST", "/populate", toxics


@pytest.mark.parametrize("name", PATHS)
def test_no_route_imports_what_a_caller_names(served, proxy, spy, name):
    before, path = served.get("/api/v1/config"), list(sys.path)
    for method, where, body in requests(name):
        answer = served.ask(method, where, body)
        assert 400 <= answer.status < 500, (method, where, answer)
    assert not spy.exists()
    assert sys.path == path
    assert served.get("/api/v1/config") == before


def test_each_route_takes_what_is_allowed(served, proxy, spy):
    plugins.allow(["chaos_spy.*"])
    for method, where, body in requests("chaos_spy.Mine"):
        if not where.startswith("/api/v1/protocols") and "protocol" not in str(body):
            answer = served.ask(method, where, body)
            assert answer.status < 300 or answer.status == 409, (method, where, answer)  # it is there already
    assert spy.exists()
