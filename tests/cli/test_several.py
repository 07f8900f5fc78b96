"""Faults, schedules and runs with several proxies."""

from __future__ import annotations

import os

import pytest

from vaurien import config
from vaurien.cli import main
from vaurien.config.layers import Given
from vaurien.errors import VaurienError

PROXIES = """
[vaurien]
preset = "satellite"

[[fault]]
behavior = "noop"

[[proxy]]
name = "cache"
listen = "127.0.0.1:0"
backend = "127.0.0.1:6379"
protocol = "redis"

[[proxy]]
name = "db"
listen = "127.0.0.1:0"
backend = "127.0.0.1:5432"

[[proxy.fault]]
behavior = "noop"
probability = 0.5

[[step]]
proxy = "{proxy}"
add = "error name=broken match.key=a"
"""


@pytest.fixture
def load(tmp_path):
    def call(proxy="cache"):
        path = tmp_path / "chaos.toml"
        path.write_text(PROXIES.format(proxy=proxy))
        return config.load({}, {}, Given(str(path), "--config")), str(path)

    return call


def test_shared_faults_are_everybodys_unless_there_is_one_of_the_name(load):
    made, _ = load()
    cache, db = (proxy.policy.faults for proxy in made.proxies)
    satellite = ["satellite-accept", "satellite-latency", "satellite-down", "satellite-up"]
    assert [fault.name for fault in cache] == ["noop", *satellite]
    assert [fault.name for fault in db] == [*satellite, "noop"]
    assert (cache[0].probability, db[-1].probability) == (1.0, 0.5)


def test_a_step_names_a_proxy_that_there_is(load):
    with pytest.raises(
        VaurienError, match=r"unknown proxy 'cahe' of a step \(from .*line \d+ \[\[step\]\]\); did you mean"
    ):
        load("cahe")


def test_a_step_suits_the_proxy_that_it_names(load, capsys):
    _, path = load("db")
    assert main.main(["run", path, "--", "true"]) == 125
    assert "unknown field 'key' of the match of fault 'broken' (from" in capsys.readouterr().err


def test_a_fault_of_one_proxy_is_to_suit_it(tmp_path, capsys):
    path = tmp_path / "chaos.toml"
    own = (
        '[[proxy]]\nname = "db"\nlisten = "127.0.0.1:0"\n[[proxy.fault]]\nbehavior = "reset_peer"\nscope = "exchange"\n'
    )
    path.write_text(own)
    assert main.main(["--config", str(path)]) == 2
    said = f"fault 'reset_peer' scope: 'exchange' (from {path} line 4 [[proxy.fault]]) is not valid; expected no choice"
    assert said in capsys.readouterr().err


def test_a_command_is_told_all_addresses(load, tmp_path):
    _, path = load()
    script = "env | grep ^VAURIEN_ADDRESS > " + str(tmp_path / "told")
    assert main.main(["run", path, "--report", str(tmp_path / "report.md"), "--", "sh", "-c", script]) == 0
    told = dict(line.split("=", 1) for line in (tmp_path / "told").read_text().splitlines())
    assert set(told) >= {"VAURIEN_ADDRESS", "VAURIEN_ADDRESS_CACHE", "VAURIEN_ADDRESS_DB"} - set(os.environ)
    assert told["VAURIEN_ADDRESS"] == told["VAURIEN_ADDRESS_CACHE"] != told["VAURIEN_ADDRESS_DB"]
    assert "| db | " in (tmp_path / "report.md").read_text()
