"""Ends that come late."""

from __future__ import annotations

from tests.running import backend, pair, read, read_all, running
from vaurien.behaviors.slow_close import SlowClose
from vaurien.model import Fault
from vaurien.testing import Change, Chunk, End, FakeConnection, FakeLink, Remove, Sent, play


def test_the_end_comes_late_and_the_bytes_in_time() -> None:
    played = play(SlowClose(delay=500), [Chunk(b"x"), End(at=1), Chunk(b"y", at=1.25, to_backend=False)])
    assert (played.up, played.up_end) == ((Sent(0, b"x"),), 1.5)
    assert (played.down, played.down_end) == ((Sent(1.25, b"y"),), None)


def test_removed_the_end_is_passed_on_at_once() -> None:
    assert play(SlowClose(delay=500), [End(at=1), Remove(at=1.25)]).up_end == 1.25


def test_another_delay_counts_from_the_same_end() -> None:
    assert play(SlowClose(delay=500), [End(at=1), Change(SlowClose(delay=1000), at=1.25)]).up_end == 2.0
    assert play(SlowClose(delay=500), [End(at=1), Change(SlowClose(delay=125), at=1.25)]).up_end == 1.25


def test_only_an_end_that_waits_is_a_hit() -> None:
    assert play(SlowClose(delay=500), [Chunk(b"x")]).hits == 0
    assert play(SlowClose(), [End()]).hits == 0
    assert play(SlowClose(delay=500), [End()]).hits == 1


def test_an_end_that_the_machine_has_delayed_longer_is_a_hit_too() -> None:
    connection = FakeConnection()
    link = FakeLink(connection, True)
    link.arrive(None)
    connection.clock.advance(1)
    connection.clock.run(SlowClose(delay=500).on_eof(link))
    assert (connection.hits, connection.clock.now()) == (1, 1)


def test_the_other_direction_works_meanwhile() -> None:
    fault = Fault(name="it", behavior="slow_close", options={"delay": "1h"})
    with backend() as listening, running(listening.getsockname(), "", fault) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"question")
            client.shutdown(1)
            assert read(server, 8) == b"question"
            server.sendall(b"answer")
            assert read(client, 6) == b"answer"
            proxy.set_policy("")
            assert read_all(server) == b""
