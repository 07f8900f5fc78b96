"""What `plugins` says about code of others that fails while it is imported."""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
import tempfile
import types

import pytest

from vaurien import plugins
from vaurien.errors import PluginError


def complaint(name):
    with pytest.raises(PluginError) as caught:
        plugins.find(name, "behavior", "handler", source="--behavior")
    return str(caught.value)


def test_an_attribute_error_inside_a_module_is_told_as_such(tmp_path, monkeypatch):
    (tmp_path / "chaos_attribute_error.py").write_text("import os\nos.nothing_of_the_kind\nclass Thing: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert complaint("chaos_attribute_error.Thing") == (
        "'chaos_attribute_error.Thing' (from --behavior) does not import: "
        "AttributeError: module 'os' has no attribute 'nothing_of_the_kind'"
    )


def test_a_module_that_leaves_does_not_end_the_program(tmp_path, monkeypatch):
    (tmp_path / "chaos_leaves.py").write_text("import sys\nsys.exit('no such library here')\n")
    monkeypatch.syspath_prepend(tmp_path)
    said = "'chaos_leaves.Thing' (from --behavior) does not import: SystemExit: no such library here"
    assert complaint("chaos_leaves.Thing") == said


def test_a_module_without_the_class():
    assert complaint("vaurien.Thing") == "'vaurien.Thing' (from --behavior): module 'vaurien' has no 'Thing'"


def test_an_installed_plugin_that_does_not_import(monkeypatch):
    point = importlib.metadata.EntryPoint("broken", "no.such:Thing", "vaurien.behaviors")
    monkeypatch.setattr(plugins, "_entry_points", lambda kind: {"broken": point} if kind == "behavior" else {})
    assert complaint("broken") == (
        "behavior 'broken', installed as 'no.such:Thing', does not import: ModuleNotFoundError: No module named 'no'"
    )


def callables():
    """The import path of each callable in a loaded module that is not ours."""
    for name, module in sorted(sys.modules.items()):
        ours = name.partition(".")[0] in ("vaurien", "tests", "__main__", "benchmarks", "docs")
        made_by_tests = str(getattr(module, "__file__", None)).startswith(tempfile.gettempdir())
        if not ours and not made_by_tests and isinstance(module, types.ModuleType):
            yield from (f"{name}.{own}" for own, value in sorted(vars(module).items()) if callable(value))


def test_no_callable_of_a_loaded_module_is_a_handler_unless_it_says_so():
    paths = list(callables())
    assert len(paths) > 3000
    taken = []
    for path in paths:
        with contextlib.suppress(PluginError):
            plugins.find(path, "behavior", "handler", "protocol")
            taken.append(path)
    assert taken == []


def test_a_method_of_the_name_alone_makes_no_protocol(here):
    (here / "chaos_protocols.py").write_text(
        "from vaurien.protocols.base import BaseProtocol\n"
        "class Other:\n    def _handle(self, *arguments): ...\n"
        "class Page:\n    def _handle(self, source, dest, to_backend): ...\n"
        "class Derived(BaseProtocol):\n    def _handle(self, a, b, c): ...\n"
    )
    assert plugins.find("chaos_protocols.Page", "protocol").kind == "protocol"
    assert plugins.find("chaos_protocols.Derived", "protocol").kind == "protocol"
    with pytest.raises(PluginError, match=r"or have _handle\(self, source, dest, to_backend\)"):
        plugins.find("chaos_protocols.Other", "protocol")


def test_callers_may_name_none_of_them_nor_ours():
    for path in [*callables(), "vaurien.Behavior", "vaurien.behaviors.delay.Delay", "tests.plugins.Noop"]:
        with pytest.raises(PluginError, match="callers of the HTTP interface"):
            plugins.find_for_caller(path, "behavior", "handler", "protocol")


