"""A fault as each interface takes it: what is copied from the page does what the form would, typed as it is."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tomllib

import msgspec
import pytest

from tests.cli.programs import BOUND, PROGRAM
from vaurien.config import fault

NAMED = {"web": "it's (1)", "odd": 'a "b" $HOME `c`; d\\'}
FAULT = {
    "behavior": "http_headers",
    "name": NAMED["odd"],
    "options": {"set": ["X-A: it's, $HOME", 'X-B: "b"'], "remove": ["X-C"]},
    "stream": "downstream",
    "probability": 0.25,
    "scope": "exchange",
    "ttl": 600,
    "window": {"skip": 2, "count": None, "every": 3, "seconds": None},
    "match": {"path": "glob:/it's/*", "header.x-a": "re:^[\"']$"},
}


@pytest.fixture
def copies(tab, daemon):
    """The copies for a fault with quotes, lists and matches, which is typed and not added; and the daemon."""
    daemon.proxy(NAMED["web"], "127.0.0.1:9", protocol="http")
    page = tab.open("#/proxy/it's%20(1)/add")
    page.get_by_label("Behavior").select_option(FAULT["behavior"])
    page.get_by_label("Name", exact=True).fill(FAULT["name"])
    for option, value in FAULT["options"].items():
        page.get_by_label(option, exact=True).first.fill("\n".join(value))
    page.get_by_label("Direction").select_option(FAULT["stream"])
    page.get_by_label("probability", exact=True).fill("0.25")
    page.get_by_label("scope").select_option("exchange")
    page.get_by_label("Removes itself after").fill("600")
    page.get_by_text("Window: which occasions count").click()
    page.get_by_label("skip").fill("2")
    page.get_by_label("every").fill("3")
    for number, (name, pattern) in enumerate(FAULT["match"].items()):
        page.get_by_role("button", name="Add a condition").click()
        page.get_by_label("Field").nth(number).fill(name)
        page.get_by_label("Pattern").nth(number).fill(pattern)
    titles = ("Command line", "curl", "Python", "TOML", "pytest")
    return {title: page.get_by_role("group", name=title, exact=True).inner_text() for title in titles}


def the_one(daemon):
    """The fault that the proxy has, as it was typed."""
    [found] = daemon.ask("GET", "/proxies/it's%20(1)")["faults"]
    return {key: found[key] for key in FAULT}


def run(command, **settings):
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_curl_and_python_add_it(copies, daemon):
    run(["sh", "-c", f"{copies['curl']} --noproxy '*' -sSf"])
    assert the_one(daemon) == FAULT
    daemon.ask("PATCH", "/proxies/it's%20(1)", {"faults": []})
    run([sys.executable, "-c", copies["Python"]])
    assert the_one(daemon) == FAULT


def is_meant(made):
    """Whether it is the fault that was typed: nothing more, and nothing less."""
    return {**FAULT, **msgspec.to_builtins(made)} == {**msgspec.to_builtins(made), **FAULT}


def test_a_command_line_and_a_file_have_it(copies, tmp_path):
    text = f'[vaurien]\nprotocol = "http"\n\n{copies["TOML"]}\n'
    (tmp_path / "it.toml").write_text(text)
    typed = copies["Command line"].replace("vaurien", f"{shlex.join(PROGRAM)} --show-config", 1)
    run(["sh", "-c", typed])
    run([*PROGRAM, "--config", str(tmp_path / "it.toml"), "--show-config"])
    assert is_meant(fault.parse(shlex.split(copies["Command line"])[-1]))
    [table] = tomllib.loads(text)["fault"]
    assert is_meant(fault.read(table, lambda _: None))


def test_a_marker_has_it(copies, tmp_path):
    head = "import json, msgspec, pytest\n\n"
    body = "def test_it(vaurien_proxy):\n    print('made', json.dumps(msgspec.to_builtins(vaurien_proxy.faults())))\n"
    (tmp_path / "test_it.py").write_text(f"{head}{copies['pytest']}\n{body}")
    asked = [sys.executable, "-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider", "test_it.py"]
    [line] = [one for one in run(asked, cwd=tmp_path).splitlines() if one.startswith("made ")]
    [made] = json.loads(line.removeprefix("made "))
    assert is_meant(made)


def test_where_a_token_is_asked_for_it_is_read_from_its_file(new_tab, new_daemon, tmp_path):
    """As vaurienctl finds it: the token itself is in no copy."""
    (tmp_path / "token").write_text("s3cret\n")
    daemon = new_daemon("-token-file", str(tmp_path / "token"))
    daemon.token = "s3cret"
    daemon.proxy("web", "127.0.0.1:9")
    page = new_tab(daemon.origin).open("#token=s3cret")
    page.get_by_role("link", name="Add a fault to web").click()
    settings = {"env": {**os.environ, "VAURIEN_TOKEN_FILE": str(tmp_path / "token")}}
    for title, program in (("curl", ["sh", "-c"]), ("Python", [sys.executable, "-c"])):
        copy = page.get_by_role("group", name=title, exact=True).inner_text()
        assert "s3cret" not in copy
        run([*program, copy], **settings)
        assert [one["name"] for one in daemon.ask("GET", "/proxies/web")["faults"]] == ["latency"]
        daemon.ask("PATCH", "/proxies/web", {"faults": []})
