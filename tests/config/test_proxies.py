"""``[[proxy]]`` tables: several proxies in one TOML file."""

from __future__ import annotations

import msgspec
import pytest

from vaurien import config
from vaurien.config import Given
from vaurien.errors import ConfigError, OptionError, UnknownName
from vaurien.model import Address, Fault, Mix, ProxyConfig, Stream, Window

TWO = """
[vaurien]
timeout = "5s"
seed = 7

[behavior.delay]
sleep = 2

[[proxy]]
name = "redis"
listen = "localhost:26379"
backend = "${HOST}:6379"
protocol = "redis"
mix = "10:delay"

[[proxy.fault]]
behavior = "latency"
stream = "downstream"
latency = "1.5s"
probability = 0.5

[[proxy.fault]]
name = "cut"
behavior = "bandwidth"

[[proxy]]
name = "web"
listen = ":8001"
backend = "localhost:80"
timeout = 1
enabled = false
"""


@pytest.fixture
def load(tmp_path):
    def load(text, arguments=(), **variables):
        path = tmp_path / "chaos.toml"
        path.write_text(text)
        return config.load(dict(arguments), variables, Given(str(path), "--config"))

    return load


def test_each_table_is_a_proxy(load):
    redis, web = load(TWO, HOST="db").proxies
    assert (redis.name, redis.listen, redis.backend) == ("redis", Address("localhost", 26379), Address("db", 6379))
    assert (redis.protocol, redis.timeout, redis.seed, redis.enabled) == ("redis", 5.0, "7", True)
    [share] = redis.policy.mix.shares
    assert (share.percent, share.behavior, dict(share.options)) == (10, "delay", {"sleep": 2.0})
    assert redis.policy.faults == (
        Fault("latency", "latency", {"latency": 1500.0}, Stream.DOWNSTREAM, 0.5),
        Fault("cut", "bandwidth"),
    )
    assert (web.protocol, web.timeout, web.seed, web.enabled) == ("tcp", 1.0, "7", False)
    assert (web.policy.mix, web.policy.faults) == (Mix(), ())


def test_the_command_line_and_the_environment_come_first(load):
    found = load(TWO, {("vaurien", "timeout"): Given("9", "--timeout")}, HOST="db", VAURIEN_PROTOCOL="http")
    assert [(proxy.timeout, proxy.protocol) for proxy in found.proxies] == [(9.0, "http")] * 2


def test_a_seed_that_is_drawn_is_that_of_all(load):
    first, second = load(TWO.replace("seed = 7", ""), HOST="db").proxies
    assert first.seed == second.seed


@pytest.mark.parametrize("option", ["proxy", "backend", "name"])
def test_what_is_of_one_proxy_stands_in_its_table(load, option):
    with pytest.raises(ConfigError, match=rf"--{option}: the file has \[\[proxy\]\] tables; expected it in one"):
        load(TWO, {("vaurien", option): Given("x:1", f"--{option}")}, HOST="db")


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("[[proxy]]", ConfigError, r"chaos.toml line 32 \[\[proxy\]\]: it has no name"),
        ('[[proxy]]\nname = "web"', ConfigError, "the name 'web' is that of another proxy; expected one of its own"),
        ('[[proxy]]\nname = "x"\nlistn = 1', UnknownName, "'listn'.*did you mean 'listen'"),
        ('[[proxy]]\nname = "x"\nproxy = ":1"', UnknownName, "unknown key 'proxy' of"),
        ('[[proxy]]\nname = "x"\ngrace = 1', UnknownName, "unknown key 'grace' of"),
        (
            '[[proxy]]\nname = "x"\nlisten = "nope"',
            OptionError,
            r"'nope' \(from .*chaos.toml line 34 \[\[proxy\]\] listen\)",
        ),
        ('[[proxy]]\nname = "x"\nenabled = 2', OptionError, "enabled: 2 .*expected true or false"),
        ('[[proxy]]\nname = "x"\nmix = "nope"', UnknownName, "behavior or handler 'nope'"),
        (
            '[[proxy]]\nname = "x"\nfault = 3',
            OptionError,
            r"fault: 3 \(from .*line 34 \[\[proxy\]\] fault\) .* text such as",
        ),
        ('[[proxy]]\nname = "x"\nfault = "latncy"', UnknownName, r"'latncy' \(from .*line 34 \[\[proxy\]\] fault\)"),
        ("[[proxy.fault]]", OptionError, r"option behavior: None \(from .*toml line 32 \[\[proxy.fault\]\]\)"),
        ('[[proxy.fault]]\nbehavior = "nope"', UnknownName, r"'nope' \(from .* line 33 \[\[proxy.fault\]\] behavior\)"),
        (
            '[[proxy.fault]]\nbehavior = "latency"\nlatncy = 1',
            UnknownName,
            "'latncy' .* line 34 .*did you mean 'latency'",
        ),
        ('[[proxy.fault]]\nbehavior = "latency"\nlatency = -1', OptionError, "option latency: -1 .* line 34 "),
        ('[[proxy.fault]]\nbehavior = "latency"\nprobability = 2', OptionError, "option probability: 2 .* line 34"),
        ('[[proxy.fault]]\nbehavior = "latency"\nevery = 0', OptionError, "option every: 0 .* line 34"),
        (
            '[[proxy.fault]]\nbehavior = "noop"\n[[proxy.fault]]\nbehavior = "noop"',
            OptionError,
            r"another name than the fault from .* line 32 \[\[proxy.fault\]\] has",
        ),
    ],
)
def test_what_is_wrong_is_named(load, line, error, message):
    with pytest.raises(error, match=message):
        load(TWO + line, HOST="db")


