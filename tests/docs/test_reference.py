"""The docs say what the code does, and lead where they point."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import generate
from vaurien import hooks

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN_BY_HAND = [page for page in PAGES if generate.REFERENCE not in page.parents]


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*generate.pages(), *generate.written()], ids=name)
def test_a_reference_page_is_what_the_code_declares(path):
    assert path.exists(), f"{name(path)} is missing: run `make docs`"
    wanted = (generate.pages() | generate.written())[path]
    assert path.read_text(encoding="utf-8") == wanted, f"{name(path)} is stale: run `make docs`"


def test_there_is_no_page_for_what_is_gone():
    assert set(generate.REFERENCE.rglob("*.md")) - set(generate.pages()) <= set(generate.REFERENCE.glob("*.md"))


@pytest.mark.parametrize("hook", hooks.HOOKS)
def test_every_hook_is_in_the_page_on_behaviors(hook):
    assert f"`{hook}`" in (ROOT / "docs/how-to/write-a-behavior.md").read_text(encoding="utf-8")


OPTION_TYPES = ["Duration", "Milliseconds", "Microseconds", "Size", "PositiveSize", "Ratio", "Count", "PositiveCount"]
OPTION_TYPES += ["float", "int", "bool", "Literal", "str", "tuple[str, ...]"]


@pytest.mark.parametrize("kind", OPTION_TYPES)
def test_every_type_of_an_option_has_an_example(kind):
    text = (ROOT / "docs/how-to/write-a-behavior.md").read_text(encoding="utf-8")
    assert re.search(rf"^\|.*`{re.escape(kind)}.*\|$", text, re.MULTILINE), "in the table"
    assert f"Annotated[{kind}" in text, "in the example"


def links(page):
    """The files that *page* points to."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    return {(page.parent / target).resolve() for target in targets}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_pages_lead_somewhere(page):
    assert [target for target in links(page) if not target.exists()] == []


def anchors(page):
    """The places in *page* that a link may name, as GitHub calls them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_into_pages_name_a_place_in_them(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    places = re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", text)
    missing = [(to, place) for to, place in places if place not in anchors((page.parent / to) if to else page)]
    assert missing == []


def test_every_page_can_be_reached_from_the_index():
    reached, new = set(), {ROOT / "docs" / "index.md"}
    while new:
        reached |= new
        new = {target for page in new for target in links(page) if target.suffix == ".md"} - reached
    assert [name(page) for page in PAGES if ROOT / "docs" in page.parents and page not in reached] == []
