from __future__ import annotations

import pytest

from vaurien import config
from vaurien.cli import check
from vaurien.config import presets
from vaurien.config.layers import Given
from vaurien.errors import OptionError

NETWORKS = ["3g", "brown-out", "edge", "flaky-backend", "lossy-wifi", "satellite", "slow-db"]
CAUSES = [name for name in presets.names() if name not in NETWORKS]


def test_the_presets():
    assert set(NETWORKS) < set(presets.names())
    assert {"postgres.deadlock", "mysql.deadlock", "redis.moved", "smtp.greylisting", "http.maintenance"} < set(CAUSES)


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_for_its_protocol_and_bears_its_name(name):
    family = name.partition(".")[0]
    assert presets.protocols(name)[0] == {"llm": "http"}.get(family, family)
    given = {("vaurien", "preset"): Given(f"{name}:0.1", "--preset")}
    with pytest.raises(OptionError, match=f"{name!r} .from --preset. is not valid; expected a proxy whose protocol is"):
        config.load(given, {})
    made = config.load({**given, ("vaurien", "protocol"): Given(presets.protocols(name)[0], "--protocol")}, {})
    check.policies(made)
    first, *_ = made.proxies[0].policy.faults
    assert (first.name, first.probability) == (name, 0.1)


@pytest.mark.parametrize("ratio", ["", "x", "2", "-1", "nan", "30%"])
def test_what_is_no_probability(ratio):
    with pytest.raises(OptionError, match="expected NAME:PROBABILITY, from 0 to 1"):
        config.load({("vaurien", "preset"): Given(f"3g:{ratio}", "--preset")}, {})


def test_a_probability_multiplies_those_of_the_preset():
    made = config.load({("vaurien", "preset"): Given("flaky-backend:0.5,3g", "--preset")}, {})
    plain = config.load({("vaurien", "preset"): Given("flaky-backend", "--preset")}, {}).proxies[0].policy
    for fault in plain.faults:
        assert made.proxies[0].policy.fault(fault.name).probability == fault.probability / 2


def test_a_schedule_has_no_probability():
    scheduled = next(name for name in NETWORKS if "schedule" in presets.tables(name))
    with pytest.raises(OptionError, match="no probability: its faults come by a schedule"):
        config.load({("vaurien", "preset"): Given(f"{scheduled}:0.5", "--preset")}, {})


@pytest.mark.parametrize("protocol", ["tcp", "http", "redis", "postgres"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_preset_of_a_network_suits_every_proxy(name, protocol):
    given = {("vaurien", "preset"): Given(name, "--preset"), ("vaurien", "protocol"): Given(protocol, "--protocol")}
    made = config.load(given, {})
    check.policies(made)
    assert made.proxies[0].policy.faults or made.schedule.steps


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_says_what_it_stands_for(name):
    assert presets.about(name).endswith(".")


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_says_where_its_figures_come_from(name):
    assert presets.source(name).endswith(".")
