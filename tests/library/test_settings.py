from __future__ import annotations

import types

import pytest

import vaurien
from vaurien.config import declared
from vaurien.errors import OptionError, UnknownName
from vaurien.library.settings import APART, SPELLINGS, Settings, configure
from vaurien.model import Address, Window


def test_every_option_of_the_command_line_is_a_keyword():
    """But for the grace, which `close` is told."""
    groups = (declared.TrafficSection, declared.FaultsSection, declared.Connections, declared.Tls)
    options = {name for group in groups for name in group.__struct_fields__} - {"grace", "backend"}
    assert {SPELLINGS.get(name, name) for name in Settings.__annotations__.keys() - APART} == options


def test_what_is_not_said():
    [config] = configure("localhost:1", {}).proxies
    assert (config.listen, config.backend) == (Address("127.0.0.1"), Address("localhost", 1))
    assert (config.name, config.protocol, config.policy.mix.shares) == ("vaurien", "tcp", ())
    assert config.seed.isdigit()


def test_all_that_can_be_said():
    [config] = configure(
        ("::1", 5432, 0, 0),
        {
            "listen": Address("localhost", 7),
            "protocol": "redis",
            "protocol_options": {"keep_alive": "no"},
            "mix": "20:delay",
            "mix_options": {"delay": {"sleep": "500ms"}},
            "faults": ["latency latency=1s", {"behavior": "hang", "probability": 0.5, "match": {"command": "GET"}}],
            "seed": 7,
            "name": "cache",
            "timeout": "2s",
            "stay_connected": True,
            "max_connections": None,
        },
    ).proxies
    assert (str(config.listen), str(config.backend)) == ("localhost:7", "[::1]:5432")
    assert (config.protocol, config.protocol_options) == ("redis", {"keep_alive": False})
    assert config.policy.mix.shares[0].options == {"sleep": 0.5}
    assert [fault.options for fault in config.policy.faults] == [{"latency": 1000.0}, {}]
    assert config.policy.faults[1].match == {"command": "GET"}
    assert (config.seed, config.name, config.timeout, config.stay_connected) == ("7", "cache", 2.0, True)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"protocl": "http"}, UnknownName, "unknown argument 'protocl' of Proxy; did you mean 'protocol'?"),
        ({"protocol": "reds"}, UnknownName, "unknown protocol 'reds' (from keyword protocol); did you mean 'redis'?"),
        (
            {"protocol": "redis", "protocol_options": {"keep_aliv": 1}},
            UnknownName,
            "unknown option 'keep_aliv' of protocol 'redis' (from keyword protocol_options keep_aliv); did you mean",
        ),
        (
            {"mix": "5:eror"},
            UnknownName,
            "unknown behavior or handler 'eror' (from keyword mix); did you mean 'error'?",
        ),
        ({"faults": ["latncy"]}, UnknownName, "'latncy' (from keyword faults); did you mean 'latency'?"),
        ({"preset": "3h"}, UnknownName, "unknown preset '3h' (from keyword preset); did you mean '3g'?"),
        ({"listen": 5}, OptionError, "option listen: 5 (from keyword listen) is not valid; expected host:port"),
        ({"timeout": "x"}, OptionError, "option timeout: 'x' (from keyword timeout) is not valid; expected seconds"),
    ],
)
def test_what_is_wrong(settings, error, text):
    with pytest.raises(error) as raised:
        vaurien.Proxy("localhost:1", **settings)
    assert text in str(raised.value)


def test_a_place_is_whatever_has_a_host_and_a_port():
    server = types.SimpleNamespace(host="::1", port=5)
    assert str(configure(server, {}).proxies[0].backend) == "[::1]:5"
    with pytest.raises(
        OptionError, match=r"expected host:port, \[ipv6\]:port, unix:/path, or a pair of host and port$"
    ):
        configure(types.SimpleNamespace(host="::1", port="5"), {})


def test_what_is_wrong_with_the_backend():
    with pytest.raises(OptionError, match=r"^option backend: 'redis' \(from keyword backend\) is not valid"):
        vaurien.AsyncProxy("redis")
    with pytest.raises(UnknownName, match="unknown argument 'protocl' of AsyncProxy"):
        vaurien.AsyncProxy("localhost:1", protocl="tcp")


def test_a_mix_that_does_nothing_is_told_where_it_was_written():
    with pytest.warns(UserWarning, match="it has no effect here") as told:
        vaurien.Proxy("localhost:1", mix="100:slow_accept")
    assert told[0].filename == __file__
    with vaurien.Proxy("localhost:1") as proxy, pytest.warns(UserWarning, match="it has no effect here") as told:
        proxy.mix("100:slow_accept")
    assert told[0].filename == __file__


class TestFaults:
    def read(self, *words, **fields):
        with vaurien.Proxy("localhost:1", protocol="http") as proxy:
            return proxy.fault(*words, **fields).value

    def test_keywords_are_the_keys_of_a_fault(self):
        window = {"skip": 1, "every": 2, "count": 3, "for": "2s"}
        match = {"path": "/a"}
        fields = {"scope": "exchange", "match": match, "window": window, "probability": "0.5", "ttl": "1m"}
        fault = self.read("error", name="broken", **fields)
        assert (fault.name, fault.scope, fault.match, fault.ttl) == ("broken", "exchange", {"path": "/a"}, 60.0)
        assert fault.window == Window(1, 3, 2, 2.0)

    def test_a_window_is_a_window(self):
        assert self.read("latency", window=Window(skip=3, seconds=5)).window == Window(skip=3, seconds=5.0)

    def test_all_of_it_as_text(self):
        text = "latency latency=1s stream=upstream match.client=127.0.0.1 skip=2"
        match = {"client": "127.0.0.1"}
        given = self.read("latency", latency="1s", stream="upstream", match=match, window={"skip": 2})
        assert self.read(text) == given

    def test_an_option_apart(self):
        assert self.read("latency", options={"latency": 5}).options == {"latency": 5.0}

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            ({"window": {"coun": 1}}, "unknown key 'coun' of window; did you mean 'count'?"),
            ({"name": ""}, "fault 'latency' option name: '' is not valid; expected text, one character or more"),
            ({"window": 3}, "fault option window: 3 is not valid; expected a table such as"),
            (
                {"stream": "up"},
                "fault 'latency' option stream: 'up' is not valid; expected one of upstream, downstream",
            ),
            ({"probability": 2}, "fault 'latency' option probability: 2 is not valid; expected a number from 0 to 1"),
        ],
    )
    def test_what_is_wrong(self, fields, text):
        with pytest.raises((UnknownName, OptionError)) as raised:
            self.read("latency", **fields)
        assert str(raised.value).startswith(text)

    @pytest.mark.parametrize("behavior", [5, dict, None])
    def test_a_behavior_is_text(self, behavior):
        with pytest.raises(OptionError, match="is not valid; expected the name of a behavior, or the import path of a"):
            self.read(behavior)


@pytest.mark.parametrize("kind", [vaurien.Proxy, vaurien.AsyncProxy])
def test_help_names_every_setting(kind):
    assert {name for name in Settings.__annotations__ if f"*{name}*" not in kind.__doc__} == set()


@pytest.mark.parametrize("kind", [vaurien.Proxy, vaurien.AsyncProxy])
def test_a_mistyped_backend_is_named(kind):
    with pytest.raises(UnknownName, match=f"^unknown argument 'bakend' of {kind.__name__}; did you mean 'backend'"):
        kind(bakend="localhost:1")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'backend'"):
        kind(protocol="http")
