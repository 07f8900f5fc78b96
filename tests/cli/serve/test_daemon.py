"""``vaurien serve`` and ``toxiproxy-server`` as programs."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.hubs import COUNTS
from tests.running import PATIENCE, Echo, read
from vaurien.cli.serve import daemon
from vaurien.cli.serve.go_flags import GoFlag, parse
from vaurien.cli.serve.toxiproxy_log import ToxiproxyLog
from vaurien.errors import VaurienError
from vaurien.events import Accepted, Closed, Injected, ProtocolLost

RUN = {
    "vaurien serve": [sys.executable, "-m", "vaurien", "serve"],
    "toxiproxy-server": [sys.executable, "-c", "from vaurien.cli.serve.daemon import *; sys.exit(toxiproxy_server())"],
}


class Daemon:
    """A running program; `ask` is a request to its interface."""

    def __init__(self, process, address, seed, said=()) -> None:
        self.process, self.address, self.seed, self.said = process, address, seed, list(said)

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read()

    def connect(self, name):
        host, _, port = json.loads(self.ask("GET", f"/proxies/{name}"))["listen"].rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE)

    def stop(self):
        """What it said on standard error, and, where that is its log, on standard output."""
        self.process.send_signal(signal.SIGTERM)
        lines, errors = self.process.stdout.read(), self.process.stderr.read()
        assert self.process.wait(PATIENCE) == 0, errors
        self.said += map(json.loads, lines.splitlines()) if self.said else []
        return errors + "".join(map(json.dumps, self.said))


STARTING = "Starting Toxiproxy HTTP server"
"""What users of the image wait for."""


def until_it_says(process, message):
    """The lines of its log up to the one that says *message*."""
    said = []
    for line in process.stdout:
        said.append(json.loads(line))
        if said[-1]["message"] == message:
            return said
    raise AssertionError(f"it never said {message!r}, but {said} {process.stderr.read()}")


@pytest.fixture
def start():
    """Start a program; it is stopped, and must end well, at the end of the test."""
    with contextlib.ExitStack() as stack:

        def run(*flags, program="vaurien serve", limit=None, **variables):
            arguments = [*RUN[program], *flags] if "-port" in "".join(flags) else [*RUN[program], "-port=0", *flags]
            if limit:
                arguments = ["prlimit", f"--nofile={limit}", *arguments]
            process = subprocess.Popen(
                arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            if program == "toxiproxy-server":
                said = until_it_says(process, STARTING)
                return Daemon(process, said[-1]["address"], said[-1]["seed"], said)
            line = process.stdout.readline()
            match = re.fullmatch(r".*: HTTP at (\S+), seed (\d+)\n", line)
            assert match, line + process.stderr.read()
            return Daemon(process, match[1], match[2])

        yield run


@pytest.mark.parametrize("program", RUN)
def test_it_serves_toxiproxys_clients(start, program):
    with Echo() as echo:
        running = start(program=program)
        upstream = f"127.0.0.1:{echo.address[1]}"
        running.ask("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": upstream})
        with running.connect("p") as client:
            client.sendall(b"hello")
            assert read(client, 5) == b"hello"
        running.stop()


def test_ours_offers_everything_and_the_alias_toxiproxys_alone(start):
    ours, alias = start(), start(program="toxiproxy-server")
    assert b"openapi" in ours.ask("GET", "/openapi.json")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        alias.ask("GET", "/openapi.json")


def test_the_alias_answers_to_any_name_where_it_is_bound_wide_but_to_no_web_page(start):
    """In a container it has names that it does not know."""
    running = start("-host=0.0.0.0", program="toxiproxy-server")
    port = int(running.address.rpartition(":")[2])
    body = json.dumps({"name": "p", "upstream": "x:1"})
    for headers, status in (
        ({"Host": f"toxiproxy.test.svc.cluster.local:{port}"}, 201),
        ({"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}, 403),
        ({"Host": f"evil.example:{port}", "User-Agent": "Mozilla/5.0"}, 403),
    ):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            connection.request("POST", "/proxies", body, headers)
            assert connection.getresponse().status == status
    assert list(json.loads(running.ask("GET", "/proxies"))) == ["p"]


@pytest.mark.parametrize(
    ("program", "flags", "remedy"),
    [
        ("vaurien serve", ["-host=0.0.0.0"], "-token-file, TOXIPROXY_AUTH_TOKEN in the environment"),
        ("toxiproxy-server", ["-host=0.0.0.0"], "TOXIPROXY_AUTH_TOKEN in the environment"),
        ("toxiproxy-server", [], None),
        ("vaurien serve", ["-host=127.0.0.2"], None),
    ],
)
def test_it_warns_where_others_reach_it(start, program, flags, remedy):
    running = start(*flags, program=program)
    errors = running.stop()
    if remedy is None:
        assert "warning" not in errors
    else:
        words = f"warning: any program that reaches {running.address} can steer the proxies; expected {remedy}, or"
        assert words in errors


def test_names_and_a_token(start, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    running = start("-http-names", "a.example, b.example", "-token-file", str(tmp_path / "token"))
    for host, token, status in (("b.example", "secret", 200), ("b.example", "x", 401), ("c.example", "secret", 403)):
        request = urllib.request.Request(f"http://{running.address}/proxies")
        request.add_header("Host", host)
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                found = answer.status
        except urllib.error.HTTPError as error:
            error.close()
            found = error.code
        assert found == status


def status(running, path, authorization=None, method="GET"):
    request = urllib.request.Request(f"http://{running.address}{path}", method=method)
    if authorization is not None:
        request.add_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("program", RUN)
def test_a_token_of_the_environment_is_wanted_on_every_route(start, program):
    running = start("-host=0.0.0.0", "-proxy-metrics", program=program, TOXIPROXY_AUTH_TOKEN=" s3cret\n")
    for path in ("/version", "/proxies", "/metrics"):
        wrong = (None, "", "s3cret", "Bearer", "Bearer s3cre", "Bearer s3crett", "Bearer \xe9", "Basic s3cret")
        assert {status(running, path, one) for one in wrong} == {401}
        assert status(running, path, "Bearer s3cret") == 200
    for method, path in (("POST", "/reset"), ("POST", "/populate"), ("DELETE", "/proxies/p"), ("GET", "/nowhere")):
        assert status(running, path, method=method) == 401
    said = running.stop()
    assert "warning" not in said
    assert "s3cret" not in said


def test_a_token_of_a_file_comes_before_that_of_the_environment(start, tmp_path):
    (tmp_path / "token").write_text("file\n")
    running = start("-token-file", str(tmp_path / "token"), TOXIPROXY_AUTH_TOKEN="environment")
    assert [status(running, "/proxies", f"Bearer {token}") for token in ("file", "environment")] == [200, 401]


def test_an_empty_token_of_the_environment_is_none(start):
    assert status(start(TOXIPROXY_AUTH_TOKEN=""), "/proxies") == 200


@pytest.mark.parametrize("token", ["two words", "caf\xe9", "a\tb"])
@pytest.mark.parametrize("program", RUN)
def test_a_token_that_is_none_ends_the_program_and_is_not_shown(monkeypatch, capsys, program, token):
    monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", token)
    assert daemon.run(["-port=0"], program) == (1 if program == "toxiproxy-server" else 2)
    said = capsys.readouterr().err
    assert "environment variable TOXIPROXY_AUTH_TOKEN: a token has printable ASCII characters only" in said
    assert token not in said


def test_the_log_of_the_alias_is_toxiproxys(start, tmp_path):
    """JSON, an object a line, on standard output alone."""
    file = tmp_path / "proxies.json"
    with Echo() as echo:
        upstream = f"127.0.0.1:{echo.address[1]}"
        file.write_text(json.dumps([{"name": "p", "listen": "127.0.0.1:0", "upstream": upstream}]))
        running = start("-host=127.0.0.1", "-config", str(file), program="toxiproxy-server", LOG_LEVEL="debug")
        host, _, port = running.address.rpartition(":")
        listen = json.loads(running.ask("GET", "/proxies/p"))["listen"]
        with running.connect("p") as client:
            client.sendall(b"hello")
            assert read(client, 5) == b"hello"
            peer = "{}:{}".format(*client.getsockname())
        running.ask("POST", "/proxies", {"name": "q", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"})
        with pytest.raises(ConnectionResetError), running.connect("q") as client:
            client.recv(1)
        running.stop()
    times = [line.pop("time") for line in running.said]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time in times)
    said = {line["message"]: line for line in reversed(running.said)}
    ends = {"name": "p", "listen": listen, "upstream": upstream}
    assert running.said[0]["message"] == "Starting Toxiproxy"
    assert said["Populated proxies from file"] == {
        "level": "info", "config": str(file), "proxies": 1, "message": "Populated proxies from file",
    }  # fmt: skip
    assert said["Started proxy"] == {"level": "info", **ends, "message": "Started proxy"}
    assert said[STARTING] == {
        "level": "info", "address": running.address, "host": host, "port": port, "version": "2.13.0",
        "seed": running.seed, "message": STARTING,
    }  # fmt: skip
    assert said["Accepted client"] == {"level": "info", **ends, "client": peer, "message": "Accepted client"}
    assert (said["Closed connection"]["level"], said["Closed connection"]["sent"]) == ("debug", 5)
    unable = said["Unable to open connection to upstream"]
    assert (unable["level"], unable["name"], unable["upstream"]) == ("error", "q", "127.0.0.1:1")
    request = said[""]
    assert (request["level"], request["method"], request["url"], request["status"]) == (
        "debug",
        "GET",
        "/proxies/p",
        200,
    )
    assert re.fullmatch("[a-z0-9]{20}", request["request_id"])
    assert running.said[-1] == {"level": "info", "message": "Shutdown started"}


@pytest.mark.parametrize(
    ("level", "messages"),
    [
        ("error", set()),
        ("warn", {"Lost the protocol"}),
        ("INFO", {"Lost the protocol", "Accepted client"}),
        ("trace", {"Lost the protocol", "Accepted client", "Closed connection", "Toxic acted"}),
        ("loud", {'unknown LOG_LEVEL value: "loud"', "Lost the protocol", "Accepted client"}),
    ],
)
def test_the_levels_of_toxiproxys_log(capsys, level, messages):
    log = ToxiproxyLog(level, "2.13.0", lambda name: None)
    for event in (
        Accepted(proxy="p", at=0, connection=1, peer="a:1"),
        Injected(proxy="p", at=0, connection=1, fault="f"),
        ProtocolLost(proxy="p", at=0, connection=1, protocol="http", reason="r"),
        Closed(proxy="p", at=0, connection=1, peer="a:1", sent=1, received=1, end="client closed", duration=1.0),
    ):
        if type(event) not in log.ignores:
            log(event)
    assert {json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()} == messages


def test_lines_of_the_log_that_cannot_be_written_are_told(monkeypatch, capsys):
    log = ToxiproxyLog("info", "2.13.0", lambda name: ("127.0.0.1:1", "h:1"))

    def full(text):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "write", full)
        log.warn("lost")
        log.warn("lost, too")
    log.warn("written")
    log.close()
    out, err = capsys.readouterr()
    assert [json.loads(line)["message"] for line in out.splitlines()] == ["Lines lost", "written"]
    assert json.loads(out.splitlines()[0])["count"] == 2
    assert "No space left on device" in err


@pytest.mark.parametrize("workers", COUNTS)
@pytest.mark.parametrize("program", RUN)
def test_strict_toxiproxy_ends_clients_of_an_upstream_that_is_not_reached_in_order(start, tmp_path, program, workers):
    file = tmp_path / "proxies.json"
    file.write_text(json.dumps([{"name": "filed", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"}]))
    strict = start("-strict-toxiproxy", "-config", str(file), f"-workers={workers}", program=program)
    usual = start("-config", str(file), program=program)
    for running in (strict, usual):
        running.ask("POST", "/proxies", {"name": "made", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"})
    for name in ("filed", "made"):
        with strict.connect(name) as client:
            assert client.recv(1) == b""
        with pytest.raises(ConnectionResetError), usual.connect(name) as client:
            client.recv(1)


def test_positional_arguments_are_passed_over_as_in_go(start):
    """Flags end before the first of them; ours does not guess what they mean."""
    assert start("-seed=7", "extra", "-seed=8", program="toxiproxy-server").seed == "7"


def test_every_flag_is_documented():
    page = (Path(__file__).parents[3] / "docs" / "reference" / "serve.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `-([a-z-]+)` \|[^|]*\| (.*) \|$", page, flags=re.MULTILINE))
    assert rows.keys() == daemon.OUR_FLAGS.keys()
    for name, flag in daemon.OUR_FLAGS.items():
        assert rows[name].replace("`", "").startswith(flag.help)


def test_a_seed_is_kept_or_drawn(start):
    assert start("--seed", "5").seed == "5"
    assert start().seed != start().seed


def test_metrics_need_a_flag(start):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        start().ask("GET", "/metrics")
    for_proxies, for_runtime = start("-proxy-metrics").ask("GET", "/metrics"), None
    assert b"vaurien_loop_lag_seconds" in for_proxies
    assert b"go_info" not in for_proxies
    for_runtime = start("--runtime-metrics=true").ask("GET", "/metrics")
    assert b"go_goroutines" in for_runtime
    assert b"process_cpu_seconds_total" in for_runtime
    assert b"vaurien_" not in for_runtime


def test_a_configuration_file(start, tmp_path):
    file = tmp_path / "proxies.json"
    toxics = [{"type": "latency", "attributes": {"latency": 1}}]
    file.write_text(json.dumps([{"name": "p", "listen": "127.0.0.1:0", "upstream": "x:1", "toxics": toxics}]))
    running = start("-config", str(file))
    assert b'"name":"latency_downstream"' in running.ask("GET", "/proxies/p/toxics")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"name": "p"}]', "missing required field: upstream at proxy 1"),
        ("[", "bad request body: unexpected EOF"),
        ('[{"name": "p", "upstream": "x:1", "listen": "nope"}]', "missing port in address"),
        (None, "No such file or directory"),
    ],
)
def test_a_bad_configuration_file_is_told_and_passed_over(start, tmp_path, content, message):
    file = tmp_path / "proxies.json"
    if content is not None:
        file.write_text(content)
    running = start("-config", str(file), program="toxiproxy-server")
    assert running.ask("GET", "/proxies") == b"{}"
    assert message in running.stop()


def hang_up(running):
    """Have the file read again; how many proxies it says there are."""
    running.process.send_signal(signal.SIGHUP)
    if running.said:
        return until_it_says(running.process, "Read the configuration again")[-1]["proxies"]
    line = running.process.stdout.readline()
    return int(re.fullmatch(r"vaurien serve: configuration read again, (\d+) proxies\n", line)[1])


def hang_up_in_vain(running):
    """Have a file read again that is wrong; what is said of it."""
    running.process.send_signal(signal.SIGHUP)
    if running.said:
        return until_it_says(running.process, "Not all of the configuration is in force")[-1]["error"]
    return next(line for line in running.process.stderr if "not all of the configuration is in force" in line)


@pytest.mark.parametrize("program", RUN)
@pytest.mark.parametrize("workers", COUNTS)
def test_at_sighup_the_difference_is_applied(start, tmp_path, program, workers):
    file = tmp_path / "proxies.json"
    with Echo() as echo:
        upstream = f"127.0.0.1:{echo.address[1]}"
        same = {"name": "same", "listen": "127.0.0.1:0", "upstream": upstream}
        odd = {"name": "odd", "listen": "127.0.0.1:0", "upstream": "nope"}
        file.write_text(json.dumps([same, odd, {**same, "name": "gone"}]))
        running = start("-config", str(file), f"-workers={workers}", program=program)
        with running.connect("same") as client:
            client.sendall(b"hello")
            assert read(client, 5) == b"hello"
            before = {name: json.loads(running.ask("GET", f"/proxies/{name}")) for name in ("same", "odd")}
            file.write_text(json.dumps([{**same, "toxics": [{"type": "noop"}]}, odd, {**same, "name": "new"}]))
            assert hang_up(running) == 3
            client.sendall(b"still")
            assert read(client, 5) == b"still"
            after = json.loads(running.ask("GET", "/proxies"))
            assert list(after) == ["new", "odd", "same"]
            assert after["odd"] == before["odd"]
            assert after["same"]["listen"] == before["same"]["listen"]
            assert [toxic["name"] for toxic in after["same"]["toxics"]] == ["noop_downstream"]
            file.write_text('[{"name": "p"}]')
            assert "missing required field: upstream at proxy 1" in hang_up_in_vain(running)
            assert json.loads(running.ask("GET", "/proxies")) == after
            file.unlink()
            assert "No such file" in hang_up_in_vain(running)
            assert json.loads(running.ask("GET", "/proxies")) == after


@pytest.fixture
def sighup_ends_programs():
    """A program that is started has the default action for SIGHUP, also under nohup(1): execve(2) resets handlers."""
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("sighup_ends_programs")
def test_without_a_file_sighup_ends_it(start):
    running = start()
    running.process.send_signal(signal.SIGHUP)
    assert running.process.wait(PATIENCE) == -signal.SIGHUP


TOML = """
[vaurien]
seed = 3
[[proxy]]
name = "web"
listen = "127.0.0.1:0"
backend = "${UPSTREAM}"
protocol = "http"
mix = "10:delay"
[[proxy.fault]]
behavior = "latency"
latency = "5ms"
"""


@pytest.mark.parametrize("program", RUN)
def test_toml_is_read_too(start, tmp_path, program):
    file = tmp_path / "chaos.toml"
    file.write_text(TOML)
    running = start("-config", str(file), program=program, UPSTREAM="127.0.0.1:9")
    [toxic] = json.loads(running.ask("GET", "/proxies/web/toxics"))
    assert toxic["attributes"]["latency"] == 5
    before = running.ask("GET", "/proxies/web")
    file.write_text(
        TOML.partition("[[proxy.fault]]")[0] + "[[proxy]]\nname = 'b'\nbackend = 'h:1'\nlisten = '127.0.0.1:0'"
    )
    assert hang_up(running) == 2
    after = json.loads(running.ask("GET", "/proxies"))
    assert list(after) == ["b", "web"]
    assert after["web"] == {**json.loads(before), "toxics": []}
    file.write_text(TOML.replace("latency = ", "latncy = "))
    assert "did you mean 'latency'?" in hang_up_in_vain(running)
    assert json.loads(running.ask("GET", "/proxies")) == after


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[vaurien]\nseed = 1\n", "has no proxy; expected [[proxy]] tables"),
        ("[vaurien", "not valid TOML"),
        (TOML.replace("seed = 3", "workers = 3"), "[vaurien] workers: it has no effect here; expected a flag"),
        (TOML.replace("latency =", "latncy ="), "did you mean 'latency'?"),
        (TOML + "[[step]]\nat = 1\nadd = 'noop'", "a schedule is played by `vaurien --config FILE --http`"),
    ],
)
def test_toml_that_is_wrong_is_refused_at_start(tmp_path, monkeypatch, capsys, content, message):
    monkeypatch.setenv("UPSTREAM", "127.0.0.1:9")
    file = tmp_path / "chaos.toml"
    file.write_text(content)
    assert daemon.run(["-port=0", "-config", str(file)]) == 2
    assert message in capsys.readouterr().err


def test_no_secret_is_in_a_log(start, tmp_path):
    """Neither the token, nor what somebody took for it, whatever else is wrong with the request."""
    (tmp_path / "token").write_text("s3cret\n")
    running = start("-token-file", str(tmp_path / "token"), LOG_LEVEL="debug")
    host, _, port = running.address.rpartition(":")
    for token in ("s3cret", "gu3ss"):
        for line in ("GET /proxies HTTP/1.1", "POST /proxies?token=s3cret HTTP/1.1", "nonsense"):
            with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
                client.sendall(f"{line}\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
    said = running.stop()
    assert "s3cret" not in said
    assert "gu3ss" not in said
    assert said == "", "what clients get wrong is no news"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_state_survives_a_restart(start, tmp_path, how):
    state = tmp_path / "state.json"
    with Echo() as echo:
        first = start("-state", str(state))
        upstream = f"127.0.0.1:{echo.address[1]}"
        first.ask("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": upstream})
        first.ask("POST", "/proxies", {"name": "off", "listen": "127.0.0.1:0", "upstream": upstream, "enabled": False})
        first.ask("POST", "/proxies/p/toxics", {"type": "limit_data", "attributes": {"bytes": 3}, "toxicity": 0.75})
        before = first.ask("GET", "/proxies")
        first.process.send_signal(how)
        first.process.wait(PATIENCE)
        assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
        assert start("-state", str(state)).ask("GET", "/proxies") == before


def test_a_state_that_is_none_of_ours(tmp_path):
    state = tmp_path / "state.json"
    state.write_text("{}")
    result = subprocess.run([*RUN["vaurien serve"], "-state", state], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "is not what was written" in result.stderr
    assert "expected another file, or none: move it away to begin anew" in result.stderr
    assert state.read_text() == "{}"


def test_a_configuration_file_that_there_is_not():
    """Our own name ends; Toxiproxy's goes on without its proxies, as Toxiproxy does."""
    command = [*RUN["vaurien serve"], "-port=0", "-config", "nope.json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert result.returncode == 2
    assert result.stderr == (
        "vaurien serve: cannot read the configuration file 'nope.json' (from -config): No such file or directory\n"
    )


def test_a_state_that_contradicts_the_configuration_file(start, tmp_path):
    path, given = tmp_path / "state.json", tmp_path / "proxies.json"
    proxy = {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}
    given.write_text(json.dumps([proxy]))
    both = ("-state", str(path), "-config", str(given))
    first = start(*both)
    first.ask("POST", "/proxies/p/toxics", {"type": "latency"})
    first.stop()
    second = start(*both)
    assert len(json.loads(second.ask("GET", "/proxies/p/toxics"))) == 1, "live changes survive"
    second.stop()
    given.write_text(json.dumps([{**proxy, "upstream": "127.0.0.1:10"}]))
    command = [*RUN["vaurien serve"], "-port=0", *both]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert refused.returncode == 2
    assert "proxy 'p' backend: 127.0.0.1:9 in the file, 127.0.0.1:10 configured" in refused.stderr
    assert refused.stderr.endswith("expected --state-wins or --config-wins\n")
    assert json.loads(start(*both, "-config-wins").ask("GET", "/proxies/p/toxics")) == []


def test_a_port_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        flags = ["-host=127.0.0.1", f"-port={taken.getsockname()[1]}"]
        result = subprocess.run(
            [*RUN["toxiproxy-server"], *flags], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    assert result.returncode == 1
    assert "Address already in use" in result.stderr


def test_a_shortage_of_files_does_not_end_the_listener(start):
    """The correction that needs a program: with few files, some clients wait, and are served later."""
    with Echo() as echo:
        running = start(limit=72)  # eight connections
        upstream = f"127.0.0.1:{echo.address[1]}"
        running.ask("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": upstream})
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(running.connect("p")) for _ in range(16)]
            for client in clients:
                client.sendall(b"hello")
                assert read(client, 5) == b"hello"
                client.close()


