"""Growth is told from noise."""

from __future__ import annotations

import random

import pytest

from benchmarks.drift import LEAST, Sample, Soak, drifts, slope

NAMES = list(LEAST)
AT_REST = dict.fromkeys(NAMES, 100.0)


def samples(values):
    """Samples a second apart, the same for each figure."""
    return [Sample(float(at), dict.fromkeys(NAMES, value)) for at, value in enumerate(values)]


def by_name(values, after=AT_REST):
    return {drift.name: drift for drift in drifts(AT_REST, samples(values), after)}


@pytest.mark.parametrize("value", [0.0, 100.0, 1e6])
def test_what_stays_the_same_is_flat(value):
    assert all(drift.flat for drift in by_name([value] * 10).values())


def test_what_goes_up_and_down_is_flat():
    chance = random.Random(1)
    assert all(drift.flat for drift in by_name([1000 + chance.uniform(-20, 20) for _ in range(100)]).values())


def test_what_grows_all_the_time_is_not_flat():
    found = by_name([10_000 + 200 * number for number in range(100)])
    assert not any(drift.flat for drift in found.values())
    assert found["descriptors"].growth == pytest.approx(200 * 79)


def test_growth_at_the_start_is_allowed():
    found = by_name([1000 * number for number in range(20)] + [20_000] * 80)
    assert all(drift.flat for drift in found.values())


def test_a_peak_that_passes_is_allowed():
    assert all(drift.flat for drift in by_name([100.0] * 60 + [5000.0] * 10 + [100.0] * 30).values())


@pytest.mark.parametrize(("name", "flat"), [("descriptors", False), ("tasks", False), ("resident KB", True)])
def test_descriptors_and_tasks_have_to_be_gone_after_the_load(name, flat):
    assert by_name([100.0] * 10, AT_REST | {name: 101.0})[name].flat is flat


def test_few_samples_say_nothing():
    with pytest.raises(ValueError, match="3 samples after the warm-up"):
        drifts(AT_REST, samples([1.0] * 4), AT_REST)


@pytest.mark.parametrize("each", [-2.0, 0.0, 0.5])
def test_the_slope_of_a_line_is_its_slope(each):
    times = [0.0, 1.0, 2.5, 3.0, 7.0]
    assert slope(times, [each * at for at in times]) == pytest.approx(each)


def test_a_soak_survives_its_file():
    soak = Soak(
        "2026-11-22", "made up", "3", 0.0, 9.0, 1, 2, samples([1.0] * 10), drifts(AT_REST, samples([1.0] * 10), AT_REST)
    )
    assert Soak.parse(soak.json()) == soak
    assert soak.flat
