"""``toxiproxy-cli`` against our interface: what Toxiproxy's own end-to-end script types, and what may go wrong."""

from __future__ import annotations

import http.server
import json
import os
import pty
import re
import shlex
import socket
import subprocess
import sys
import threading

import pytest

from tests.control.conftest import serving
from tests.running import PATIENCE, Echo, read
from vaurien.cli.toxiproxy_cli import main as cli
from vaurien.control import security
from vaurien.control.toxiproxy import app as toxiproxy
from vaurien.model import Address


@pytest.fixture(scope="module")
def _api():
    with serving(toxiproxy.router) as api:
        yield api


@pytest.fixture
def api(_api):
    yield _api
    for name in list(_api.hub.proxies):
        _api.run(_api.hub.delete(name))


@pytest.fixture
def run(api, capsys, monkeypatch):
    """Run a command line against the interface; what it printed, once it ended with *status*."""
    monkeypatch.setenv("TOXIPROXY_URL", f"http://127.0.0.1:{api.address[1]}")

    def call(line, status=0):
        assert cli.main(shlex.split(line)) == status
        out, err = capsys.readouterr()
        if status:
            return out, err
        assert err == ""
        return out

    return call


@pytest.fixture
def echo():
    with Echo() as echo:
        yield f"127.0.0.1:{echo.address[1]}"


def test_the_end_to_end_script_of_toxiproxy(api, run, echo):
    assert run(f"create -l localhost:0 -u {echo} shopify_http") == "Created new proxy shopify_http\n"
    listen = json.loads(api("GET", "/proxies/shopify_http").body)["listen"]
    assert run("list") == f"shopify_http\t{listen}\t{echo}\tenabled\t0\n"
    assert run("toggle shopify_http") == "Proxy shopify_http is now disabled\n"
    assert run("list") == f"shopify_http\t{listen}\t{echo}\tdisabled\t0\n"
    assert run("inspect shopify_http") == ""
    assert run("toggle shopify_http") == "Proxy shopify_http is now enabled\n"
    with api.connect("shopify_http") as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
    added = run(
        "toxic add --downstream --type=latency --toxicName=latency_downstream --attribute=latency=1000 "
        "--attribute=jitter=50 --toxicity=0.99 shopify_http"
    )
    assert added == "Added downstream latency toxic 'latency_downstream' on proxy 'shopify_http'\n"
    assert run("inspect shopify_http") == (
        "latency_downstream\ttype=latency\tstream=downstream\ttoxicity=0.99\tattributes=[\tjitter=50\tlatency=1000\t]\n"
    )
    updated = run("toxic update --toxicName=latency_downstream --attribute=jitter=20 --toxicity=0.7 shopify_http")
    assert updated == "Updated toxic 'latency_downstream' on proxy 'shopify_http'\n"
    assert "toxicity=0.70\tattributes=[\tjitter=20\tlatency=1000\t]" in run("inspect shopify_http")
    removed = "Removed toxic 'latency_downstream' on proxy 'shopify_http'\n"
    assert run("toxic delete --toxicName=latency_downstream shopify_http") == removed
    for kind, attributes in (
        ("bandwidth", "rate=1"),
        ("timeout", "timeout=10"),
        ("slicer", "average_size=64,size_variation=32,delay=10"),
        ("reset_peer", "timeout=2000"),
    ):
        added = run(f"toxic add --type={kind} --toxicName=it -a {attributes} --upstream --toxicity=0.5 shopify_http")
        assert added == f"Added upstream {kind} toxic 'it' on proxy 'shopify_http'\n"
        line = run("inspect shopify_http")
        assert all(f"\t{pair}\t" in line for pair in attributes.split(","))
        assert run("toxic remove -n it shopify_http") == "Removed toxic 'it' on proxy 'shopify_http'\n"
    assert run("delete shopify_http") == "Deleted proxy shopify_http\n"
    assert run("list") == ""


def test_every_alias(run, echo):
    for create, look, toggle, drop in (("c", "i", "tog", "d"), ("new", "ins", "toggle", "delete")):
        run(f"{create} --listen=127.0.0.1:0 -upstream {echo} p")
        for add, update, remove in (("a", "u", "r"), ("add", "update", "d"), ("add", "u", "delete")):
            run(f"t {add} -t noop -n it p")
            run(f"t {update} --toxicName it -tox 0.25 p")
            assert "toxicity=0.25" in run(f"{look} p")
            run(f"toxic {remove} -n it p")
        run(f"{toggle} p")
        assert {run(name) for name in ("list", "l", "li", "ls")} == {run("list")}
        run(f"{drop} p")


