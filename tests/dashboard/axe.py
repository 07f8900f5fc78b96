"""What everybody needs of a page, as axe-core checks it: https://github.com/dequelabs/axe-core."""

from __future__ import annotations

from typing import Any

from tests.dashboard.conftest import WIDE, tool

NARROW = {"width": 360, "height": 740}

SCHEMES = ["light", "dark"]


def violations(page: Any) -> list[tuple[str, list[str]]]:
    """What axe finds in the page as it is."""
    page.evaluate(tool("axe-core/axe.min.js").read_text())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]


def misfits(page: Any) -> list[Any]:
    """What axe finds in the page, wide and narrow, and whether a narrow one scrolls sideways."""
    found: list[Any] = []
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        found += violations(page)
        width = page.evaluate("document.documentElement.scrollWidth")
        found += [f"{width} px wide"] if width > size["width"] else []
    return found
