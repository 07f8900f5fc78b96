from __future__ import annotations

import contextlib
import http.server
import json
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.control.interface import interface
from tests.running import PATIENCE, Echo, read, until
from vaurien import __version__
from vaurien.cli.ctl import columns, context
from vaurien.cli.ctl import main as ctl
from vaurien.control import original


@pytest.fixture
def served(shared_interface):
    shared_interface.proxy("first", mix="20:delay")
    yield shared_interface
    shared_interface.clear()


@pytest.fixture
def echo():
    with Echo() as echo:
        yield f"127.0.0.1:{echo.address[1]}"


@pytest.fixture
def run(served, capsys, monkeypatch):
    """Run ``vaurienctl``; what it printed, in fields, once its exit status is what was expected."""
    monkeypatch.setenv("VAURIEN_URL", f"http://127.0.0.1:{served.address.port}")

    def call(*arguments, status=0):
        assert ctl.main(arguments) == status
        out, err = capsys.readouterr()
        if status:
            assert out == ""
            assert err.startswith("vaurienctl: ")
            assert err.count("\n") == 1
            return err.removeprefix("vaurienctl: ").rstrip("\n")
        assert err == ""
        return [line.split("\t") for line in out.splitlines()]

    return call


def test_the_commands_of_the_original(run):
    assert run("list-behaviors") == [[name] for name in original.NAMES]
    assert run("set-behavior", "error") == []
    assert run("get-behavior") == [["error"]]
    assert run("set-behavior", "delay", "sleep=2", "before=no") == []
    assert run("get-behavior") == [["delay"]]


def test_the_commands_of_the_first_releases_are_taken_with_a_line(run, served, capsys):
    said = "vaurienctl: {} is the spelling of an early release; write {}\n".format
    assert ctl.main(["set-handler", "delay", "sleep=2"]) == 0
    assert capsys.readouterr() == ("", said("set-handler", "set-behavior"))
    assert ctl.main(["get-handler"]) == 0
    assert capsys.readouterr() == ("delay\n", said("get-handler", "get-behavior"))
    assert ctl.main(["list-handlers"]) == 0
    names = "".join(f"{name}\n" for name in original.NAMES)
    assert capsys.readouterr() == (names, said("list-handlers", "list-behaviors"))


def test_host_may_stand_before_and_behind(run, served, monkeypatch):
    url = f"http://127.0.0.1:{served.address.port}"
    monkeypatch.setenv("VAURIEN_URL", "http://nowhere.invalid:1")
    assert run("get-behavior", "--host", url) == [["20:delay"]]
    assert run("--host", url, "get-behavior") == [["20:delay"]]


def test_proxies(run, served):
    address = served.get("/api/v1/proxies/first")["address"]
    assert run("list") == [["first", address, "127.0.0.1:9", "tcp", "yes", "0", "20:delay", "-", "0", "never"]]
    [made] = run("create", "redis", "--backend", "localhost:6379", "--protocol", "redis")
    assert (made[0], made[2]) == ("redis", "localhost:6379")
    assert run("toggle", "redis") == [["redis is switched off: its port is closed, and its connections are dropped"]]
    assert run("toggle", "redis") == [[f"redis is switched on, and listens at {made[1]}"]]
    assert ["protocol", "redis"] in run("inspect", "redis")
    assert run("connections", "redis") == []
    assert run("delete", "redis") == []
    assert [row[0] for row in run("list")] == ["first"]


def test_a_proxy_is_changed(run, served):
    run("create", "web", "--backend", "localhost:1")
    shown = run(
        "update", "web", "backend=localhost:2", "timeout=2.5", "seed=7", 'protocol_options={"keep_alive": false}'
    )
    assert ["backend", "localhost:2"] in shown
    web = served.get("/api/v1/proxies/web")
    assert (web["backend"], web["timeout"], web["seed"]) == ("localhost:2", 2.5, "7")
    assert web["protocol_options"] == {"keep_alive": False}


