from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
from typing import Annotated

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaurien import Behavior, Option, Protocol, __version__, config, plugins
from vaurien.cli import flags, help, main
from vaurien.framing import Turns
from vaurien.model import Address
from vaurien.options import Count, Duration


class Delay(Behavior, frozen=True):
    """Wait. And more."""

    sleep: Annotated[Duration, Option("How long to wait")] = 1.0
    before: Annotated[bool, Option("Wait before the request")] = True


class Error(Behavior, frozen=True):
    """Answer with an error."""

    warmup: Annotated[Count, Option("Calls before it starts")] = 0


class Http(Protocol, frozen=True):
    """Stands in for a protocol of that name, and so for Smtp below."""

    keep_alive: bool = True

    def framer(self):
        return Turns()


class Smtp(Http, frozen=True):
    """Mail."""


class Pause:
    """A handler whose own name a behavior has too."""

    name = "delay"
    options = {"sleep": ("How long", int, 1)}

    def __call__(self, client_sock, backend_sock, to_backend): ...


class Nothing:
    """Not a plugin."""


@pytest.fixture(autouse=True)
def registered(registry, monkeypatch):
    for target in (Delay, Error):
        plugins.register("behavior", target)
    for target in (Http, Smtp):
        plugins.register("protocol", target)
    for name in [name for name in main.os.environ if name.startswith("VAURIEN_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def fails(capsys):
    """Run the program with arguments that are wrong; the one line it says."""

    def call(*arguments):
        assert main.main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.endswith("\n")
        assert err.count("\n") == 1
        return err.rstrip("\n")

    return call


@pytest.fixture
def shown(capsys):
    """Run the program with ``--show-config --json`` and other arguments; what it prints."""

    def call(*arguments):
        assert main.main([*arguments, "--show-config", "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def proxy(line):
    """What the command line *line*, without the name of the program, makes of the proxy."""
    arguments = shlex.split(line)
    found = config.collect(flags.parse(arguments, flags.own(), others=True), {})
    typed = [*flags.own(), *flags.of_plugins(found.catalogue, arguments)]
    return found.configuration(flags.parse(arguments, typed)).proxies[0]


def mix(config):
    return {share.behavior: (share.percent, dict(share.options)) for share in config.policy.mix.shares}


def test_errors_for_http():
    made = proxy("--protocol http --proxy 0.0.0.0:8888 --backend blog:80 --behavior 20:error")
    assert (made.protocol, made.listen, made.backend) == ("http", Address("0.0.0.0", 8888), Address("blog", 80))
    assert mix(made) == {"error": (20, {})}


def test_errors_and_delays_for_smtp():
    made = proxy("--proxy 0.0.0.0:6565 --backend mail:465 --protocol smtp --behavior 5:error,10:delay")
    assert (made.protocol, mix(made)) == ("smtp", {"error": (5, {}), "delay": (10, {})})


def test_a_warmup():
    assert mix(proxy("--protocol smtp --behavior 100:error --behavior-error-warmup 12")) == {
        "error": (100, {"warmup": 12})
    }


def test_every_call_slower():
    made = proxy(
        "--proxy 0.0.0.0:3307 --backend 0.0.0.0:3306 --stay-connected --behavior 100:delay --behavior-delay-sleep 1"
    )
    assert (made.stay_connected, mix(made)) == (True, {"delay": (100, {"sleep": 1.0})})


def test_an_ssh_tunnel():
    made = proxy("--stay-connected --proxy :8887 --backend HOST:22 --protocol-tcp-keep-alive")
    assert (made.listen, made.backend) == (Address("", 8887), Address("HOST", 22))
    assert (made.protocol, made.protocol_options) == ("tcp", {"keep_alive": True})


def test_the_command_line_of_the_page():
    path = f"{__name__}.Pause"
    made = proxy(f"--proxy localhost:8000 --backend google.com:80 --behavior 20:{path} --handler-delay-sleep 2")
    assert mix(made) == {path: (20, {"sleep": 2})}


def test_a_handlers_flag_sets_a_behavior_of_the_name():
    assert mix(proxy("--behavior 20:delay --handler-delay-sleep 2 --no-handler-delay-before")) == {
        "delay": (20, {"sleep": 2.0, "before": False})
    }


@pytest.mark.parametrize("spelling", ["--statsd.sample-rate", "--statsd-sample-rate", "--statsd_sample_rate"])
def test_dots_underscores_and_dashes_are_the_same(shown, spelling):
    assert shown(spelling, "0.5")["statsd"]["sample_rate"] == {"value": 0.5, "source": "--statsd.sample-rate"}


def test_the_last_of_two_flags_wins(shown):
    assert shown("--sync", "--no-sync", "--name=a", "--name", "b")["vaurien"]["name"]["value"] == "b"
    assert shown("--sync", "--no-sync")["vaurien"]["sync"] == {"value": False, "source": "--no-sync"}


def test_an_option_of_the_environment(shown, monkeypatch):
    monkeypatch.setenv("VAURIEN_BEHAVIOR_DELAY_SLEEP", "2")
    assert shown()["behavior:delay"]["sleep"] == {
        "value": 2.0,
        "unit": "seconds",
        "source": "environment VAURIEN_BEHAVIOR_DELAY_SLEEP",
    }


def test_the_version(capsys):
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"vaurien {__version__}\n"


def test_the_table(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chaos.ini").write_text("[vaurien]\nbehavior = 20:delay, 10:error\n[behavior:delay]\nbefore = no\n")
    assert main.main(["--config", "chaos.ini", "--show-config", "--timeout", "500ms"]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["behavior", "20:delay,10:error", "chaos.ini line 2 [vaurien] behavior"] in lines
    assert ["timeout", "0.5"] in [line[:2] for line in lines]
    assert [line[2].split() for line in lines if line[:1] == ["timeout"]] == [["seconds", "--timeout"]]
    assert ["max_connections", "-", "default"] in lines
    assert ["[behavior:delay]"] in lines
    assert ["before", "false", "chaos.ini line 4 [behavior:delay] before"] in lines
    assert ["warmup", "0", "default"] in lines


@pytest.mark.parametrize("argument", ["--help", "--show-config", "--version"])
def test_a_reader_that_has_gone_is_no_error(argument):
    reader, writer = os.pipe()
    os.close(reader)
    program = [sys.executable, "-m", "vaurien", argument]
    ended = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (main.NOBODY_READS, b"")


def test_spellings_of_the_first_releases_are_taken_each_with_a_line(capsys):
    line = "--local localhost:8000 --distant localhost:9000 --behavior 20:delay,10:error --handlers.delay.sleep 2"
    assert main.main([*line.split(), "--handlers.error.http=1", "--show-config"]) == 0
    out, err = capsys.readouterr()
    shown = {tuple(words[:2]) for words in map(str.split, out.splitlines())}
    assert {("proxy", "localhost:8000"), ("backend", "localhost:9000"), ("protocol", "http"), ("sleep", "2")} <= shown
    said = "vaurien: warning: {} is the spelling of an early release; write {}\n".format
    assert err == (
        said("--local", "--proxy")
        + said("--distant", "--backend")
        + said("--handlers.delay.sleep", "--handler-delay-sleep")
        + said("--handlers.error.http", "--protocol http")
    )


def test_a_warning_does_not_stop_the_run(capsys):
    assert main.main(["--sync", "--show-config"]) == 0
    assert capsys.readouterr().err == (
        "vaurien: warning: --sync: sync has no effect; connections never wait for each other\n"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--proxy nowhere", "option proxy: 'nowhere' (from --proxy) is not valid; expected host:port, [ipv6]:port or "),
        ("--proxy :70000", "option proxy: ':70000' (from --proxy) is not valid; expected a port from 0 to 65535 after"),
        ("--timeout soon", "option timeout: 'soon' (from --timeout) is not valid; expected seconds, zero or more, "),
        ("--behavior 120:error", "behavior: '120:error' (from --behavior) is not valid; expected shares such as"),
        ("--behavior -20:error", "behavior: '-20:error' (from --behavior) is not valid; expected shares such as"),
        ("--behavior 20", "behavior: '20' (from --behavior) is not valid; expected shares such as 20:error"),
        (
            "--proxy :1 --backend :1",
            "option backend: ':1' (from --backend) is not valid; expected another address: connections",
        ),
        ("--behavior 60:error,50:delay", "expected shares of at most 100 in total, these add up to 110"),
        ("--behavior 20:erorr", "unknown behavior or handler 'erorr' (from --behavior); did you mean 'error'?"),
        (
            "--behavior 100:super",
            "a class that registers itself is known once its module is imported: name it as MODULE.CLASS",
        ),
        ("--protocol smpt", "unknown protocol 'smpt' (from --protocol); did you mean 'smtp'?"),
        ("--behaviour 20:error", "unknown option '--behaviour'; did you mean '--behavior'?"),
        ("--behaviour=20:error", "unknown option '--behaviour'; did you mean '--behavior'?"),
        ("--behavior-delay-slep 2", "unknown option '--behavior-delay-slep'; did you mean '--behavior-delay-sleep'?"),
        ("--behavior-dealy-sleep 2", "unknown option '--behavior-dealy-sleep'; did you mean '--behavior-delay-sleep'?"),
        ("--statsd.hots x", "unknown option '--statsd-hots'; did you mean '--statsd.host'?"),
        ("--qqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "; options begin with --, and vaurien --help lists them"),
        ("--proxy", "--proxy has no value; expected one behind it"),
        (
            "--behavior-grumpy-patience 2",
            "expected --behavior-NAME-OPTION, of a behavior that comes with Vaurien or is",
        ),
        ("--stay-connected=maybe", "--stay-connected takes no value; expected --stay-connected or --no-stay-connected"),
        ("proxy", "unknown argument 'proxy'; did you mean '--proxy'?"),
        ("repaly trace.jsonl", "unknown argument 'repaly'; did you mean 'replay'?"),
        ("--sync xyz", "unexpected 'xyz' behind --sync, which takes no value; expected --sync alone"),
        ("--http proxy :1", "unknown argument 'proxy'; did you mean '--proxy'?"),
        *(
            (
                f"--http{between}{value}",
                f"--http takes no value, and has {value!r}; expected --http --http-port 8090, or --api {address}",
            )
            for between in " ="
            for value, address in (("[::1]:8090", "[::1]:8090"), ("8090", "localhost:8090"))
        ),
        ("--http x", "--http takes no value, and has 'x'; expected --http --http-port PORT"),
        ("--http --backend h:1 xyz", "unknown argument 'xyz'; options begin with --, and vaurien --help lists them"),
        ("--sync=3", "--sync takes no value; expected --sync or --no-sync"),
        (
            "--behavior no.such.Thing",
            "'no.such.Thing' (from --behavior) does not import: ModuleNotFoundError: No module",
        ),
        (f"--behavior {__name__}.Nothing", "__call__(self, client_sock, backend_sock, to_backend)"),
        ("--behavior-delay-sleep never", "behavior 'delay' option sleep: 'never' (from --behavior-delay-sleep) is not"),
        ("--protocol-tcp-buffer -1", "protocol 'tcp' option buffer: '-1' (from --protocol-tcp-buffer) is not valid; "),
        ("--config nowhere.ini", "file 'nowhere.ini' (from --config) cannot be read: No such file or directory; exp"),
        ("--json", "option --json: expected --show-config beside it"),
        ("--name \udcff", r"proxy '\udcff': '\udcff' is not valid; expected text in UTF-8"),
        (
            "--http --token-file nowhere",
            "option token_file: 'nowhere' (from --token-file) is not valid; expected a fil",
        ),
        ("--api nowhere", "option api: 'nowhere' (from --api) is not valid; expected host:port, [ipv6]:port or unix:"),
    ],
)
def test_bad_input_is_one_line(fails, line, message):
    said = fails(*line.split())
    assert said.startswith("vaurien: ")
    assert message in said


WORDS = st.one_of(
    st.text("0123456789:.,%-=[]{}$ü \n\0", max_size=12),
    st.sampled_from([spelling for made in flags.own() for spelling in made.opts + made.secondary_opts]),
    st.sampled_from(["20:delay", "--behavior-delay-sleep", "--no-protocol-tcp-keep-alive", "--handler-error-warmup=1"]),
)


@given(arguments=st.lists(WORDS, max_size=6))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_arguments_are_understood_or_refused(arguments, capsys):
    status = main.main(["--show-config", *arguments])
    said = [line for line in capsys.readouterr().err.splitlines() if "warning: " not in line]
    assert (status, len(said)) in [(0, 0), (2, 1)]


def test_a_plugins_own_error_is_one_line_too(fails, tmp_path, monkeypatch):
    (tmp_path / "chaos_two_lines.py").write_text("raise RuntimeError('one\\ntwo')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert fails("--behavior", "chaos_two_lines.Thing") == (
        "vaurien: 'chaos_two_lines.Thing' (from --behavior) does not import: RuntimeError: one two"
    )


def test_help_lists_every_option_once(capsys):
    assert main.main(["--help", "all"]) == 0
    words = capsys.readouterr().out.replace("--[no-]", "--").split()
    for flag in flags.own():
        assert words.count(flag.opts[0]) >= 1
    for spelling in ("--behavior-delay-before", "--behavior-error-warmup", "--protocol-tcp-keep-alive"):
        assert words.count(spelling) == 1


@pytest.mark.parametrize("command", main.COMMANDS)
def test_help_has_a_short_form(capsys, command):
    texts = []
    for flag in ("-h", "--help"):
        assert main.main([command, flag]) == main.main([flag]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert f"or: vaurien {command} " in texts[0]


def test_help_says_in_which_unit_a_number_is(capsys):
    main.main(["--help", "all"])
    words = " ".join(capsys.readouterr().out.split())
    for spelling in (
        "--timeout SECONDS",
        "--behavior-latency-latency MILLISECONDS",
        "--behavior-slicer-delay MICROSECONDS",
        "--behavior-limit-data-bytes BYTES",
        "--backlog NUMBER",
    ):
        assert f" {spelling} " in words


def test_help_lists_the_options_of_a_class_named_by_its_path(capsys):
    assert main.main(["--behavior", f"20:{__name__}.Pause", "--help"]) == 0
    assert "--handler-delay-sleep NUMBER" in capsys.readouterr().out


def test_help_says_what_a_plugin_is_and_what_an_option_means(capsys):
    main.main(["--help", "all"])
    out = capsys.readouterr().out
    assert "\nBehavior delay: Wait\n" in out
    assert "Wait before the request [default: yes]" in " ".join(out.split())
    assert "$ vaurien --backend localhost:8080 --behavior 20:delay" in out


@pytest.mark.parametrize(
    "line", [line for _, line in (*help.EXAMPLES, *help.MORE_EXAMPLES) if "package.module" not in line]
)
def test_the_examples_of_help_can_be_typed(line):
    assert proxy(line.removeprefix("vaurien ").replace("--config chaos.ini ", "")).name == "vaurien"


@pytest.fixture
def broken(monkeypatch):
    """An installed plugin that does not import."""
    point = importlib.metadata.EntryPoint("broken", "no.such:Thing", "vaurien.behaviors")
    monkeypatch.setattr(plugins, "_entry_points", lambda kind: {"broken": point} if kind == "behavior" else {})


def test_help_survives_a_plugin_that_does_not_import(broken, capsys):
    assert main.main(["--help", "behaviors"]) == 0
    assert "delay " in capsys.readouterr().out


def test_advice_survives_a_plugin_that_does_not_import(broken, fails):
    assert fails("--behaviour", "20:delay") == "vaurien: unknown option '--behaviour'; did you mean '--behavior'?"


def test_a_plugin_that_does_not_import_is_told_when_it_is_used(broken, fails):
    assert fails("--behavior", "20:broken") == (
        "vaurien: behavior 'broken', installed as 'no.such:Thing', does not import: "
        "ModuleNotFoundError: No module named 'no'"
    )


def test_the_steps_of_a_schedule_are_shown(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chaos.toml").write_text(
        """
[schedule]
repeat = 2
[[step]]
at = 10
proxy = "vaurien"
remove = "slow"
mix = "20:delay"
[[step]]
add = "latency name=slow latency=100"
"""
    )
    assert main.main(["--config", "chaos.toml", "--show-config"]) == 0
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    place = rows.index("[schedule]")
    assert rows[place : place + 6] == [
        "[schedule]",
        "repeat 2 chaos.toml line 3 [schedule] repeat",
        "length 10 default",
        "",
        "[step]",
        "1 at=0 add='latency name=slow latency=100' chaos.toml line 9 [[step]]",
    ]
    assert rows[place + 6] == "2 at=10 proxy=vaurien remove=slow mix=20:delay chaos.toml line 4 [[step]]"
    assert main.main(["--config", "chaos.toml", "--show-config", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["step"]["2"]["value"] == "at=10 proxy=vaurien remove=slow mix=20:delay"


@pytest.mark.parametrize(
    ("arguments", "option", "value"),
    [
        ("--behavior 20:delay --behavior 10:error", "behavior", ["20:delay", "10:error"]),
        ("--route a=h:1 --route b=h:2,c=h:3", "route", ["a=h:1", "b=h:2", "c=h:3"]),
        ("--backend h:1 --backend h:2", "backend", "h:2"),
    ],
)
def test_a_list_may_be_given_by_several_flags(capsys, arguments, option, value):
    assert main.main([*arguments.split(), "--show-config", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vaurien"][option]["value"] == value


def test_a_forward_proxy_has_defaults_of_its_own(shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chaos.toml").write_text('[vaurien]\nproxy = "localhost:1"\nprotocol = "http2"\n')

    def found(*words):
        settings = shown("forward", *words)["vaurien"]
        return [(settings[name]["value"], settings[name]["source"]) for name in ("proxy", "backend", "protocol")]

    ours = "default of vaurien forward"
    file = "chaos.toml line {} [vaurien] {}".format
    assert found() == [("localhost:3128", ours), ("forward", ours), ("http", ours)]
    of_file = [("localhost:1", file(2, "proxy")), ("forward", ours), ("http2", file(3, "protocol"))]
    assert found("--config", "chaos.toml") == of_file
    typed = found("--config", "chaos.toml", "--listen", ":2", "--protocol", "tcp")
    assert typed == [(":2", "--proxy"), ("forward", ours), ("tcp", "--protocol")]
    monkeypatch.setenv("VAURIEN_PROXY", "localhost:3")
    assert found("--config", "chaos.toml")[0] == ("localhost:3", "environment VAURIEN_PROXY")


TABLES = """\
[[proxy]]
name = "a"
backend = "forward"
listen = "localhost:1"
[[proxy]]
name = "b"
listen = "localhost:2"
"""


def test_a_forward_proxy_may_be_several_of_a_file(shown, tmp_path):
    (tmp_path / "chaos.toml").write_text(TABLES)
    found = shown("forward", "--config", str(tmp_path / "chaos.toml"))
    assert [found[f"proxy {name}"]["backend"]["value"] for name in "ab"] == ["forward"] * 2
    assert [found[f"proxy {name}"]["protocol"]["value"] for name in "ab"] == ["http"] * 2


@pytest.mark.parametrize(
    ("words", "file", "variable", "told"),
    [
        ("--backend h:1", "", "", "'h:1' (from --backend)"),
        ("--config chaos.toml", '[vaurien]\nbackend = "h:1"\n', "", "'h:1' (from chaos.toml line 2 [vaurien] backend)"),
        ("--config chaos.toml", TABLES + 'backend = "h:1"\n', "", "'h:1' (from chaos.toml line 8 [[proxy]] backend)"),
        ("", "", "h:1", "'h:1' (from environment VAURIEN_BACKEND)"),
    ],
)
def test_the_clients_of_a_forward_proxy_name_the_server(capsys, tmp_path, monkeypatch, words, file, variable, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chaos.toml").write_text(file)
    if variable:
        monkeypatch.setenv("VAURIEN_BACKEND", variable)
    assert main.main(["forward", *words.split()]) == 2
    expected = "forward, or forward?ca=FILE: clients of vaurien forward name the server"
    assert capsys.readouterr().err == f"vaurien: option backend: {told} is not valid; expected {expected}\n"


def test_where_several_forward_proxies_listen_is_not_typed(capsys, tmp_path):
    (tmp_path / "chaos.toml").write_text(TABLES)
    assert main.main(["forward", "--config", str(tmp_path / "chaos.toml"), "--listen", ":3"]) == 2
    assert capsys.readouterr().err == "vaurien: --listen: the file has [[proxy]] tables; expected it in one of them\n"


@pytest.mark.parametrize("line", ["check FILES", "mesh FILES", "run FILES -- true"])
def test_one_file_is_enough(capsys, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chaos.toml").write_text("")
    assert main.main(line.replace("FILES", "chaos.toml --config other.toml").split()) in (2, 125)
    told = "option config: 'other.toml' (from --config) is not valid; expected no second file beside 'chaos.toml'"
    assert capsys.readouterr().err == f"vaurien: {told}\n"


def test_a_forward_proxy_takes_what_is_special_of_its_servers(shown):
    for words, backend in ([], "forward"), (["--backend", "forward?ca=test-ca.pem"], "forward?ca=test-ca.pem"):
        assert shown("forward", *words)["vaurien"]["backend"]["value"] == backend
