"""Each reply of Redis is given to its command or to none, whatever a client asks for and a server refuses.

Random dialogues are played to a model of the server, which knows which reply is whose, and to the framer. Replies come
at once or late. Where the framer cannot know, it says that it has left off pairing.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TypeAlias

import pytest

from tests.protocols.conversations import command
from tests.protocols.redis_model import RedisModel
from vaurien.framing import Framing, Head
from vaurien.model import TO_BACKEND, TO_CLIENT
from vaurien.protocols.redis import RedisProtocol

DIALOGUES = 250

Words: TypeAlias = tuple[bytes, ...]

SERVERS: dict[str, tuple[tuple[bytes, ...], tuple[bytes, ...], bool]] = {
    "obeys": ((), (), False),
    "wants a password": ((), (), True),
    "has no MULTI": ((b"MULTI",), (), False),
    "has no CLIENT": ((b"CLIENT",), (), False),
    "has no EXEC": ((b"EXEC",), (), False),
    "has no RESET": ((b"RESET",), (), False),
    "forbids CLIENT REPLY": ((), (b"CLIENT|REPLY",), False),
    "forbids MULTI and SUBSCRIBE": ((), (b"MULTI", b"SUBSCRIBE"), False),
    "forbids EXEC": ((), (b"EXEC",), False),
    "forbids UNSUBSCRIBE": ((), (b"UNSUBSCRIBE",), False),
}
"""The renamed commands, the forbidden ones, and whether it wants a password."""

MULTI: Words = (b"MULTI",)
EXEC: Words = (b"EXEC",)
RESET: Words = (b"RESET",)
PING: Words = (b"PING",)
OFF, SKIP, ON = ((b"CLIENT", b"REPLY", mode) for mode in (b"OFF", b"SKIP", b"ON"))


def some(dice: random.Random) -> list[Words]:
    """Some commands that belong together."""
    get: Words = (b"GET", dice.choice([b"a", b"b"]))
    mode: Words = dice.choice([OFF, SKIP, SKIP, ON, (b"CLIENT", b"REPLY", b"MAYBE")])
    every: list[list[Words]] = [
        *([one] for one in (get, get, MULTI, EXEC, mode, RESET, PING)),
        [()],
        [(b"NOSUCH", b"a")],
        [(b"MULTI", b"x")],
        [(b"DISCARD",)],
        [(b"WATCH", b"a")],
        [(b"AUTH", dice.choice([b"secret", b"wrong"]))],
        [(b"CLIENT", b"REPLY")],
        [(b"CLIENT", b"REPLY", b"OFF", b"x")],
        [(b"CLIENT", b"ID", b"x")],
        [(b"SUBSCRIBE",)],
        [(b"UNSUBSCRIBE",)],
        [(b"SUBSCRIBE", b"c", b"d")],
        [(b"PSUBSCRIBE", b"c*")],
        [mode, get],
        [MULTI, get, EXEC],
        [MULTI, mode, get, EXEC],
        [MULTI, (b"SUBSCRIBE", b"c", b"d"), get, EXEC],
        [MULTI, mode, EXEC, MULTI, get, mode, EXEC],
        [OFF, MULTI, (b"SUBSCRIBE", b"c"), EXEC],
        [OFF, (b"SUBSCRIBE", b"c"), (b"UNSUBSCRIBE", dice.choice([b"c", b"d"])), ON],
        [MULTI, ON, get, EXEC],
        [mode, (b"NOSUCH",), get, ON],
    ]
    return dice.choice(every)


class Pairing:
    """One dialogue with *model* as the framer sees it."""

    def __init__(self, model: RedisModel) -> None:
        self.framing: Framing = RedisProtocol().framer()
        self._model = model
        self._asked: list[tuple[Head | None, Words]] = []  # all commands, with the heads of those that may be paired
        self._due: deque[tuple[int, bytes]] = deque()

    @property
    def left_off(self) -> bool:
        return self.framing.lost is not None or self.framing.unpaired is not None

    def ask(self, *words: bytes) -> None:
        pieces = self.framing.feed(TO_BACKEND, command(*words) if words else b"\r\n")
        heads = [mark for mark, _ in pieces if isinstance(mark, Head)]
        self._asked.append((heads[0] if heads else None, words))
        if reply := self._model.ask(*words):
            self._due.append((len(self._asked) - 1, reply))

    def deliver(self, dice: random.Random, lag: float = 0.0) -> None:
        """Give the framer replies that are due."""
        while self._due and not self.framing.lost and dice.random() >= lag:
            number, reply = self._due.popleft()
            waiting = list(self.framing.waiting)
            pieces = self.framing.feed(TO_CLIENT, reply)
            if self.framing.lost is None:
                paired = [data for mark, data in pieces if isinstance(mark, Head)]
                for head, data in zip(waiting, paired, strict=False):
                    if data:  # without any, it is one that gets no reply any more
                        assert head is self._asked[number][0], f"{reply!r} is not that to {head}"


@pytest.mark.parametrize("name", SERVERS)
def test_no_reply_is_given_to_another_command(name: str) -> None:
    renamed, forbidden, password = SERVERS[name]
    left_off = 0
    for number in range(DIALOGUES):
        dice = random.Random(number)
        pairing = Pairing(RedisModel(renamed, forbidden, password=password))
        lag = dice.choice([0.0, 0.3, 0.8])
        commands = [words for _ in range(dice.randint(1, 9)) for words in some(dice)]
        for words in commands:
            pairing.ask(*words)
            pairing.deliver(dice, lag)
        pairing.deliver(dice)
        for words in (PING, RESET, (b"AUTH", b"secret")):
            pairing.ask(*words)
        pairing.deliver(dice)
        left_off += pairing.left_off
        if not pairing.left_off and name != "has no RESET":
            assert not pairing.framing.waiting, commands
    if not {"EXEC", "UNSUBSCRIBE", "RESET"}.intersection(name.split()):  # without these a client stays silenced
        assert left_off <= DIALOGUES // 50
