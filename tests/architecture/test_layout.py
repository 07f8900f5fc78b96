"""What the design promises about files, checked."""

from __future__ import annotations

import importlib.util
import inspect
from importlib import import_module
from pathlib import Path

import pytest

from vaurien import plugins

ROOT = Path(__file__).parents[2]
BANNED_NAMES = {"utils", "util", "helpers", "common", "manager", "misc"}
FORMER_NAMES = {"vaurien/util.py"}  # names that legacy plugins import


def sources(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_no_module_is_named_for_having_no_subject():
    found = {str(path.relative_to(ROOT / "src")) for path in sources("src") if path.stem in BANNED_NAMES}
    assert found <= FORMER_NAMES


PLUGINS = [
    pytest.param(kind, f"vaurien.{kind}s.{name}", id=f"{kind}-{name}")
    for kind in ("behavior", "protocol")
    for name in plugins.names(kind)
    if importlib.util.find_spec(f"vaurien.{kind}s.{name}") is not None
]


@pytest.mark.parametrize(("kind", "module"), PLUGINS)
def test_a_file_or_package_is_one_plugin_of_its_name(kind, module):
    """A protocol's framer may stand beside it. Where legacy plugins import the plain name, that is another class."""
    loaded = import_module(module)
    found = plugins.find(module.rpartition(".")[2], kind).target
    public = {
        name
        for name, value in vars(loaded).items()
        if inspect.isclass(value) and f"{value.__module__}.".startswith(f"{module}.") and not name.startswith("_")
    }
    assert public <= {found.__name__, f"{found.__name__.removesuffix('Protocol')}Framer"}
    name = module.rpartition(".")[2].replace("_", "")
    assert found.__name__.lower() in {name, f"{name}{kind}"}


@pytest.mark.parametrize(("kind", "module"), PLUGINS)
def test_a_plugin_and_its_module_are_documented(kind, module):
    loaded = import_module(module)
    assert loaded.__doc__
    assert plugins.find(module.rpartition(".")[2], kind).target.__doc__


@pytest.mark.parametrize(("kind", "module"), PLUGINS)
def test_every_option_has_a_sentence_of_help(kind, module):
    for option in plugins.find(module.rpartition(".")[2], kind).declarations:
        assert option.help, f"{module}: option {option.name} has no help"
        assert not option.help.endswith("."), f"{module}: help of option {option.name} ends in a full stop"


def test_the_architecture_fits_in_one_sitting():
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) <= 200