def test_flags_may_stand_behind_the_name_too(run, echo):
    """As in releases before 2.1.6, and as scripts still do."""
    run(f"create p -l 127.0.0.1:0 -u {echo}")
    assert run("toxic add p -t latency -a latency=5").startswith("Added downstream latency toxic 'latency_downstream'")


def test_an_update_without_a_toxicity_leaves_it(run, echo):
    run(f"create -l 127.0.0.1:0 -u {echo} p")
    run("toxic add -t latency -n it --toxicity 0.5 p")
    run("toxic update -n it -a latency=7 p")
    assert "toxicity=0.50\tattributes=[\tjitter=0\tlatency=7\t]" in run("inspect p")


def test_attributes_are_numbers_or_text(api, run, echo):
    run(f"create -l 127.0.0.1:0 -u {echo} p")
    run("toxic add -t packet_loss -n loss -a loss_rate=0.25 -a nonsense p")
    assert "attributes=[\tcorrelation=0\tloss_rate=0.25\t]" in run("inspect p")
    run("toxic add -t corrupt -n wrong -a mode=zero,rate=1e1 p")
    assert "attributes=[\tmode=zero\trate=10\t]" in run("inspect p")


def test_host_comes_before_the_environment(api, run, monkeypatch, echo):
    run(f"create -l 127.0.0.1:0 -u {echo} p")
    monkeypatch.setenv("TOXIPROXY_URL", "http://127.0.0.1:1")
    port = api.address[1]
    for host in (f"-h http://127.0.0.1:{port}", f"--host=127.0.0.1:{port}", f"-host localhost:{port}/"):
        assert run(f"{host} list").startswith("p\t")


@pytest.mark.parametrize(
    ("line", "out", "err"),
    [
        ("inspect", "toxiproxy-cli inspect <proxyName>", "Proxy name is required as the first argument.\n"),
        ("toggle", "<proxyName>", "Proxy name is required as the first argument.\n"),
        ("delete", "<proxyName>", "Proxy name is required as the first argument.\n"),
        ("create p", "--listen value, -l value", "Required argument 'listen' was empty.\n"),
        ("create -l :0 p", "--upstream value, -u value", "Required argument 'upstream' was empty.\n"),
        ("toxic add", "--toxicName value, -n value", "Proxy name is missing.\n"),
        ("toxic add p", "--type value, -t value", "Required argument 'type' was empty.\n"),
        ("toxic add -t noop -u -d p", "", "Only one should be specified: upstream or downstream.\n"),
        ("toxic add -t noop --toxicity 1.5 p", "", "toxicity should be a float between 0 and 1.\n"),
        ("toxic update -n x --tox nan p", "", "toxicity should be a float between 0 and 1.\n"),
        ("inspect nope", "", "Failed to retrieve proxy nope: HTTP 404: proxy not found\n"),
        ("toggle nope", "", "Failed to retrieve proxy nope: HTTP 404: proxy not found\n"),
        ("delete nope", "", "Failed to retrieve proxy nope: HTTP 404: proxy not found\n"),
        ("create -l 127.0.0.1:0 -u x:1 p", "", "Failed to create proxy: create: HTTP 409: proxy already exists\n"),
        (
            "toxic add -t noop nope",
            "",
            "Failed to add toxic: failed to retrieve proxy with name `nope`: HTTP 404: proxy not found\n",
        ),
        (
            "toxic add -t nope p",
            "",
            "Failed to add toxic: failed to add toxic to proxy p: AddToxic: HTTP 400: invalid toxic type\n",
        ),
        (
            "toxic update -n nope p",
            "",
            "Failed to update toxic: failed to update toxic 'nope' of proxy 'p': HTTP 404: toxic not found\n",
        ),
        (
            "toxic delete -n nope p",
            "",
            "Failed to remove toxic: failed to remove toxic 'nope' from proxy 'p': HTTP 404: toxic not found\n",
        ),
        ("list --bogus", "Incorrect Usage: flag provided but not defined: -bogus", ""),
    ],
)
def test_what_goes_wrong(run, echo, line, out, err):
    run(f"create -l 127.0.0.1:0 -u {echo} p")
    assert re.fullmatch(rf".*{re.escape(out)}.*" if out else "", (found := run(line, status=1))[0], re.DOTALL)
    assert found[1] == err


def test_a_toggle_that_fails(api, run, echo):
    run(f"create -l 127.0.0.1:0 -u {echo} p")
    run("toggle p")
    listen = api("GET", "/proxies/p").json()["listen"]
    with socket.create_server(("127.0.0.1", int(listen.rpartition(":")[2]))):
        message = f"listen tcp {listen}: bind: address already in use"
        assert run("toggle p", status=1)[1] == f"Failed to toggle proxy p: HTTP 500: {message}\n"


