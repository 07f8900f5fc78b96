"""What an observer of the pieces sees: which response belongs to which request, first in, first out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from vaurien.framing import Framing, Head, Mark
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction

Words = tuple[str, ...]
Pair = tuple[Words, Words]


class Pairing:
    """Feeds a framing. *pairs* are the fields of request and response, *aside* the bytes of no exchange."""

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self.pairs: list[Pair] = []
        self.unanswered: list[Words] = []
        self.aside = dict.fromkeys(Direction, b"")
        self.given = dict.fromkeys(Direction, 0)
        self.fed = dict.fromkeys(Direction, 0)
        self._asked: deque[Head] = deque()
        self._open = dict.fromkeys(Direction, False)

    def feed(self, direction: Direction, data: bytes) -> bytes:
        """The bytes given back for *data*."""
        self.fed[direction] += len(data)
        given = b""
        for what, piece in self.framing.feed(direction, data):
            given += piece
            self._note(direction, what, piece)
        self.given[direction] += len(given)
        assert self.given[direction] + self.framing.held(direction) == self.fed[direction]
        return given

    def _note(self, direction: Direction, what: Head | Mark, piece: bytes) -> None:
        if isinstance(what, Head):
            assert not self._open[direction]
            self._open[direction] = True
            (self._request if direction is TO_BACKEND else self._response)(what)
        elif what is not Mark.BODY:
            self._open[TO_BACKEND if what is Mark.REQUEST_END else TO_CLIENT] = False
        elif not self._open[direction]:
            self.aside[direction] += piece

    def _request(self, head: Head) -> None:
        if head.answered:
            self._asked.append(head)
        else:
            self.unanswered.append(tuple(head.fields.values()))

    def _response(self, head: Head) -> None:
        request = self._asked.popleft()
        self.pairs.append((tuple(request.fields.values()), tuple(head.fields.values())))

    @property
    def complete(self) -> bool:
        """Every request that waits for a response has one, and every message its end."""
        return not self._asked and not self.framing.waiting and not any(self._open.values())


def pair(framing: Framing, dialogue: Iterable[bytes]) -> Pairing:
    """Feed *dialogue*: request, response, request…"""
    pairing = Pairing(framing)
    for number, data in enumerate(dialogue):
        pairing.feed(TO_CLIENT if number % 2 else TO_BACKEND, data)
    return pairing
