from __future__ import annotations

import logging

import pytest

from vaurien.behaviors.dummy import Dummy
from vaurien.errors import OptionError
from vaurien.handlers.base import BaseHandler
from vaurien.protocols.base import BaseProtocol
from vaurien.protocols.tcp import TCP

BASES = [Dummy, BaseHandler, BaseProtocol, TCP]


class Plugin(BaseHandler):
    name = "plugin"
    options = {
        "keep": ("Keep it", bool, True),
        "sleep": ("Seconds", float, 1),
        "size": ("Bytes", int, 10, (10, 20)),
        "word": ("A word", str, None),
    }


@pytest.mark.parametrize("base", BASES)
def test_every_base_has_settings_a_proxy_and_a_logger_of_its_own(base):
    settings, proxy = {"key": 1}, object()
    made = base(settings=settings, proxy=proxy)
    made.update_settings({"other": 2})
    assert made.settings == {"key": 1, "other": 2}
    assert settings == {"key": 1}
    assert made.proxy is proxy
    assert base().settings == {}
    assert base().proxy is None
    assert made.logger is logging.getLogger("vaurien")


@pytest.mark.parametrize("word", ["y", "yes", "1", "on", "true", "TRUE", " On ", 1, True])
def test_these_words_are_true(word):
    assert Plugin({"keep": word}).option("keep") is True


@pytest.mark.parametrize("word", ["n", "no", "0", "off", "false", "", 0, False])
def test_these_words_are_false(word):
    assert Plugin({"keep": word}).option("keep") is False


def test_an_option_that_is_not_set_is_its_default():
    plugin = Plugin()
    assert plugin.option("keep") is True
    assert plugin.option("sleep") == 1.0
    assert isinstance(plugin.option("sleep"), float)
    assert plugin.option("size") == 10


def test_an_option_is_converted_to_its_type():
    assert Plugin({"sleep": "0.5"}).option("sleep") == 0.5
    assert Plugin({"size": "20"}).option("size") == 20


def test_a_value_that_does_not_fit_is_named():
    with pytest.raises(OptionError, match=r"^plugin option keep: 'maybe' is not valid; expected true or false$"):
        Plugin({"keep": "maybe"}).option("keep")
    with pytest.raises(OptionError, match=r"^plugin option size: '30' is not valid; expected one of 10, 20$"):
        Plugin({"size": "30"}).option("size")


def test_an_option_that_nobody_declares_is_as_it_was_set():
    assert Plugin({"extra": "5"}).option("extra") == "5"
    with pytest.raises(KeyError, match="absent"):
        Plugin().option("absent")


def test_options_of_the_bases_are_kept():
    class Mine(TCP):
        options = {"port": ("The port", int, 1)}

    assert Mine().option("port") == 1
    assert Mine().option("buffer") == 8124
    assert Mine().option("keep_alive") is True
    assert BaseProtocol().option("keep_alive") is False


@pytest.mark.parametrize("base", BASES)
def test_the_names_that_are_imported_lead_to_the_same_classes(base):
    assert base.__module__.startswith("vaurien.")
    assert callable(base.option)


@pytest.mark.parametrize("hook", ["on_before_handle", "on_between_handle", "on_after_handle"])
def test_the_base_of_behaviors_says_go_on(hook):
    assert getattr(Dummy(), hook)(None, None, None, True) is True
