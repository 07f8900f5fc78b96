from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.hubs import spreading

# How long an example takes says nothing where others are busy. That CI has the same examples each time stays.
settings.register_profile("shared", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

pytest_plugins = ["pytester", "tests.servers", "tests.mail_servers"]


@pytest.fixture(scope="session")
def spread():
    """Three workers, for one hub after the other."""
    with spreading(3) as spread:
        yield spread
