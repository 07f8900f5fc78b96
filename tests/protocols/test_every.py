"""What holds for every built-in protocol."""

from __future__ import annotations

from random import Random

import pytest

from tests.protocols.conversations import CONVERSATIONS
from vaurien import plugins
from vaurien.errors import OptionError
from vaurien.framing import Head, Protocol
from vaurien.model import Direction
from vaurien.testing import check_protocol

NAMES = plugins.names("protocol")


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_to_the_contract(name: str) -> None:
    check_protocol(plugins.find(name, "protocol").target, CONVERSATIONS[name])


def first_request(protocol: Protocol, conversation: list[bytes]) -> Head:
    """The first request of *conversation* that is answered."""
    framer = protocol.framer()
    for number, data in enumerate(conversation):
        for mark, _ in framer.feed(Direction(number % 2 == 0), data):
            if isinstance(mark, Head) and mark.request and mark.answered:
                return mark
    raise AssertionError("there is no request in it")


@pytest.mark.parametrize("name", NAMES)
def test_an_error_that_it_does_not_have_is_refused(name: str) -> None:
    protocol = plugins.find(name, "protocol").target()
    if protocol.error_codes:
        head = first_request(protocol, CONVERSATIONS[name][0])
        for code in ("NOPE", ""):
            with pytest.raises(OptionError, match=f"^code: '{code}' is not valid; expected one of "):
                protocol.error_reply(head, Random(1), code)
