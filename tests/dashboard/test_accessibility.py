"""Every screen for everybody: axe finds nothing, narrow screens need no scrolling sideways, keys reach everything."""

from __future__ import annotations

import pytest

from tests.dashboard.conftest import tool
from tests.waiting import until

SCREENS = {
    "overview": ("#/", "Add a proxy"),
    "proxy": ("#/proxy/web", "Its events"),
    "add": ("#/proxy/web/add", "The same elsewhere"),
    "change": ("#/proxy/web/fault/slow", "The same elsewhere"),
    "events": ("#/events", "Export as JSON lines"),
    "fleet": ("#/fleet", "in no fleet"),
    "run": ("#/run", "plays no schedule"),
    "configuration": ("#/configuration", "command line"),
}
FAULT = {"behavior": "latency", "name": "slow", "options": {"latency": 5}, "ttl": 600, "match": {"client": "10.0.0.1"}}


@pytest.fixture(scope="module")
def populated():
    from tests.dashboard.conftest import Daemon

    started = Daemon()
    started.proxy("web", "127.0.0.1:9", protocol="http", faults=[FAULT], mix="20:delay")
    started.proxy("off", "127.0.0.1:9", enabled=False)
    started.ask("PATCH", "/proxies/web/faults/slow", {"probability": 0.5})
    yield started
    started.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing(new_tab, populated, screen, scheme):
    where, text = SCREENS[screen]
    tab = new_tab(populated.origin, color_scheme=scheme, bypass_csp=True)  # axe itself is put into the page
    page = tab.open(where)
    page.get_by_text(text).first.wait_for()
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    page.evaluate(tool("axe-core/axe.min.js").read_text())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []


@pytest.mark.parametrize("screen", SCREENS)
def test_a_narrow_screen_does_not_scroll_sideways(new_tab, populated, screen):
    """360 px, which is also what 720 px are at a zoom of 200 %."""
    where, text = SCREENS[screen]
    page = new_tab(populated.origin, viewport={"width": 360, "height": 740}).open(where)
    page.get_by_text(text).first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def tab_to(page, name, role="link"):
    """Press Tab until the element of *role* called *name* has the focus."""
    wanted = page.get_by_role(role, name=name, exact=True).first
    for _ in range(120):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not reach {role} {name!r}")


def test_a_fault_is_added_changed_and_removed_by_keys_alone(tab, daemon):
    daemon.proxy("web", "127.0.0.1:9")
    page = tab.open()
    page.get_by_role("link", name="web", exact=True).wait_for()
    tab_to(page, "Add a fault to web")
    page.keyboard.press("Enter")
    page.get_by_label("Behavior").wait_for()
    tab_to(page, "Behavior", "combobox")
    page.keyboard.type("latency")
    tab_to(page, "latency", "textbox")
    page.keyboard.press("Control+A")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    until(lambda: daemon.ask("GET", "/proxies/web")["faults"])
    assert daemon.ask("GET", "/proxies/web/faults/latency")["options"] == {"latency": 7}
    page.get_by_role("switch", name="Fault latency").wait_for()
    tab_to(page, "Fault latency", "switch")
    page.keyboard.press("Space")
    until(lambda: not daemon.ask("GET", "/proxies/web/faults/latency")["enabled"])
    tab_to(page, "Remove fault latency", "button")
    page.keyboard.press("Enter")
    until(lambda: not daemon.ask("GET", "/proxies/web")["faults"])


def test_the_focus_survives_updates(tab, daemon):
    daemon.proxy("web", "127.0.0.1:9", faults=[FAULT])
    page = tab.open()
    button = page.get_by_role("button", name="Remove fault slow of web")
    button.focus()
    daemon.proxy("another", "127.0.0.1:9")
    page.get_by_role("link", name="another", exact=True).wait_for()
    page.get_by_role("button", name="Proxy", exact=True).evaluate("element => element.click()")
    until(lambda: page.locator("tbody th a").all_inner_texts() == ["another", "web"])
    assert button.evaluate("element => element === document.activeElement")
    ring = button.evaluate("element => getComputedStyle(element).outlineStyle")
    assert ring == "solid"
