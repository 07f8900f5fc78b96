"""What an observer of the pieces sees: which response belongs to which request, first in, first out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from vaurien.framing import Framing, Head, Mark

Words = tuple[str, ...]
Pair = tuple[Words, Words]


class Pairing:
    """Feeds a framing. *pairs* are the fields of request and response, *aside* the bytes of no exchange."""

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self.pairs: list[Pair] = []
        self.unanswered: list[Words] = []
        self.aside = {True: b"", False: b""}
        self.given = {True: 0, False: 0}
        self.fed = {True: 0, False: 0}
        self._asked: deque[Head] = deque()
        self._open = {True: False, False: False}

    def feed(self, to_backend: bool, data: bytes) -> bytes:
        """The bytes given back for *data*."""
        self.fed[to_backend] += len(data)
        given = b""
        for what, piece in self.framing.feed(to_backend, data):
            given += piece
            self._note(to_backend, what, piece)
        self.given[to_backend] += len(given)
        assert self.given[to_backend] + self.framing.held(to_backend) == self.fed[to_backend]
        return given

    def _note(self, to_backend: bool, what: Head | Mark, piece: bytes) -> None:
        if isinstance(what, Head):
            assert not self._open[to_backend]
            self._open[to_backend] = True
            (self._request if to_backend else self._response)(what)
        elif what is not Mark.BODY:
            self._open[what is Mark.REQUEST_END] = False
        elif not self._open[to_backend]:
            self.aside[to_backend] += piece

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
        pairing.feed(not number % 2, data)
    return pairing