def test_reset(run, served):
    run("fault", "add", "first", "delay")
    run("toggle", "first")
    assert run("reset") == []
    [first] = served.get("/api/v1/proxies")["proxies"]
    assert (first["enabled"], first["mix"], first["faults"]) == (True, [], [])


@pytest.mark.parametrize("line", ["", "fault", "fault add", "fault update", "update"])
def test_help_has_examples_that_work_in_their_order(capsys, run, line):
    """Without those that need another program, or another interface."""
    assert ctl.main([*line.split(), "--help"]) == 0
    examples = capsys.readouterr().out.partition("Examples:\n")[2].splitlines()
    assert len(examples) > 1
    if line:
        run("create", "redis", "--backend", "localhost:6379", "--protocol", "redis")
    if line == "fault update":
        run("fault", "add", "redis", "latency")
    for example in examples:
        program, *arguments = shlex.split(example.replace("--listen localhost:6380", ""))
        assert program == "vaurienctl"
        if not set(arguments) & {"|", ">", "--host"}:
            run(*arguments)


def test_faults(run, served):
    added = run("fault", "add", "first", "delay", "sleep=500ms", "--name", "slow", "--probability", "0.5")
    assert added == [["slow", "delay", '{"sleep": "500ms"}', "both", "0.5", "connection"]]
    [changed] = run("fault", "update", "first", "slow", "before=false", "--stream", "upstream")
    assert changed[2:4] == ['{"sleep": "500ms", "before": false}', "upstream"]
    assert run("list")[0][-3:] == ["slow", "0", "never"]
    assert run("fault", "list", "first") == [[*changed, "0", "never"]]
    assert run("fault", "remove", "first", "slow") == []
    assert served.get("/api/v1/proxies/first/faults") == {"faults": []}


def test_when_a_fault_acts(run, served):
    run("fault", "add", "first", "delay", "--skip", "2", "--every", "3", "--match", "client=10.0.0.0/8", "--ttl", "60")
    fault = served.get("/api/v1/proxies/first/faults/delay")
    assert (fault["window"]["skip"], fault["window"]["every"], fault["ttl"]) == (2, 3, 60.0)
    assert fault["match"] == {"client": "10.0.0.0/8"}
    run("fault", "update", "first", "delay", "--count", "5", "--seconds", "1.5")
    window = served.get("/api/v1/proxies/first/faults/delay")["window"]
    assert window == {"skip": 2, "count": 5, "every": 3, "seconds": 1.5}


def test_json_is_what_the_interface_says(run, served, capsys):
    assert ctl.main(["--json", "inspect", "first"]) == 0
    assert json.loads(capsys.readouterr().out) == served.get("/api/v1/proxies/first")
    assert ctl.main(["--json", "list"]) == 0
    assert json.loads(capsys.readouterr().out) == served.get("/api/v1/proxies")["proxies"]


def test_a_configuration_is_kept_and_put_back(run, served, capsys, tmp_path):
    assert ctl.main(["config"]) == 0
    (tmp_path / "kept.json").write_text(capsys.readouterr().out)
    before = served.get("/api/v1/config")["proxies"]
    run("delete", "first")
    assert run("config", str(tmp_path / "kept.json")) == []
    assert served.get("/api/v1/config")["proxies"] == before


def test_events_are_a_line_each(run, served, monkeypatch):
    shown = []

    def take(line):
        shown.append(json.loads(line))
        raise KeyboardInterrupt

    monkeypatch.setattr(ctl.click, "echo", take)
    assert ctl.main(["events", "--proxy", "first"]) == 0
    assert (shown[0]["type"], shown[0]["proxy"]) == ("Listening", "first")


