"""What a protocol puts in the place of messages: its own errors, and heads for another backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import msgspec

from vaurien.framing import Framing, Head, Mark, Part, Piece, Protocol, Turns
from vaurien.model import TO_BACKEND, TO_CLIENT, Address, Direction
from vaurien.testing.framing import Segment, Transcript

ELSEWHERE = Address("192.0.2.1", 7)
"""A backend for `Protocol.rewrite`, of RFC 5737."""


class _Request(msgspec.Struct, frozen=True):
    """A request of a conversation: *before* it is what was said till then, and *data* are all its bytes."""

    head: Head
    before: Sequence[Segment]
    data: bytes

    def begun(self, protocol: Protocol) -> tuple[Framing, list[Piece]]:
        """A framing that has read it, and no response yet; and the pieces of it."""
        framing = protocol.framer()
        silent = []
        for to_backend, data in self.before:
            pieces = framing.feed(Direction(to_backend), data)
            silent += [what for what, _ in pieces if isinstance(what, Head) and what.request and not what.answered]
        begun = framing.feed(TO_BACKEND, self.data)
        for head in silent:  # whether a server has obeyed them may not be known yet
            framing.withdraw(head)
        return framing, begun


def check_answers(whole: Transcript, segments: Sequence[Segment]) -> None:
    """For each request of *segments*, an error is one whole response, and what it is rewritten as one head."""
    protocol = whole.protocol
    own = type(protocol).error_reply is not Protocol.error_reply  # else it has no language of errors
    for request in _requests(whole, segments):
        for code in (None, *protocol.error_codes) if own else ():
            _check_error(whole, request, code)
        _check_rewritten(whole, request)


def _requests(whole: Transcript, segments: Sequence[Segment]) -> Iterator[_Request]:
    starts = [start for _, start in whole.requests]
    ends = [*starts, len(whole.given[TO_BACKEND])][1:]
    for (head, start), after in zip(whole.requests, ends, strict=True):
        passed = 0
        for number, (to_backend, data) in enumerate(segments):
            if to_backend and start < passed + len(data):
                before = [*segments[:number], *([(True, data[: start - passed])] if start > passed else [])]
                yield _Request(head, before, data[start - passed : after - passed])
                break
            passed += len(data) if to_backend else 0


def _check_error(whole: Transcript, request: _Request, code: str | None) -> None:
    framing, pieces = request.begun(whole.protocol)
    head = next((what for what, _ in pieces if isinstance(what, Head)), None)
    if head is None:  # its bytes are in two segments, with an answer between them
        return
    what = f"the error {code or 'by chance'} for {head.data!r}"
    reply, again = (whole.protocol.error_reply(head, Random(1), code) for _ in range(2))  # noqa: S311 - repeatable
    if reply != again:
        whole.fail(f"{what} is {reply!r}, and {again!r} with the same seed")
    for other in list(framing.waiting):
        if other is not head:  # earlier ones are answered before
            framing.withdraw(other)
    read = framing.feed(TO_CLIENT, reply.data)
    if isinstance(framing, Turns):  # a turn is over when the next one begins
        read += framing.end(TO_CLIENT)
    if framing.lost is not None:
        whole.fail(f"{what} is {reply.data!r}, which its own framer cannot read: {framing.lost}")
    heads = sum(isinstance(part, Head) for part, _ in read)
    ends = sum((part.mark if isinstance(part, Part) else part) is Mark.RESPONSE_END for part, _ in read)
    expected = int(head.answered or head.one_way)  # an answer that is not awaited may be sent all the same
    if heads != expected or framing.held(TO_CLIENT) or not (ends == expected or reply.close):
        wanted = "one whole response" if expected else "no response, Reply(b''), to what has answered=False"
        whole.fail(f"{what} is {reply.data!r}: heads {heads}, ends {ends}; expected {wanted}")


def _check_rewritten(whole: Transcript, request: _Request) -> None:
    rewritten = whole.protocol.rewrite(request.head, ELSEWHERE)
    if rewritten is None:
        return
    other = msgspec.structs.replace(request, data=rewritten + request.data[len(request.head.data) :])
    framing, pieces = other.begun(whole.protocol)
    heads = [what.data for what, _ in pieces if isinstance(what, Head)]
    if framing.lost is not None or heads != [rewritten]:
        whole.fail(f"{request.head.data!r} is rewritten as {rewritten!r}, which is not one head but {heads}")
