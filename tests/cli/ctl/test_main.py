from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import itertools
import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.control.interface import interface
from tests.running import PATIENCE, until
from vaurien import plugins
from vaurien.cli.ctl import columns, finding
from vaurien.cli.ctl import main as ctl
from vaurien.cli.ctl.context import CtlContext
from vaurien.control import original
from vaurien.events import Injected
from vaurien.hooks import Behavior


@pytest.fixture
def served(shared_interface):
    shared_interface.proxy("first", mix="20:delay")
    yield shared_interface
    shared_interface.clear()


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


def test_proxies_that_differ_are_named_with_the_reason(served, run, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        wanted = {"proxies": [{"name": "web", "listen": listen, "backend": "127.0.0.1:9"}]}
        assert served.ask("PUT", "/api/v1/config", wanted).status == 409
        assert ctl.main(["list"]) == 0
    assert capsys.readouterr() == (
        f"web\t{listen}\t127.0.0.1:9\ttcp\tyes\t0\t-\t-\t0\t-\n",
        f"vaurienctl: proxy 'web' differs: cannot listen on {listen}: Address already in use\n",
    )


def test_proxies(run, served):
    address = served.get("/api/v1/proxies/first")["address"]
    assert run("list") == [["first", address, "127.0.0.1:9", "tcp", "yes", "0", "20:delay", "-", "0", "-"]]
    [made] = run("create", "redis", "--backend", "localhost:6379", "--protocol", "redis")
    assert (made[0], made[2]) == ("redis", "localhost:6379")
    assert run("toggle", "redis") == [["redis is off"]]
    assert run("toggle", "redis") == [["redis is on"]]
    assert ["protocol", "redis"] in run("inspect", "redis")
    assert run("connections", "redis") == []
    assert run("delete", "redis") == []
    assert [row[0] for row in run("list")] == ["first"]


@pytest.mark.parametrize("words", ["-l 127.0.0.1:0 -u 127.0.0.1:1", "--upstream 127.0.0.1:1"])
def test_a_proxy_is_created_with_the_flags_of_toxiproxy(run, words):
    [[name, address, backend]] = run("create", "second", *words.split())
    assert (name, address.rpartition(":")[0], backend) == ("second", "127.0.0.1", "127.0.0.1:1")


@pytest.mark.parametrize("words", [["-h"], ["-h", "list"], ["--json", "-h"], ["create", "-h"], ["create", "-h", "web"]])
def test_help_is_printed_where_no_host_is_meant(words, capsys):
    assert ctl.main(words) == ctl.OK
    assert capsys.readouterr().out.startswith("Usage: vaurienctl")


def test_no_unknown_word_is_taken_for_a_command_that_takes_all_away(run):
    for word in ("rese", "rests", "resets", "re-set", "unset", "restart", "revert", "reload"):
        assert "'reset'" not in run(word, status=ctl.BAD_INPUT)
    for word in ("hea", "heals", "clear"):
        assert "'heal'" not in run("mesh", word, status=ctl.BAD_INPUT)


def test_a_proxy_is_changed(run, served):
    run("create", "web", "--backend", "localhost:1")
    shown = run(
        "update", "web", "backend=localhost:2", "timeout=2.5", "seed=7", 'protocol_options={"keep_alive": false}'
    )
    assert ["backend", "localhost:2"] in shown
    web = served.get("/api/v1/proxies/web")
    assert (web["backend"], web["timeout"], web["seed"]) == ("localhost:2", 2.5, "7")
    assert web["protocol_options"] == {"keep_alive": False}


def test_the_mix_of_a_named_proxy(run, served):
    run("create", "web", "--backend", "localhost:1")
    assert run("mix", "web") == [["-"]]
    assert run("mix", "web", "20:delay,10:error") == [["20:delay,10:error"]]
    assert run("mix", "web") == [["20:delay,10:error"]]
    assert run("mix", "first") == [["20:delay"]]
    assert run("mix", "web", "") == [["-"]]
    assert "did you mean 'delay'?" in run("mix", "web", "20:dely", status=1)


def test_hits_and_the_last_one_are_listed(run, served):
    run("fault", "add", "first", "slow_close", "delay=0.1")
    served.hub.hits(Injected(proxy="first", at=1700000000.5, connection=1, fault="slow_close", exchange=1))
    at = dt.datetime.fromtimestamp(1700000000.5).astimezone().isoformat(timespec="milliseconds")
    [listed] = run("fault", "list", "first")
    assert listed[:6] == ["slow_close", "slow_close", "1", "1", "1", at]
    [shown] = run("list")
    assert shown[-3:] == ["slow_close", "1", at]


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
        run("fault", "add", "redis", "latency", "latency=100")
    for example in examples:
        program, *arguments = shlex.split(example.replace("--listen localhost:6380", ""))
        assert program == "vaurienctl"
        if not set(arguments) & {"|", ">", "--host"}:
            run(*arguments)


def commands(group, *words):
    for name, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from commands(one, *words, name)
        elif not one.hidden:
            yield (*words, name), one


@pytest.mark.parametrize(("words", "command"), list(commands(ctl.command)), ids=str)
def test_each_command_has_examples_that_are_understood(words, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("kept.json", "storm.toml"):
        Path(file).touch()
    examples = command.epilog.partition("Examples:\n")[2].splitlines()
    assert examples
    for example in examples:
        line = list(itertools.takewhile(lambda word: word not in (">", "|"), shlex.split(example)))
        assert line[: len(words) + 1] == ["vaurienctl", *words]
        with (
            ctl.command.make_context("vaurienctl", [words[0]], obj=CtlContext("", None, False)) as whole,
            command.make_context(words[-1], line[len(words) + 1 :], parent=whole),
        ):
            pass


def test_faults(run, served):
    added = run("fault", "add", "first", "delay", "sleep=500ms", "--name", "slow", "--probability", "0.5")
    assert added == [["slow", "delay", '{"sleep": "500ms"}', "both", "0.5", "connection"]]
    [changed] = run("fault", "update", "first", "slow", "before=false", "--stream", "upstream")
    assert changed[2:4] == ['{"sleep": "500ms", "before": false}', "upstream"]
    assert run("list")[0][-3] == "slow"
    assert run("fault", "remove", "first", "slow") == []
    assert served.get("/api/v1/proxies/first/faults") == {"faults": []}


def test_faults_are_listed_with_their_hits(run, served, capsys):
    run("fault", "add", "first", "slow_accept", "delay=1", "--expect-hits", "1..")
    assert run("fault", "list", "first") == [["slow_accept", "slow_accept", "0", "0", "0", "-", "1.."]]
    host, _, port = served.get("/api/v1/proxies/first")["address"].rpartition(":")
    with contextlib.suppress(ConnectionResetError):  # its backend refuses
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    until(lambda: served.get("/api/v1/proxies/first/faults/slow_accept")["hits"])
    [[name, _, hits, connections, exchanges, last, _]] = run("fault", "list", "first")
    assert (name, hits, connections, exchanges) == ("slow_accept", "1", "1", "0")
    assert dt.datetime.fromisoformat(last).tzinfo is not None
    assert ctl.main(["--json", "fault", "list", "first"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out)[0]["last_hit"], float)
    assert "such as 1.., 2..5 or 3" in run("fault", "add", "first", "noop", "--expect-hits", "x", status=1)
    assert "at least the first, 5" in run("fault", "add", "first", "noop", "--expect-hits", "5..2", status=1)


def test_presets(run, served):
    assert ["smtp.greylisting", "smtp"] in [line[:2] for line in run("preset", "list")]
    served.proxy("mail", protocol="smtp")
    assert run("preset", "add", "mail", "smtp.greylisting:0.5")[0][4:] == ["0.5", "exchange"]
    assert "whose protocol is redis" in run("preset", "add", "mail", "redis.loading", status=1)


def test_when_a_fault_acts(run, served):
    run("fault", "add", "first", "delay", "--skip", "2", "--every", "3", "--match", "client=10.0.0.0/8", "--ttl", "60")
    fault = served.get("/api/v1/proxies/first/faults/delay")
    assert (fault["window"]["skip"], fault["window"]["every"], fault["ttl"]) == (2, 3, 60.0)
    assert fault["match"] == {"client": "10.0.0.0/8"}
    run("fault", "update", "first", "delay", "--count", "5", "--seconds", "1.5")
    window = served.get("/api/v1/proxies/first/faults/delay")["window"]
    assert window == {"skip": 2, "count": 5, "every": 3, "seconds": 1.5}


def test_words_say_what_the_option_fault_takes(run, served):
    served.proxy("web", protocol="http")
    words = "sleep=2 name=slow probability=0.3 stream=upstream scope=exchange ttl=1m match.host=007 skip=1 for=500ms"
    run("fault", "add", "web", "delay", *words.split(), "--match", "method=GET", "--every", "3", "expect_hits=1..")
    fault = served.get("/api/v1/proxies/web/faults/slow")
    assert (fault["behavior"], fault["options"]) == ("delay", {"sleep": 2})
    assert (fault["probability"], fault["stream"], fault["scope"]) == (0.3, "upstream", "exchange")
    assert (fault["ttl"], fault["expect_hits"]) == (60.0, "1..")
    assert fault["match"] == {"host": "007", "method": "GET"}
    window = {"skip": 1, "count": None, "every": 3, "seconds": 0.5}
    assert fault["window"] == window
    run("fault", "update", "web", "slow", "probability=0.5", "count=4", "sleep=3")
    fault = served.get("/api/v1/proxies/web/faults/slow")
    assert (fault["probability"], fault["options"]) == (0.5, {"sleep": 3})
    assert (fault["window"], fault["match"]) == (window | {"count": 4}, {"host": "007", "method": "GET"})


class Plugged(Behavior, frozen=True):
    """Has options that are called as fields of a fault."""

    count: int = 1
    name: str = ""


def test_an_option_of_the_behavior_wins_over_a_field_of_that_name(run, served, request):
    plugins.allow([f"{__name__}.*"])
    request.addfinalizer(lambda: plugins.allow([]))
    run(
        "fault",
        "add",
        "first",
        f"{__name__}.Plugged",
        "count=3",
        "probability=0.5",
        "options.name=x",
        "--name",
        "plugged",
    )
    fault = served.get("/api/v1/proxies/first/faults/plugged")
    assert fault["options"] == {"count": 3, "name": "x"}
    assert (fault["probability"], fault["window"]["count"]) == (0.5, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("toxicity=0.5", "unknown option 'toxicity' of fault 'delay'; did you mean 'probability'?"),
        ("probabilty=0.5", "unknown option 'probabilty' of fault 'delay'; did you mean 'probability'?"),
        ("probability=2", "fault 'delay' option probability: '2' is not valid; expected"),
        (
            "probability=0.5 --probability 0.4",
            "probability is given twice, by a flag and as OPTION=VALUE; expected it once",
        ),
        ("for=1s --seconds 2", "seconds is given twice, by a flag and as OPTION=VALUE; expected it once"),
        ("match.host=x --match host=y", "host is given twice, by a flag and as OPTION=VALUE; expected it once"),
    ],
)
def test_words_that_no_fault_takes(run, words, message):
    run("fault", "add", "first", "delay")
    for command in ("fault add first delay", "fault update first delay"):
        assert message in run(*command.split(), *words.split(), status=ctl.BAD_INPUT)


@pytest.mark.parametrize("text", ["true", "1e3", "null", '"quoted"', "007"])
def test_a_match_is_text_though_it_looks_like_a_number(run, served, text):
    served.proxy("web", protocol="http")
    run("fault", "add", "web", "latency", "latency=1", "--match", f"header.x={text}")
    assert served.get("/api/v1/proxies/web/faults/latency")["match"] == {"header.x": text}


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
        ("remove first", "unknown command 'remove'; did you mean 'delete' or 'fault remove'?"),
        ("remvoe first", "unknown command 'remvoe'; did you mean 'delete' or 'fault remove'?"),
        ("rm first", "unknown command 'rm'; did you mean 'delete' or 'fault remove'?"),
        ("add first", "unknown command 'add'; did you mean 'create' or 'fault add'?"),
        ("ls", "unknown command 'ls'; did you mean 'list'?"),
        ("toxic add first", "unknown command 'toxic'; did you mean 'fault'?"),
        ("toxics", "unknown command 'toxics'; did you mean 'fault'?"),
        ("fault delete first latency", "unknown command 'delete'; did you mean 'remove'?"),
        ("fault rm first latency", "unknown command 'rm'; did you mean 'remove'?"),
        ("mesh delete isolate a", "unknown command 'delete'; did you mean 'remove'?"),
        ("rset", "unknown command 'rset'; known are: config,"),
        ("-h localhost:8474 list", "-h prints help and takes no value; expected --host localhost:8474"),
        ("--json -h chaos list", "-h prints help and takes no value; expected --host chaos"),
        ("list -h localhost:8474", "-h prints help and takes no value; expected --host localhost:8474"),
        ("", "no command; expected one of config, connections, create, delete, "),
        ("fault", "no command; expected one of add, list, remove, update"),
        ("create", "NAME is missing; expected vaurienctl create [OPTIONS] NAME"),
        ("list extra", "unexpected argument 'extra'; expected vaurienctl list [OPTIONS]"),
        ("update first backend", "'backend' is not valid; expected FIELD=VALUE, such as timeout=2"),
        (
            "fault add first delay --match path",
            "'path' is not valid; expected --match FIELD=PATTERN, such as --match path",
        ),
        ("fault add first delay --probability 30%", "--probability: '30%' is not valid; expected a number"),
        ("fault add first delay --skip x", "--skip: 'x' is not valid; expected a whole number"),
        ("events --since x", "--since: 'x' is not valid; expected a whole number"),
        (
            "--token-file /nowhere list",
            "--token-file: '/nowhere' cannot be read (No such file or directory); expected a",
        ),
        ("set-behavior delay sleep", "'sleep' is not valid; expected OPTION=VALUE, such as sleep=2"),
        ("create x", "--backend is missing; expected --backend TEXT, the server behind it, host:port"),
        ("--host ftp://x list", "--host: 'ftp://x' is not valid; expected http://host:port"),
        ("config /nowhere", "FILE: '/nowhere' cannot be read (No such file or directory); expected a file"),
        ("list --bogus", "unknown option '--bogus'; vaurienctl list --help lists them"),
        ("list --jsno", "unknown option '--jsno'; did you mean '--json'?"),
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
        ("set-behavior dely", "the 'dely' behavior does not exist"),
        ("inspect frist", "unknown proxy 'frist'; did you mean 'first'?"),
        ("fault add first dely", "unknown behavior or handler 'dely'; did you mean 'delay'?"),
        ("fault remove first slow", "unknown fault 'slow'; none is known"),
        ("create first --backend h:1", "first"),
    ],
)
def test_what_is_refused(run, line, message):
    assert message in run(*line.split(), status=ctl.REFUSED)


