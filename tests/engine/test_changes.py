"""What becomes of a fault's hooks, and of what it holds, when it is changed or removed on a live connection."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.running import Running, backend, pair, read, read_all, running
from vaurien.events import Closed, Injected
from vaurien.model import TO_BACKEND, TO_CLIENT, Fault, Stream

KEEPS = "tests.plugins.Keeps"


def fault(behavior: str, *, probability: float = 1.0, stream: Stream = Stream.BOTH, **options: Any) -> Fault:
    return Fault(name="it", behavior=behavior, options=options, probability=probability, stream=stream)


def kept(proxy: Running, size: int) -> None:
    """Until the behavior *Keeps* has so many bytes, of both directions."""

    def unwritten() -> int:
        ways = [proxy.proxy.traffic(direction) for direction in (TO_BACKEND, TO_CLIENT)]
        return sum(way.read - way.written for way in ways)

    proxy.until(lambda: unwritten() == size)


@pytest.mark.parametrize("after", [[], [fault("dummy")], [fault(KEEPS, probability=0.0)]])
def test_what_a_removed_fault_holds_comes_before_what_follows(after: list[Fault]) -> None:
    """Removed, replaced by another behavior under the same name, or not drawn any more."""
    with backend() as listening, running(listening.getsockname(), "", fault(KEEPS)) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"held,")
            kept(proxy, 5)
            proxy.set_policy("", *after)
            client.sendall(b"later")
            assert read(server, 10) == b"held,later"


def test_a_fault_that_leaves_a_direction_releases_what_it_held_there() -> None:
    with backend() as listening, running(listening.getsockname(), "", fault(KEEPS)) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"held,")
            kept(proxy, 5)
            proxy.set_policy("", fault(KEEPS, stream=Stream.DOWNSTREAM))
            client.sendall(b"later")
            assert read(server, 10) == b"held,later"


def test_what_is_released_goes_behind_what_other_faults_hold() -> None:
    late = Fault(name="late", behavior="tests.plugins.Late", options={"after": 0.05})
    with backend() as listening, running(listening.getsockname(), "", fault(KEEPS), late) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"one,")
            kept(proxy, 4)
            proxy.set_policy("", late)
            client.sendall(b"two")
            assert read(server, 7) == b"one,two"


def test_a_fault_that_is_drawn_after_a_change_acts_on_live_connections() -> None:
    limit = "tests.plugins.Limit"
    with backend() as listening, running(listening.getsockname(), "", fault(limit, probability=0.0)) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"undisturbed")
            assert read(server, 11) == b"undisturbed"
            proxy.set_policy("", fault(limit, size=4))
            client.sendall(b"undisturbed")
            assert read_all(server) == b"undi"


@pytest.mark.parametrize("stream", Stream)
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_connection_that_the_dice_have_spared_has_no_chain(stream: Stream, probability: float) -> None:
    passes = fault("tests.plugins.Passes", probability=probability, stream=stream)
    with backend() as listening, running(listening.getsockname(), "", passes) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"up")
            assert read(server, 2) == b"up"
            server.sendall(b"down")
            assert read(client, 4) == b"down"

            def look() -> list[bool]:
                return [any(link.filters for link in one.links) for one in proxy.proxy.live]

            assert proxy.call(look) == [probability > 0]


def test_bytes_that_wait_meet_the_new_options() -> None:
    with backend() as listening, running(listening.getsockname(), "", fault("tests.plugins.Slow")) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"12345678")
            assert read(server, 4) == b"1234"
            proxy.set_policy("", fault("tests.plugins.Slow", wait=1800))
            assert read(server, 2) == b"56"  # half of the rest
            proxy.set_policy("")
            assert read(server, 2) == b"78"


def test_on_start_begins_again_with_the_new_options() -> None:
    with backend() as listening, running(listening.getsockname(), "", fault("tests.plugins.Ends", after=3600)) as proxy:
        with pair(proxy, listening) as (client, server):
            proxy.set_policy("", fault("tests.plugins.Ends", after=0))
            for one in (client, server):
                with pytest.raises(ConnectionResetError):
                    one.recv(1)


@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_reset_of_one_side_is_an_orderly_end_for_the_other(side: str) -> None:
    with backend() as listening, running(listening.getsockname()) as proxy, pair(proxy, listening) as (client, server):
        hit, spared = (client, server) if side == "client" else (server, client)
        proxy.set_policy("", fault("tests.plugins.Ends", side=side))
        with pytest.raises(ConnectionResetError):
            hit.recv(1)
        assert read_all(spared) == b""
        spared.close()
        assert proxy.events.wait(Closed)[0].end == "reset by it"


def test_a_time_beyond_what_the_system_counts_is_just_long() -> None:
    with backend() as listening, running(listening.getsockname(), "", fault("tests.plugins.Slow", wait=1e9)) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"1234")
            assert read(server, 2) == b"12"
            proxy.set_policy("")
            assert read(server, 2) == b"34"


def test_a_side_that_does_not_read_does_not_keep_the_other_ones_bytes() -> None:
    """What is released to both sides goes to each as it reads."""
    with backend() as listening, running(listening.getsockname(), "", fault(KEEPS)) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(bytes(8_000_000))
            server.sendall(b"held,")
            kept(proxy, 8_000_005)
            proxy.set_policy("")
            server.sendall(b"later")
            assert read(client, 10) == b"held,later"
            assert read(server, 8_000_000) == bytes(8_000_000)


def test_removing_a_fault_that_holds_both_ends_is_the_end_of_the_connection() -> None:
    late = fault("tests.plugins.Late", after=3600)
    with backend() as listening, running(listening.getsockname(), "", late) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"up")
            server.sendall(b"down")
            client.shutdown(socket.SHUT_WR)
            server.shutdown(socket.SHUT_WR)
            proxy.until(lambda: all(link.ended for one in proxy.proxy.live for link in one.links))
            proxy.set_policy("")
            assert (read_all(server), read_all(client)) == (b"up", b"down")
            proxy.events.wait(Closed)


def test_faults_that_change_places_do_not_let_what_they_hold_overtake() -> None:
    """The slow one has the second half, the late one behind it the first; the other way round it would come later."""
    slow = Fault("slow", "tests.plugins.Slow", {"wait": 3600.0})
    late = Fault("late", "latency", {"latency": "1h"})
    hurried = Fault("slow", "tests.plugins.Slow", {"wait": 0.0}), Fault("late", "latency", {"latency": 1})
    with backend() as listening, running(listening.getsockname(), "", slow, late) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"first second")
            proxy.events.wait(Injected, 2)
            proxy.set_policy("", *hurried[::-1])
            client.sendall(b" third")
            proxy.set_policy("", *hurried)
            proxy.set_policy("", *hurried[::-1])
            client.sendall(b" fourth")
            proxy.set_policy("", hurried[0])
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b"first second third fourth"


def test_faults_that_change_places_do_so_when_nothing_waits() -> None:
    capitals = Fault("one", "replace", {"pattern": "a", "by": "b"})
    other = Fault("two", "replace", {"pattern": "b", "by": "c"})
    held = Fault("held", "delay", {"sleep": 3600})
    with backend() as listening, running(listening.getsockname(), "", capitals, other, held) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"a")
            proxy.events.wait(Injected)
            proxy.set_policy("", other, capitals, held)
            proxy.set_policy("", other, capitals)
            assert read(server, 1) == b"c"
            client.sendall(b"a")
            assert read(server, 1) == b"b"


LIMIT = {"behavior": "limit_data", "bytes": 4}


@pytest.mark.parametrize("half_closed", [False, True])
@pytest.mark.parametrize("before", [[], [Fault("noop", "tests.plugins.Noop")]])
def test_an_idle_connection_takes_a_change_over_with_its_next_bytes(before: list[Fault], half_closed: bool) -> None:
    with backend() as listening, running(listening.getsockname(), "", *before) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"before")
            assert read(server, 6) == b"before"
            if half_closed:
                client.shutdown(socket.SHUT_WR)
                assert server.recv(1) == b""
            for _ in range(2):
                proxy.set_policy("", fault(**LIMIT))
                proxy.set_policy("")
            proxy.set_policy("", fault(**LIMIT))
            [info] = proxy.call(lambda: proxy.proxy.connections)
            assert info.faults == ("it",)
            assert proxy.call(lambda: proxy.proxy.figures).near_misses["fault it limit_data"].connections == 1
            server.sendall(b"limited")
            assert read_all(client) == b"limi"
    assert [hit.fault for hit in proxy.events.of(Injected)] == ["it"]


def test_a_change_that_is_gone_before_the_next_bytes_leaves_them_alone() -> None:
    with backend() as listening, running(listening.getsockname()) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"before")
            assert read(server, 6) == b"before"
            proxy.set_policy("", fault(**LIMIT))
            proxy.set_policy("")
            for source, destination in ((client, server), (server, client)):
                source.sendall(b"not limited")
                assert read(destination, 11) == b"not limited"
            [info] = proxy.call(lambda: proxy.proxy.connections)
            assert info.faults == ()
    assert proxy.events.of(Injected) == []


def test_a_connection_that_ends_before_its_next_bytes_was_known_to_the_fault() -> None:
    with backend() as listening, running(listening.getsockname()) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"before")
            assert read(server, 6) == b"before"
            proxy.set_policy("", fault(**LIMIT))
            proxy.call(proxy.proxy.drop_connections)
            proxy.events.wait(Closed)
        assert proxy.call(lambda: proxy.proxy.figures).near_misses["fault it limit_data"].connections == 1


def test_a_mix_joins_an_idle_connection_at_its_next_request() -> None:
    with backend() as listening, running(listening.getsockname()) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"before")
            assert read(server, 6) == b"before"
            server.sendall(b"answer")
            assert read(client, 6) == b"answer"
            proxy.set_policy("100:error")
            client.sendall(b"request")
            assert read(client, 1000)
