from __future__ import annotations

from vaurien.protocols.redis.command import command
from vaurien.protocols.redis.unpaired import COMMANDS_LIMIT, Unpaired

PONG, RESET = b"+PONG\r\n", b"+RESET\r\n"


def sent(*names: bytes) -> Unpaired:
    unpaired = Unpaired()
    for name in names:
        unpaired.add(command(name, (), 0))
    return unpaired


def test_only_the_reply_to_one_command_is_certain() -> None:
    unpaired = sent(b"EXEC", b"RESET", b"GET")
    assert unpaired.reply(b"+OK\r\n") is None
    assert unpaired.reply(PONG) is None
    assert unpaired.reply(RESET) == [b"GET"]
    assert unpaired.reply(RESET) is None


def test_a_command_that_may_be_silenced_leaves_two_possibilities() -> None:
    unpaired = sent(b"CLIENT", b"RESET", b"GET", b"RESET")
    assert unpaired.reply(RESET) is None
    assert unpaired.reply(RESET) == []


def test_a_command_that_cannot_be_silenced_is_answered_first() -> None:
    unpaired = sent(b"GET", b"RESET", b"CLIENT", b"RESET", b"GET")
    assert unpaired.reply(RESET) == [b"CLIENT", b"RESET", b"GET"]
    assert unpaired.reply(RESET) == [b"GET"]


def test_a_certain_reply_settles_what_came_before() -> None:
    unpaired = sent(b"EXEC", b"PING", b"RESET", b"PING")
    assert unpaired.reply(RESET) == [b"PING"]
    assert unpaired.reply(PONG) == []


def test_a_ping_with_a_text_is_not_known_by_its_reply() -> None:
    unpaired = Unpaired()
    unpaired.add(command(b"PING", (b"x",), 1))
    assert unpaired.reply(PONG) is None


def test_a_client_that_goes_on_for_ever_is_not_remembered_for_ever() -> None:
    unpaired = sent(b"PING", *[b"GET"] * COMMANDS_LIMIT)
    assert unpaired.reply(PONG) is None
    unpaired.add(command(b"PING", (), 0))
    assert unpaired.reply(PONG) == []
