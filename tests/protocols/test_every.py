"""What holds for every built-in protocol."""

from __future__ import annotations

import pytest

from tests.protocols.conversations import CONVERSATIONS
from vaurien import plugins
from vaurien.testing import check_protocol

NAMES = plugins.names("protocol")


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_to_the_contract(name: str) -> None:
    check_protocol(plugins.find(name, "protocol").target, CONVERSATIONS[name])
