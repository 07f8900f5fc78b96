"""The page before a hostile network, a server that goes away, tokens, and modes in which it may not change anything."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading

import pytest

from tests.waiting import PATIENCE, until

EVIL = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
RIGHT_TO_LEFT = "\u202egnp.exe"
NAMES = {"markup": EVIL.replace("/", "\u2044"), "direction": RIGHT_TO_LEFT, "letters": "שלום <b>x"}


@pytest.mark.parametrize("kind", NAMES)
def test_names_are_shown_as_text_on_every_screen(new_tab, daemon, kind):
    name = NAMES[kind]
    fault = {
        "behavior": "replace",
        "name": name,
        "options": {"pattern": EVIL, "by": EVIL},
        "match": {"client": "10.0.0.1"},
    }
    daemon.proxy(name, "127.0.0.1:9", faults=[fault])
    tab = new_tab(daemon.origin)
    quoted = tab.page.evaluate("encodeURIComponent", name)
    for where in (
        "",
        f"proxy/{quoted}",
        f"proxy/{quoted}/add",
        f"proxy/{quoted}/fault/{quoted}",
        "events",
        "configuration",
    ):
        page = tab.open(f"#/{where}")
        page.get_by_role("heading", level=1).wait_for()
        page.locator("main").get_by_text(re.compile("img src|gnp.exe|שלום")).first.wait_for()
        assert page.evaluate("window.hit") is None
        assert page.locator("main img, main script, main b b").count() == 0
        assert "\u202e" not in page.locator("main").inner_text()


def test_what_the_network_says_is_text_too(new_tab, daemon):
    """A request that the protocol cannot parse, and that its event quotes."""
    daemon.proxy("web", "127.0.0.1:9", protocol="http", faults=[{"behavior": "latency", "options": {"latency": 1}}])
    page = new_tab(daemon.origin).open("#/events")
    host, port = daemon.ask("GET", "/proxies/web")["address"].split(":")
    with contextlib.suppress(ConnectionResetError):  # its backend refuses
        with socket.create_connection((host, int(port)), PATIENCE) as one:
            one.sendall(f"{EVIL} \x07\x1b[2J HTTP/1.1\r\n\r\n".encode())
    page.get_by_role("row").filter(has_text="Closed").first.wait_for()
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0


@contextlib.contextmanager
def answering(greeting, answer):
    """The address of a backend that greets its first client, and answers it once."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listener, listener.accept()[0] as one:
            one.sendall(greeting)
            one.recv(65536)
            one.sendall(answer)
            one.recv(65536)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    thread.join(PATIENCE)


EXCHANGES = {
    "http": (
        b"GET /%s?q=%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n\r\n",
        b"HTTP/1.1 200 %s\r\nContent-Type: %s\r\nContent-Length: 0\r\n\r\n",
    ),
    "redis": (b"%s %s\r\n", b"-ERR %s\r\n"),
    "memcache": (b"get %s\r\n", b"SERVER_ERROR %s\r\n"),
    "smtp": (b"HELO %s\r\n", b"500 %s\r\n"),
}
SENT = EVIL.replace(" ", "\u00a0").encode("latin-1")


@pytest.mark.parametrize("protocol", EXCHANGES)
def test_what_exchanges_and_events_quote_of_the_network_is_text(new_tab, daemon, protocol):
    """Methods, paths, keys, statuses and errors, on the screens of a proxy and of events."""
    request, answer = (one.replace(b"%s", SENT) for one in EXCHANGES[protocol])
    greeting = b"220 %s\r\n" % SENT if protocol == "smtp" else b""
    with answering(greeting, answer) as backend:
        daemon.proxy("web", backend, protocol=protocol)
        page = new_tab(daemon.origin).open("#/proxy/web")
        page.get_by_text("has each listed here as it ends").wait_for()
        host, port = daemon.ask("GET", "/proxies/web")["address"].split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as one:
            if greeting:
                one.recv(65536)
            one.sendall(request)
            one.recv(65536)
            page.get_by_role("row").filter(has_text=re.compile("img|GET|get|HELO", re.IGNORECASE)).first.wait_for()
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0
    page.goto(f"{daemon.origin}/#/events")
    page.get_by_role("row").filter(has_text="Closed").first.wait_for()
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0


def test_an_error_of_a_megabyte_does_not_flood_the_page(tab, daemon):
    page = tab.open()
    page.get_by_text("There is no proxy yet").wait_for()
    page.route("**/api/v1/proxies", lambda route: route.fulfill(status=500, body="<b>" + "x" * 2**20))
    page.get_by_text("Add a proxy").click()
    page.get_by_label("Name").fill("web")
    page.get_by_label("Backend").fill("127.0.0.1:9")
    page.get_by_role("button", name="Add the proxy").click()
    page.get_by_text("more)").wait_for()
    assert len(page.locator(".toast").filter(has_text="xxx").inner_text()) < 3000
    page.unroute("**/api/v1/proxies")


@pytest.mark.parametrize("screen", ["#/", "#/proxy/web"])
def test_figures_of_before_that_do_not_come_are_no_error(tab, daemon, screen):
    daemon.proxy("web", "127.0.0.1:9")
    refused = []
    tab.page.route("**/api/v1/figures*", lambda route: (route.abort(), refused.append(route.request.url)))
    page = tab.open(screen)
    page.get_by_role("heading", name="web").or_(page.get_by_role("link", name="web", exact=True)).first.wait_for()
    page.get_by_text("Live", exact=True).wait_for()
    until(lambda: page.title() and len(refused) > (screen != "#/"))
    page.unroute("**/api/v1/figures*")


