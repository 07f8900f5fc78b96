from __future__ import annotations

import pytest

from tests import nats_server


@pytest.fixture(scope="module")
def nats(tmp_path_factory):
    with nats_server.running(tmp_path_factory.mktemp("nats") / "js") as server:
        yield server