def test_an_unknown_command(run):
    out, err = run("lst", status=3)
    assert (out, err) == ("", "toxiproxy-cli: unknown command 'lst'; did you mean 'list'?\n")
    assert "did you mean 'add'?" in run("toxic adf", status=3)[1]


@pytest.mark.parametrize("line", ["", "help", "h", "--help", "-help", "help nope"])
def test_the_help_of_all(run, line):
    assert re.search(r"^   list, l, li, ls  .*\n   inspect, i, ins  ", run(line), re.MULTILINE)


@pytest.mark.parametrize("line", ["toxic add --help", "toxic help add", "t a -help"])
def test_the_help_of_a_command(run, line):
    assert "--attribute value, -a value" in run(line)


@pytest.mark.parametrize("line", ["--version", "-v", "-version list"])
def test_the_version(run, line):
    assert run(line) == "toxiproxy-cli version 2.13.0\n"


def test_nothing_answers(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    _, err = run(f"-h 127.0.0.1:{port} list", status=1)
    where = f'Get "http://127.0.0.1:{port}/proxies"'
    assert err == f"Failed to retrieve proxies: fail to request: {where}: Connection refused\n"


@pytest.mark.parametrize("url", ["http://", "http://[", "127.0.0.1:nope", ":80"])
def test_a_url_that_is_none(run, url):
    assert "is not valid; expected http://host:port or host:port" in run(f"-h {url} list", status=1)[1]


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"3", b""])
def test_another_program_answers(run, answer):
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            _, err = run(f"-h 127.0.0.1:{server.server_address[1]} inspect p", status=1)
        finally:
            server.shutdown()
    assert "does not speak Toxiproxy's interface" in err


def test_the_token_of_the_environment(capsys, monkeypatch):
    def guarded(hub):
        listen = Address("127.0.0.1", 1)
        return security.Guard(toxiproxy.router(hub), listen, token="s3cret", refused=toxiproxy.refused)

    with serving(guarded) as api:
        monkeypatch.setenv("TOXIPROXY_URL", f"127.0.0.1:{api.address[1]}")
        assert cli.main(["list"]) == 1
        assert "Failed to retrieve proxies: HTTP 401: " in capsys.readouterr().err
        monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", "s3cret")
        assert cli.main(["list"]) == 0
        monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", "s3cret and more")
        assert cli.main(["list"]) == 1
        assert "s3cret" not in "".join(capsys.readouterr())


def on_a_terminal(api, *arguments):
    """What the program writes to a terminal."""
    outer, inner = pty.openpty()
    program = [sys.executable, "-m", "vaurien.cli.toxiproxy_cli.main", "-h", f"127.0.0.1:{api.address[1]}", *arguments]
    with subprocess.Popen(program, stdout=inner, stdin=subprocess.DEVNULL) as process:
        os.close(inner)
        written = b""
        try:
            while piece := os.read(outer, 4096):
                written += piece
        except OSError:  # how a terminal ends on Linux
            pass
        finally:
            os.close(outer)
        assert process.wait(PATIENCE) == 0
    return written.decode().replace("\r\n", "\n")


def test_colours_and_hints_on_a_terminal(api, run, echo):
    assert "no proxies" in on_a_terminal(api, "list")
    run(f"create -l 127.0.0.1:0 -u {echo} p")
    listed = on_a_terminal(api, "list")
    assert "Hint: inspect toxics with `toxiproxy-cli inspect <proxyName>`" in listed
    assert re.search(r"\x1b\[32mp\x1b\[0m\t+\x1b\[34m127\.0\.0\.1:\d+\x1b\[0m\t", listed)
    assert listed.rstrip().splitlines()[2].endswith("\x1b[31mNone\x1b[0m")
    assert "Proxy has no toxics enabled." in on_a_terminal(api, "inspect", "p")
    run("toxic add -t latency -u -a latency=5 p")
    shown = on_a_terminal(api, "inspect", "p")
    assert "Upstream toxics:" in shown
    assert "\x1b[34mlatency_upstream:\x1b[0m\ttype=latency\tstream=upstream\ttoxicity=1.00\t" in shown
    assert "Proxy has no Downstream toxics enabled." in shown
    assert "is now \x1b[31mdisabled\x1b[0m" in on_a_terminal(api, "toggle", "p")


def test_it_starts_without_what_it_does_not_need():
    """A health check calls it every few seconds."""
    program = "import sys, vaurien.cli.toxiproxy_cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"click", "uvicorn", "prometheus_client"} & {*loaded}
