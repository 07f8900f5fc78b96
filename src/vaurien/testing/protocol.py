"""What every protocol has to keep to, as one check for the tests of a plugin."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from vaurien import options as declared
from vaurien.framing import Protocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction
from vaurien.testing import mutations
from vaurien.testing.answers import check_answers
from vaurien.testing.declaration import check_options, must
from vaurien.testing.framing import Segment, Transcript, check_framing, recut, short, transcribe
from vaurien.testing.memory import check_memory

POSITIONS = 48
"""At how many places a conversation is cut in two, and cut off."""


def check_protocol(
    protocol: type[Protocol], conversations: Sequence[Sequence[bytes]] = (), options: Mapping[str, Any] | None = None
) -> None:
    """Raise AssertionError, naming law and cut, unless *protocol* keeps to the contract of `vaurien.framing`.

    Each of *conversations* is what client and backend say in turn, the client first: ``[request, response, request…]``,
    with ``b""`` for a side that says nothing. They show the protocol as it is spoken: nothing in them is lost, and
    every request that expects a response has one in the end. Without them only the declaration and arbitrary bytes are
    checked, which says little. It is built with *options*, given as a user gives them, over its defaults.
    """
    _check_declaration(protocol)
    made: Protocol = declared.build(protocol, options or {}, owner=f"protocol {protocol.__name__!r}")
    random = Random(protocol.__name__)  # noqa: S311 - the same bytes each time
    requests = 0
    for conversation in conversations:
        segments = [(not number % 2, data) for number, data in enumerate(conversation) if data]
        must(bool(segments), "a conversation without bytes shows nothing")
        with _telling(segments):
            requests += _check_conversation(made, segments, random)
        for mutated in mutations.mutated(random, segments):
            with _telling(mutated):
                check_framing(made, mutated, (1,))
        for run in mutations.runs(random, segments):
            with _telling(run):
                transcribe(made, recut(run, 4099), "cut into pieces of 4099 bytes")
    must(bool(requests or not conversations), f"{protocol.__name__}: no request is found in any conversation")
    for anything in mutations.random_bytes(random):
        with _telling(anything):
            check_framing(made, anything, (1,))


@contextlib.contextmanager
def _telling(segments: Sequence[Segment]) -> Iterator[None]:
    """What breaks a law is told with it, as a note."""
    try:
        yield
    except AssertionError as error:
        said = (f"{'to the backend' if side else 'to the client '} {short(data)}" for side, data in segments)
        error.add_note("\n".join(said))
        raise


def _check_declaration(protocol: type[Protocol]) -> None:
    name = protocol.__name__
    check_options(protocol)
    for attribute in ("error_codes", "fields", "response_fields"):
        names = getattr(protocol, attribute)
        words = isinstance(names, tuple) and all(isinstance(one, str) for one in names)
        must(words and len(set(names)) == len(names), f"{name}.{attribute} is not a tuple of different names: {names}")
    extra = set(protocol.response_fields) - set(protocol.fields)
    must(not extra, f"{name}.response_fields has {sorted(extra)}, which `fields` has not")


def _check_conversation(protocol: Protocol, segments: Sequence[Segment], random: Random) -> int:
    """How many requests are found in a conversation that keeps the laws."""
    whole = check_framing(protocol, segments)
    if whole.framing.lost is not None:
        whole.fail(f"a conversation of its own is lost: {whole.framing.lost}")
    if whole.framing.waiting:
        whole.fail(f"requests in a conversation have no response: {whole.waiting()}")
    _declares_its_fields(whole)
    apart = list(_messages_apart(whole, segments))
    whole.agree(transcribe(protocol, apart, "each message for itself", recognizing=True), "law 6, on recognition")
    _cut_anywhere(whole, segments, random)
    _shares_nothing(whole, segments)
    check_memory(protocol, segments)
    check_answers(whole, segments)
    return len(whole.requests)


def _declares_its_fields(whole: Transcript) -> None:
    """What a head of a request can be asked is declared, or no match may ask it."""
    known = whole.protocol.fields
    for head, _ in whole.requests:
        for name in head.fields:
            if name not in known and not any(one.endswith(".") and name.startswith(one) for one in known):
                whole.fail(f"a head has the field {name!r}, which is not in `fields`: {', '.join(known) or 'none'}")


def _messages_apart(whole: Transcript, segments: Sequence[Segment]) -> Iterator[Segment]:
    """*segments* cut before each request."""
    starts, passed = {start for _, start in whole.requests}, 0
    for side, data in segments:
        if side:
            cuts = [0, *(start - passed for start in sorted(starts) if 0 < start - passed < len(data)), len(data)]
            passed += len(data)
            yield from ((side, data[start:end]) for start, end in itertools.pairwise(cuts))
        else:
            yield side, data


def _cut_anywhere(whole: Transcript, segments: Sequence[Segment], random: Random) -> None:
    """Law 5 for cuts at any byte; and a connection may break there, too."""
    places = [(number, at) for number, (_, data) in enumerate(segments) for at in range(1, len(data))]
    for number, at in random.sample(places, min(POSITIONS, len(places))):
        side, data = segments[number]
        where = f"of segment {number + 1}, {'to the backend' if side else 'to the client'}"
        before, first, second = segments[:number], (side, data[:at]), (side, data[at:])
        cut = transcribe(whole.protocol, [*before, first, second, *segments[number + 1 :]], f"cut at byte {at} {where}")
        whole.agree(cut, "law 5, on cuts")
        transcribe(whole.protocol, [*before, first], f"ended at byte {at} {where}")


def _shares_nothing(whole: Transcript, segments: Sequence[Segment]) -> None:
    """What happens on one connection has no say in what happens on another."""
    both = [Transcript(whole.protocol, f"on connection {number} of two at a time") for number in (1, 2)]
    for side, data in recut(segments, 16):
        for one in both:
            one.feed(Direction(side), data)
    for one in both:
        one.end(TO_BACKEND)
        one.end(TO_CLIENT)
        whole.agree(one, "connections share no state")
