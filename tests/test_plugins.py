"""What `plugins` says about code of others that fails while it is imported."""

from __future__ import annotations

import importlib.metadata

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