def test_a_reader_that_has_gone_is_no_error(served):
    host = f"127.0.0.1:{served.address.port}"
    command = [sys.executable, "-u", "-m", "vaurien.cli.ctl.main", "--host", host, "events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        for mix in ("10:delay", "20:delay"):  # it is written to, and finds out
            served.ask("PUT", "/api/v1/proxies/first/mix", {"mix": mix})
        assert (process.wait(PATIENCE), process.stderr.read()) == (0, b"")


def test_a_token_of_a_file(tmp_path, capsys, monkeypatch):
    (tmp_path / "token").write_text("secret\n")
    with interface(token="secret") as served:
        host = ["--host", f"127.0.0.1:{served.address.port}"]
        assert ctl.main([*host, "list"]) == ctl.REFUSED
        assert ctl.main([*host, "--token-file", str(tmp_path / "token"), "list"]) == ctl.OK
        monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", "secret")
        assert ctl.main([*host, "list"]) == ctl.OK
        monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", "other")
        assert ctl.main([*host, "list"]) == ctl.REFUSED
        monkeypatch.setenv("VAURIEN_TOKEN_FILE", str(tmp_path / "token"))
        assert ctl.main([*host, "list"]) == ctl.OK
        monkeypatch.delenv("VAURIEN_TOKEN_FILE")
        monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", "secret and more")
        assert ctl.main([*host, "list"]) == ctl.BAD_INPUT
    assert "secret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lst", "unknown command 'lst'; did you mean 'list'?"),
        ("fault ad", "unknown command 'ad'; did you mean 'add'?"),
        ("zzz", "unknown command 'zzz'; known are: config, connections, create, delete, events"),
        ("", "Missing command."),
        ("fault", "Missing command."),
        ("set-behavior delay sleep", "'sleep' is not valid; expected OPTION=VALUE, such as sleep=2"),
        ("create x", "Missing option '--backend'."),
        ("--host ftp://x list", "--host: 'ftp://x' is not valid; expected http://host:port"),
        ("config /nowhere", "Invalid value for '[FILE]'"),
        ("list --bogus", "No such option"),
    ],
)
def test_what_is_not_understood(run, line, message):
    assert message.lower() in run(*line.split(), status=ctl.BAD_INPUT).lower()


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_configuration_that_is_none(run, tmp_path, text):
    (tmp_path / "bad").write_text(text)
    assert "bad is not" in run("config", str(tmp_path / "bad"), status=ctl.BAD_INPUT)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("set-behavior dely", "the 'dely' behavior does not exist; did you mean 'delay'? (field /name)"),
        ("set-behavior delay sleep=soon", "option sleep: 'soon' is not valid; expected seconds"),
        ("inspect frist", "unknown proxy 'frist'; did you mean 'first'?"),
        ("fault add first dely", "unknown behavior or handler 'dely'; did you mean 'delay'?"),
        ("fault remove first slow", "unknown fault 'slow'; none is known"),
        ("create first --backend h:1", "first"),
    ],
)
def test_what_is_refused(run, line, message):
    assert message in run(*line.split(), status=ctl.REFUSED)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "fault add first latency --scope request",
            '--scope: "request" is not valid; expected one of connection, exchange, chunk (field /scope)',
        ),
        (
            "fault add first latency --probability 30",
            "--probability: 30 is not valid; expected a number from 0 to 1, such as 0.3 for 30 % (field /probability)",
        ),
        ("fault add first latency --skip -1", "--skip: -1 is not valid; expected a whole number of 0 or more"),
        ("fault add first latency --ttl=-1", "--ttl: -1 is not valid; expected a number from 0 to"),
        ("fault add first latency latncy=1", "unknown option of behavior 'latency' 'latncy'; did you mean 'latency'?"),
        ("fault add first latency latency=-1", "option latency: -1 is not valid; expected milliseconds"),
        ("fault add first latency --name a/b", '--name: "a/b" is not valid; expected text (1 to 200 characters'),
        ("update first bakend=x:1", "unknown field 'bakend'; did you mean 'backend'? (field /bakend)"),
        ("update first timeout=-1", "timeout=-1: -1 is not valid; expected a number from 0 to"),
        ("update first backend=x", "backend=x: 'x' is not valid; expected host:port"),
        ("create 'a/b c' --backend h:1", 'NAME: "a/b c" is not valid; expected text (1 to 200 characters without'),
        ("create new --backend h", "--backend: 'h' is not valid; expected host:port, [ipv6]:port or unix:/path"),
        ("create new --backend h:1 --protocol htpt", "unknown protocol 'htpt'; did you mean 'http'? (field /protocol)"),
        ("create new --backend h:1 --mix 200:delay", "shares such as 20:error with 0 to 100 percent"),
        ("fault update first slow --scope chunk", "unknown fault 'slow'; none is known"),
    ],
)
def test_refusals_name_what_was_typed_its_value_and_what_would_be_right(run, line, message):
    found = run(*shlex.split(line), status=ctl.REFUSED)
    assert message in found
    assert "`" not in found