def token_daemon(new_daemon, tmp_path):
    (tmp_path / "token").write_text("s3cret")
    started = new_daemon("-token-file", str(tmp_path / "token"))
    started.token = "s3cret"
    return started


def test_the_token_is_asked_for_and_kept_for_the_tab(new_daemon, new_tab, tmp_path):
    daemon = token_daemon(new_daemon, tmp_path)
    daemon.proxy("web", "127.0.0.1:9")
    tab = new_tab(daemon.origin)
    page = tab.open()
    page.get_by_role("textbox", name="Token").fill("wrong")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("textbox", name="Token").fill("s3cret")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("link", name="web", exact=True).wait_for()
    page.reload()
    page.get_by_role("link", name="web", exact=True).wait_for()
    assert not [url for url in tab.requested if "s3cret" in url]
    assert page.evaluate("localStorage.length") == 0


def test_a_token_in_the_fragment_is_taken_out_of_the_address(new_daemon, new_tab, tmp_path):
    daemon = token_daemon(new_daemon, tmp_path)
    daemon.proxy("web", "127.0.0.1:9")
    tab = new_tab(daemon.origin)
    page = tab.open("#token=s3cret")
    page.get_by_role("link", name="web", exact=True).wait_for()
    assert page.evaluate("location.href") == f"{daemon.origin}/#/"
    assert not [url for url in tab.requested[1:] if "s3cret" in url]  # the first has the fragment, which is not sent
    assert page.get_by_role("textbox", name="Token").count() == 0


def test_a_page_that_may_only_read_offers_nothing_else(new_daemon, new_tab):
    daemon = new_daemon("-dashboard", "read-only")
    daemon.proxy("web", "127.0.0.1:9", faults=[{"behavior": "latency", "options": {"latency": 5}}])
    tab = new_tab(daemon.origin)
    page = tab.open()
    page.get_by_role("link", name="latency").wait_for()
    offered = {"Remove all faults", "Add a fault to web", "Add a proxy", "Remove fault latency of web"}
    assert offered.isdisjoint(page.locator("button, a, summary").all_inner_texts())
    assert page.get_by_role("switch").first.is_disabled()
    page = tab.open("#/proxy/web")
    page.get_by_role("switch", name="Fault latency").wait_for()
    assert page.get_by_role("button", name=re.compile("Remove|Delete|Move")).count() == 0
    status = page.evaluate("fetch('/api/v1/proxies/web', {method: 'DELETE'}).then(answer => answer.status)")
    assert status == 403


def test_the_page_finds_the_program_again_with_other_proxies(new_daemon, new_tab):
    daemon = new_daemon()
    daemon.proxy("old", "127.0.0.1:9")
    tab = new_tab(daemon.origin)
    page = tab.open()
    page.get_by_role("link", name="old", exact=True).wait_for()
    daemon.stop()
    page.get_by_text("Not connected").wait_for()
    again = new_daemon(port=daemon.port)
    again.proxy("new", "127.0.0.1:9")
    page.get_by_role("link", name="new", exact=True).wait_for()
    page.get_by_text("Live", exact=True).wait_for()
    assert page.get_by_role("link", name="old", exact=True).count() == 0
    tab.problems.clear()  # the browser itself reports that the stream was cut


def test_a_clock_that_jumps_changes_no_order(tab, daemon):
    daemon.proxy("web", "127.0.0.1:9", faults=[{"behavior": "latency", "options": {"latency": 5}, "ttl": 600}])
    page = tab.open("#/proxy/web")
    page.get_by_text("9 min").wait_for()
    page.evaluate("const real = Date.now; Date.now = () => real() - 86400000")
    until(lambda: page.get_by_text(re.compile("9 min 5[0-8] s left")).count())


def test_ten_thousand_events_do_not_stall_the_page(tab, daemon, echo_server):
    """Connections come and go as fast as one thread can make them; the page stays usable, and says what it left out."""
    host, port = daemon.proxy("web", echo_server.address)["address"].split(":")
    page = tab.open("#/events")
    page.get_by_role("heading", name="Events").wait_for()
    for _ in range(1500):
        socket.create_connection((host, int(port)), PATIENCE).close()
    page.get_by_text("left out").wait_for()
    page.get_by_label("Kind").select_option("Closed")
    page.get_by_role("row").filter(has_text="Closed").first.wait_for()


def test_ten_thousand_events_at_once_are_shown_within_a_second(new_tab, daemon):
    """As they come in the second in which the program falls behind by no more than it keeps."""
    daemon.proxy("web", "127.0.0.1:9")
    tab = new_tab(daemon.origin)
    told = [
        {"type": "Accepted", "proxy": "web", "at": 1e9 + number / 1e4, "connection": number} for number in range(10_000)
    ]
    lines = [f"event: Accepted\nid: {number}\ndata: {json.dumps(one)}\n\n" for number, one in enumerate(told, 1)]
    hello = 'event: Hello\ndata: {"run": "r"}\n\n'
    headers = {"Content-Type": "text/event-stream"}
    tab.page.route("**/api/v1/live*", lambda route: route.fulfill(headers=headers, body=hello + "".join(lines)))
    tab.page.add_init_script(SLOWEST)
    page = tab.open("#/events")
    page.get_by_role("row").filter(has_text="9999").first.wait_for()
    assert page.locator("[role=row], tr").count() < 200
    assert page.evaluate("window.slowest") < 1000
    page.unroute_all(behavior="ignoreErrors")


SLOWEST = """
window.slowest = 0;
new PerformanceObserver(list => {
    for (const one of list.getEntries()) window.slowest = Math.max(window.slowest, one.duration);
}).observe({type: "longtask", buffered: true});
"""
"""Keeps the longest time, in ms, that the page answered nobody."""
