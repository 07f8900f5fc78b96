"""How cost grows: with the lane, with workers, with clients, with faults. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import measures
from benchmarks.contestants import (
    EVERYBODY,
    HAPROXY_ALONE,
    LOOPS,
    NO_PROXY,
    Contestant,
    with_handler,
    with_passes,
    with_workers,
)
from benchmarks.rows.row import Row

GROUP = "growth"
CLIENTS = (1, 10, 100, 1000, 5000)
FAULTS = (0, 1, 2, 5, 10)
ROUNDS = 2
"""Fewer than what is asked gets: here it is the shape that counts."""

LANES: Sequence[Contestant] = [
    NO_PROXY,
    HAPROXY_ALONE,
    *(one for loop in LOOPS for one in (Contestant(loop), with_passes(loop, 1), with_handler(loop))),
]
"""Direct, hooked, blocking."""

PROCESSES: Sequence[Contestant] = [
    NO_PROXY,
    HAPROXY_ALONE,
    *(one for loop in LOOPS for one in (Contestant(loop), with_workers(loop, 2))),
]
"""One process, and two workers."""

GROWTH: Sequence[Row] = (
    Row("lanes-redis", "three lanes: redis GET, 50 clients", GROUP, LANES, measures.redis(50), rounds=ROUNDS),
    Row("lanes-http", "three lanes: HTTP, 64 clients", GROUP, LANES, measures.http(64, keep_alive=True), rounds=ROUNDS),
    Row(
        "lanes-bulk",
        "three lanes: one stream to the client",
        GROUP,
        LANES,
        measures.bulk(to_backend=False),
        rounds=ROUNDS,
    ),
    Row("workers-redis", "workers: redis GET, 50 clients", GROUP, PROCESSES, measures.redis(50), rounds=ROUNDS),
    Row(
        "workers-connections",
        "workers: HTTP, 64 clients, a new connection each",
        GROUP,
        PROCESSES,
        measures.http(64, keep_alive=False),
        rounds=ROUNDS,
    ),
    *(
        Row(f"clients-{count}", f"redis GET, clients: {count}", GROUP, EVERYBODY, measures.redis(count), rounds=ROUNDS)
        for count in CLIENTS
    ),
    Row(
        "faults",
        "redis GET, 50 clients, no-op faults",
        GROUP,
        [with_passes(loop, count) for loop in LOOPS for count in FAULTS],
        measures.redis(50),
        rounds=ROUNDS,
    ),
)
