"""The documentation as a site with a search, made from the same pages: `make site`."""

from __future__ import annotations

project = "Vaurien"
author = "The Vaurien developers"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "docs/**.svg",
    "docs/**.png",
    "*.md",
    "examples/README.md",
    "fuzz/*.md",
    "benchmarks/*.md",
]
exclude_patterns = [".venv", "build"]
html_theme = "furo"
html_title = "Vaurien"
html_copy_source = False
myst_heading_anchors = 4  # pages link to headings, as the pages of a repository do

NAVIGATION = """
```{toctree}
:hidden:
:glob:
:caption: Tutorial
tutorial/*
```
```{toctree}
:hidden:
:glob:
:caption: How to
how-to/*
```
```{toctree}
:hidden:
:glob:
:caption: Reference
reference/*
reference/behaviors/index
reference/protocols/index
protocols/*
glossary
```
```{toctree}
:hidden:
:glob:
:caption: Explanation
explanation/*
performance
decisions/index
roadmap
```
```{toctree}
:hidden:
:caption: The project
../README
../ARCHITECTURE
../CONTRIBUTING
../CHANGELOG
../fuzz/README
../benchmarks/README
```
"""
"""Stands here because a page that is read in the repository would show it as code."""

LISTED = {
    "docs/index": NAVIGATION,
    "docs/reference/behaviors/index": "\n```{toctree}\n:hidden:\n:glob:\n*\n```\n",
    "docs/reference/protocols/index": "\n```{toctree}\n:hidden:\n:glob:\n*\n```\n",
    "docs/decisions/index": "\n```{toctree}\n:hidden:\n:glob:\n*\n```\n",
}


def add_navigation(_app, docname, source):
    """Append the navigation to the pages that list others."""
    source[0] += LISTED.get(docname, "")


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", add_navigation)
