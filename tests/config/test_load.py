from __future__ import annotations

from typing import Annotated

import pytest

from vaurien import Behavior, Option, Protocol, plugins
from vaurien.config import Given, load
from vaurien.errors import ConfigError, OptionError, PluginError, UnknownName, VaurienError
from vaurien.framing import Turns
from vaurien.model import Address
from vaurien.options import Duration, Size


class Delay(Behavior, frozen=True):
    """Modern."""

    sleep: Annotated[Duration, Option("How long")] = 1.0
    before: bool = True


class Rule(Behavior, frozen=True):
    """Has a rule between its options."""

    low: int = 0
    high: int = 10

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError("low to be at most high")


class Picky(Behavior, frozen=True):
    low: int = 0
    code: str | None = None

    def check(self, protocol):
        if self.code is not None:
            raise OptionError("behavior 'picky' option code", self.code, "no code with tcp")


class Greets(Behavior, frozen=True):
    """Acts before there is an exchange."""

    async def on_connect(self, connection): ...


class Wire(Protocol, frozen=True):
    buffer: Size = 10

    def framer(self):
        return Turns()


class Pause:
    """A handler of the first release."""

    name = "delay"
    options = {"sleep": ("How long", int, 1)}

    def __call__(self, client_sock, backend_sock, to_backend): ...


class Super:
    name = "super"

    def __call__(self, client_sock, backend_sock, to_backend): ...


class Legacy:
    name = "old"
    options = {"inject": ("Into the middle", bool, False)}

    def on_before_handle(self, protocol, source, dest, to_backend): ...


class Required(Behavior, frozen=True):
    sleep: float


class Malformed:
    options = {"sleep": ("How long", int)}

    def __call__(self, client_sock, backend_sock, to_backend): ...


class Infinite:
    options = {"sleep": ("How long", int, 1)}

    def __call__(self, client_sock, backend_sock, to_backend): ...


class Nothing:
    pass


def path(plugin):
    return f"{__name__}.{plugin.__name__}"


@pytest.fixture
def chaos(tmp_path, monkeypatch):
    """Write chaos.ini (or another file) into the current folder and load it."""
    monkeypatch.chdir(tmp_path)

    def read(text, arguments=None, variables=None, name="chaos.ini"):
        (tmp_path / name).write_text(text)
        return load(arguments or {}, variables or {}, Given(name, "--config"))

    return read


def typed(**options):
    return {("vaurien", name): Given(value, f"--{name}") for name, value in options.items()}


def shares(configuration):
    [proxy] = configuration.proxies
    return [(share.percent, share.behavior, dict(share.options)) for share in proxy.policy.mix.shares]


def source(configuration, section, name):
    return next(s.source for s in configuration.settings if (s.section, s.name) == (section, name))


def complaint(error, call, *arguments):
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)


def test_nothing_given():
    configuration = load({}, {"HOME": "/root"})
    [proxy] = configuration.proxies
    assert (proxy.name, proxy.listen, proxy.backend) == (
        "vaurien",
        Address("localhost", 8000),
        Address("localhost", 80),
    )
    assert (proxy.name, proxy.protocol, str(proxy.policy.mix), proxy.timeout) == ("vaurien", "tcp", "100:dummy", 30.0)
    assert (proxy.pool_max_size, proxy.pool_timeout, proxy.backlog, proxy.bufsize) == (100, 30.0, 8192, 8192)
    assert not proxy.stay_connected
    assert (configuration.http.http_host, configuration.http.http_port) == ("localhost", 8080)
    statsd = configuration.statsd
    assert (statsd.enabled, statsd.host, statsd.port, statsd.prefix) == (False, "localhost", 8125, "vaurien")
    assert configuration.warnings == ()


def test_a_seed_is_drawn_unless_it_is_given(chaos):
    first, second = load({}, {}), load({}, {})
    assert first.proxies[0].seed != second.proxies[0].seed
    assert source(first, "vaurien", "seed") == "drawn at random"
    assert chaos("[vaurien]\nseed = 7\n", name="chaos.toml").proxies[0].seed == "7"


