"""What users typed wrong, word for word, and the one line that tells them what would be right."""

from __future__ import annotations

import http.server
import shlex
import threading

import pytest

from tests.control.interface import interface
from tests.servers import free_port
from vaurien import __version__
from vaurien.cli import main, meta
from vaurien.cli.ctl import main as ctl


@pytest.fixture(scope="module")
def url(shared_interface):
    shared_interface.proxy("redis", protocol="redis")
    yield f"http://127.0.0.1:{shared_interface.address.port}"
    shared_interface.clear()


def said(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err


CTL = {
    "fault add redis latency --scope request": 'scope: "request" is not valid; expected one of connection, exchange',
    "fault add redis latency --probability 30": "probability: 30 is not valid; expected a number from 0 to 1, such as",
    "update redis bakend=1.2.3.4:5": "unknown field 'bakend'; did you mean 'backend'?",
    "create a/b --backend localhost:1": 'name: "a/b" is not valid; expected text (1 to 200 characters without slashes',
    "set-behavior dely": "the 'dely' behavior does not exist; did you mean 'delay'?",
    "fault add redis error --match path=/x": "unknown field 'path' of the match of fault 'error'; known are: ",
}


@pytest.mark.parametrize("typed", CTL)
def test_at_vaurienctl(typed, url, capsys):
    assert ctl.main(["--host", url, *typed.split()]) == 1
    assert said(capsys).startswith(f"vaurienctl: {CTL[typed]}")


ADDED = {
    "latency": "latency and jitter are 0",
    "delay --probability 0": "its probability is 0",
    "delay --count 0 --scope exchange": "its window takes 0 occasions",
}


@pytest.mark.parametrize("typed", ADDED)
def test_a_fault_that_changes_nothing_is_taken_with_a_warning(typed, url, capsys):
    assert ctl.main(["--host", url, "fault", "add", "redis", *typed.split(), "--name", "idle"]) == 0
    try:
        out, err = capsys.readouterr()
        assert err == f"vaurienctl: fault 'idle' changes nothing: {ADDED[typed]}\n"
        assert ctl.main(["--host", url, "why", "redis", "idle"]) == 0
        out, err = capsys.readouterr()
        assert (f"it changes nothing: {ADDED[typed]}" in out, err) == (True, "")
        assert ctl.main(["--host", url, "fault", "update", "redis", "idle", "--stream", "downstream"]) == 0
        assert capsys.readouterr().err == f"vaurienctl: fault 'idle' changes nothing: {ADDED[typed]}\n"
    finally:
        assert ctl.main(["--host", url, "fault", "remove", "redis", "idle"]) == 0


def test_a_proxy_on_the_address_of_one_that_is_off_is_taken_with_a_warning(url, shared_interface, capsys):
    address = shared_interface.proxy("off", enabled=False, listen=f"127.0.0.1:{free_port()}")["address"]
    try:
        assert ctl.main(["--host", url, "create", "other", "--listen", address, "--backend", "localhost:1"]) == 0
        out, err = capsys.readouterr()
        warning = "proxy 'off', which is switched off, has this address too: only one of them can be on"
        assert (out.startswith("other"), err) == (True, f"vaurienctl: proxy 'other': {warning}\n")
        assert ctl.main(["--host", url, "update", "other", "timeout=2"]) == 0
        assert capsys.readouterr().err == f"vaurienctl: proxy 'other': {warning}\n"
        assert ctl.main(["--host", url, "toggle", "off"]) == 1
        taken = f"vaurienctl: cannot listen on {address}: Address already in use (by proxy 'other')\n"
        assert capsys.readouterr().err == taken
    finally:
        for name in ("off", "other"):
            shared_interface.ask("DELETE", f"/api/v1/proxies/{name}")


def test_why_a_fault_has_not_hit(url, capsys):
    assert ctl.main(["--host", url, "fault", "add", "redis", "hang"]) == 0
    try:
        capsys.readouterr()
        assert ctl.main(["--host", url, "why", "redis"]) == 0
        assert "no connection has come since it was set; clients have to connect to " in capsys.readouterr().out
        assert ctl.main(["--host", url, "why", "redis", "hagn"]) == 1
        assert said(capsys) == "vaurienctl: unknown fault 'hagn'; did you mean 'hang'?\n"
    finally:
        assert ctl.main(["--host", url, "fault", "remove", "redis", "hang"]) == 0


def test_why_the_mix_has_not_hit(url, capsys):
    assert ctl.main(["--host", url, "mix", "redis", "0.000001:delay"]) == 0
    try:
        capsys.readouterr()
        assert ctl.main(["--host", url, "why", "redis"]) == 0
        assert capsys.readouterr().out.startswith("delay\tno_connection\tno connection has come since it was set; ")
    finally:
        assert ctl.main(["--host", url, "mix", "redis", ""]) == 0


def test_a_field_of_another_protocol_names_the_protocol(url, capsys):
    assert ctl.main(["--host", url, "fault", "add", "redis", "error", "--match", "path=/x"]) == 1
    assert "these are the fields of protocol redis" in said(capsys)
    assert main.main(["--protocol", "redis", "--fault", "error match.path=/x", "--show-config"]) == 2
    assert "(from --fault)" in (line := said(capsys))
    assert "these are the fields of protocol redis" in line


def test_an_option_that_stands_before_the_command(capsys):
    for words in ("list", "fault list"):
        assert ctl.main([*words.split(), "p", "--token-file", "file"]) == 2
        expected = f"expected vaurienctl --token-file ... {words}"
        assert said(capsys) == f"vaurienctl: --token-file stands before the command; {expected}\n"


def test_a_server_that_is_not_vaurien(capsys, monkeypatch):
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever).start()
        assert ctl.main(["--host", f"http://127.0.0.1:{server.server_port}", "list"]) == 1
        server.shutdown()
    where = f"http://127.0.0.1:{server.server_port}"
    assert said(capsys) == f"vaurienctl: what answers at {where} is not vaurien's interface: 404 Not Found\n"


