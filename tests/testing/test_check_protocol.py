"""`check_protocol` passes what is right, and says of what is wrong which law it breaks."""

from __future__ import annotations

import pytest

from tests.testing.broken_protocols import BROKEN, CONVERSATIONS, Right
from vaurien.errors import UnknownName
from vaurien.framing import Protocol
from vaurien.testing import check_protocol


def test_it_passes_what_is_right() -> None:
    check_protocol(Right, CONVERSATIONS, {"greedy": "yes"})
    check_protocol(Right)


@pytest.mark.parametrize(("protocol", "complaint"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_it_finds_what_is_wrong(protocol: type[Protocol], complaint: str) -> None:
    with pytest.raises(AssertionError, match=f"^({complaint})"):
        check_protocol(protocol, CONVERSATIONS)


def test_it_tells_what_was_said() -> None:
    strict = next(protocol for protocol, _ in BROKEN if protocol.__name__ == "Strict")
    with pytest.raises(AssertionError) as raised:
        check_protocol(strict, CONVERSATIONS)
    assert raised.value.__notes__[0].splitlines()[:2] == [
        "to the backend b'get a\\nget b\\n'",
        "to the client  b'ok 2\\nhiok 0\\n'",
    ]


def test_a_conversation_has_to_show_something() -> None:
    with pytest.raises(AssertionError, match="without bytes"):
        check_protocol(Right, [[b"", b""]])


def test_it_says_what_options_there_are() -> None:
    with pytest.raises(UnknownName, match="did you mean 'greedy'"):
        check_protocol(Right, CONVERSATIONS, {"gredy": True})
