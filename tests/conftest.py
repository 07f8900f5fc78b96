from __future__ import annotations

import pytest

from tests.hubs import spreading

pytest_plugins = ["pytester", "tests.servers", "tests.mail_servers"]


@pytest.fixture(scope="session")
def spread():
    """Three workers, for one hub after the other."""
    with spreading(3) as spread:
        yield spread
