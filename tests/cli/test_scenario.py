"""``vaurien run``: a command meets the faults of a scenario, with a real redis behind the proxy."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import vaurien as package
from tests.cli.programs import BOUND, PROGRAM
from tests.http_server import http_server
from tests.waiting import until
from vaurien.cli import main

SCENARIO = """
[vaurien]
name = "cache"
proxy = "127.0.0.1:0"
backend = "127.0.0.1:{port}"
protocol = "redis"
behavior = ""
seed = 7

[environment]
REDIS_URL = "redis://{{cache}}/0"

[[fault]]
behavior = "delay"
name = "slow-sets"
match.command = "SET"
sleep = "10ms"

[[fault]]
behavior = "noop"
name = "never"
probability = 0

[schedule]
repeat = 0
length = "200ms"

[[step]]
at = "0s"
add = "error name=broken match.key=broken"

[[step]]
at = "100ms"
remove = "broken"
"""

CLIENT = """
import os, sys, time, redis

client = redis.Redis.from_url(os.environ["REDIS_URL"], retry=None)
client.set("a", "1")
assert client.get("a") == b"1"
seen = set()
deadline = time.monotonic() + 60
while len(seen) < 2 and time.monotonic() < deadline:
    try:
        client.get("broken")
        seen.add("answer")
    except redis.exceptions.RedisError:
        seen.add("error")
sys.exit(3 if len(seen) == 2 and os.environ["VAURIEN_ADDRESS"] in os.environ["REDIS_URL"] else 1)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "client.py").write_text(textwrap.dedent(CLIENT))
    return tmp_path


def vaurien(folder, *arguments):
    """The program, run in *folder*."""
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    options = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
    return subprocess.run([*PROGRAM, *arguments], **options, timeout=2 * BOUND, check=False)