@pytest.mark.parametrize("path", ["os.system", "os._exit", "builtins.eval", "subprocess.Popen", "shutil.rmtree"])
def test_a_callable_that_is_no_handler_says_what_is_missing(path):
    assert complaint(path) == (
        f"{path!r} (from --behavior) cannot be used as a behavior or handler: it must subclass vaurien.Behavior, or "
        "have on_before_handle, on_between_handle or on_after_handle; or it must be a class with __call__(self, "
        "client_sock, backend_sock, to_backend), a function of these three arguments, or be registered by "
        "Handler.register"
    )


HANDLERS = """
from vaurien.handlers import Handler
from vaurien.handlers.base import BaseHandler

class Page:
    def __call__(self, client_sock, backend_sock, to_backend): ...

class Derived(BaseHandler):
    def __call__(self, client, backend, upstream): ...

@Handler.register
class Registered:
    def __call__(self, *arguments): ...

def function(client_sock, backend_sock, to_backend): ...

instance = Page()

class Undeclared:
    def __call__(self, client, backend, upstream): ...
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, from which nothing can be imported unless a path names it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("chaos_")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["Page", "Derived", "Registered", "function", "instance"])
def test_a_handler_says_that_it_is_one(here, name):
    (here / "chaos_handlers.py").write_text(HANDLERS)
    assert plugins.find(f"chaos_handlers.{name}", "behavior", "handler").kind == "handler"


def test_a_class_that_can_be_called_is_not_a_handler_yet(here):
    (here / "chaos_handlers.py").write_text(HANDLERS)
    assert "registered by Handler.register" in complaint("chaos_handlers.Undeclared")


def test_the_working_directory_is_importable_for_the_path_alone(here):
    (here / "chaos_here.py").write_text(
        "import chaos_helper, tomllib\nfrom vaurien import Behavior\n"
        "class Mine(Behavior, frozen=True): found = tomllib.__file__\n"
    )
    (here / "chaos_helper.py").write_text("")
    (here / "tomllib.py").write_text("raise SystemError('an installed module comes first')")
    for gone in [name for name in sys.modules if name.partition(".")[0] == "tomllib"]:
        sys.modules.pop(gone)
    before = list(sys.path)
    found = plugins.find("chaos_here.Mine", "behavior")
    assert found.target.found.startswith(sys.base_prefix)
    assert sys.path == before


def test_a_path_that_does_not_import_leaves_nothing_behind(here):
    (here / "chaos_fails.py").write_text("1 / 0")
    before = list(sys.path)
    assert complaint("chaos_fails.Mine").endswith("does not import: ZeroDivisionError: division by zero")
    assert "chaos_fails" not in sys.modules
    assert sys.path == before


def test_callers_may_name_what_the_user_has_named(here):
    (here / "chaos_named.py").write_text(
        "from vaurien import Behavior\nclass Mine(Behavior, frozen=True): ...\n"
        "class Other(Behavior, frozen=True): ...\n"
    )
    plugins.find("chaos_named.Mine", "behavior")
    assert not plugins.find_for_caller("chaos_named.Mine", "behavior").legacy
    with pytest.raises(PluginError, match=r"start it with --allow-plugin 'chaos_named\.Other'"):
        plugins.find_for_caller("chaos_named.Other", "behavior")


def test_callers_may_name_what_is_allowed(here):
    (here / "chaos_allowed").mkdir()
    (here / "chaos_allowed" / "faults.py").write_text(
        "from os import system\nfrom vaurien import Behavior\nclass Mine(Behavior, frozen=True): ...\n"
    )
    plugins.allow(["chaos_allowed.faults.*"])
    assert not plugins.find_for_caller("chaos_allowed.faults.Mine", "behavior").legacy
    for path in (
        "chaos_allowed.faults.system",
        "chaos_allowed.faults.Nothing",
        "chaos_allowed.other.Mine",
        "os.system",
    ):
        with pytest.raises(PluginError):
            plugins.find_for_caller(path, "behavior", "handler")
    plugins.allow([])
    assert not plugins.find_for_caller("chaos_allowed.faults.Mine", "behavior").legacy  # it is in use
