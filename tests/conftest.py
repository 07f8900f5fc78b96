from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.hubs import spreading

# How long an example takes says nothing where others are busy. That CI has the same examples each time stays.
settings.register_profile("shared", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

os.umask(0o022)  # servers run as other users, and read what tests write
for _name in ("no_proxy", "NO_PROXY"):  # whatever stands between this machine and others
    os.environ[_name] = ",".join([*filter(None, [os.environ.get(_name)]), "localhost", "127.0.0.1", "::1"])

pytest_plugins = ["pytester", "tests.servers", "tests.mail_servers"]


@pytest.fixture(scope="session")
def spread():
    """Three workers, for one hub after the other."""
    with spreading(3) as spread:
        yield spread
