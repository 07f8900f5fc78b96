"""Delays, and how they are distributed."""

from __future__ import annotations

import math
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.running import backend, nothing_comes, pair, read, read_all, running
from vaurien import hooks
from vaurien.behaviors.latency import Latency
from vaurien.events import Closed, Injected
from vaurien.model import TO_CLIENT, Fault, Scope, Stream
from vaurien.testing import Change, Chunk, End, Remove, Sent, play

COUNT = 2000


def hooked(monkeypatch) -> list[bytes]:
    """The chunks that the hook sees."""
    seen: list[bytes] = []
    made = Latency.on_data

    async def on_data(fault: Latency, link: hooks.Link, data: bytes) -> None:
        seen.append(data)
        await made(fault, link, data)

    monkeypatch.setattr(Latency, "on_data", on_data)
    return seen


# Of the Kolmogorov-Smirnov statistic for many samples, at a chance of error of 1 in 1000 (Smirnov 1948).
CRITICAL = 1.95 / math.sqrt(COUNT)


def delays(**options: Any) -> list[float]:
    """Milliseconds, of chunks so far apart that none waits for another."""
    played = play(Latency(**options), [Chunk(b"x", at=100.0 * index) for index in range(COUNT)])
    return [1000 * (sent.at - 100.0 * index) for index, sent in enumerate(played.up)]


def distance(samples: list[float], share_below: Callable[[float], float]) -> float:
    """The Kolmogorov-Smirnov statistic: the largest distance between the samples' distribution and the declared one."""
    shares = [share_below(sample) for sample in sorted(samples)]
    return max(max(share - index / COUNT, (index + 1) / COUNT - share) for index, share in enumerate(shares))


DECLARED: dict[str, Callable[[float], float]] = {
    "uniform": lambda ms: min(1.0, max(0.0, (ms - 950) / 100)),
    "normal": lambda ms: statistics.NormalDist(1000, 50).cdf(ms),
    "exponential": lambda ms: 1 - math.exp(-(ms - 1000) / 50),
    "pareto": lambda ms: 1 - (1 + (ms - 1000) / 100) ** -3,
}


@pytest.mark.parametrize("distribution", list(DECLARED))
def test_delays_are_distributed_as_declared(distribution: str) -> None:
    samples = delays(latency=1000, jitter=50, distribution=distribution)
    assert distance(samples, DECLARED[distribution]) < CRITICAL


def test_the_statistic_tells_one_distribution_from_another() -> None:
    samples = delays(latency=1000, jitter=50, distribution="normal")
    assert distance(samples, DECLARED["uniform"]) > CRITICAL


@pytest.mark.parametrize("options", [{"jitter": 0}, {"jitter": 50, "distribution": "constant"}])
def test_without_jitter_all_are_the_same(options: dict[str, Any]) -> None:
    assert delays(latency=20, **options) == pytest.approx([20.0] * COUNT)


def test_correlated_delays_resemble_each_other_and_keep_their_distribution() -> None:
    samples = delays(latency=1000, jitter=50, distribution="normal", correlation=0.8)
    assert statistics.correlation(samples[:-1], samples[1:]) == pytest.approx(0.8, abs=0.05)
    assert statistics.mean(samples) == pytest.approx(1000, abs=10)
    assert statistics.stdev(samples) == pytest.approx(50, rel=0.1)
    independent = delays(latency=1000, jitter=50, distribution="normal")
    assert abs(statistics.correlation(independent[:-1], independent[1:])) < 0.1


def test_wholly_correlated_delays_are_all_the_first() -> None:
    samples = delays(latency=1000, jitter=50, correlation=1)
    assert samples == pytest.approx([samples[0]] * COUNT)


def test_negative_delays_are_none() -> None:
    samples = delays(latency=0, jitter=50)
    assert min(samples) == 0
    assert 0.4 < samples.count(0) / COUNT < 0.6