@pytest.mark.parametrize(
    ("program", "flags", "status", "text"),
    [
        ("toxiproxy-server", ["-version"], 0, "toxiproxy-server version 2.13.0\n"),
        ("toxiproxy-server", ["--help"], 0, "Usage of toxiproxy-server:\n"),
        ("vaurien serve", ["-h"], 0, "stand-ins"),
        ("toxiproxy-server", ["-strict"], 2, "flag provided but not defined: -strict"),
        ("vaurien serve", ["-port"], 2, "flag needs an argument: -port"),
        ("vaurien serve", ["-port", "99999"], 2, "a port from 0 to 65535"),
        ("vaurien serve", ["-strict", "true"], 2, "unexpected argument 'true'; flags begin with a dash"),
        ("vaurien serve", ["-log-format", "xml"], 2, "log_format: 'xml' (from -log-format) is not valid; expected one"),
    ],
)
def test_words_and_statuses(capsys, program, flags, status, text):
    assert daemon.run(flags, program) == status
    captured = capsys.readouterr()
    assert text in (captured.err if status else captured.out)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-confg", "x"], "flag provided but not defined: -confg; did you mean -config?"),
        (["-zzz"], "flag provided but not defined: -zzz; vaurien serve -help lists the flags"),
        (["-port"], "flag needs an argument: -port; vaurien serve -help lists the flags"),
    ],
)
def test_a_bad_flag_is_one_line_of_ours_and_a_page_of_the_alias(capsys, flags, message):
    assert daemon.run(flags, "vaurien serve") == 2
    assert capsys.readouterr().err == f"vaurien serve: {message}\n"
    assert daemon.run(flags, "toxiproxy-server") == 2
    assert capsys.readouterr().err.startswith(f"{message.partition(';')[0]}\nUsage of toxiproxy-server:\n")


