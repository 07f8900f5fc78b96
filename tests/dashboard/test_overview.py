from __future__ import annotations

import re

import pytest
import redis

from tests.waiting import until


def test_proxies_are_added_broken_and_switched_from_an_empty_start(tab, daemon, redis_server):
    page = tab.open()
    page.get_by_text("There is no proxy yet").wait_for()
    page.get_by_text("Add a proxy").click()
    page.get_by_label("Name").fill("cache")
    page.get_by_label("Backend").fill(redis_server.address)
    page.get_by_label("Protocol").select_option("redis")
    page.get_by_role("button", name="Add the proxy").click()
    row = page.get_by_role("row", name="cache")
    row.get_by_text("No traffic yet. Send some: redis-cli").wait_for()
    proxy = daemon.ask("GET", "/proxies/cache")
    assert (proxy["protocol"], proxy["backend"]) == ("redis", redis_server.address)

    daemon.ask("POST", "/proxies/cache/faults", {"behavior": "latency", "options": {"latency": 1}, "ttl": 600})
    row.get_by_role("link", name="latency").wait_for()
    row.get_by_text("9 min").wait_for()
    host, port = proxy["address"].split(":")
    with redis.Redis(host, int(port)) as client:
        client.set("k", "v")
        row.get_by_text(re.compile(r"\d hits?")).wait_for()
        row.get_by_role("cell", name="1", exact=True).wait_for()  # the open connection
        assert row.get_by_text("No traffic yet").count() == 0

    row.get_by_role("switch", name="Proxy cache").uncheck()
    until(lambda: not daemon.ask("GET", "/proxies/cache")["enabled"])
    row.get_by_role("switch", name="Proxy cache").check()
    until(lambda: daemon.ask("GET", "/proxies/cache")["enabled"])

    row.get_by_role("switch", name="Fault latency of cache").uncheck()
    until(lambda: not daemon.ask("GET", "/proxies/cache/faults/latency")["enabled"])
    page.get_by_text("Fault latency changes nothing: it is switched off").wait_for()
    row.get_by_role("switch", name="Fault latency of cache").check()
    until(lambda: daemon.ask("GET", "/proxies/cache/faults/latency")["enabled"])


def test_an_error_of_the_form_is_beside_its_field(tab, daemon):
    page = tab.open()
    page.get_by_text("Add a proxy").click()
    page.get_by_label("Name").fill("web")
    page.get_by_label("Backend").fill("nowhere")
    page.get_by_role("button", name="Add the proxy").click()
    page.get_by_role("alert").filter(has_text="host:port").wait_for()
    backend = page.get_by_label("Backend")
    assert backend.get_attribute("aria-invalid") == "true"
    assert backend.evaluate("element => element === document.activeElement")
    assert daemon.ask("GET", "/proxies")["proxies"] == []


def test_all_faults_are_removed_and_put_back(tab, daemon):
    fault = {"behavior": "latency", "name": "slow", "options": {"latency": 7}}
    for name in ("one", "two"):
        daemon.proxy(name, "127.0.0.1:9", faults=[fault], mix="10:delay")
    page = tab.open()
    page.get_by_role("button", name="Remove all faults").click()
    page.get_by_text("All faults are removed").wait_for()
    assert [(one["faults"], one["mix"]) for one in daemon.ask("GET", "/proxies")["proxies"]] == [([], [])] * 2
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone").wait_for()
    for proxy in daemon.ask("GET", "/proxies")["proxies"]:
        assert [(one["name"], one["options"]) for one in proxy["faults"]] == [("slow", {"latency": 7})]
        assert [share["behavior"] for share in proxy["mix"]] == ["delay"]


def test_what_was_removed_can_be_put_back_for_ten_seconds(tab, daemon):
    fault = {"behavior": "latency", "name": "slow", "options": {"latency": 7}}
    daemon.proxy("web", "127.0.0.1:9", faults=[fault])
    tab.page.clock.install()
    page = tab.open()
    page.get_by_role("button", name="Remove all faults").click()
    undo = page.get_by_role("button", name="Undo")
    undo.wait_for()
    page.clock.run_for(9_000)
    assert undo.count() == 1
    page.clock.run_for(1_500)
    assert undo.count() == 0
    assert daemon.ask("GET", "/proxies/web")["faults"] == []