def test_proxies_of_an_extended_file(load, tmp_path):
    (tmp_path / "base.toml").write_text(TWO)
    extends = '[DEFAULT]\nextends = "base.toml"\n'
    assert [proxy.name for proxy in load(extends, HOST="db").proxies] == ["redis", "web"]
    own = '[[proxy]]\nname = "mine"\n'
    assert [proxy.name for proxy in load(extends + own, HOST="db").proxies] == ["mine"]


def test_each_proxy_has_settings_of_its_own(load):
    found = load(TWO, HOST="db")
    assert found.source("proxy redis", "backend").endswith("chaos.toml line 12 [[proxy]] backend")
    assert found.source("proxy web", "timeout").endswith("chaos.toml line 30 [[proxy]] timeout")
    assert found.source("proxy redis", "timeout").endswith("chaos.toml line 3 [vaurien] timeout")
    assert found.source("proxy web", "bufsize") == "default"


def test_a_fault_of_a_proxy_is_given_as_any_other(load):
    more = """
[[proxy]]
name = "x"
fault = ["latency name=a latency=1 for=2", {behavior = "delay", name = "b"}]
[[proxy]]
name = "y"
listen = "localhost:8001"
[[proxy.fault]]
behavior = "delay"
skip = 3
match = {path = "prefix:/slow"}
"""
    found = load(TWO + more, HOST="db")
    inline, tables = found.proxies[2:]
    assert inline.policy.faults == (
        Fault("a", "latency", {"latency": 1.0}, window=Window(seconds=2.0)),
        Fault("b", "delay", {"sleep": 2.0}),  # of [behavior.delay]
    )
    assert tables.policy.faults == (
        Fault("delay", "delay", {"sleep": 2.0}, window=Window(skip=3), match={"path": "prefix:/slow"}),
    )
    assert found.source("proxy redis fault", "cut").endswith("chaos.toml line 22 [[proxy.fault]]")
    assert found.source("proxy x fault", "a").endswith("chaos.toml line 35 [[proxy]] fault")
    assert found.source("proxy y fault", "delay").endswith("chaos.toml line 39 [[proxy.fault]]")


def test_what_a_file_says_is_what_comes_back_as_json(tmp_path):
    """Or the same proxy would be another one after a restart, and its fault begin anew."""
    file = tmp_path / "chaos.toml"
    file.write_text(
        '[[proxy]]\nname = "p"\nprotocol = "http"\n[[proxy.fault]]\nbehavior = "http_headers"\nset = ["A: b"]'
    )
    [proxy] = config.load({}, {}, Given(str(file), "--config")).proxies
    assert proxy.policy.faults[0].options == {"set": ["A: b"]}
    assert msgspec.json.decode(msgspec.json.encode(proxy), type=ProxyConfig) == proxy
