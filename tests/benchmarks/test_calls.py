"""The ways through the code can be counted, and an exchange with two faults is easy enough to follow."""

from __future__ import annotations

import pytest

from benchmarks.calls import WAYS


@pytest.mark.parametrize(
    "name", ["accept", "direct request", "first blocking call", "next blocking call", "control call"]
)
def test_a_way_can_be_counted(name: str) -> None:
    count = WAYS[name]()
    assert count.calls >= count.functions >= count.files > 0


def test_an_exchange_with_two_faults_changes_file_at_most_100_times() -> None:
    assert WAYS["hooked exchange"]().changes <= 100
