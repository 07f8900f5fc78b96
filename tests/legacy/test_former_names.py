"""What legacy plugins import, and from where."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

from vaurien import framing, hooks, util
from vaurien.behaviors import Behavior, get_behavior, get_behaviors
from vaurien.errors import OptionError, PluginError
from vaurien.protocols import Protocol, get_protocol, get_protocols


@pytest.mark.parametrize(
    "path",
    [
        "vaurien.behaviors.Behavior",
        "vaurien.behaviors.get_behavior",
        "vaurien.behaviors.get_behaviors",
        "vaurien.behaviors.dummy.Dummy",
        "vaurien.handlers.Handler",
        "vaurien.handlers.base.BaseHandler",
        "vaurien.protocols.Protocol",
        "vaurien.protocols.base.BaseProtocol",
        "vaurien.protocols.tcp.TCP",
        "vaurien.util.chunked",
        "vaurien.util.get_data",
        "vaurien.util.import_string",
        "vaurien.util.parse_address",
        "vaurien.util.start_proxy",
        "vaurien.util.stop_proxy",
    ],
)
def test_the_name_is_there(path):
    module, _, name = path.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


class Legacy:
    name = "mine"

    def on_before_handle(self, protocol, source, dest, to_backend):
        return True

    def _handle(self, source, dest, to_backend):
        return True


class Own(Behavior, frozen=True):
    level: int = 1


class Wire(Protocol, frozen=True):
    level: int = 1


@pytest.mark.parametrize("target", [Legacy, Own])
def test_behaviors_of_both_kinds_register(target):
    assert Behavior.register(target) is target
    name = "mine" if target is Legacy else "own"
    assert get_behavior(name) is target
    assert get_behaviors()[name] is target


@pytest.mark.parametrize("target", [Legacy, Wire])
def test_protocols_of_both_kinds_register(target):
    assert Protocol.register(target) is target
    name = "mine" if target is Legacy else "wire"
    assert get_protocol(name) is target
    assert get_protocols()[name] is target


def test_the_registry_is_the_base_of_other_plugins():
    assert issubclass(Own, hooks.Behavior)
    assert issubclass(Wire, framing.Protocol)
    assert hooks.overridden(Own) == frozenset()
    assert Own(level=2).level == 2


def test_the_built_in_ones_are_no_legacy_plugins():
    assert issubclass(get_behavior("dummy"), hooks.Behavior)
    assert issubclass(get_protocol("tcp"), framing.Protocol)


def test_anything_else_is_refused():
    with pytest.raises(PluginError, match="cannot be registered as a behavior"):
        Behavior.register(object)
    with pytest.raises(PluginError, match="cannot be registered as a protocol"):
        Protocol.register(object)


@pytest.mark.parametrize(("total", "sizes"), [(0, [0]), (3, [3]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])])
def test_chunked_cuts_a_total(total, sizes):
    assert list(util.chunked(total, 4)) == sizes


@pytest.mark.parametrize("name", ["os.path.join", "os.path:join"])
def test_import_string_finds_an_object(name):
    assert util.import_string(name) is os.path.join


def test_import_string_finds_a_module():
    assert util.import_string("os.path") is os.path
    assert util.import_string("os") is os


@pytest.mark.parametrize("name", ["os.absent", "absent_module.name", "not a name"])
def test_import_string_says_what_is_missing_or_keeps_silent(name):
    assert util.import_string(name, silent=True) is None
    with pytest.raises(ImportError, match=f"^'{name}' does not import: "):
        util.import_string(name)


def test_parse_address():
    assert util.parse_address("localhost:80") == ("localhost", 80)
    assert util.parse_address("[::1]:80") == ("::1", 80)
    with pytest.raises(OptionError, match="host:port"):
        util.parse_address("localhost")


def test_importing_behaviors_loads_neither_the_loop_nor_the_blocking_lane():
    program = "import sys, vaurien.behaviors.dummy; print({'asyncio', 'vaurien.legacy.sockets'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
