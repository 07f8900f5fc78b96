from __future__ import annotations

import contextlib

import pytest

from tests.legacy_plugins import Forward
from tests.running import Echo, running
from vaurien.handlers import Handler


@pytest.fixture(autouse=True)
def _forward(registry):
    Handler.register(Forward)


@pytest.fixture
def serve():
    """Start proxies in front of an echo server."""
    with contextlib.ExitStack() as stack:
        echo = stack.enter_context(Echo())
        yield lambda *policy, **config: stack.enter_context(running(echo.address, *policy, **config))


@pytest.fixture
def connect():
    with contextlib.ExitStack() as stack:
        yield lambda proxy: stack.enter_context(proxy.connect())


@pytest.fixture
def stack():
    """What is entered is left at the end of the test."""
    with contextlib.ExitStack() as stack:
        yield stack