def test_a_chunk_does_not_overtake_the_one_before_it() -> None:
    script = [Chunk(bytes([index]), at=index / 1000) for index in range(250)]
    played = play(Latency(latency=50, jitter=50), script)
    assert played.to_backend == bytes(range(250))
    assert [sent.at for sent in played.up] == sorted(sent.at for sent in played.up)


def test_chunks_are_under_way_together() -> None:
    played = play(Latency(latency=100), [Chunk(b"a"), Chunk(b"b", at=0.01), Chunk(b"c", at=0.02), End(at=0.03)])
    assert [sent.at for sent in played.up] == pytest.approx([0.1, 0.11, 0.12])
    assert played.up_end == pytest.approx(0.13)


def test_the_end_takes_as_long_as_a_chunk() -> None:
    assert play(Latency(latency=100), [End(at=1)]).up_end == pytest.approx(1.1)
    ends = [play(Latency(latency=100, jitter=50), [End()], number=number).up_end or 0.0 for number in range(1, 200)]
    assert 0.05 <= min(ends) < 0.06
    assert 0.14 < max(ends) <= 0.15


def test_the_end_does_not_overtake_what_is_before_it() -> None:
    for number in range(1, 50):
        played = play(Latency(latency=100, jitter=100), [Chunk(b"a"), End(at=0.001)], number=number)
        assert played.up_end is not None
        assert played.up_end >= played.up[0].at


def test_removed_it_lets_go_of_the_end_too() -> None:
    assert play(Latency(latency=10_000), [End(at=1), Remove(at=2)]).up_end == 2
    assert play(Latency(latency=10_000), [Chunk(b"a"), End(at=1), Remove(at=2)]).up_end == 2


