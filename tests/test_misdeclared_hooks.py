"""A behavior whose hooks are declared wrong says so when it is loaded, with the line of its own source."""

from __future__ import annotations

import pytest

from vaurien import plugins
from vaurien.errors import PluginError
from vaurien.hooks import Behavior


class Misspelt(Behavior, frozen=True):
    async def on_requst(self, exchange):
        pass


class NotAsync(Behavior, frozen=True):
    def on_data(self, link, data):
        pass


class TooFew(Behavior, frozen=True):
    async def on_data(self, link):
        pass


class TooMany(Behavior, frozen=True):
    async def on_request(self, exchange, extra):
        pass


class ByKeyword(Behavior, frozen=True):
    async def on_request(self, exchange, *, extra):
        pass


class Inherits(Misspelt, frozen=True):
    pass


class Right(Behavior, frozen=True):
    async def on_request(self, *arguments):
        pass

    async def on_data(self, link, data, more=None, *, other=None):
        pass

    def once(self):
        """Not a hook, and not like one."""

    def on(self):
        """Nor is this."""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Misspelt", r"'on_requst' is no hook; did you mean 'on_request'\?"),
        ("Inherits", r"'on_requst' is no hook; did you mean 'on_request'\?"),
        ("NotAsync", r"'on_data' is not async; expected `async def on_data\(self, link, data\)`"),
        ("TooFew", r"'on_data' takes \(self, link\); expected \(self, link, data\)"),
        ("ByKeyword", r"'on_request' takes \(self, exchange, \*, extra\); expected \(self, exchange\)"),
        ("TooMany", r"'on_request' takes \(self, exchange, extra\); expected \(self, exchange\)"),
    ],
)
def test_it_is_named_with_its_line(name, message):
    with pytest.raises(
        PluginError, match=rf"behavior .*{name}.* cannot be used: .*test_misdeclared_hooks.py line \d+: {message}"
    ):
        plugins.find(f"{__name__}.{name}", "behavior")


def test_what_fits_is_taken():
    assert plugins.find(f"{__name__}.Right", "behavior").target is Right


def test_no_built_in_behavior_is_misdeclared():
    for name in plugins.names("behavior"):
        assert plugins.find(name, "behavior").target
