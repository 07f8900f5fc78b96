"""Other words, whole and in pieces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.running import backend, pair, read, running
from vaurien.behaviors.replace import Replace
from vaurien.model import Fault
from vaurien.testing import Change, Chunk, End, Played, Remove, Sent, play


def pieces(parts: list[bytes], replace: Replace) -> Played:
    return play(replace, [*(Chunk(part) for part in parts if part), End()])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text("ab", max_size=6), max_size=8), st.text("ab", min_size=1, max_size=4), st.text("abc", max_size=3)
)
def test_cuts_make_no_difference(parts: list[str], pattern: str, by: str) -> None:
    whole = "".join(parts)
    played = pieces([part.encode() for part in parts], Replace(pattern=pattern, by=by))
    assert played.to_backend == whole.replace(pattern, by).encode()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("ab1\n", max_size=400), max_size=4))
@pytest.mark.parametrize(
    ("pattern", "by"), [(r"a+b", r"<\g<0>>"), (r"(a)(1)", r"\2\1"), (r"[ab]{1,9}", ""), ("b", "B")]
)
def test_cuts_make_no_difference_to_a_regular_expression(pattern: str, by: str, parts: list[str]) -> None:
    whole = "".join(parts).encode()
    longest = max((len(match[0]) for match in re.finditer(pattern.encode(), whole)), default=0)
    played = pieces([part.encode() for part in parts], Replace(pattern=pattern, by=by, regex=True))
    if longest <= 256:
        assert played.to_backend == re.sub(pattern.encode(), by.encode(), whole)


def test_what_may_be_the_beginning_waits_for_the_rest_but_not_for_long() -> None:
    played = play(Replace(pattern="pong", by="ping"), [Chunk(b"a po"), Chunk(b"ng p", at=0.005), Chunk(b"ong", at=1)])
    assert played.up == (Sent(0, b"a "), Sent(0.005, b"ping "), Sent(0.015, b"p"), Sent(1, b"ong"))


def test_escapes_stand_for_bytes() -> None:
    assert pieces([b"one\r\ntwo\x00"], Replace(pattern=r"\r\n", by=r"\x00")).to_backend == b"one\x00two\x00"


def test_the_end_of_the_stream_takes_along_what_waits() -> None:
    played = play(Replace(pattern="pong", by="ping"), [Chunk(b"po"), End(at=0.001)])
    assert (played.up, played.up_end) == ((Sent(0.001, b"po"),), 0.001)


def test_removed_it_lets_go() -> None:
    script = [Chunk(b"pon"), Chunk(b"po", to_backend=False), Remove(at=0.001), Chunk(b"g", at=0.002)]
    played = play(Replace(pattern="pong", by="ping"), script)
    assert (played.to_backend, played.to_client) == (b"pong", b"po")


def test_changed_it_looks_for_something_else_in_what_waits() -> None:
    script = [Chunk(b"pon"), Change(Replace(pattern="nd", by="!"), at=0.001), Chunk(b"d", at=0.002)]
    assert play(Replace(pattern="pong"), script).to_backend == b"po!"
    script[1] = Change(Replace(), at=0.001)
    assert play(Replace(pattern="pong"), script).to_backend == b"pond"


def test_a_chunk_without_the_pattern_is_no_hit() -> None:
    assert play(Replace(pattern="pong", by="ping"), [Chunk(b"nothing to see")]).hits == 0
    assert play(Replace(), [Chunk(b"nothing to see")]).hits == 0
    assert play(Replace(pattern="see", by="do"), [Chunk(b"nothing to see")]).hits == 1


def test_a_conversation_goes_on_although_what_is_said_may_be_a_beginning() -> None:
    fault = Fault(name="it", behavior="replace", options={"pattern": "pingpong", "by": "-"})
    with backend() as listening, running(listening.getsockname(), "", fault) as proxy:
        with pair(proxy, listening) as (client, server):
            for _ in range(3):
                client.sendall(b"ping")
                assert read(server, 4) == b"ping"
                server.sendall(b"p")
                assert read(client, 1) == b"p"


def test_a_plain_pattern_has_a_bound():
    Replace(pattern="\\x00" * 4096)
    with pytest.raises(ValueError, match="pattern of at most 4096 bytes, this one has 4097"):
        Replace(pattern="x" * 4097)