def test_every_wrong_option_of_a_fault_is_refused_in_one_line(run):
    """Each with a wrong type, a value out of range, and a misspelt name."""
    run("fault", "add", "first", "latency")
    for option, right in (
        ("probability", "a number from 0 to 1"),
        ("skip", "a whole number"),
        ("count", "a whole number"),
        ("every", "a whole number"),
        ("seconds", "a number of seconds"),
        ("ttl", "a number of seconds"),
    ):
        for command in ("add", "update"):
            found = run("fault", command, "first", "latency", f"--{option}", "soon", status=ctl.BAD_INPUT)
            assert found.startswith(f"--{option}: 'soon' is not valid; expected {right}")
            assert f"--{option}" in run("fault", command, "first", "latency", f"--{option}", "-3", status=ctl.REFUSED)
            assert f"--{option}" in run("fault", command, "first", "latency", f"--{option}x", "1", status=ctl.BAD_INPUT)
    wrong = run("fault", "add", "first", "latency", "--match", "path", status=ctl.BAD_INPUT)
    assert wrong == "'path' is not valid; expected FIELD=PATTERN, such as client=10.0.0.0/8"


def test_hits_and_when_the_last_one_was(run, served, echo):
    run("create", "web", "--backend", echo)
    run("fault", "add", "web", "latency", "latency=1ms", "--stream", "upstream")
    assert run("fault", "list", "web")[0][-2:] == ["0", "never"]
    host, _, port = served.get("/api/v1/proxies/web")["address"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
    until(lambda: run("fault", "list", "web")[0][-2] == "2")  # the bytes, and the end
    name, *_, hits, last = run("fault", "list", "web")[0]
    assert (name, hits) == ("latency", "2")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", last)
    assert run("list")[-1][-3:] == ["latency", "2", last]
    shown = dict(run("inspect", "web"))
    assert (shown["faults"], shown["last_hit"]) == ("latency (2 hits)", last)


@pytest.mark.parametrize(
    ("age", "words"),
    [(None, "never"), (0.4, "0 s ago"), (59, "59 s ago"), (90, "2 min ago"), (7200, "2 h ago"), (10**6, "12 d ago")],
)
def test_people_are_told_how_long_ago(monkeypatch, age, words):
    monkeypatch.setattr(context.sys.stdout, "isatty", lambda: True, raising=False)
    control = context.Control("", "", None, "", as_json=False)
    assert control.moment(None if age is None else time.time() - age) == words


def test_nothing_answers_and_where_the_address_came_from(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    words = f"{url} does not answer (Connection refused); is vaurien running there with --http? (the address is "
    assert ctl.main(["--host", url, "list"]) == ctl.UNREACHABLE
    assert f"{words}--host)" in capsys.readouterr().err
    monkeypatch.setenv("VAURIEN_URL", url)
    assert ctl.main(["list"]) == ctl.UNREACHABLE
    assert f"{words}VAURIEN_URL)" in capsys.readouterr().err
    monkeypatch.setenv("VAURIEN_URL", "http://[")
    assert ctl.main(["list"]) == ctl.BAD_INPUT
    assert "VAURIEN_URL: 'http://[' is not valid; expected http://host:port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "is not vaurien's interface: <html>"),
        (404, b"404 page not found\n", "404 Not Found: 404 page not found"),
        (
            502,
            b"<html>",
            "502 Bad Gateway: <html>; this is not how vaurien's interface answers, is it at http://127.0.0.1:",
        ),
    ],
)
def test_a_server_that_is_not_vaurien(capsys, status, body, words):
    with stranger(status, body) as port:
        assert ctl.main(["--host", f"127.0.0.1:{port}", "list"]) in (ctl.REFUSED, ctl.UNREACHABLE)
    assert words in capsys.readouterr().err