def test_each_source_overrides_the_one_before(chaos):
    file = "[vaurien]\nname = file\nproxy = :1\nbackend = :1\n"
    variables = {"VAURIEN_PROXY": ":2", "VAURIEN_BACKEND": ":2"}
    configuration = chaos(file, typed(backend=":3"), variables)
    [proxy] = configuration.proxies
    assert (proxy.name, proxy.listen.port, proxy.backend.port, proxy.timeout) == ("file", 2, 3, 30)
    assert [source(configuration, "vaurien", name) for name in ("timeout", "name", "proxy", "backend")] == [
        "default",
        "chaos.ini line 2 [vaurien] name",
        "environment VAURIEN_PROXY",
        "--backend",
    ]


def test_the_environment_may_name_the_file(tmp_path):
    (tmp_path / "a.ini").write_text("[vaurien]\nname = x\n")
    assert load({}, {"VAURIEN_CONFIG": str(tmp_path / "a.ini")}).proxies[0].name == "x"


def test_a_mix_may_have_a_line_for_each_share(chaos):
    plugins.register("behavior", Delay)
    expected = [(20, "delay", {}), (10, "dummy", {})]
    assert shares(chaos("[vaurien]\nbehavior =\n  20:delay\n  10:dummy\n")) == expected
    assert shares(chaos("[vaurien]\nbehavior = 20:delay, 10:dummy\n")) == expected
    assert shares(chaos('[vaurien]\nbehavior = ["20:delay", "10:dummy"]\n', name="chaos.toml")) == expected


def test_an_empty_mix_leaves_everything_undisturbed():
    assert shares(load(typed(behavior=""), {})) == []


def test_statsd_has_its_section_and_its_long_names(chaos):
    own = chaos("[statsd]\nenabled = yes\nsample-rate = 0.5\n").statsd
    long = chaos("[vaurien]\nstatsd_enabled = yes\nstatsd.sample-rate = 0.5\n").statsd
    assert own == long
    assert (own.enabled, own.sample_rate) == (True, 0.5)


def test_options_of_a_behavior_reach_its_share(chaos):
    plugins.register("behavior", Delay)
    configuration = chaos("[vaurien]\nbehavior = 20:delay\n[behavior:delay]\nsleep = 500ms\nbefore = no\n")
    assert shares(configuration) == [(20, "delay", {"sleep": 0.5, "before": False})]
    assert source(configuration, "behavior:delay", "sleep") == "chaos.ini line 4 [behavior:delay] sleep"


def test_options_of_a_behavior_that_is_not_in_use_are_kept(chaos):
    plugins.register("behavior", Delay)
    assert chaos("[behavior:delay]\nsleep = 2\n").plugins["behavior:delay"] == {"sleep": 2.0}


def test_a_behavior_may_be_called_a_handler(chaos):
    plugins.register("behavior", Delay)
    configuration = chaos("[vaurien]\nbehavior = 20:delay\n[handler:delay]\nsleep = 2\n")
    assert shares(configuration) == [(20, "delay", {"sleep": 2.0})]


@pytest.mark.parametrize("word", ["handler", "behavior"])
def test_a_section_that_lacks_its_class_is_named(chaos, word):
    assert complaint(ConfigError, chaos, f"[vaurien]\nbehavior = 20:mine\n[{word}:mine]\nsleep = 2\n") == (
        f"chaos.ini line 3: [{word}:mine] has no callable; expected callable = MODULE.CLASS, "
        "because no installed behavior or handler is called 'mine'"
    )


def test_options_of_a_protocol_reach_it(chaos):
    configuration = chaos("[protocol:tcp]\nkeep_alive = false\nreuse-socket = true\n")
    assert configuration.proxies[0].protocol_options == {"keep_alive": False, "reuse_socket": True}


def test_the_file_of_the_page(chaos):
    configuration = chaos(f"[vaurien]\nbehavior = 20:foobar\n\n[handler:foobar]\ncallable = {path(Super)}\nfoo=bar")
    assert shares(configuration) == [(20, "foobar", {"foo": "bar"})]
    found = plugins.find("foobar", "behavior", "handler")
    assert (found.target, found.kind) == (Super, "handler")
    assert configuration.warnings == (
        (
            "unknown key 'foo' of [handler:foobar] (from chaos.ini line 6 [handler:foobar] foo); none is known; "
            "passed on in the handler's settings as it is"
        ),
    )