def test_the_help_of_ours_ends_with_examples_that_are_understood(capsys):
    assert daemon.run(["-h"]) == 0
    examples = capsys.readouterr().out.partition("\nExamples:\n")[2].splitlines()
    assert len(examples) > 2
    for example in examples:
        program, command, *flags = shlex.split(example)
        assert (program, command) == ("vaurien", "serve")
        assert parse(flags, daemon.OUR_FLAGS)[1] == []
    assert daemon.run(["-h"], "toxiproxy-server") == 0
    assert "Examples" not in capsys.readouterr().out


FLAGS = {"host": GoFlag("", "here"), "n": GoFlag("", 0), "on": GoFlag("", False)}


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], {}),
        (["-host", "a", "--n", "3", "-on"], {"host": "a", "n": 3, "on": True}),
        (["--host=a=b", "-n=0x10", "--on=F"], {"host": "a=b", "n": 16, "on": False}),
        (["-host", "-on"], {"host": "-on"}),
        (["-on", "--"], {"on": True}),
        (["-host="], {"host": ""}),
    ],
)
def test_flags_as_in_go(arguments, given):
    assert parse(arguments, FLAGS) == ({"host": "here", "n": 0, "on": False} | given, [])


def test_what_follows_the_flags_is_positional():
    assert parse(["-on", "false", "-n=3"], FLAGS) == ({"host": "here", "n": 0, "on": True}, ["false", "-n=3"])
    assert parse(["--", "-n=3"], FLAGS)[1] == ["-n=3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-x"], "flag provided but not defined: -x"),
        (["---n"], "bad flag syntax: ---n"),
        (["-=1"], "bad flag syntax: -=1"),
        (["-on=maybe"], 'invalid boolean value "maybe" for -on: parse error'),
        (["-n=x"], 'invalid value "x" for flag -n: parse error'),
    ],
)
def test_bad_flags_as_in_go(arguments, message):
    with pytest.raises(VaurienError) as caught:
        parse(arguments, FLAGS)
    assert str(caught.value) == message