@pytest.mark.server
def test_a_client_of_redis_meets_the_faults(folder, redis_server):
    pytest.importorskip("redis")
    (folder / "chaos.toml").write_text(SCENARIO.format(port=redis_server.port))
    reports = [word for form in ("json", "md", "xml") for word in ("--report", f"report.{form}")]
    command = [sys.executable, "client.py"]
    done = vaurien(folder, "run", "chaos.toml", *reports, "--trace", "trace.jsonl", "--", *command)
    assert (done.returncode, done.stdout) == (3, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "vaurien: warning: fault 'never' changes nothing: its probability is 0"
    assert lines[1].startswith("vaurien: cache: 127.0.0.1:")
    assert any("step 2 of 2: remove=broken" in line for line in lines)
    assert any(line.startswith("vaurien:   noop name=never probability=0: never hit") for line in lines)
    told = json.loads((folder / "report.json").read_text())
    assert (told["status"], told["seed"], told["command"]) == (3, "7", command)
    assert told["steps"] >= 2
    [proxy] = told["proxies"]
    faults = {fault["name"]: fault for fault in proxy["faults"]}
    assert faults["slow-sets"]["hits"] == 1
    assert faults["slow-sets"]["delays"]["median"] >= 0.01
    assert faults["broken"]["hits"] >= 1
    assert faults["never"]["hits"] == 0
    assert proxy["connections"] == sum(proxy["ends"].values()) >= 1
    assert "ended with status 3" in (folder / "report.md").read_text()
    assert 'failures="1"' in (folder / "report.xml").read_text()
    acted = [json.loads(line)["fault"] for line in (folder / "trace.jsonl").read_text().splitlines()[1:]]
    assert set(acted) == {"slow-sets", "broken", "never"}


FAILING = """
[vaurien]
proxy = "unix:gone/proxy.sock"
backend = "127.0.0.1:9"
behavior = ""

[schedule]
repeat = 0
length = "50ms"

[[step]]
at = "0s"
add = "refuse name=closed"

[[step]]
at = "20ms"
remove = "closed"
"""

WITNESS = """
import pathlib, shutil, time

shutil.rmtree("gone")
deadline = time.monotonic() + 60
while "step 2 " not in pathlib.Path("log").read_text() and time.monotonic() < deadline:
    time.sleep(0.01)
"""


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the step fails where a socket's folder is gone")
def test_a_step_that_fails_is_told_and_the_run_is_no_success(folder):
    (folder / "gone").mkdir()
    (folder / "chaos.toml").write_text(FAILING)
    (folder / "witness.py").write_text(WITNESS)
    reports = [word for form in ("json", "md", "xml") for word in ("--report", f"report.{form}")]
    done = vaurien(folder, "run", "chaos.toml", *reports, "--log-output", "log", "--", sys.executable, "witness.py")
    assert (done.returncode, done.stdout) == (123, "")
    assert "step 2 of chaos.toml line 15 [[step]] at 0.02 s FAILED on vaurien: " in done.stderr
    told = json.loads((folder / "report.json").read_text())
    assert told["status"] == 0
    step = next(one for one in told["failed_steps"] if one["step"] == 2)
    assert (step["at"], step["proxy"]) == (0.02, "vaurien")
    assert "No such file or directory" in step["error"]
    assert "chaos.toml line 15" in step["source"]
    for text in ((folder / "report.md").read_text(), (folder / "report.xml").read_text(), (folder / "log").read_text()):
        assert "step 2 of chaos.toml line 15 [[step]] at 0.02 s" in text
        assert "No such file or directory" in text


HITS = """
[vaurien]
proxy = "127.0.0.1:0"
backend = "127.0.0.1:9"
behavior = ""

[[fault]]
behavior = "delay"
name = "asked"
expect_hits = "1.."

[[fault]]
behavior = "noop"
name = "silent"

[[fault]]
behavior = "refuse"
name = "gone"
expect_hits = "..2"

[schedule]

[[step]]
at = "0s"
remove = "gone"
"""


@pytest.mark.parametrize(
    ("option", "status", "unmet"),
    [([], 124, ["asked"]), (["--require-hits"], 124, ["asked", "silent"]), (["--exit-code-from", "command"], 0, None)],
)
def test_a_run_fails_when_a_fault_has_not_hit(folder, option, status, unmet):
    (folder / "chaos.toml").write_text(HITS)
    reports = [word for form in ("json", "md", "xml") for word in ("--report", f"report.{form}")]
    done = vaurien(folder, "run", "chaos.toml", *reports, *option, "--", sys.executable, "-c", "")
    assert done.returncode == status
    told = json.loads((folder / "report.json").read_text())
    if unmet is not None:
        assert [one["fault"] for one in told["unmet"]] == unmet
    first = told["unmet"][0]
    assert (first["hits"], first["expected"]) == (0, "1 or more")
    text = "fault 'asked' of vaurien hit 0 times, expected 1 or more: no connection has come since it was set"
    assert text in done.stderr
    assert text in (folder / "report.md").read_text()
    assert text.replace("'", "'") in (folder / "report.xml").read_text()


SERVED = """
[vaurien]
proxy = "127.0.0.1:0"
protocol = "http"
tls = "auto"

[[fault]]
behavior = "http_status"
status = 503
"""

PLAIN_CLIENT = """
import os, socket

host, port = os.environ["VAURIEN_ADDRESS"].rsplit(":", 1)
with socket.create_connection((host, int(port))) as client:
    client.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
    while client.recv(1000):
        pass
"""


ECHO_CLIENT = """
import os, socket

assert "HTTPS_PROXY" not in os.environ
host, port = os.environ["VAURIEN_ADDRESS"].rsplit(":", 1)
with socket.create_connection((host, int(port))) as client:
    client.sendall(b"hello")
    print(client.recv(5).decode())
"""


def test_a_command_that_speaks_no_tls(folder):
    pytest.importorskip("cryptography")
    (folder / "chaos.toml").write_text(HITS.replace('behavior = ""', 'tls = "auto"', 1))
    done = vaurien(folder, "run", "chaos.toml", "--", sys.executable, "-c", PLAIN_CLIENT)
    text = (
        "fault 'asked' of vaurien hit 0 times, expected 1 or more: 1 connection, which sent plain text where the proxy "
    )
    assert text in done.stderr


ASKING_CLIENT = """
import os, sys, urllib.error, urllib.request

url = f"http://{os.environ['VAURIEN_ADDRESS']}/"
try:
    urllib.request.urlopen(urllib.request.Request(url, headers=dict(one.split("=") for one in sys.argv[1:])))
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.mark.parametrize("asked", [False, True])
def test_requests_are_to_ask_for_faults(folder, asked):
    (folder / "client.py").write_text(ASKING_CLIENT)
    with http_server() as port:
        options = ["--backend", f"127.0.0.1:{port}", "--protocol", "http", "--protocol-http-header-faults"]
        command = [sys.executable, "client.py", *(["x-envoy-fault-abort-request=503"] if asked else [])]
        done = vaurien(folder, "run", *options, "--require-hits", "--report", "report.json", "--", *command)
    told = json.loads((folder / "report.json").read_text())
    [fault] = told["proxies"][0]["faults"]
    assert (done.returncode, fault["name"], fault["hits"]) == (0 if asked else 124, "header_faults", int(asked))
    why = "1 connection, 1 request, and a request with the header x-envoy-fault-"
    assert (f"hit 0 times, expected 1 or more: {why}" in done.stderr) is not asked


@pytest.mark.parametrize("option", ["--backend", "--config", "VAURIEN_BACKEND", "VAURIEN_CONFIG"])
def test_a_run_before_one_backend_is_no_forward_proxy(folder, backend, option, monkeypatch):
    """Neither does it speak TLS, which the client of a plain server does not expect."""
    (folder / "chaos.toml").write_text(f'[vaurien]\nproxy = "127.0.0.1:0"\nbackend = "{backend}"\nbehavior = ""\n')
    given = [option, "chaos.toml" if option.lower().endswith("config") else str(backend)]
    if not option.startswith("--"):
        monkeypatch.setenv(*given)
        given = []
    command = ["--", sys.executable, "-c", ECHO_CLIENT]
    done = vaurien(folder, "run", *given, "--fault", "latency latency=1ms", "--require-hits", *command)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr
    assert f" -> {backend} (tcp)" in done.stderr


TLS_CLIENT = """
import os, ssl, sys, urllib.error, urllib.request

assert "HTTPS_PROXY" not in os.environ
try:
    urllib.request.urlopen(f"https://localhost:{os.environ['VAURIEN_PORT']}/")
except urllib.error.HTTPError as error:
    sys.exit(error.code == 503)
"""


@pytest.mark.parametrize("kept", [False, True])
def test_a_command_trusts_what_a_proxy_shows(folder, kept):
    """An authority of the run, or one that is kept in a folder."""
    authority = pytest.importorskip("vaurien.tls.authority").Authority
    text = SERVED
    if kept:
        authority.create().save(folder)
        text = text.replace("[[fault]]", f'tls_authority = "{folder}"\n\n[[fault]]')
    (folder / "chaos.toml").write_text(text)
    with http_server() as port:
        words = ["run", "chaos.toml", "--backend", f"localhost:{port}"]
        done = vaurien(folder, *words, "--", sys.executable, "-c", TLS_CLIENT)
    assert done.returncode == 1, done.stderr
    assert "1 hit on 1 connection" in done.stderr


SCHEME = [
    ("hits", "command", 0, 0),
    ("hits", "command", 3, 3),
    ("hits", "vaurien", 3, 124),
    ("hits", "both", 2, 2),
    ("hits", "both", 3, 3),
    ("fails", "command", 0, 0),
    ("fails", "vaurien", 3, 123),
    ("fails", "both", 3, 3),
]


@pytest.mark.parametrize(("wrong", "source", "own", "status"), SCHEME)
def test_whose_end_the_exit_status_is_about(folder, wrong, source, own, status):
    """A fault that has not hit, or a step that fails, while the command ends with a status of its own."""
    (folder / "gone").mkdir()
    (folder / "chaos.toml").write_text(HITS if wrong == "hits" else FAILING)
    (folder / "command.py").write_text(f"{WITNESS if wrong == 'fails' else ''}\nraise SystemExit({own})\n")
    flags = ["--exit-code-from", source, "--log-output", "log"]
    done = vaurien(folder, "run", "chaos.toml", *flags, "--", sys.executable, "command.py")
    assert done.returncode == status, done.stderr


def test_a_command_that_cannot_be_started(folder):
    (folder / "chaos.toml").write_text(CUT_SHORT)
    (folder / "command").write_text("no program")
    for source in ("command", "vaurien", "both"):
        done = vaurien(folder, "run", "chaos.toml", "--exit-code-from", source, "--", "./command")
        assert done.returncode == 126
        assert "command './command': Permission denied; expected a program that can be started" in done.stderr


def test_what_listens_already_is_said(folder, backend):
    (folder / "chaos.toml").write_text(f'[vaurien]\nproxy = "{backend}"\n')
    done = vaurien(folder, "run", "chaos.toml", "--", "true")
    assert done.returncode == 125
    assert done.stderr.startswith("vaurien: ")
    assert "Address already in use" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help(capsys):
    assert main.main(["run", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: vaurien run [SCENARIO.toml] [OPTIONS] -- COMMAND [ARGUMENTS]\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run", "run: expected a scenario or a fault first, such as: vaurien run chaos.toml -- pytest"),
        ("run chaos.toml", "run: expected -- and a command behind it"),
        ("run chaos.toml --", "run: expected -- and a command behind it"),
        ("run none.toml -- true", "file 'none.toml' cannot be read: No such file or directory"),
        ("run chaos.toml --sed 1 -- true", "unknown option '--sed'; did you mean '--seed'?"),
        ("run chaos.toml --reprot x -- true", "unknown option '--reprot'; did you mean '--report'?"),
        (
            "run chaos.toml --report a.txt -- true",
            "option report: 'a.txt' (from --report) is not valid; expected a",
        ),
        (
            "run chaos.toml --report no/a.md -- true",
            "option report: 'no/a.md' (from --report) is not valid; expected a",
        ),
        (
            "run bad.toml -- true",
            "fault to add: 'noop' (from bad.toml line 4 [[step]]) is not valid; expected a name",
        ),
        (
            "run url.toml -- true",
            "environment URL: '{cache}' (from url.toml line 2 [environment] URL) is not valid; expecte",
        ),
        ("run chaos.toml -- /no/such", "command '/no/such': No such file or directory; expected a program that can be"),
    ],
)
def test_bad_input_is_one_line(capsys, monkeypatch, tmp_path, line, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chaos.toml").write_text('[vaurien]\nproxy = "127.0.0.1:0"\n')
    (tmp_path / "bad.toml").write_text("[[step]]\nadd = 'noop'\n\n[[step]]\nadd = 'noop'\n")
    (tmp_path / "url.toml").write_text("[environment]\nURL = '{cache}'\n")
    assert main.main(line.split()) == (127 if "/no/such" in line else 125)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(f"vaurien: {message}")
    assert err.count("\n") == (2 if "/no/such" in line else 1)  # the proxy listens before the command is looked for


CUT_SHORT = """
[vaurien]
proxy = "127.0.0.1:0"
backend = "127.0.0.1:9"
behavior = ""
[[step]]
at = "0s"
add = "noop"
[[step]]
at = "1h"
remove = "noop"
"""


def test_a_command_that_ends_first_is_said(folder):
    (folder / "chaos.toml").write_text(CUT_SHORT)
    done = vaurien(folder, "run", "chaos.toml", "--seed", "5", "--", "true")
    assert done.returncode == 0
    assert "steps played: 1 of 2, the command ended first; repeat it with --seed 5" in done.stderr


def test_quiet_says_nothing(folder):
    (folder / "chaos.toml").write_text(CUT_SHORT)
    done = vaurien(folder, "run", "chaos.toml", "--quiet", "--", "true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_on_a_terminal_hits_so_far_are_shown(folder):
    """The command ends when it has seen them, so that nothing depends on how fast the machine is."""
    (folder / "chaos.toml").write_text(CUT_SHORT)
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    waits = "import pathlib, time\nwhile not pathlib.Path('seen').exists(): time.sleep(0.01)"
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [*PROGRAM, "run", "chaos.toml", "--", sys.executable, "-c", waits],
        cwd=folder,
        env=environment,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        told = b""
        while b"0 connections, hits: none" not in told:
            told += os.read(ours, 4096)
        (folder / "seen").touch()
        process.wait(BOUND)
        os.close(ours)
    assert process.returncode == 0
    assert told.index(b"step 1 of 2: add=noop") < told.index(b"connections, hits: none")


@pytest.mark.parametrize(("source", "status"), [("command", 3), ("vaurien", 0), ("both", 3)])
def test_the_exit_status_may_be_about_one_of_them(folder, source, status):
    (folder / "chaos.toml").write_text(CUT_SHORT)
    done = vaurien(folder, "run", "chaos.toml", "--exit-code-from", source, "--", "sh", "-c", "exit 3")
    assert done.returncode == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_command_and_the_report_is_written(folder, number):
    """Without a terminal, which would send SIGINT to both."""
    (folder / "chaos.toml").write_text(CUT_SHORT)
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    waits = "import pathlib, time; pathlib.Path('ready').touch(); time.sleep(60)"
    command = [*PROGRAM, "run", "chaos.toml", "--report", "report.json", "--", sys.executable, "-c", waits]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        until((folder / "ready").exists)
        process.send_signal(number)
        process.communicate(timeout=BOUND)
    assert process.returncode == 128 + number
    assert json.loads((folder / "report.json").read_text())["status"] == 128 + number


STEERED = """
[vaurien]
name = "cache"
proxy = "127.0.0.1:0"
backend = "127.0.0.1:9"
behavior = ""
api = "127.0.0.1:0"

[[step]]
at = "0s"
add = "delay name=first sleep=1"
"""

STEERING = """
import json, os, urllib.request

def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    where = os.environ["VAURIEN_URL"] + "/api/v1" + path
    request = urllib.request.Request(where, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)

schedule = ask("/schedule")
assert (len(schedule["steps"]), schedule["played"]) == (1, 1), schedule
ask("/proxies/cache/faults", {"behavior": "dummy", "name": "second"})
[proxy] = ask("/proxies")["proxies"]
assert [fault["name"] for fault in proxy["faults"]] == ["first", "second"], proxy
assert proxy["listen"] == os.environ["VAURIEN_ADDRESS"], proxy
"""


def test_the_interface_shows_and_steers_a_run(folder):
    (folder / "chaos.toml").write_text(STEERED)
    done = vaurien(folder, "run", "chaos.toml", "--", sys.executable, "-c", STEERING)
    assert done.returncode == 0, done.stderr
    assert "vaurien: HTTP interface at http://127.0.0.1:" in done.stderr


def test_an_interface_that_cannot_listen_keeps_the_run_from_beginning(folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        (folder / "chaos.toml").write_text(STEERED.replace('api = "127.0.0.1:0"', f'api = "{address}"'))
        done = vaurien(folder, "run", "chaos.toml", "--", sys.executable, "-c", "print('begun')")
    assert (done.returncode, done.stdout) == (125, "")
    assert f"option api (from chaos.toml line 7 [vaurien] api): cannot listen on {address}" in done.stderr
