from __future__ import annotations

import pytest

from tests import nats_server
from tests.dashboard.axe import SCHEMES, misfits
from tests.fleet_processes import running
from tests.waiting import until


@pytest.fixture
def nats(tmp_path):
    for name in ("nats", "nkeys"):
        pytest.importorskip(name, reason="the extra fleet is not installed")
    with nats_server.running(tmp_path / "js") as server:
        yield server


@pytest.fixture
def nodes(nats):
    labels = {name: ["-label", f"zone=<b>{name}"] for name in ("one", "two")}
    with running(nats.url, "one", "two", arguments=labels) as started:
        yield started


def test_nodes_with_their_faults_hits_and_differences(new_tab, nodes):
    one, _ = nodes
    one.fleet().create_proxy(name="web", listen="127.0.0.1:0", backend="127.0.0.1:9")
    one.fleet(nodes="name=one").add_fault("web", behavior="delay", name="slow")
    page = new_tab(f"http://127.0.0.1:{one.port}").open("#/fleet")
    first, second = (
        page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name)) for name in ("one", "two")
    )
    until(lambda: "web/slow 0" in first.inner_text())
    assert "zone=<b>two" in second.inner_text()
    assert page.locator("main b").count() == 0
    assert "web/slow" not in second.inner_text()
    page.get_by_role("button", name="Stop everything").click()
    page.get_by_text("everything is stopped").wait_for()
    until(lambda: "web/slow" not in first.inner_text())
    page.get_by_role("button", name="Let faults act again").click()
    until(lambda: "web/slow 0" in first.inner_text())


def test_axe_finds_nothing_in_a_table_of_nodes(new_tab, nodes):
    one, _ = nodes
    one.client.create_proxy(name="own", listen="127.0.0.1:0", backend="127.0.0.1:9")
    one.fleet().add_fault("own", behavior="delay", name="late")  # which the other node has no proxy for
    one.fleet().create_proxy(name="web", listen="127.0.0.1:0", backend="127.0.0.1:9")
    one.fleet(nodes="name=one").add_fault("web", behavior="delay", name="slow")
    for scheme in SCHEMES:
        page = new_tab(f"http://127.0.0.1:{one.port}", color_scheme=scheme, bypass_csp=True).open("#/fleet")
        page.get_by_role("row").filter(has_text="web/slow").wait_for()
        page.get_by_role("row").filter(has_text="there is no proxy 'own'").wait_for()
        assert misfits(page) == []


def test_a_program_in_no_fleet_says_how_to_join_one(tab):
    tab.open("#/fleet").get_by_text("in no fleet; expected one that was started with --fleet").wait_for()