def test_one_fault_is_removed_and_put_back_in_its_place(tab, daemon):
    faults = [{"behavior": "latency", "name": name, "options": {"latency": 7}} for name in ("a", "b", "c")]
    daemon.proxy("web", "127.0.0.1:9", faults=faults)
    page = tab.open()
    page.get_by_role("button", name="Remove fault b of web").click()
    page.get_by_text("Fault b of web is removed").wait_for()
    assert [one["name"] for one in daemon.ask("GET", "/proxies/web")["faults"]] == ["a", "c"]
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone").wait_for()
    assert [one["name"] for one in daemon.ask("GET", "/proxies/web")["faults"]] == ["a", "b", "c"]


def test_rows_are_filtered_and_sorted(tab, daemon):
    for name, faults in (("beta", 1), ("alpha", 0), ("gamma", 2)):
        daemon.proxy(name, "127.0.0.1:9", faults=[{"behavior": "delay", "name": f"f{at}"} for at in range(faults)])
    page = tab.open()
    names = lambda: page.locator("tbody th a").all_inner_texts()  # noqa: E731
    page.get_by_role("link", name="gamma", exact=True).wait_for()
    assert names() == ["beta", "alpha", "gamma"]
    page.get_by_role("button", name="Proxy", exact=True).click()
    assert names() == ["alpha", "beta", "gamma"]
    page.get_by_role("button", name="Faults", exact=True).click()
    assert names() == ["gamma", "beta", "alpha"]
    assert page.get_by_role("columnheader", name="Faults").get_attribute("aria-sort") == "descending"
    page.get_by_label("Filter").fill("ALP")
    assert names() == ["alpha"]
    page.get_by_label("Filter").fill("nothing")
    page.get_by_text("No proxy matches the filter").wait_for()


def test_the_page_is_usable_within_a_second(new_tab, daemon):
    """From the request for it to a row with its link, in a browser that has nothing of it.

    By the processor time of the browser's process for it, which others on the machine hardly lengthen: what is beside
    that are answers of the loopback. It takes 0.2 s, and half of the second is for those and for a slower machine.
    """
    daemon.proxy("web", "127.0.0.1:9")
    tab = new_tab(daemon.origin)
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Performance.enable")
    tab.open().get_by_role("link", name="web", exact=True).wait_for()
    figures = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    assert 0 < figures["ProcessTime"] < 0.5


def test_two_hundred_proxies_are_listed(tab, daemon):
    proxies = [{"name": f"proxy {number}", "backend": "127.0.0.1:9", "listen": "127.0.0.1:0"} for number in range(200)]
    daemon.ask("PUT", "/config", {"proxies": proxies})
    tab.open()
    tab.page.get_by_role("link", name="proxy 199", exact=True).wait_for()
    tab.page.reload()
    tab.page.get_by_role("link", name="proxy 199", exact=True).wait_for()
    assert len(tab.page.locator("tbody tr").all()) == 200


def test_tls_with_clients_or_with_the_backend_is_shown(new_tab, new_daemon, tmp_path):
    authority = pytest.importorskip("vaurien.tls.authority", reason="the extra tls is not installed").Authority
    authority.create().save(tmp_path)
    daemon = new_daemon("-allow-tls-file", str(tmp_path))
    near = {"tls": "auto", "tls_authority": str(tmp_path)}
    daemon.proxy("near", "127.0.0.1:9", **near)
    daemon.proxy("far", "tls://127.0.0.1:9")
    daemon.proxy("none", "127.0.0.1:9")
    page = new_tab(daemon.origin).open()
    page.get_by_role("link", name="none", exact=True).wait_for()
    assert page.locator("tbody .protocol").all_inner_texts() == ["tcp + TLS", "tcp + TLS", "tcp"]