def test_nobody_answers(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert ctl.main(["--host", f"127.0.0.1:{port}", "list"]) == ctl.UNREACHABLE
    assert "does not answer" in capsys.readouterr().err


@pytest.fixture
def unused():
    """An address of this machine where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_without_a_host_both_usual_addresses_are_tried(served, unused, monkeypatch, capsys):
    monkeypatch.delenv("VAURIEN_URL", raising=False)
    own = f"http://127.0.0.1:{served.address.port}"
    for urls in ((own, unused), (unused, own)):
        monkeypatch.setattr(finding, "URLS", urls)
        assert ctl.main(["list"]) == ctl.OK
        assert capsys.readouterr().out.startswith("first")
    monkeypatch.setattr(finding, "URLS", (unused, unused))
    assert ctl.main(["list"]) == ctl.UNREACHABLE
    message = f"vaurienctl: neither {unused} (vaurien --http) nor {unused} (vaurien serve) answers ("
    assert capsys.readouterr().err.startswith(message)
    monkeypatch.setenv("VAURIEN_URL", unused)
    monkeypatch.setattr(finding, "URLS", (own, own))
    assert ctl.main(["list"]) == ctl.UNREACHABLE
    assert "; is vaurien running there with --http? (vaurien serve is at http" in (line := capsys.readouterr().err)
    assert line.endswith("--wait SECONDS waits for a server that starts\n")


def test_help_names_both_usual_addresses(capsys):
    assert ctl.main(["--help"]) == ctl.OK
    text = " ".join(capsys.readouterr().out.split())
    assert "http://localhost:8080, as of vaurien --http" in text
    assert "http://localhost:8474, as of vaurien serve" in text


def test_a_wait_of_less_than_nothing(capsys):
    for typed in (["--wait", "-1", "list"], ["list", "--wait", "-1"]):
        assert ctl.main(typed) == ctl.BAD_INPUT
        assert "--wait" in (line := capsys.readouterr().err)
        assert "-1" in line


@pytest.mark.parametrize(
    ("unix", "typed"), [(True, "--wait {} get-behavior"), (False, "get-behavior --wait {}")], ids=["unix", "tcp"]
)
def test_a_server_that_starts_is_waited_for(vaurien, unix, typed, unused, tmp_path, capsys):
    """The command begins before its server: it has ended once it is told that nothing listens, or has an answer."""
    path = f"{tmp_path}/api"
    where = ["--api", f"unix:{path}"] if unix else ["--http", "--http-port", unused.rpartition(":")[2]]
    url = f"unix:{path}" if unix else unused
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(ctl.main, ["--host", url, *typed.format(PATIENCE).split()])
        program = vaurien(*where)
        assert done.result(2 * PATIENCE) == ctl.OK
        program.signal()
        program.end()
    assert capsys.readouterr().out == "dummy\n"


@pytest.mark.parametrize("typed", ["--wait 0.1 list", "list --wait 0.1", "fault list p --wait=0.1"])
def test_a_server_that_does_not_start_is_waited_for_no_longer(unused, typed, capsys):
    assert ctl.main(["--host", unused, *typed.split()]) == ctl.UNREACHABLE
    assert f"{unused} does not answer within 0.1 seconds (" in capsys.readouterr().err


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
    moment = dt.datetime(2026, 5, 4, 3, 2, 1).astimezone()
    for name in ("last_hit", "at", "began"):
        assert columns.rows([{name: moment.timestamp()}], [name], terminal=False).startswith("2026-05-04T03:02:01.000")
    assert columns.rows([], names, terminal=True) == "NAME  ON  MIX\n"


@pytest.mark.parametrize(
    "line", ["list", "connections first", "fault list first", "fault add first delay", "create second --backend h:1"]
)
def test_help_names_the_columns_that_a_terminal_has_as_headings(line, served, capsys, monkeypatch):
    monkeypatch.setenv("VAURIEN_URL", f"http://127.0.0.1:{served.address.port}")
    words = line.split()
    end = words.index("first" if "first" in words else "second") if len(words) > 1 else 1
    assert ctl.main([*words[:end], "--help"]) == ctl.OK
    text = " ".join(capsys.readouterr().out.split())
    names = re.search(r"Columns: ([\w, ]+)\.", text)[1].split(", ")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert ctl.main(words) == ctl.OK
    assert capsys.readouterr().out.splitlines()[0].split() == [name.upper() for name in names]


def test_help_says_what_exit_statuses_mean(capsys):
    assert ctl.main(["-h"]) == ctl.OK
    text = " ".join(capsys.readouterr().out.split())
    assert f"{ctl.OK} when it is done, {ctl.REFUSED} when the interface refused it" in text
    assert f"{ctl.BAD_INPUT} when the command line is not understood, {ctl.UNREACHABLE} when no server answers" in text


def test_options_of_the_program_may_stand_behind_the_command(served, capsys, monkeypatch):
    monkeypatch.setenv("VAURIEN_URL", "http://127.0.0.1:1")
    host = f"127.0.0.1:{served.address.port}"
    assert ctl.main(["list", "--json", "--host", host]) == ctl.OK
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["first"]
    assert ctl.main(["fault", "add", "first", "latency", "--host", host, "--json"]) == ctl.OK
    assert json.loads(capsys.readouterr().out)[0]["name"] == "latency"
