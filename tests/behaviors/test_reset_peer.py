"""Resets: when, after how much, and for whom."""

from __future__ import annotations

import pytest

from tests.running import Echo, backend, pair, read, read_all, running
from vaurien.behaviors.reset_peer import ResetPeer
from vaurien.events import Closed
from vaurien.model import Fault, Stream
from vaurien.testing import Change, Chunk, End, Remove, play


def fault(stream: Stream = Stream.BOTH, probability: float = 1.0, **options: object) -> Fault:
    return Fault(name="it", behavior="reset_peer", options=options, stream=stream, probability=probability)


def test_the_first_chunk_starts_the_clock_and_nothing_passes_meanwhile() -> None:
    played = play(ResetPeer(timeout=1000), [Chunk(b"x", at=2 + index / 8) for index in range(20)])
    assert (played.end, played.ended_at, played.hits, played.up) == ("reset", 3.0, 1, ())


def test_both_directions_share_the_clock() -> None:
    script = [Chunk(b"x", at=1, to_backend=False), Chunk(b"y", at=1.5)]
    played = play(ResetPeer(timeout=1000), script)
    assert (played.ended_at, played.to_backend, played.to_client) == (2.0, b"", b"")


def test_an_end_of_the_stream_starts_the_clock_too() -> None:
    played = play(ResetPeer(timeout=1000), [End(at=1)])
    assert (played.end, played.ended_at) == ("reset", 2.0)


def test_an_idle_connection_stays_open() -> None:
    assert play(ResetPeer(timeout=1000), []).end is None


def test_without_options_the_reset_comes_at_once() -> None:
    assert play(ResetPeer(), []).end == "reset"


@pytest.mark.parametrize("side", ["client", "backend"])
def test_it_may_spare_a_side(side: str) -> None:
    assert play(ResetPeer(side=side), []).end == f"reset {side}"  # type: ignore[arg-type]


def test_exactly_so_many_bytes_pass_before() -> None:
    script = [Chunk(b"abc"), Chunk(b"xyz", to_backend=False), Chunk(b"def", at=1)]
    played = play(ResetPeer(after_bytes=8), script)
    assert (played.to_backend, played.to_client, played.ended_at) == (b"abcde", b"xyz", 1)


def test_the_time_counts_from_the_last_of_them() -> None:
    played = play(ResetPeer(after_bytes=2, timeout=500), [Chunk(b"abc", at=1), Chunk(b"def", at=1.1)])
    assert (played.to_backend, played.end, played.ended_at) == (b"ab", "reset", 1.5)


@pytest.mark.parametrize("after", [0, 2])
def test_removed_before_it_is_over_nothing_is_lost(after: int) -> None:
    played = play(ResetPeer(after_bytes=after, timeout=500), [Chunk(b"abc"), Chunk(b"def", at=0.1), Remove(at=0.2)])
    assert (played.to_backend, played.end) == (b"abcdef", None)


def test_another_time_counts_from_the_same_start() -> None:
    played = play(ResetPeer(timeout=1000), [Chunk(b"x"), Change(ResetPeer(timeout=2000), at=0.5)])
    assert (played.ended_at, played.to_backend) == (2.0, b"")


def test_both_sides_of_new_connections_are_reset() -> None:
    with backend() as listening, running(listening.getsockname(), "", fault()) as proxy:
        with pytest.raises(ConnectionResetError), proxy.connect() as client:  # connect(2) itself may say so
            client.recv(1)
        server, _ = listening.accept()
        with pytest.raises(ConnectionResetError), server:
            server.recv(1)


@pytest.mark.parametrize("stream", list(Stream))
def test_both_sides_of_live_connections_are_reset(stream: Stream) -> None:
    with backend() as listening, running(listening.getsockname()) as proxy, pair(proxy, listening) as (client, server):
        client.sendall(b"hello")
        assert read(server, 5) == b"hello"
        proxy.set_policy("", fault(stream))
        for one in (client, server):
            with pytest.raises(ConnectionResetError):
                one.recv(1)
        assert proxy.events.wait(Closed)[0].end == "reset by it"


@pytest.mark.parametrize("stream", [Stream.UPSTREAM, Stream.DOWNSTREAM])
def test_nothing_passes_in_its_direction_and_all_in_the_other(stream: Stream) -> None:
    with backend() as listening, running(listening.getsockname(), "", fault(stream, timeout=200)) as proxy:
        with pair(proxy, listening) as (client, server):
            speaker, silenced = (client, server) if stream is Stream.UPSTREAM else (server, client)
            silenced.sendall(b"passes")
            assert read(speaker, 6) == b"passes"
            speaker.sendall(b"does not")
            for one in (silenced, speaker):
                with pytest.raises(ConnectionResetError):
                    one.recv(1)
        assert proxy.events.wait(Closed)[0].end == "reset by it"


def test_a_connection_that_it_is_not_drawn_for_ends_in_order() -> None:
    """Not even the options of the sockets are touched."""
    with backend() as listening, running(listening.getsockname(), "", fault(probability=0.0)) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"hello")
            client.close()
            assert read_all(server) == b"hello"
        proxy.set_policy("", fault(probability=0.0, timeout=1))
        with pair(proxy, listening) as (client, server):
            server.sendall(b"hello")
            server.close()
            assert read_all(client) == b"hello"
        assert [closed.hits for closed in proxy.events.wait(Closed, 2)] == [{}, {}]


def test_some_are_drawn_and_the_others_live_on() -> None:
    with Echo() as echo, running(echo.address, "", fault(probability=0.5)) as proxy:
        ends = []
        for _ in range(30):
            try:
                with proxy.connect() as client:
                    client.sendall(b"x")
                    ends.append(read(client, 1))
            except ConnectionError:
                ends.append(b"")
        assert {*ends} == {b"x", b""}


def test_exactly_so_many_bytes_arrive_before_a_reset() -> None:
    with backend() as listening, running(listening.getsockname(), "", fault(after_bytes=5, timeout=50)) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"hello, world")
            assert read(server, 5) == b"hello"
            for one in (client, server):
                with pytest.raises(ConnectionResetError):
                    one.recv(1)
