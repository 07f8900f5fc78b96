from __future__ import annotations

import pytest

from vaurien import plugins
from vaurien.errors import OptionError, PluginError
from vaurien.handlers import Handler
from vaurien.handlers.base import BaseHandler
from vaurien.legacy.instances import ProxyView, instantiate
from vaurien.model import Address, ProxyConfig

OPTIONS = {"sleep": ("Seconds", float, 1), "loud": ("Loud", bool, True, (True, False))}


class Plain:
    name = "plain"
    options = OPTIONS

    def __call__(self, client_sock, backend_sock, to_backend):
        return to_backend


class Based(BaseHandler):
    name = "based"
    options = OPTIONS

    def __call__(self, client_sock, backend_sock, to_backend):
        return self.option("loud")


def config(**changes):
    return ProxyConfig(name="web", listen=Address(port=1), backend=Address("::1", 8888), **changes)


VIEW = ProxyView(config)


def make(target, sources=None, **options):
    plugin = plugins.Plugin(getattr(target, "name", "mine"), "handler", target)
    return instantiate(plugin, options, VIEW, sources)


@pytest.mark.parametrize("target", [Plain, Based])
def test_it_gets_settings_and_the_proxy(target):
    made = make(target, sleep="2.5", extra="as it is")
    assert type(made) is target
    assert made.settings == {"sleep": 2.5, "loud": True, "extra": "as it is"}
    assert made.proxy is VIEW


@pytest.mark.parametrize("target", [Plain, Based])
def test_two_proxies_have_two_instances(target):
    one, two = make(target, sleep=1), make(target, sleep=2)
    one.settings["loud"] = False
    assert (one.settings["sleep"], two.settings["sleep"]) == (1.0, 2.0)
    assert two.settings["loud"] is True
    assert vars(target).get("settings") is None


def test_settings_of_the_class_are_not_written_to():
    class Careless(Plain):
        settings = {"sleep": 7, "own": 1}

    assert make(Careless, loud="no").settings == {"sleep": 7, "own": 1, "loud": False}
    assert Careless.settings == {"sleep": 7, "own": 1}


def test_settings_go_through_update_settings_of_its_own():
    class Strict(Based):
        def update_settings(self, settings):
            settings.pop("sleep", None)
            super().update_settings(settings)

    given = {"sleep": 3}
    assert make(Strict, **given).settings["sleep"] == 1
    assert given == {"sleep": 3}


def test_options_may_be_absent():
    class Bare:
        options = None

        def __call__(self, client_sock, backend_sock, to_backend):
            return True

    assert make(Bare).settings == {}


def test_a_wrong_value_is_named_with_its_source():
    text = r"^handler 'plain' option loud: 'maybe' \(from a flag\) is not valid; expected one of True, False$"
    with pytest.raises(OptionError, match=text):
        make(Plain, {"loud": "a flag"}, loud="maybe")


def test_a_class_that_insists_on_arguments_is_named():
    class Demanding(Plain):
        def __init__(self, needed):
            self.needed = needed

    text = r"^handler 'plain' \(.*Demanding\) cannot be made: TypeError: .*missing 1 required positional argument"
    with pytest.raises(PluginError, match=text):
        make(Demanding)


def test_a_class_that_fails_is_named_with_its_error():
    class Failing(Plain):
        def __init__(self):
            raise ZeroDivisionError("mine")

    with pytest.raises(PluginError, match=r"cannot be made: ZeroDivisionError: mine$") as caught:
        make(Failing)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_function_is_called_as_it_is_and_not_written_to():
    @Handler.register
    def echo(client_sock, backend_sock, to_backend):
        return to_backend

    made = make(echo)
    assert made(None, None, to_backend=True) is True
    assert vars(echo) == {}


def test_the_view_shows_the_configuration_of_this_moment():
    current = config(protocol="redis", timeout=5.0)
    view = ProxyView(lambda: current)
    assert (view.name, view.backend, view.dest) == ("web", "[::1]:8888", ("::1", 8888))
    assert (view.protocol, view.timeout, view.stay_connected) == ("redis", 5.0, False)
    current = config(stay_connected=True)
    assert (view.protocol, view.stay_connected) == ("tcp", True)
