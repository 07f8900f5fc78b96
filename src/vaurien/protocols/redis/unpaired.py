"""Commands of which a framer cannot tell which of the replies answer them, until a reply is certain again.

CLIENT REPLY inside a transaction, behind another one whose effect is not known, leaves too many possibilities. From
there on commands and replies belong to no exchange. What ends that is a reply that only one command can have:
``+RESET`` answers RESET, and ``+PONG`` answers PING outside of a transaction.
"""

from __future__ import annotations

import msgspec

from vaurien.protocols.redis.command import RedisCommand

COMMANDS_LIMIT = 10_000
"""Commands that are remembered; behind more of them no earlier PING or RESET is waited for."""

_ANSWERS = {b"PING": b"+PONG\r\n", b"RESET": b"+RESET\r\n"}
_MAY_SKIP = frozenset((b"CLIENT", b"EXEC"))
"""Commands that may have CLIENT REPLY SKIP silence the next one."""


class _Candidate(msgspec.Struct, eq=False):
    """A PING or RESET that may have the answer which tells it."""

    number: int
    answer: bytes
    certain: bool
    """It has that answer, unless the server refuses all such commands."""


class Unpaired:
    """The commands since replies could not be told apart."""

    def __init__(self) -> None:
        self._names: list[bytes] = []  # of all commands from the oldest candidate on
        self._first = 0  # the number of the first of them
        self._candidates: list[_Candidate] = []

    def add(self, head: RedisCommand, *, certain: bool = True) -> None:
        """Take note of *head*, which the client sends; not *certain*: not all commands before it are known."""
        answer = b"" if head.count else _ANSWERS.get(head.name, b"")
        if answer:
            certain = certain and head.name == b"RESET" and bool(self._names) and self._names[-1] not in _MAY_SKIP
            self._candidates.append(_Candidate(self._first + len(self._names), answer, certain))
        self._names.append(head.name)
        if len(self._names) > COMMANDS_LIMIT:
            self._candidates.clear()
        if not self._candidates:
            self._forget_before(self._first + len(self._names) - 1)

    def reply(self, line: bytes) -> list[bytes] | None:
        """The names of the commands behind the one that the reply *line* answers; ``None``: that is not certain.

        Before those the connection is neither in a transaction nor silenced.
        """
        possible: list[_Candidate] = []
        for candidate in self._candidates:
            if candidate.answer == line:
                possible.append(candidate)
                if candidate.certain:
                    break
        if not possible:
            return None
        if len(possible) > 1:  # the later ones may have been answered by this, or not
            self._candidates.remove(possible[0])
            for candidate in possible:
                candidate.certain = False
            return None
        number = possible[0].number
        self._candidates = [candidate for candidate in self._candidates if candidate.number > number]
        self._forget_before(number)
        return self._names[1:]

    def _forget_before(self, number: int) -> None:
        del self._names[: number - self._first]
        self._first = number