def test_keys_that_a_handler_does_not_declare_are_typed_by_their_looks(chaos):
    file = f"[vaurien]\nbehavior = 20:p\n[handler:p]\ncallable = {path(Pause)}\nslep = 3\nsleep = 2\nl =\n  a\n  1\n"
    configuration = chaos(file)
    assert shares(configuration) == [(20, "p", {"slep": 3, "sleep": 2, "l": ["a", 1]})]
    assert (
        "unknown key 'slep' of [handler:p] (from chaos.ini line 5 [handler:p] slep); did you mean 'sleep'?"
        in (configuration.warnings[0])
    )


def test_a_class_by_its_path_is_called_by_its_own_name():
    arguments = {**typed(behavior=f"20:{path(Pause)}"), ("handler:delay", "sleep"): Given("2", "--handler-delay-sleep")}
    assert shares(load(arguments, {})) == [(20, path(Pause), {"sleep": 2})]


def test_a_class_of_the_file_has_both_names(chaos):
    file = f"[vaurien]\nbehavior = 20:mine\n[behavior:mine]\ncallable = {path(Delay)}\n[handler:delay]\nsleep = 2\n"
    assert shares(chaos(file)) == [(20, "mine", {"sleep": 2.0})]


def test_what_the_mix_calls_by_a_name_has_the_name():
    plugins.register("behavior", Delay)
    arguments = typed(behavior=f"10:{path(Pause)},20:delay")
    for section in ("behavior:delay", "handler:delay"):
        arguments[section, "sleep"] = Given(len(section), section)
    assert shares(load(arguments, {})) == [(10, path(Pause), {"sleep": 13}), (20, "delay", {"sleep": 14.0})]


def test_a_callable_wins_over_a_built_in_of_the_name(chaos):
    plugins.register("behavior", Delay)
    configuration = chaos(f"[vaurien]\nbehavior = 20:delay\n[handler:delay]\ncallable = {path(Pause)}\nsleep = 4\n")
    [(_, name, options)] = shares(configuration)
    assert plugins.find(name, "behavior", "handler").target is Pause
    assert options == {"sleep": 4}


def test_the_two_words_may_have_a_callable_each(chaos):
    file = (
        f"[vaurien]\nbehavior = 20:x\n[handler:x]\ncallable = {path(Pause)}\n[behavior:x]\ncallable = {path(Delay)}\n"
    )
    [(_, name, _)] = shares(chaos(file))
    assert plugins.find(name, "behavior", "handler").target is Delay


def test_a_legacy_behavior_by_its_path():
    arguments = {**typed(behavior=path(Legacy)), ("behavior:old", "inject"): Given("on", "--behavior-old-inject")}
    assert shares(load(arguments, {})) == [(100, path(Legacy), {"inject": True})]


@pytest.mark.parametrize("word", ["behavior", "handler"])
def test_a_section_may_be_called_by_the_path_in_the_mix(chaos, word):
    file = f"[vaurien]\nbehavior = 20:{path(Delay)}\n[{word}:{path(Delay)}]\nsleep = 2\n"
    assert shares(chaos(file)) == [(20, path(Delay), {"sleep": 2.0})]


def test_a_protocol_of_ones_own(chaos):
    file = f"[vaurien]\nprotocol = mine\n[protocol:mine]\ncallable = {path(Wire)}\nbuffer = 1kB\n"
    [proxy] = chaos(file).proxies
    assert (proxy.protocol, proxy.protocol_options) == ("mine", {"buffer": 1000})
    assert plugins.find("mine", "protocol").target is Wire


def test_a_behavior_that_a_mix_never_runs_is_told():
    [warning] = load(typed(behavior=f"20:{path(Greets)}, 20:{path(Delay)}"), {}).warnings
    assert warning == (
        f"--behavior: {path(Greets)} acts when a connection begins (on_connect), "
        "and the mix is drawn for each exchange: it has no effect here"
    )


@pytest.mark.parametrize(("settings", "told"), [({"protocol": "http"}, True), ({"tls": ("auto",)}, True), ({}, False)])
def test_a_fault_of_records_that_a_mix_never_runs_is_told(settings, told):
    warnings = load(typed(behavior="20:tls_close", **settings), {}).warnings
    text = "--behavior: tls_close acts on records of TLS, and the mix is drawn for each exchange inside; "
    assert warnings == ((text + "expected --fault tls_close",) if told else ())


