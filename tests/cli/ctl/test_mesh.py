"""``vaurienctl mesh``."""

from __future__ import annotations

import pytest

from tests.control.interface import interface
from vaurien.cli.ctl import main as ctl
from vaurien.config import Given, load

NODES = {
    ("mesh", "nodes"): Given("a=127.0.0.1:9,b=127.0.0.1:9,c=127.0.0.1:9", "--nodes"),
    ("mesh", "first_port"): Given("0", "--first-port"),
}


@pytest.fixture
def run(capsys, monkeypatch):
    """Run ``vaurienctl``; what it printed, in fields, once its exit status is what was expected."""
    configuration = load(NODES, {})
    with interface(mesh=configuration.mesh) as served:
        served.run(served.hub.replace(configuration.proxies))
        monkeypatch.setenv("VAURIEN_URL", f"http://127.0.0.1:{served.address.port}")

        def call(line, status=0):
            assert ctl.main(["mesh", *line.split()]) == status
            out, err = capsys.readouterr()
            return err.strip() if status else [row.split("\t") for row in out.splitlines()]

        yield call


def test_a_partition_is_made_shown_and_healed(run):
    assert [row[:2] for row in run("show")] == [list(pair) for pair in ("ab", "ac", "ba", "bc", "ca", "cb")]
    assert run("add partition a,b c ttl=1h") == [["partition a,b c", "freeze", "a:c,b:c,c:a,c:b", "3600"]]
    assert [row[3] for row in run("show")] == ["-", *["partition a,b c"] * 1, "-", *["partition a,b c"] * 3]
    assert run("add gray a latency=5ms") == [["gray a", "latency", "a:b,a:c,b:a,c:a", "-"]]
    assert run("remove partition a,b c") == []
    assert {row[3] for row in run("show")} == {"-", "gray a"}
    assert run("heal") == []
    assert {row[3] for row in run("show")} == {"-"}


def test_what_is_wrong_is_one_line(run):
    assert run("add isolate d", 1) == "vaurienctl: unknown node 'd'; known are: a, b, c"
    assert run("remove isolate a", 1) == "vaurienctl: unknown topology 'isolate a'; none is known"
    expected = "KIND [NODE,NODE...]... [OPTION=VALUE]... is missing; expected vaurienctl mesh add [OPTIONS] KIND "
    assert run("add", 2).startswith(f"vaurienctl: {expected}")
