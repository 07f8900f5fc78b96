from __future__ import annotations

import http.client
import socket

import pytest
import redis

from tests.waiting import PATIENCE, until


def connected(proxy):
    host, port = proxy["address"].split(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def dragged(page, grip, place):
    """Drag *grip* with the mouse to the middle of *place*, step by step as a hand does."""
    grip.hover()
    page.mouse.down()
    box = place.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()


def test_traffic_is_on_the_charts_with_a_mark_at_a_change(tab, daemon, redis_server):
    proxy = daemon.proxy("cache", redis_server.address, protocol="redis")
    host, port = proxy["address"].split(":")
    page = tab.open("#/proxy/cache")
    chart = page.get_by_role("figure").filter(has_text="Throughput").get_by_role("img")
    chart.wait_for()
    with redis.Redis(host, int(port)) as client:
        client.set("k", "v" * 10_000)
        until(lambda: "at most 0 B/s" not in chart.get_attribute("aria-label"))
        daemon.ask("POST", "/proxies/cache/faults", {"behavior": "latency", "options": {"latency": 20}})
        page.locator("time-chart .marks path").first.wait_for(state="attached")
        client.get("k")
        delay = page.get_by_role("figure").filter(has_text="Added delay").get_by_role("img")
        until(lambda: "at most 20 ms" in delay.get_attribute("aria-label"))
        hits = page.get_by_role("figure").filter(has_text="Hits by fault").get_by_role("img")
        until(lambda: "latency" in hits.get_attribute("aria-label"))
        row = page.get_by_role("row").filter(has_text="127.0.0.1:")
        until(lambda: "latency" in row.first.inner_text())


def test_a_click_on_a_chart_shows_the_events_of_that_second(tab, daemon, echo_server):
    proxy = daemon.proxy("web", echo_server.address)
    page = tab.open("#/proxy/web")
    plot = page.get_by_role("figure").filter(has_text="Connections").get_by_role("img")
    plot.wait_for()
    with connected(proxy):
        until(lambda: "at most 0" not in plot.get_attribute("aria-label"))
    line = plot.locator("path.line-1").get_attribute("d")
    steps = [point.split(" ") for point in line.replace("M", "L").split("L")[1:]]
    place = min(steps, key=lambda step: float(step[1]))[0]  # the highest point of those accepted
    box = plot.bounding_box()
    x = min(float(place) / 600 * box["width"], box["width"] - 1)
    plot.click(position={"x": x, "y": box["height"] / 2}, force=True)
    until(lambda: "#/events?proxy=web&time=" in page.url)
    time = page.get_by_label("Time").input_value()
    assert len(time.split(":")) == 3
    page.get_by_label("Time").fill(time[:2])  # its hour: a pixel is more than a second, and may be of another minute
    row = page.get_by_role("row").filter(has_text="Accepted")
    row.wait_for()
    assert row.inner_text().startswith(time[:2])
    page.get_by_label("Time").fill("99:99")
    row.wait_for(state="detached")


def test_the_requests_of_http_are_counted(tab, daemon, nginx_server):
    proxy = daemon.proxy("web", nginx_server.address, protocol="http")
    page = tab.open("#/proxy/web")
    chart = page.get_by_role("figure").filter(has_text="Exchanges").get_by_role("img")
    chart.wait_for()
    one = http.client.HTTPConnection(proxy["address"], timeout=PATIENCE)
    one.request("GET", "/hello")
    assert one.getresponse().read() == b"hello\n"
    row = page.get_by_role("table", name="Exchanges").get_by_role("row").filter(has_text="/hello")
    row.wait_for()
    assert "1, 1\tGET /hello" in row.inner_text()
    assert "\t200\t" in row.inner_text()
    daemon.ask("POST", "/proxies/web/faults", {"behavior": "http_status", "options": {"status": 503}, "name": "gone"})
    one.request("GET", "/next")
    assert one.getresponse().read() is not None
    row = page.get_by_role("table", name="Exchanges").get_by_role("row").filter(has_text="/next")
    row.wait_for()
    assert "\tanswered\t" in row.inner_text()
    assert row.inner_text().rstrip().endswith("gone")
    until(lambda: "at most 0/s" not in chart.get_attribute("aria-label"))
    one.close()


def test_connections_are_closed_and_reset(tab, daemon, echo_server):
    proxy = daemon.proxy("web", echo_server.address)
    page = tab.open("#/proxy/web")
    with connected(proxy) as one, connected(proxy) as other:
        page.get_by_role("button", name="Close connection 1").click()
        assert one.recv(1) == b""
        page.get_by_role("button", name="Reset connection 2").click()
        with pytest.raises(ConnectionResetError):
            other.recv(1)
    page.get_by_text("No connection is open").wait_for()


def test_faults_are_moved_switched_weighed_and_told_other_options_in_place(tab, daemon):
    faults = [{"behavior": "latency", "name": name, "options": {"latency": 5}} for name in ("a", "b")]
    daemon.proxy("web", "127.0.0.1:9", faults=faults)
    fault = lambda name: daemon.ask("GET", f"/proxies/web/faults/{name}")  # noqa: E731
    page = tab.open("#/proxy/web")
    page.get_by_role("button", name="Move b up").click()
    until(lambda: [one["name"] for one in daemon.ask("GET", "/proxies/web")["faults"]] == ["b", "a"])
    page.get_by_text("client → b → a → backend").wait_for()
    first, second = (page.locator("li", has_text="latency=5").nth(place) for place in range(2))
    dragged(page, second.locator(".grip"), first)
    until(lambda: [one["name"] for one in daemon.ask("GET", "/proxies/web")["faults"]] == ["a", "b"])
    page.get_by_role("switch", name="Fault a").uncheck()
    until(lambda: not fault("a")["enabled"])
    page.get_by_text("client → b → backend").wait_for()
    page.get_by_role("slider", name="Probability of b").focus()
    page.keyboard.press("Home")
    until(lambda: fault("b")["probability"] == 0)
    page.get_by_text("Options of b").click()
    page.get_by_label("latency", exact=True).fill("9")
    page.get_by_role("button", name="Save the options").click()
    until(lambda: fault("b")["options"] == {"latency": 9})


def test_a_finger_moves_a_fault(new_tab, daemon):
    daemon.proxy("web", "127.0.0.1:9", faults=[{"behavior": "freeze", "name": name} for name in "ab"])
    page = new_tab(daemon.origin, has_touch=True).open("#/proxy/web")
    page.get_by_role("switch", name="Fault b").wait_for()
    items = page.locator(".faults > li")
    items.nth(1).scroll_into_view_if_needed()
    session = page.context.new_cdp_session(page)
    for kind, place in (("touchStart", items.nth(1).locator(".grip")), ("touchMove", items.nth(0)), ("touchEnd", None)):
        box = place.bounding_box() if place is not None else None
        points = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}] if box else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    until(lambda: [one["name"] for one in daemon.ask("GET", "/proxies/web")["faults"]] == ["b", "a"])