def test_a_count_of_connections_is_told_where_exchanges_may_be_meant():
    told = load(typed(fault=("error count=1", "delay name=slow count=2 scope=exchange", "reset_peer count=3")), {})
    [warning] = told.warnings
    assert warning == (
        "fault 'error': count=1 counts connections, each hit in all its exchanges; scope=exchange counts exchanges"
    )


def test_sync_is_accepted_and_said_to_do_nothing():
    assert load(typed(sync="yes"), {}).warnings == (
        "--sync: sync has no effect; connections never wait for each other",
    )


def test_settings_of_tls_without_tls_are_said_to_do_nothing():
    told = load(typed(tls_min_version="1.3", tls_alpn=("h2",), starttls="no"), {})
    assert told.warnings == (
        "--tls_min_version: tls_min_version has no effect without tls, which says which certificates there are",
        "--tls_alpn: tls_alpn has no effect without tls, which says which certificates there are",
    )
    assert load(typed(tls=("a.pem",), tls_min_version="1.3"), {}).warnings == ()


def test_a_misspelled_variable_is_told():
    warnings = load({}, {"VAURIEN_BEHAVIOUR": "20:x", "VAURIEN_SERVICE_HOST": "10.0.0.1"}).warnings
    assert warnings == ("environment VAURIEN_BEHAVIOUR is not known and has no effect; did you mean VAURIEN_BEHAVIOR?",)


def test_a_misspelled_variable_of_a_plugin_is_told():
    assert load({}, {"VAURIEN_PROTOCOL_TCP_KEEPALIVE": "0"}).warnings == (
        (
            "environment VAURIEN_PROTOCOL_TCP_KEEPALIVE is not known and has no effect; "
            "did you mean VAURIEN_PROTOCOL_TCP_KEEP_ALIVE?"
        ),
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("proxy", "localhost", "option proxy: 'localhost' (from --proxy) is not valid; expected host:port, "),
        ("backend", "localhost", "option backend: 'localhost' (from --backend) is not valid; expected host:port, "),
        ("proxy", ":70000", "option proxy: ':70000' (from --proxy) is not valid; expected a port from 0 to 65535"),
        ("backend", ":0", "option backend: ':0' (from --backend) is not valid; expected a port from 1 to 65535"),
        ("proxy", "a..b:1", "option proxy: 'a..b:1' (from --proxy) is not valid; expected a host with 1 to 63 "),
        ("backend", "x y:1", "(from --backend) is not valid; expected an address without control characters or spaces"),
        ("backend", f"{'a' * 64}:1", "(from --backend) is not valid; expected a host with 1 to 63 characters between"),
        ("timeout", "soon", "option timeout: 'soon' (from --timeout) is not valid; expected seconds, zero or more"),
        ("backlog", "-1", "option backlog: '-1' (from --backlog) is not valid; expected a whole number from 1 to 2"),
        ("http_port", "x", "option http_port: 'x' (from --http_port) is not valid; expected a whole number from 0 to"),
        ("stay_connected", "2", "option stay_connected: '2' (from --stay_connected) is not valid; expected true or"),
        ("log_format", "xml", "option log_format: 'xml' (from --log_format) is not valid; expected one of text, json"),
        ("behavior", "120:dummy", "behavior: '120:dummy' (from --behavior) is not valid; expected shares such as"),
        ("behavior", "-5:dummy", "behavior: '-5:dummy' (from --behavior) is not valid; expected shares such as"),
        ("behavior", "60:dummy,50:dummy", "expected shares of at most 100 in total, these add up to 110"),
        ("behavior", "20:dumy", "unknown behavior or handler 'dumy' (from --behavior); did you mean 'dummy'?"),
        ("protocol", "tpc", "unknown protocol 'tpc' (from --protocol); did you mean 'tcp'?"),
        ("behavior", "no.such.Thing", "does not import: ModuleNotFoundError: No module named 'no'"),
        ("behavior", "vaurien.Nothing", "'vaurien.Nothing' (from --behavior): module 'vaurien' has no 'Nothing'"),
        (
            "behavior",
            path(Nothing),
            (
                "(from --behavior) cannot be used as a behavior or handler: it must subclass vaurien.Behavior, or have "
                "on_before_handle, on_between_handle or on_after_handle; or it must be a class with "
                "__call__(self, client_sock, backend_sock, to_backend)"
            ),
        ),
        ("protocol", path(Delay), "(from --protocol) cannot be used as a protocol: it must subclass vaurien.Protocol"),
    ],
)
def test_a_value_that_cannot_be_used(option, value, message):
    assert message in complaint(VaurienError, load, typed(**{option: value}), {})