def test_no_server(capsys):
    assert ctl.main(["--host", "http://127.0.0.1:1", "list"]) == 3
    assert "http://127.0.0.1:1 does not answer" in (line := said(capsys))
    assert "is vaurien running there with --http?" in line


@pytest.mark.parametrize(
    ("given", "message"), [("wrong", "this is not the token of this interface"), ("", "this interface wants its token")]
)
def test_a_wrong_token_and_none(given, message, tmp_path, capsys):
    (tmp_path / "token").write_text("wrong")
    with interface(token="secret") as served:
        own = ["--token-file", str(tmp_path / "token")] if given else []
        assert ctl.main(["--host", f"http://127.0.0.1:{served.address.port}", *own, "list"]) == 1
    assert message in said(capsys)


MAIN = {
    "extra": "unknown argument 'extra'; options begin with --, and vaurien --help lists them",
    "chek x.toml": "unknown argument 'chek'; did you mean 'check'?",
    "backend localhost:1": "unknown argument 'backend'; did you mean '--backend'?",
    "-config x.toml": "unknown option '-config'; did you mean '--config'?",
    "run --fault hang --exit-code-from me -- true": "option exit_code_from: 'me' (from --exit-code-from) is not valid; "
    "expected one of command, vaurien, both",
    "forward --listen 8000": "option listen: '8000' (from --listen) is not valid; expected host:port",
    "forward --listen 192.0.2.1:80": "option listen (from --listen): cannot listen on 192.0.2.1:80",
    "forward --backend localhost:80": "backend: 'localhost:80' (from --backend) is not valid; expected forward, or ",
    "mesh --nodes a": "mesh option nodes: 'a' (from --nodes) is not valid; expected a node and where it listens",
    "schema extra": "schema: unexpected argument 'extra'; expected none",
    "ca extra": "unexpected argument 'extra'; expected vaurien ca [OPTIONS]",
    "--help behavior latncy": "unknown behavior 'latncy'; did you mean 'latency'?",
    "check one-table.toml": "table: '[proxy]' (from one-table.toml line 1) is not valid; expected [[proxy]], of which",
    "check unlike.toml": "unknown section 'zzzz' (from unlike.toml line 1 [zzzz]); known are: behavior:NAME, ",
    "check listed.toml": "environment A: [1] (from listed.toml line 2 [environment] A) is not valid; expected text, a",
    "--name ''": "option name: '' (from --name) is not valid; expected text, one character or more",
    "--behavior 120:delay": "behavior: '120:delay' (from --behavior) is not valid; expected shares such as "
    "20:error with 0 to 100 percent\n",
    "--fault 'refuse probability=0.5'": "fault 'refuse' probability: 0.5 (from --fault) is not valid; expected none: "
    "'refuse' takes no probability, it closes the port for every client",
    "serve -port x": "host and port: 'localhost:x' (from -host and -port) is not valid; expected a port from 0 to",
    "serve -seed abc": 'invalid value "abc" for flag -seed: parse error; expected a whole number\n',
    "serve -token-file nowhere": "option token_file: 'nowhere' (from -token-file) is not valid; expected a file that",
    "serve -label a=b": "-label is about a fleet; expected -fleet beside it",
    "-b 20:delay": "unknown option '-b'; options begin with --, and vaurien --help lists them",
    "--behaviour 20:delay": "unknown option '--behaviour'; did you mean '--behavior'?",
    "run x.toml --reprot r.html -- true": "'--reprot'",
    "--config missing.toml": "file 'missing.toml' (from --config) cannot be read: No such file or directory",
    "run missing.toml -- true": "file 'missing.toml' cannot be read: No such file or directory",
    "check nameless.toml": "nameless.toml line 1 [[proxy]]: it has no name; expected one, such as name = 'redis'",
    "check two.toml": "proxy 'b' listen: 'localhost:7001' (from two.toml line 7 [[proxy]] listen) is not valid; "
    "expected an address of its own; proxy 'a' listens there",
    "check circle.toml": "proxy 'a' backend: 'localhost:7002' (from circle.toml line 4 [[proxy]] backend) is not "
    "valid; expected another address: connections would come back to the proxy (a -> b -> a), without end",
    "--proxy localhost:7001 --backend localhost:7001": "option backend: 'localhost:7001' (from --backend) is not "
    "valid; expected another address: connections would come back to the proxy (vaurien -> vaurien), without end",
    "replay x.toml": "x.toml line 1: '[vaurien]' is not a line of a trace; expected a trace written by --trace",
    "replay missing.jsonl": "file 'missing.jsonl' cannot be read: No such file or directory; expected a trace",
    "--backend google --show-config": "option backend: 'google' (from --backend) is not valid; expected host:port, "
    "[ipv6]:port or unix:/path, such as google:80",
    "--backend 8080 --show-config": "option backend: '8080' (from --backend) is not valid; expected host:port, "
    "[ipv6]:port or unix:/path, such as localhost:8080",
    "--state spoilt": "/spoilt' is not what was written: it is no JSON; expected another file, or none: move it away",
}