@pytest.mark.parametrize("program", RUN)
@pytest.mark.parametrize("way", ["flag", "variable"])
def test_callers_may_use_the_plugins_that_are_allowed(start, tmp_path, program, way):
    (tmp_path / "chaos_toxics.py").write_text("from vaurien import Behavior\nclass Mine(Behavior, frozen=True): ...\n")
    flags = ["-allow-plugin", "chaos_toxics.*"] if way == "flag" else []
    variables = {"VAURIEN_ALLOW_PLUGIN": "chaos_toxics.*"} if way == "variable" else {}
    running = start(*flags, program=program, PYTHONPATH=str(tmp_path), **variables)
    running.ask("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"})
    made = running.ask("POST", "/proxies/p/toxics", {"type": "chaos_toxics.Mine"})
    assert json.loads(made)["name"] == "chaos_toxics.Mine_downstream"
    with pytest.raises(urllib.error.HTTPError) as refused:
        running.ask("POST", "/proxies/p/toxics", {"type": "os.system"})
    assert refused.value.read() == b'{"error":"invalid toxic type","status":400}\n'
    refused.value.close()


@pytest.mark.parametrize("program", RUN)
@pytest.mark.parametrize("way", ["flag", "variable"])
def test_callers_may_name_the_files_that_are_allowed(start, tmp_path, program, way):
    flags = ["-allow-tls-file", f"{tmp_path}/*.pem"] if way == "flag" else []
    variables = {"VAURIEN_ALLOW_TLS_FILE": f"{tmp_path}/*.pem"} if way == "variable" else {}
    running = start(*flags, program=program, **variables)
    proxy = {"name": "p", "listen": "127.0.0.1:0", "upstream": f"tls://127.0.0.1:9?ca={tmp_path}/a.txt"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        running.ask("POST", "/proxies", proxy)
    assert b"--allow-tls-file" in refused.value.read()
    refused.value.close()
    shutil.copy(ssl.get_default_verify_paths().openssl_cafile, tmp_path / "a.pem")
    running.ask("POST", "/proxies", {**proxy, "upstream": f"tls://127.0.0.1:9?ca={tmp_path}/a.pem"})


@pytest.mark.parametrize("begun", [b"", b"GET /version HTTP/1.1\r\nHost: lo"], ids=["idle", "half a head"])
@pytest.mark.parametrize("limit", [64, 256])
@pytest.mark.parametrize("program", RUN)
def test_one_more_client_is_answered_however_many_wait(start, program, limit, begun):
    running = start(program=program, limit=limit)
    host, _, port = running.address.rpartition(":")
    with contextlib.ExitStack() as stack:
        for number in range(300):
            one = stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))
            one.sendall(begun)
            if number % 50 == 0:
                running.ask("GET", "/version")
        for _ in range(3):
            running.ask("GET", "/version")
        errors = running.stop()
    assert errors.count("short of room") <= 1
    assert len(errors.splitlines()) <= 1