@contextlib.contextmanager
def stranger(status, body):
    """Another server; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_wrong_token_and_where_it_came_from(tmp_path, capsys, monkeypatch):
    (tmp_path / "token").write_text("gu3ss\n")
    with interface(token="secret") as served:
        url = f"http://127.0.0.1:{served.address.port}"
        monkeypatch.setenv("VAURIEN_URL", url)
        refuses = f": the interface at {url} refuses this token; expected its own"
        assert ctl.main(["--token-file", str(tmp_path / "token"), "list"]) == ctl.REFUSED
        assert f"--token-file{refuses}" in capsys.readouterr().err
        monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", "gu3ss")
        assert ctl.main(["list"]) == ctl.REFUSED
        assert f"TOXIPROXY_AUTH_TOKEN{refuses}" in capsys.readouterr().err
        monkeypatch.setenv("VAURIEN_TOKEN_FILE", str(tmp_path / "token"))
        assert ctl.main(["list"]) == ctl.REFUSED
        assert f"VAURIEN_TOKEN_FILE{refuses}" in capsys.readouterr().err
        monkeypatch.delenv("VAURIEN_TOKEN_FILE")
        monkeypatch.delenv("TOXIPROXY_AUTH_TOKEN")
        assert ctl.main(["list"]) == ctl.REFUSED
        said = capsys.readouterr().err
        assert f"the interface at {url} wants a token; expected --token-file FILE, or VAURIEN_TOKEN_FILE or" in said


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version(capsys, flag):
    assert ctl.main([flag]) == ctl.OK
    assert capsys.readouterr().out == f"vaurienctl {__version__}\n"


ROOT = Path(__file__).parents[3]
PAGES = {"docs/how-to/steer-a-running-proxy.md": 5, "README.md": 2}
"""Pages with commands, and how many they have at least."""


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work_in_their_order(run, page):
    """Without those that name an interface elsewhere, and without listening ports, which may be in use."""
    commands = re.findall(r"^\$ vaurienctl (.*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) > PAGES[page]
    for line in commands:
        if "--host" not in line and line != "events":
            run(*shlex.split(re.sub(r"--listen \S+ ", "", line)))


def test_columns_for_people_and_tabs_for_programs():
    items = [
        {"name": "a", "on": True, "mix": [{"percent": 20.0, "behavior": "delay"}]},
        {"name": "long\tname", "on": None},
    ]
    names = ["name", "on", "mix"]
    assert columns.rows(items, names, terminal=True) == (
        'NAME          ON   MIX\na             yes  20:delay\n"long\\tname"  -    -\n'
    )
    assert columns.rows(items, names, terminal=False) == 'a\tyes\t20:delay\n"long\\tname"\t-\t-\n'
    assert columns.record(items[0], ["name", "on"], terminal=True) == "name  a\non    yes\n"
    assert columns.rows([], names, terminal=True) == "NAME  ON  MIX\n"


def test_help_says_what_exit_statuses_mean(capsys):
    assert ctl.main(["-h"]) == ctl.OK
    text = " ".join(capsys.readouterr().out.split())
    assert f"{ctl.OK} when it is done, {ctl.REFUSED} when the interface refused it" in text
    assert f"{ctl.BAD_INPUT} when the command line is not understood, {ctl.UNREACHABLE} when nobody answers" in text


def test_options_of_the_program_may_stand_behind_the_command(served, capsys, monkeypatch):
    monkeypatch.setenv("VAURIEN_URL", "http://127.0.0.1:1")
    host = f"127.0.0.1:{served.address.port}"
    assert ctl.main(["list", "--json", "--host", host]) == ctl.OK
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["first"]
    assert ctl.main(["fault", "add", "first", "latency", "--host", host, "--json"]) == ctl.OK
    assert json.loads(capsys.readouterr().out)[0]["name"] == "latency"
