"""Every screen for everybody: axe finds nothing, narrow screens need no scrolling sideways, keys reach everything."""

from __future__ import annotations

import socket

import pytest

from tests.dashboard.axe import NARROW, SCHEMES, misfits, violations
from tests.dashboard.conftest import WIDE
from tests.waiting import PATIENCE, until

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
ZOOMED = {"width": WIDE["width"] // 2, "height": WIDE["height"] // 2}
"""What a wide screen has room for at a zoom of 200 %."""

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


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing(new_tab, populated, screen, scheme):
    where, text = SCREENS[screen]
    tab = new_tab(populated.origin, color_scheme=scheme, bypass_csp=True)  # axe itself is put into the page
    page = tab.open(where)
    page.get_by_text(text).first.wait_for()
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    assert misfits(page) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_in_what_comes_and_goes(new_tab, new_daemon, scheme, tmp_path):
    """The question for the token, errors beside fields, a failure, an offer to undo, and what is not there."""
    (tmp_path / "token").write_text("s3cret")
    daemon = new_daemon("-token-file", str(tmp_path / "token"))
    daemon.token = "s3cret"
    daemon.proxy("web", "127.0.0.1:9", faults=[FAULT])
    page = new_tab(daemon.origin, color_scheme=scheme, bypass_csp=True, viewport=NARROW).open()
    token = page.get_by_role("textbox", name="Token")
    token.wait_for()
    assert violations(page) == []
    token.fill("s3cret")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove fault slow of web").click()
    page.get_by_role("button", name="Undo").wait_for()
    page.get_by_text("Add a proxy").click()
    page.get_by_label("Name").fill("web")
    page.get_by_label("Backend").fill("nowhere")
    page.get_by_role("button", name="Add the proxy").click()
    page.get_by_role("alert").filter(has_text="host:port").wait_for()
    assert violations(page) == []
    for where in ("#/proxy/gone", "#/proxy/web/fault/gone"):
        page.goto(f"{daemon.origin}/{where}")
        page.get_by_text("gone").first.wait_for()
        assert violations(page) == []


@pytest.mark.parametrize("size", [NARROW, ZOOMED], ids=["narrow", "zoomed"])
@pytest.mark.parametrize("screen", SCREENS)
def test_a_narrow_screen_does_not_scroll_sideways(new_tab, populated, screen, size):
    where, text = SCREENS[screen]
    page = new_tab(populated.origin, viewport=size, device_scale_factor=2).open(where)
    page.get_by_text(text).first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


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


def test_the_focus_survives_updates_of_a_proxy_and_of_events(tab, daemon, echo_server):
    address = daemon.proxy("web", echo_server.address, faults=[FAULT])["address"].split(":")
    page = tab.open("#/proxy/web")
    for role, name in (("button", "Remove fault slow"), ("switch", "Fault slow")):
        focused = page.get_by_role(role, name=name, exact=True)
        focused.focus()
        daemon.ask("POST", "/proxies/web/faults", {"behavior": "delay", "name": f"after {role}"})
        page.get_by_role("switch", name=f"Fault after {role}").wait_for()
        assert focused.evaluate("element => element === document.activeElement")
    page = tab.open("#/events")
    page.get_by_label("Proxy").focus()
    page.keyboard.type("we")
    for _ in range(20):
        socket.create_connection((address[0], int(address[1])), PATIENCE).close()
    page.keyboard.type("b")
    page.get_by_role("row").filter(has_text="Closed").first.wait_for()
    assert page.get_by_label("Proxy").input_value() == "web"
    assert page.get_by_label("Proxy").evaluate("element => element === document.activeElement")
