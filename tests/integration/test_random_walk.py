"""A short random walk: the long ones are `make walk`."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.walk import walk

SECONDS = 6.0


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_every_byte_arrives_and_every_change_is_taken(words):
    one = asyncio.run(walk(SECONDS, 1, words))
    assert one.conversations > 20
    assert sum(one.changes.values()) > 10
    assert [f"{failure.where}: {failure.what}" for failure in one.failures] == []
