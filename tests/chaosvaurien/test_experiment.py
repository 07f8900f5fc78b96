"""Experiments of the Chaos Toolkit, run by its own command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.control.interface import interface

pytest.importorskip("chaoslib")
CHAOS = shutil.which("chaos", path=str(Path(sys.executable).parent))
ACTIONS, PROBES = "chaosvaurien.actions", "chaosvaurien.probes"


@pytest.fixture
def served():
    with interface() as served:
        served.proxy("api")
        yield served


def activity(kind, module, func, tolerance=None, **arguments):
    provider = {"type": "python", "module": module, "func": func, "arguments": arguments}
    made = {"type": kind, "name": func.replace("_", " "), "provider": provider}
    return made if tolerance is None else {**made, "tolerance": tolerance}


def run(served, tmp_path, method, **more):
    """Run an experiment; the journal that the Toolkit writes."""
    if CHAOS is None:
        pytest.skip("the command chaos is not installed (the group 'clients')")
    experiment = {
        "title": "A fault comes and goes",
        "description": "and is gone in the end",
        "configuration": {"vaurien_url": f"http://127.0.0.1:{served.address.port}"},
        "steady-state-hypothesis": {"title": "It is there", "probes": [activity("probe", PROBES, "is_healthy", True)]},
        "method": method,
        **more,
    }
    (tmp_path / "experiment.json").write_text(json.dumps(experiment))
    done = subprocess.run(
        [CHAOS, "--no-version-check", "--log-file", "chaos.log", "run", "--journal-path", "journal", "experiment.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    journal = json.loads((tmp_path / "journal").read_text())
    return journal, done.stdout + done.stderr


def test_an_experiment_adds_a_fault_asks_for_it_and_rolls_back(served, tmp_path):
    add = {"proxy": "api", "behavior": "latency", "options": {"latency": 5}, "probability": 0.5, "ttl": 600}
    journal, said = run(
        served,
        tmp_path,
        [
            activity("action", ACTIONS, "add_fault", **add),
            activity("probe", PROBES, "hits", proxy="api", fault="latency"),
            activity("probe", PROBES, "fault_has_hit", proxy="api", fault="latency"),
            activity("action", ACTIONS, "disable_proxy", name="api"),
        ],
        rollbacks=[activity("action", ACTIONS, "reset")],
    )
    assert journal["status"] == "completed", said
    assert [one["status"] for one in journal["run"]] == ["succeeded"] * 4
    fault = journal["run"][0]["output"]
    assert (fault["name"], fault["probability"], fault["ttl"]) == ("latency", 0.5, 600)
    assert [one["output"] for one in journal["run"][1:3]] == [0, False]
    [proxy] = served.get("/api/v1/proxies")["proxies"]
    assert (proxy["faults"], proxy["enabled"]) == ([], True)


def test_the_control_takes_away_what_an_experiment_left(served, tmp_path):
    control = {"name": "clean", "provider": {"type": "python", "module": "chaosvaurien.controls"}}
    mixed = activity("action", ACTIONS, "set_mix", proxy="api", mix="10:delay")
    journal, said = run(served, tmp_path, [mixed], controls=[control])
    assert journal["status"] == "completed", said
    assert served.get("/api/v1/proxies/api")["mix"] == []


def test_what_vaurien_refuses_fails_the_activity_with_its_words(served, tmp_path):
    journal, _ = run(served, tmp_path, [activity("action", ACTIONS, "add_fault", proxy="api", behavior="latenci")])
    [done] = journal["run"]
    assert done["status"] == "failed"
    assert "did you mean 'latency'?" in str(done["exception"])
