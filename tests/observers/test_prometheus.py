"""What Prometheus is told, and when."""

from __future__ import annotations

import asyncio
import gc
import re
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.control.conftest import serving
from tests.hubs import COUNTS
from tests.running import PATIENCE, Echo, read
from vaurien import events
from vaurien.control.toxiproxy import app as toxiproxy
from vaurien.observers.lag import LoopLag
from vaurien.observers.prometheus import ProxyFigures, RuntimeFigures, page


@pytest.fixture(params=COUNTS)
def served(request):
    """A served hub with figures of its proxies; `api.figures` is their observer."""
    observers = []

    def make(hub):
        figures = ProxyFigures(hub.proxies, lambda: 0.25)
        observers.append(figures)
        return toxiproxy.router(hub, metrics=page(figures, runtime=False))

    with serving(make, observers, request.param) as api:
        yield api


def figures(api):
    """The page, by name and labels."""
    text = api("GET", "/metrics").body.decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_figures_of_an_open_connection(served):
    with Echo() as echo:
        upstream = f"127.0.0.1:{echo.address[1]}"
        host, port = served.proxy(upstream)
        served("POST", "/proxies/p/toxics", {"type": "latency", "name": "t", "attributes": {"latency": 1}})
        with served.connect() as client:
            client.sendall(b"hello")
            assert read(client, 5) == b"hello"
            client.sendall(b"again")
            assert read(client, 5) == b"again"
            found = figures(served)
        for direction in ("upstream", "downstream"):
            labels = sorted([direction, f"{host}:{port}", "p", upstream])
            for name in ("received", "sent"):
                assert found[(f"toxiproxy_proxy_{name}_bytes_total", *labels)] == 10
        assert found["vaurien_connections_open", "p"] == 1
        assert found["vaurien_connections_accepted_total", "p"] == 1
        assert found["vaurien_waiting_bytes", "p"] == 0
        assert found["vaurien_faults_total", "latency", "p"] == 2
        assert found["vaurien_dials_failed_total", "p"] == 0
        assert found[("vaurien_loop_lag_seconds",)] == 0.25


def test_a_failed_dial(served):
    served.proxy("127.0.0.1:1")
    with pytest.raises(ConnectionResetError), served.connect() as client:
        client.recv(1)
    assert figures(served)["vaurien_dials_failed_total", "p"] == 1


def test_bytes_that_a_toxic_holds_were_received_and_not_sent(served):
    with Echo() as echo:
        served.proxy(f"127.0.0.1:{echo.address[1]}")
        body = {"type": "latency", "stream": "upstream", "attributes": {"latency": 3_600_000}}
        served("POST", "/proxies/p/toxics", body)
        with served.connect() as client:
            client.sendall(b"hello")
            end = time.monotonic() + PATIENCE
            while not (found := figures(served))["vaurien_waiting_bytes", "p"]:
                assert time.monotonic() < end
            assert served("POST", "/reset").status == 204  # or the echo server would wait for the rest
        by_name = {key[0]: value for key, value in found.items() if "upstream" in key}
        assert by_name["toxiproxy_proxy_received_bytes_total"] == 5
        assert by_name["toxiproxy_proxy_sent_bytes_total"] == 0


def test_a_proxy_that_is_gone_has_no_figures(served):
    served.proxy("127.0.0.1:1")
    with pytest.raises(ConnectionResetError), served.connect() as client:
        client.recv(1)
    served("DELETE", "/proxies/p")
    assert not [key for key in figures(served) if "p" in key]
    served.proxy("127.0.0.1:1")
    assert figures(served)["vaurien_dials_failed_total", "p"] == 0


def test_events_of_a_proxy_that_is_gone_do_no_harm():
    observer = ProxyFigures({}, lambda: 0.0)
    observer(events.Injected(proxy="p", at=0.0, connection=1, fault="t"))
    observer(events.Failed(proxy="p", at=0.0, connection=0, where="accept", error="no room"))
    assert b"vaurien_faults_total{" not in asyncio.run(page(observer, runtime=False)())


def runtime_page():
    async def play():
        return await page(None, runtime=True)()

    return asyncio.run(play()).decode()


def test_what_dashboards_for_toxiproxy_ask_of_the_runtime_is_there():
    gc.collect()
    found = runtime_page()
    for pattern in (
        r'go_build_info\{checksum="[^"]*",path="[^"]*",version="[^"]*"\} 1',
        r'go_info\{version="python3\.\d+"\} 1',
        r"go_goroutines \d+",
        r"go_threads \d+",
        r"go_gc_duration_seconds_count \d+",
        r"go_gc_duration_seconds_sum \S+",
        r"go_gc_gogc_percent \d+",
        r"go_memstats_heap_objects [1-9]\S*",
        r"go_memstats_alloc_bytes [1-9]\S*",
        r"go_memstats_sys_bytes [1-9]\S*",
        r"process_open_fds \d+",
    ):
        assert re.search(f"^{pattern}$", found, re.MULTILINE), (pattern, found)
    assert all("stand-in" in line for line in found.splitlines() if line.startswith("# HELP go_"))


def test_collections_of_garbage_are_timed_while_somebody_asks():
    figures, before = RuntimeFigures(), len(gc.callbacks)
    gc.collect()
    [family] = [one for one in asyncio.run(collected(figures)) if one.name == "go_gc_duration_seconds"]
    values = {sample.name.rpartition("_")[2]: sample.value for sample in family.samples}
    assert values["count"] >= 1
    assert values["sum"] > 0
    del figures
    assert len(gc.callbacks) == before - 1


async def collected(figures):
    return list(figures.collect())


def test_numbers_are_written_as_in_go(served):
    with Echo() as echo:
        served.proxy(f"127.0.0.1:{echo.address[1]}")
        with served.connect() as client:
            client.sendall(b"hello")
            assert read(client, 5) == b"hello"
            text = served("GET", "/metrics").body.decode()
    assert re.search(r'^toxiproxy_proxy_received_bytes_total\{direction="upstream",.*\} 5$', text, re.MULTILINE)
    assert not re.search(r"\.0$", text, re.MULTILINE)


def test_lag_is_the_worst_since_it_was_asked():
    async def play():
        lag = LoopLag()
        try:
            lag._due = time.monotonic() - 3  # as if what was due then ran now
            lag._timer.cancel()
            lag._look()
            assert lag.take() >= 3
            assert lag.take() == 0
        finally:
            lag.close()

    asyncio.run(play())