def test_on_the_wire_the_end_comes_late_and_the_other_direction_works_meanwhile() -> None:
    fault = Fault("far", "latency", {"latency": "1h"}, stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", fault) as proxy:
        with pair(proxy, listening) as (client, server):
            client.shutdown(socket.SHUT_WR)
            proxy.events.wait(Injected)
            server.sendall(b"still here")
            assert read(client, 10) == b"still here"
            assert nothing_comes(server)
            proxy.set_policy("")
            assert server.recv(1) == b""


@pytest.mark.parametrize("words", [b"", b"last words"])
def test_who_ends_the_connection_does_not_wait_for_the_end_of_a_stream(words: bytes) -> None:
    fault = Fault("far", "latency", {"latency": "1h"}, stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(words)
            assert read(server, len(words)) == words
            proxy.set_policy("", fault)
            client.shutdown(socket.SHUT_WR)
            proxy.events.wait(Injected)
            proxy.set_policy("", fault, Fault("limit", "limit_time", {"after": 1}))
            assert client.recv(1) == server.recv(1) == b""
            assert proxy.events.wait(Closed)[0].end == "closed by limit"


def test_an_end_that_the_dice_spare_is_passed_on_at_once() -> None:
    spared = Fault("far", "latency", {"latency": "1h"}, probability=0.0, scope=Scope.CHUNK)
    with backend() as listening, running(listening.getsockname(), "", spared) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"a")
            assert read(server, 1) == b"a"
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
            assert not proxy.events.of(Injected)


def test_a_change_is_for_what_arrives_later() -> None:
    played = play(Latency(latency=100), [Chunk(b"a"), Change(Latency(latency=500), at=0.05), Chunk(b"b", at=0.06)])
    assert [sent.at for sent in played.up] == pytest.approx([0.1, 0.56])


def test_removed_it_lets_go_of_everything_in_order() -> None:
    played = play(Latency(latency=10_000), [Chunk(b"a"), Chunk(b"b", at=1), Remove(at=2), Chunk(b"c", at=3)])
    assert played.up == (Sent(2, b"a"), Sent(2, b"b"), Sent(3, b"c"))


def test_directions_are_drawn_by_themselves() -> None:
    """Correlation is with the delay before it in the same direction."""
    script = [Chunk(b"x", at=100.0 * index, to_backend=index % 2 == 0) for index in range(400)]
    played = play(Latency(latency=1000, jitter=50, correlation=1), script)
    up = {round(sent.at % 100, 6) for sent in played.up}
    down = {round(sent.at % 100, 6) for sent in played.down}
    assert (len(up), len(down)) == (1, 1)
    assert up != down


def test_every_chunk_that_is_late_is_a_hit() -> None:
    assert play(Latency(latency=1), [Chunk(b"a"), Chunk(b"b", at=1)]).hits == 2
    assert play(Latency(), [Chunk(b"a"), Chunk(b"b", at=1)]).hits == 0


@pytest.mark.parametrize("fixed", [True, False])
def test_chunks_that_have_but_to_wait_need_no_hook(fixed: bool, monkeypatch) -> None:
    """They are the same hits, and a change or a removal does the same to them."""
    seen = hooked(monkeypatch)
    if not fixed:
        monkeypatch.setattr(Latency, "fixed_delay", None)
    far = Fault("far", "latency", {"latency": 20}, stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", far) as proxy:
        with pair(proxy, listening) as (client, server):
            for word in (b"one", b"three"):
                client.sendall(word)
                assert read(server, len(word)) == word
            hits = [(event.fault, event.stream, event.offset) for event in proxy.events.of(Injected)]
            assert hits == [("far", Stream.UPSTREAM, 0), ("far", Stream.UPSTREAM, 3)]
            assert seen == ([] if fixed else [b"one", b"three"])
            proxy.set_policy("", Fault("far", "latency", {"latency": 20, "jitter": 1}, stream=Stream.UPSTREAM))
            client.sendall(b"jitter")
            assert read(server, 6) == b"jitter"
            assert seen[-1] == b"jitter"
            proxy.set_policy("", Fault("far", "latency", {"latency": "1h"}, stream=Stream.UPSTREAM))
            client.sendall(b"held")
            proxy.events.wait(Injected, 4)
            assert nothing_comes(server)
            proxy.set_policy("")
            assert read(server, 4) == b"held"
            assert (seen[-1] == b"held") is not fixed


def test_a_full_line_takes_no_more_until_something_left() -> None:
    """So each chunk, which fills it, takes the whole delay, and no hook is needed to wait."""
    words = bytes(range(256)) * 8000
    far = Fault("far", "latency", {"latency": 5})
    with backend() as listening, running(listening.getsockname(), "", far, delay_line=10) as proxy:
        with pair(proxy, listening) as (client, server):
            sent = threading.Thread(target=client.sendall, args=[words])
            began = time.monotonic()
            sent.start()
            assert read(server, len(words)) == words
            took = time.monotonic() - began
            sent.join()
        hits = len(proxy.events.of(Injected))
        assert hits > len(words) // (128 * 1024)
        assert took > 0.0049 * hits


@pytest.mark.parametrize("change", ["nothing", "removed", "joined"])
def test_bulk_is_late_complete_and_in_order(change: str) -> None:
    """Also where the fault is removed, or gets another one behind it, while megabytes are on their way."""
    words = random.Random(1).randbytes(16 << 20)
    far = Fault("far", "latency", {"latency": 30 if change == "nothing" else 300}, stream=Stream.DOWNSTREAM)
    with backend() as listening, running(listening.getsockname(), "", far) as proxy:
        with pair(proxy, listening) as (client, server):

            def answer() -> None:
                server.sendall(words)
                server.shutdown(socket.SHUT_WR)

            answering = threading.Thread(target=answer)
            answering.start()
            if change != "nothing":
                proxy.until(lambda: proxy.proxy.traffic(TO_CLIENT).read > len(words) // 2)
                proxy.set_policy("", *([far, Fault("more", "latency", {"latency": 1})] if change == "joined" else []))
            assert read_all(client) == words
            answering.join()
            passed = proxy.proxy.traffic(TO_CLIENT)
            assert (passed.read, passed.written) == (len(words), len(words))
