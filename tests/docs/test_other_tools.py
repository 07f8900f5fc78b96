"""What the page about other tools asks of Vaurien, a real one answers; k6 and Locust themselves are played here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tests.control.interface import interface
from tests.servers import absent

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "connect-other-tools.md"

K6 = """
import { execFileSync } from "node:child_process";
const asked = (method, url, body, params) => {
    const headers = Object.entries(params?.headers ?? {}).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
    execFileSync("curl", ["-sS", "--fail", "-X", method, ...headers, ...(body ? ["-d", body] : []), url]);
};
export default { get: url => asked("GET", url), post: (url, body, params) => asked("POST", url, body, params) };
"""
"""Of k6's module for HTTP as much as the script uses."""


@pytest.fixture
def served():
    with interface() as one:
        one.proxy("db")
        yield one


def code(language):
    [block] = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return block


def faults(served):
    return [(one["behavior"], one["options"], one["ttl"]) for one in served.get("/api/v1/proxies/db/faults")["faults"]]


def test_the_script_for_k6_breaks_and_mends(served, tmp_path):
    for program in ("node", "curl"):
        if not shutil.which(program):
            absent(f"{program} is not installed")
    module = tmp_path / "node_modules" / "k6"
    module.mkdir(parents=True)
    (module / "package.json").write_text(
        '{"name": "k6", "type": "module", "exports": {".": "./k6.js", "./http": "./http.js"}}'
    )
    (module / "http.js").write_text(K6)
    (module / "k6.js").write_text("export const sleep = () => {};")
    script = code("js").replace("localhost:8080", f"127.0.0.1:{served.address.port}")
    (tmp_path / "script.mjs").write_text(script)

    def run(function):
        call = f"import('./script.mjs').then(it => {{ it.{function}(); console.log(JSON.stringify(it.options)); }})"
        done = subprocess.run(
            ["node", "-e", call], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    assert '"exec":"chaos"' in run("chaos")
    assert faults(served) == [("latency", {"latency": 200}, 20)]
    run("teardown")
    assert faults(served) == []


def test_the_file_for_locust_breaks_and_mends(served, monkeypatch, capsys):
    listeners = {}

    class Event:
        def __init__(self, name):
            self.name = name

        def add_listener(self, function):
            listeners[self.name] = function
            return function

    events = types.SimpleNamespace(spawning_complete=Event("begin"), test_stop=Event("end"))
    locust = types.ModuleType("locust")
    locust.HttpUser, locust.events, locust.task = object, events, lambda function: function
    monkeypatch.setitem(sys.modules, "locust", locust)
    text = code("python")
    assert "chaos = Client()" in text
    exec(text.replace("Client()", f"Client(port={served.address.port})"), {})
    listeners["begin"](user_count=20)
    assert faults(served) == [("latency", {"latency": 200}, 60)]
    listeners["end"](environment=None)
    assert capsys.readouterr().out == "hits: [('latency', 0)]\n"
    assert faults(served) == []
