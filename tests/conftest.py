from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.control.interface import interface
from tests.hubs import COUNTS, played, spreading
from tests.running import PATIENCE, Echo
from vaurien import platform, plugins
from vaurien.model import Address
from vaurien.workers import process

# How long an example takes says nothing where others are busy. That CI has the same examples each time stays.
settings.register_profile("shared", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

process.ANSWER_TIMEOUT = PATIENCE  # a worker that is starved of a processor hangs in nothing

os.umask(0o022)  # servers run as other users, and read what tests write
for _name in ("no_proxy", "NO_PROXY"):  # whatever stands between this machine and others
    os.environ[_name] = ",".join([*filter(None, [os.environ.get(_name)]), "localhost", "127.0.0.1", "0.0.0.0", "::1"])
for _name in [_name for _name in os.environ if _name.startswith("VAURIEN_")]:  # options of somebody who uses it
    if not _name.startswith("VAURIEN_TEST_") and _name not in ("VAURIEN_REQUIRE_SERVERS", platform.SWITCH):
        del os.environ[_name]

pytest_plugins = ["pytester", "tests.servers", "tests.tls_servers", "tests.mail_servers"]


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(plugins, "_registered", {kind: dict(known) for kind, known in plugins._registered.items()})
    monkeypatch.setattr(plugins, "_given_paths", set(plugins._given_paths))
    monkeypatch.setattr(plugins, "_allowed", list(plugins._allowed))


@pytest.fixture(scope="session")
def spread():
    """Three workers, for one hub after the other."""
    with spreading(3) as spread:
        yield spread


@pytest.fixture(params=COUNTS)
def hub(request):
    """Run a coroutine function with a hub; at the end the hub stops and nothing is left."""
    return played if request.param == 1 else request.getfixturevalue("spread").run


@pytest.fixture
def echo():
    """The address of a server that sends back what it gets."""
    with Echo() as echo:
        yield Address(*echo.address)


@pytest.fixture(scope="module", params=COUNTS)
def shared_interface(request):
    """The interfaces of a hub, with connections here or in workers; each test leaves it without proxies (`clear`)."""
    with interface(workers=request.param) as shared:
        yield shared
