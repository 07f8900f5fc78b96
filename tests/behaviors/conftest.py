from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.control.interface import Interface, interface


@pytest.fixture(scope="module")
def api() -> Iterator[Interface]:
    with interface() as api:
        yield api


@pytest.fixture
def fresh(api: Interface) -> Iterator[Interface]:
    yield api
    api.clear()