def test_a_behavior_that_refuses_the_protocol(chaos):
    plugins.register("behavior", Picky)
    file = "[vaurien]\nbehavior = 20:picky,10:picky\n[behavior:picky]\nlow = 1\ncode = 500\n"
    assert complaint(OptionError, chaos, file) == (
        "behavior 'picky' option code: '500' (from chaos.ini line 5 [behavior:picky] code) is not valid; "
        "expected no code with tcp"
    )


def test_a_behavior_that_is_not_in_use_may_refuse_the_protocol(chaos):
    plugins.register("behavior", Picky)
    assert chaos("[behavior:picky]\ncode = 500\n").plugins["behavior:picky"] == {"code": "500"}


def test_an_option_without_a_default():
    assert complaint(PluginError, load, typed(behavior=path(Required)), {}) == (
        f"behavior '{path(Required)}': its option 'sleep' has no default; every option needs one"
    )


def test_options_that_are_not_declared_as_they_must_be():
    assert f"handler '{path(Malformed)}': its options cannot be read: TypeError: " in complaint(
        PluginError, load, typed(behavior=path(Malformed)), {}
    )


def test_a_number_that_the_declared_type_cannot_hold(chaos):
    file = f"[handler.x]\ncallable = '{path(Infinite)}'\nsleep = inf\n"
    with pytest.raises(OptionError) as caught:
        chaos(file, name="chaos.toml")
    assert str(caught.value) == (
        "handler 'x' option sleep: inf (from chaos.toml line 3 [handler:x] sleep) is not valid; expected a whole number"
    )


@pytest.mark.parametrize(
    ("file", "error", "message"),
    [
        (
            "[vaurien]\nprxy = :1",
            UnknownName,
            "unknown key 'prxy' of [vaurien] (from chaos.ini line 2 [vaurien] prxy); did you",
        ),
        (
            "[statsd]\nhots = x",
            UnknownName,
            "unknown key 'hots' of [statsd] (from chaos.ini line 2 [statsd] hots); did you",
        ),
        ("\n[vaurient]", UnknownName, "section 'vaurient' (from chaos.ini line 2); did you mean 'vaurien'?"),
        ("[protocol:tpc]", UnknownName, "section 'protocol:tpc' (from chaos.ini line 1); did you mean 'protocol:tcp'?"),
        ("[behavior:]", UnknownName, "section 'behavior:' (from chaos.ini line 1); did you"),
        (
            "[protocol:tcp]\nkeepalive = 1",
            UnknownName,
            (
                "unknown key 'keepalive' of [protocol:tcp] (from chaos.ini line 2 [protocol:tcp] keepalive); did "
                "you mean 'keep_alive'?"
            ),
        ),
        (
            "[protocol:tcp]\nbuffer = big",
            OptionError,
            (
                "protocol 'tcp' option buffer: 'big' (from chaos.ini line 2 [protocol:tcp] buffer) is not valid; "
                "expected a number of bytes"
            ),
        ),
        (
            "[handler:x]\ncallable = nowhere.Thing",
            PluginError,
            "'nowhere.Thing' (from chaos.ini line 2 [handler:x] callable) does not import: ModuleNotFoundError",
        ),
        ("[handler:x]\nsleep = 1", UnknownName, "section 'handler:x' (from chaos.ini line 1)"),
        ("what", ConfigError, "chaos.ini line 1: 'what' is not valid"),
    ],
)
def test_a_file_that_cannot_be_used(chaos, file, error, message):
    assert message in complaint(error, chaos, file)


def test_a_misspelled_key_of_a_behavior_by_callable_is_an_error(chaos):
    file = f"[behavior:x]\ncallable = {path(Delay)}\nslep = 1\n"
    assert "did you mean 'sleep'?" in complaint(UnknownName, chaos, file)


def test_a_rule_between_options(chaos):
    plugins.register("behavior", Rule)
    assert complaint(OptionError, chaos, "[behavior:rule]\nlow = 11\n") == (
        "behavior 'rule': {'low': 11} (from chaos.ini line 2 [behavior:rule] low) is not valid; "
        "expected low to be at most high"
    )