def test_an_answer_means_that_the_change_is_in_the_file(start, tmp_path):
    """A process that is killed right after an answer has kept what it answered for."""
    path = tmp_path / "state.json"
    running = start("-state", str(path))
    for number in range(30):
        running.ask("POST", "/proxies", {"name": f"p{number}", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"})
    running.ask("POST", "/proxies/p3/toxics", {"type": "latency"})
    running.ask("DELETE", "/api/v1/proxies/p7")
    running.process.kill()
    running.process.wait()
    kept = {one["name"]: len(one["policy"]["faults"]) for one in json.loads(path.read_text())["proxies"]}
    assert kept == {f"p{number}": int(number == 3) for number in range(30) if number != 7}
    again = start("-state", str(path))
    assert len(json.loads(again.ask("GET", "/proxies"))) == 29
    again.stop()
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]


def test_a_second_program_on_one_state_names_the_first(start, tmp_path):
    path = tmp_path / "state.json"
    first = start("-state", str(path))
    for program in (
        [*RUN["vaurien serve"], "-port=0", "-state", str(path)],
        [sys.executable, "-m", "vaurien", "--state", str(path)],
    ):
        second = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE)
        assert second.returncode != 0
        assert f"state file '{path}' is kept by process {first.process.pid}; expected another file" in second.stderr
    first.ask("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"})
    assert [one["name"] for one in json.loads(path.read_text())["proxies"]] == ["p"]