def test_a_proxy_is_deleted_and_put_back(tab, daemon):
    daemon.proxy("web", "127.0.0.1:9", faults=[{"behavior": "delay"}])
    page = tab.open("#/proxy/web")
    page.get_by_role("button", name="Delete the proxy").click()
    page.get_by_text("Proxy web is deleted").wait_for()
    assert daemon.ask("GET", "/proxies")["proxies"] == []
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone").wait_for()
    assert [one["name"] for one in daemon.ask("GET", "/proxies/web")["faults"]] == ["delay"]


def test_of_many_connections_those_in_sight_are_in_the_page(tab, daemon, echo_server):
    proxy = daemon.proxy("web", echo_server.address)
    clients = [connected(proxy) for _ in range(400)]
    try:
        until(lambda: len(daemon.ask("GET", "/proxies/web/connections")["connections"]) == 400)
        page = tab.open("#/proxy/web")
        page.get_by_text("400 connections").wait_for()
        table = page.get_by_role("table", name="Open connections")
        assert table.get_attribute("aria-rowcount") == "401"
        assert len(table.get_by_role("row").all()) < 60
        region = page.get_by_role("group", name="Open connections")
        region.evaluate("element => element.scrollTo(0, element.scrollHeight)")
        page.get_by_role("button", name="Close connection 400").wait_for()
    finally:
        for one in clients:
            one.close()


STEPS = 50
STALL = 0.05
"""Seconds of its own processor that a step of scrolling may take the page: three frames of a screen."""

SCROLL = """
async (element, steps) => {
    for (let step = 0; step <= steps; step += 1) {
        element.scrollTo(0, (step / steps) * (element.scrollHeight - element.clientHeight));
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    }
}
"""


def time_of_a_step(page, element):
    """Seconds that the page's thread computed for each step of scrolling *element* to its end."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent():
        return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]

    before = spent()
    element.evaluate(SCROLL, STEPS)
    return (spent() - before) / STEPS


def test_two_hundred_proxies_and_two_thousand_connections_scroll_without_a_stall(tab, daemon, echo_server):
    names = ["web", *(f"proxy {number}" for number in range(199))]
    daemon.ask("PUT", "/config", {"proxies": [{"name": name, "backend": echo_server.address} for name in names]})
    proxy = daemon.ask("GET", "/proxies/web")
    clients = [connected(proxy) for _ in range(2000)]
    try:
        page = tab.open("#/proxy/web")
        page.get_by_text("2,000 connections").wait_for()
        region = page.get_by_role("group", name="Open connections")
        assert time_of_a_step(page, region) < STALL
        page.get_by_role("button", name="Close connection 2000").wait_for()
        assert page.get_by_role("table", name="Open connections").get_by_role("row").count() < 60
        page.goto(f"{tab.origin}/#/")
        page.get_by_role("link", name="proxy 198", exact=True).wait_for()
        assert time_of_a_step(page, page.locator("html")) < STALL
    finally:
        for one in clients:
            one.close()