@pytest.mark.parametrize("typed", MAIN)
def test_at_vaurien(typed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.toml").write_text("[vaurien]\nbackend = 'localhost:1'\n")
    (tmp_path / "spoilt").write_text("spoilt")
    (tmp_path / "nameless.toml").write_text("[[proxy]]\nlisten = 'localhost:0'\n")
    proxies = (f"[[proxy]]\nname = '{name}'\nlisten = 'localhost:7001'\nbackend = 'localhost:1'\n" for name in "ab")
    (tmp_path / "two.toml").write_text("".join(proxies))
    circle = (
        f"[[proxy]]\nname = '{name}'\nlisten = 'localhost:{at}'\nbackend = 'localhost:{to}'\n"
        for name, at, to in (("a", 7001, 7002), ("b", 7002, 7001))
    )
    (tmp_path / "circle.toml").write_text("".join(circle))
    (tmp_path / "one-table.toml").write_text("[proxy]\nname = 'a'\n")
    (tmp_path / "unlike.toml").write_text("[zzzz]\na = 1\n")
    (tmp_path / "listed.toml").write_text("[environment]\nA = [1]\n")
    assert main.main(shlex.split(typed)) in (2, 125)
    assert MAIN[typed] in said(capsys)


PROGRAMS = {"vaurien": main.main, "vaurienctl": ctl.main, "meta-vaurien": meta.main}


@pytest.mark.parametrize("flag", ["-V", "--version"])
@pytest.mark.parametrize("program", [*PROGRAMS, *(f"vaurien {command}" for command in main.COMMANDS)])
def test_the_version_is_told_in_the_same_way_everywhere(program, flag, capsys):
    name, *command = program.split()
    assert PROGRAMS[name]([*command, flag]) == 0
    assert capsys.readouterr().out == f"{name} {__version__}\n"


EMPTY = {
    "--fault=": "--fault: it is empty, so there is no fault of it",
    "--fault latency": "fault 'latency' changes nothing: latency and jitter are 0",
    "--fault 'delay probability=0'": "fault 'delay' changes nothing: its probability is 0",
    "--fault 'delay count=0 scope=exchange'": "fault 'delay' changes nothing: its window takes 0 occasions",
    "--behavior 0:delay": "behavior: a share of 0 percent of 'delay' is never drawn",
    "--behavior-delay-sleep 3": "--behavior-delay-sleep: option sleep of 'delay' has no effect; no mix and no fault "
    "uses that behavior",
    "--behavior 20:error --handler-delay-sleep 3": "--handler-delay-sleep: option sleep of 'delay' has no effect; "
    "no mix and no fault uses that behavior",
    "--behavior 20:slow_accept": "--behavior: slow_accept acts when a connection begins (on_connect), and the mix is "
    "drawn for each exchange: it has no effect here",
}


@pytest.mark.parametrize("typed", EMPTY)
def test_what_cannot_do_anything_is_a_warning(typed, capsys):
    assert main.main([*shlex.split(typed), "--show-config"]) == 0
    assert capsys.readouterr().err == f"vaurien: warning: {EMPTY[typed]}\n"


@pytest.mark.parametrize(
    "typed",
    [
        "--behavior 20:delay --behavior-delay-sleep 3",
        "--behavior 20:delay --handler-delay-sleep 3",
        "--fault delay --behavior-delay-sleep 3",
        "--http --behavior-delay-sleep 3",
        "--behavior 20:delay",
        "--behavior=",
    ],
)
def test_what_may_do_something_is_none(typed, capsys):
    assert main.main([*shlex.split(typed), "--show-config"]) == 0
    assert capsys.readouterr().err == ""


def test_a_behavior_that_a_step_brings_is_in_use(tmp_path, capsys):
    file = tmp_path / "chaos.toml"
    file.write_text(
        "[vaurien]\n[[step]]\nmix = '20:delay'\n[[step]]\nat = 1\nadd = 'error'\n"
        "[behavior.delay]\nsleep = 2\n[behavior.error]\nwarmup = 3\n[behavior.latency]\njitter = 3\n"
    )
    assert main.main(["--config", str(file), "--show-config"]) == 0
    where = f"{file} line 12 [behavior:latency] jitter"
    fact = "option jitter of 'latency' has no effect; no mix and no fault uses that behavior"
    assert capsys.readouterr().err == f"vaurien: warning: {where}: {fact}\n"


def test_a_callable_that_is_no_plugin_is_refused(capsys):
    assert main.main(["--behavior", "20:os.path.join", "--show-config"]) == 2
    assert said(capsys).startswith(
        "vaurien: 'os.path.join' (from --behavior) cannot be used as a behavior or handler: it must subclass "
    )
