"""The HTTP interface as the options of ``vaurien`` offer it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from vaurien.client import Client, Refused, at
from vaurien.errors import VaurienError

BOUND = 60.0
MANY = ["--proxy", "127.0.0.1:0", "--log-level", "error", "--seed", "12345"]


@contextlib.contextmanager
def program(*arguments, cwd=None, **variables):
    """``vaurien`` with *arguments*; a function that gives the second line it says: where the interface is."""
    command = [sys.executable, "-m", "vaurien", *MANY, *arguments]
    environment = {**os.environ, **variables}
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            process.stdout.readline()
            process.interface = process.stdout.readline().rstrip("\n").removeprefix("vaurien: HTTP interface at ")
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.out, process.err = process.communicate(timeout=BOUND)


def test_it_steers_the_proxy():
    with program("--http", "--http-host", "127.0.0.1", "--http-port", "0") as process:
        client = at(process.interface)
        client.set_behavior("delay", sleep=2)
        assert client.get_behavior() == "delay"
        assert client.get_proxy("vaurien")["seed"] == "12345"
        assert client.create_proxy(name="more", backend="localhost:9")["seed"] == "12345"
    assert (process.returncode, process.err) == (0, "")


def test_options_of_the_command_line_hold_until_something_else_is_said():
    with program("--http", "--http-host", "127.0.0.1", "--http-port", "0", "--behavior-delay-sleep", "9") as process:
        client = at(process.interface)
        client.set_behavior("delay", before=False)
        assert client.get_mix("vaurien")["mix"][0]["options"] == {"sleep": 9.0, "before": False}


def test_an_acknowledged_change_survives_the_end_of_the_process_at_once(tmp_path):
    flags = ["--http", "--http-host", "127.0.0.1", "--http-port", "0", "--state", str(tmp_path / "state.json")]
    for number in range(3):
        with program(*flags) as process:
            client = at(process.interface)
            assert [one["name"] for one in client.get_proxy("vaurien")["faults"]] == [
                f"f{one}" for one in range(number)
            ]
            client.add_fault("vaurien", behavior="delay", name=f"f{number}")
            process.kill()
            process.wait(BOUND)


def test_figures_are_for_prometheus():
    with program("--http", "--http-host", "127.0.0.1", "--http-port", "0") as process:
        client = at(process.interface)
        with client._transport.answer("GET", "/metrics") as response:
            assert re.search(rb'proxy="vaurien"', response.read())


def test_a_unix_socket_for_this_user_alone(tmp_path):
    path = tmp_path / "api"
    with program("--api", f"unix:{path}") as process:
        assert process.interface == f"unix:{path}"
        assert Client(path=str(path)).get_behavior() == "dummy"
    assert not path.exists()


def test_a_stale_socket_is_no_obstacle_and_a_live_one_is(tmp_path):
    path = tmp_path / "api"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with program("--api", f"unix:{path}"):
        assert Client(path=str(path)).get_health() == "ok"
        with program("--api", f"unix:{path}") as other:
            other.wait(BOUND)
        assert other.returncode == 2
        assert f"option api (from --api): cannot listen on unix:{path}: Address already in use" in other.err
        assert Client(path=str(path)).get_health() == "ok"


def test_a_token(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    with program("--api", "127.0.0.1:0", "--token-file", str(tmp_path / "token"), "--log-level", "debug") as process:
        with pytest.raises(Refused, match="wants its token"):
            at(process.interface).get_behavior()
        assert at(process.interface, token="secret").get_behavior() == "dummy"
    assert "secret" not in process.out + process.err


def test_a_token_of_the_environment(monkeypatch):
    monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", "secret")
    with program("--api", "127.0.0.1:0") as process:
        assert at(process.interface).get_behavior() == "dummy"
        with pytest.raises(Refused, match="wants its token"):
            at(process.interface, token="").get_behavior()


def test_a_name_that_was_given():
    with program("--api", "0.0.0.0:0", "--http-names", "chaos.example") as process:
        port = int(process.interface.rpartition(":")[2])
        for host, status in [("chaos.example", 200), ("evil.example", 403)]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND)
            connection.request("GET", "/behavior", headers={"Host": host})
            assert connection.getresponse().status == status
            connection.close()
    words = rf"warning: any program that reaches 0\.0\.0\.0:{port} can steer the proxies; expected --token-file"
    assert re.search(words, process.err)


def test_a_port_that_somebody_has():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with program("--http", "--http-host", "127.0.0.1", "--http-port", str(port)) as process:
            process.wait(BOUND)
    assert process.returncode == 2
    assert f"option http_port (from --http-port): cannot listen on 127.0.0.1:{port}" in process.err


def test_without_it_there_is_none():
    with subprocess.Popen([sys.executable, "-m", "vaurien", *MANY], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.terminate()
        assert process.stdout.read() == ""
    assert issubclass(Refused, VaurienError)


def plugin(folder, name, *classes):
    lines = [f"class {one}(Behavior, frozen=True): ..." for one in classes]
    (folder / f"{name}.py").write_text("\n".join(["from vaurien import Behavior", *lines]))


def refusal(client, path):
    with pytest.raises(Refused) as refused:
        client.set_mix("vaurien", mix=f"10:{path}")
    return str(refused.value)


def test_callers_may_use_the_plugins_that_the_file_names_also_after_a_reload(tmp_path):
    plugin(tmp_path, "chaos_file", "One", "Two", "Three")
    file = tmp_path / "chaos.toml"
    common = "[vaurien]\nhttp = true\nhttp_host = '127.0.0.1'\nhttp_port = 0\nbehavior = "
    file.write_text(f"{common}'10:chaos_file.One'\n")
    with program("--config", str(file), cwd=tmp_path) as process:
        client = at(process.interface)
        client.set_mix("vaurien", mix="20:chaos_file.One")
        assert "start it with --allow-plugin" in refusal(client, "chaos_file.Two")
        file.write_text(f"{common}'10:chaos_file.Two'\n")
        process.send_signal(signal.SIGHUP)
        assert "configuration read again" in process.stdout.readline()
        client.set_mix("vaurien", mix="20:chaos_file.Two")
        assert "start it with --allow-plugin" in refusal(client, "chaos_file.Three")


@pytest.mark.parametrize("way", ["flag", "variable", "file"])
def test_callers_may_use_the_plugins_that_are_allowed(tmp_path, way):
    plugin(tmp_path, "chaos_faults", "Mine")
    plugin(tmp_path, "chaos_other", "Mine")
    file = tmp_path / "chaos.ini"
    file.write_text("[vaurien]\nallow_plugin = chaos_faults.*\n" if way == "file" else "")
    flag = ["--allow-plugin", "no.such,chaos_faults.*"] if way == "flag" else []
    variables = {"VAURIEN_ALLOW_PLUGIN": "chaos_faults.*"} if way == "variable" else {}
    arguments = ["--config", str(file), "--http", "--http-host", "127.0.0.1", "--http-port", "0", *flag]
    with program(*arguments, cwd=tmp_path, **variables) as process:
        client = at(process.interface)
        client.set_mix("vaurien", mix="20:chaos_faults.Mine")
        assert "start it with --allow-plugin" in refusal(client, "chaos_other.Mine")
        assert "start it with --allow-plugin" in refusal(client, "os.system")


@pytest.mark.parametrize("way", ["flag", "variable", "file"])
def test_callers_may_name_the_files_that_are_allowed(tmp_path, way):
    pattern = f"{tmp_path}/*.pem"
    file = tmp_path / "chaos.ini"
    file.write_text(f"[vaurien]\nallow_tls_file = {pattern}\n" if way == "file" else "")
    flag = ["--allow-tls-file", pattern] if way == "flag" else []
    variables = {"VAURIEN_ALLOW_TLS_FILE": pattern} if way == "variable" else {}
    arguments = ["--config", str(file), "--http", "--http-host", "127.0.0.1", "--http-port", "0", *flag]
    with program(*arguments, cwd=tmp_path, **variables) as process:
        client = at(process.interface)
        for name, message in (("a.txt", "callers may name no other"), ("a.pem", "No such file")):
            with pytest.raises(Refused, match=message):
                client.change_proxy("vaurien", backend=f"tls://localhost:9?ca={tmp_path}/{name}")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_clients_of_a_forward_proxy_do_not_get_to_it(host, workers):
    with program("--backend", "forward", "--workers", workers, "--http", "--http-port", "0") as process:
        proxy = at(process.interface).get_proxy("vaurien")
        port = int(process.interface.rpartition(":")[2])
        for asked in (f"CONNECT {host}:{port} HTTP/1.1", f"GET http://{host}:{port}/api/v1/proxies HTTP/1.1"):
            answer = answer_to(proxy["listen"], f"{asked}\r\nHost: {host}:{port}\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
            assert b"this is the HTTP interface of the program" in answer
        socks = b"\x05\x01\x00\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big")
        assert answer_to(proxy["listen"], socks).startswith(b"\x05\x00\x05\x02")


def test_clients_of_a_forward_proxy_that_was_made_later_do_not_get_to_it():
    with program("--backend", "localhost:9", "--http", "--http-port", "0") as process:
        client = at(process.interface)
        made = client.create_proxy(name="forward", listen="127.0.0.1:0", backend="forward")
        where = process.interface.removeprefix("http://")
        answer = answer_to(made["listen"], f"CONNECT {where} HTTP/1.1\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")


def answer_to(address, request):
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), BOUND) as client, client.makefile("rb") as answer:
        client.sendall(request)
        return answer.read()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_proxy_is_not_its_own_backend(workers):
    with program("--backend", "localhost:9", "--workers", workers, "--http", "--http-port", "0") as process:
        client = at(process.interface)
        own = client.get_proxy("vaurien")["listen"]
        expected = r"another address: connections would come back to the proxy \(vaurien -> vaurien\)"
        with pytest.raises(Refused, match=expected):
            client.change_proxy("vaurien", backend=own)
        assert client.get_proxy("vaurien")["backend"] == "localhost:9"
