from __future__ import annotations

import pytest

from vaurien import config
from vaurien.cli import check
from vaurien.config import presets
from vaurien.config.layers import Given


def test_the_presets():
    assert presets.names() == ["3g", "brown-out", "edge", "flaky-backend", "lossy-wifi", "satellite", "slow-db"]


@pytest.mark.parametrize("protocol", ["tcp", "http", "redis", "postgres"])
@pytest.mark.parametrize("name", presets.names())
def test_a_preset_suits_every_proxy(name, protocol):
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
