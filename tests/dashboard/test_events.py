from __future__ import annotations

import json
import re
import socket

import redis

import vaurien
from tests.waiting import PATIENCE, until
from vaurien import events


def asked(proxy, *keys):
    host, port = proxy["address"].split(":")
    with redis.Redis(host, int(port)) as client:
        for key in keys:
            client.get(key)


def test_events_come_live_are_filtered_paused_and_exported(tab, daemon, redis_server, tmp_path):
    faults = [{"behavior": "latency", "name": "slow", "options": {"latency": 1}}]
    first = daemon.proxy("cache", redis_server.address, protocol="redis", faults=faults)
    other = daemon.proxy("other", redis_server.address, protocol="redis")
    page = tab.open("#/events")
    page.get_by_text(re.compile(r"\d events?")).wait_for()
    asked(first, "a")
    asked(other, "b")
    rows = page.get_by_role("table", name="Events").get_by_role("row")
    page.get_by_role("row").filter(has_text="Injected").filter(has_text="slow").first.wait_for()
    page.get_by_role("row").filter(has_text="Closed").filter(has_text="other").wait_for()

    page.get_by_label("Proxy", exact=True).fill("cache")
    until(lambda: page.get_by_role("row").filter(has_text="other").count() == 0)
    page.get_by_label("Fault", exact=True).fill("slow")
    page.get_by_label("Kind").select_option("Injected")
    until(lambda: all("slow" in one for one in rows.all_inner_texts()[1:]))
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as JSON lines").click()
    download.value.save_as(tmp_path / "events.jsonl")
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert {(one["type"], one["proxy"], one["fault"]) for one in events} == {("Injected", "cache", "slow")}

    page.get_by_role("button", name="Pause").click()
    page.get_by_text("paused").wait_for()
    shown = page.get_by_role("status").filter(has_text="paused").inner_text()
    before = tab.page.evaluate("performance.now()")
    asked(first, "c")
    tab.page.wait_for_function("before => performance.now() > before + 300", arg=before)
    assert page.get_by_role("status").filter(has_text="paused").inner_text() == shown
    page.get_by_role("button", name="Go on").click()
    until(lambda: page.get_by_role("status").filter(has_text="event").first.inner_text() != shown)


def test_a_click_goes_to_the_connection(tab, daemon, redis_server):
    proxy = daemon.proxy("cache", redis_server.address, protocol="redis")
    host, port = proxy["address"].split(":")
    page = tab.open("#/events")
    with redis.Redis(host, int(port), single_connection_client=True) as client:
        client.ping()
        page.get_by_role("row").filter(has_text="Accepted").get_by_role("link", name="1", exact=True).click()
        page.get_by_text("Connection 1 of cache is open").wait_for()
        page.get_by_role("button", name="Close connection").click()
    page.get_by_text("Connection 1 of cache is over").wait_for()


def test_what_happened_before_the_page_is_there_too(tab, daemon, redis_server):
    proxy = daemon.proxy("cache", redis_server.address, protocol="redis")
    asked(proxy, *"abc")
    page = tab.open("#/events?proxy=cache&kind=Closed")
    page.get_by_role("row").filter(has_text="client closed").wait_for()


def test_each_kind_that_a_page_gets_can_be_filtered_for(tab, daemon):
    page = tab.open("#/events")
    kinds = page.get_by_label("Kind").locator("option").all_inner_texts()
    told = {kind for kind in events.Event.__subclasses__() if kind not in {*events.DETAILS, events.Exchanged}}
    assert set(kinds) == {"all", *(str(kind.__struct_config__.tag) for kind in told)}


def test_what_happened_while_the_stream_was_broken_is_caught_up(new_tab, daemon, echo_server):
    """The program goes on, and the page finds it again: no event is missing, and none is there twice."""
    host, port = daemon.proxy("web", echo_server.address)["address"].split(":")
    connect = lambda: socket.create_connection((host, int(port)), PATIENCE).close()  # noqa: E731
    with vaurien.Proxy(backend=f"127.0.0.1:{daemon.port}") as way:
        tab = new_tab(f"http://{way.address}")
        page = tab.open("#/events?proxy=web&kind=Accepted")
        connect()
        page.get_by_text("1 event", exact=True).wait_for()
        with way.down():
            page.get_by_text("Not connected").wait_for()
            for _ in range(3):
                connect()
        page.get_by_text("4 events", exact=True).wait_for()
        numbers = page.get_by_role("table", name="Events").get_by_role("link").all_inner_texts()
        assert [one for one in numbers if one.isdigit()] == ["4", "3", "2", "1"]
        tab.problems.clear()  # the browser itself reports that the stream was cut
