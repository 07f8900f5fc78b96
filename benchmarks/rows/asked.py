"""Speed, memory and start, as ratios to HAProxy's where it can do the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import control, measures, start
from benchmarks.contestants import (
    BARE_THREADS,
    DEFAULT,
    EVERYBODY,
    HAPROXY_ALONE,
    HAPROXY_WITH_TLS,
    LOOPS,
    NGHTTPX,
    VAURIEN,
    WITH_TLS,
    Contestant,
    with_fault,
    with_handler,
    with_passes,
    with_workers,
)
from benchmarks.measures import IDLE
from benchmarks.rows.row import Row, Target, Value, against_haproxy, of, ratio

GROUP = "asked"
LATENCY = 10
"""Milliseconds."""


def _requests_and_cpu() -> list[Target]:
    requests = against_haproxy(measures.RATE, 1.0)
    return requests + against_haproxy(measures.CPU_REQUEST, 1.05, at_least=False)


def _passes_against_none() -> list[Target]:
    return [
        Target(
            loop,
            f"{measures.RATE}, {count} / no fault",
            ratio(with_passes(loop, count), Contestant(loop), measures.RATE),
            limit,
        )
        for count, limit in ((1, 0.9), (5, 0.75))
        for loop in LOOPS
    ]


def _memory(count: int, limit: float) -> list[Target]:
    title = f"{measures.MEMORY}, {count} faults" if count else measures.MEMORY
    who = [with_passes(loop, count) for loop in LOOPS]
    return [Target(one.kind, title, of(one, measures.MEMORY), limit, False, "KB") for one in who]


def _start() -> list[Target]:
    limits = ((start.IMPORT, 30), (start.HELP, 150), (start.READY, 30), (start.FIRST, 300), (start.PLUGIN, 5))
    return [Target(DEFAULT.kind, figure, of(DEFAULT, figure), limit, False, "ms") for figure, limit in limits]


def _control() -> list[Target]:
    limits = (
        (control.CALL, 1, "ms"),
        (control.ADD, 10, "ms"),
        (control.REMOVE, 10, "ms"),
        (control.CYCLES, 5, "s"),
        (control.POPULATE, 2, "s"),
    )
    return [Target(DEFAULT.kind, name, of(DEFAULT, name), limit, False, unit) for name, limit, unit in limits]


def _framed(protocol: str, measure: measures.Measure) -> Row:
    """What it costs to tell the exchanges of *protocol* apart, with no fault in play, and with a mix of errors."""
    plain, framed, mixed = DEFAULT, _with_protocol(protocol), _with_protocol(protocol, "20:error")
    rate = measures.RATE
    targets = [
        Target(DEFAULT.kind, f"{rate} / tcp", ratio(framed, plain, rate), 0.9),
        Target(DEFAULT.kind, f"{rate}, 20:error / without", ratio(mixed, framed, rate), 0.8),
    ]
    title = f"framing of {protocol}, 50 clients"
    return Row(f"framing-{protocol}", title, GROUP, [plain, framed, mixed], measure, targets)


def _pipelined() -> Row:
    """Pipelines of redis, which the framing cuts."""
    plain, framed, mixed = DEFAULT, _with_protocol("redis"), _with_protocol("redis", "20:error")
    rate = measures.RATE
    targets = [
        Target(DEFAULT.kind, f"{rate} / tcp", ratio(framed, plain, rate), 0.6),
        Target(DEFAULT.kind, f"{rate}, 20:error / tcp", ratio(mixed, plain, rate), 0.5),
    ]
    title = "redis, 50 clients, pipelines of 16"
    return Row("pipelines", title, GROUP, [plain, framed, mixed], measures.gets(50, pipeline=16), targets)


def _with_protocol(protocol: str, mix: str = "") -> Contestant:
    words = ("--protocol", protocol, *(("--behavior", mix) if mix else ()))
    return Contestant(DEFAULT.kind, " ".join(words), words)


def _late(clients: int, title: str, value: Callable[[Contestant], Value], limit: float) -> Row:
    """10 ms of latency, with so many clients."""
    late = with_fault(DEFAULT.kind, f"latency latency={LATENCY} stream=downstream")
    target = Target(DEFAULT.kind, title, value(late), limit)
    what = f"redis GET, {clients} clients, {LATENCY} ms latency to the client"
    return Row(f"late-{clients}", what, GROUP, [HAPROXY_ALONE, late], measures.redis(clients), [target])


def _of_possible(clients: int) -> Callable[[Contestant], Value]:
    """The rate, as a share of what clients that only wait for the latency would have."""
    return lambda late: lambda figures: figures[str(late)][measures.RATE] * LATENCY / 1000 / clients


def _of_haproxy(late: Contestant) -> Value:
    return ratio(late, HAPROXY_ALONE, measures.RATE)


def _handler(clients: int) -> Row:
    """What a handler that copies costs, beside the least that a thread for each connection does."""
    ours = with_handler(DEFAULT.kind)
    title = f"{measures.RATE} / {BARE_THREADS}"
    return Row(
        f"handler-{clients}",
        f"redis GET, {clients} client{'s' if clients > 1 else ''}, a handler that copies",
        GROUP,
        [BARE_THREADS, ours],
        measures.redis(clients),
        [Target(DEFAULT.kind, title, ratio(ours, BARE_THREADS, measures.RATE), 0.6)],
    )


def _tls(key: str, title: str, measure: measures.Measure, figure: str, limit: float) -> Row:
    """TLS with the clients, none with the backend, beside HAProxy that does the same in one thread."""
    target = Target(DEFAULT.kind, f"{figure} / {HAPROXY_WITH_TLS}", ratio(WITH_TLS, HAPROXY_WITH_TLS, figure), limit)
    return Row(f"tls-{key}", f"{title}, TLS with the client", GROUP, [HAPROXY_WITH_TLS, WITH_TLS], measure, [target])


def _http2() -> list[Row]:
    """HTTP/2 beside nghttpx in one worker, and beside our own tcp."""
    plain, framed, mixed = DEFAULT, _with_protocol("http2"), _with_protocol("http2", "20:error")
    rate = measures.RATE
    requests = [
        Target(DEFAULT.kind, f"{rate} / {NGHTTPX}", ratio(framed, NGHTTPX, rate), 0.6),
        Target(DEFAULT.kind, f"{rate}, 20:error / without", ratio(mixed, framed, rate), 0.8),
    ]
    bulk = Target(DEFAULT.kind, f"{measures.BANDWIDTH} / tcp", ratio(framed, plain, measures.BANDWIDTH), 0.8)
    title = "HTTP/2, 10 connections with 10 streams each"
    return [
        Row("http2", title, GROUP, [NGHTTPX, plain, framed, mixed], measures.http2, requests),
        Row("http2-bulk", "one stream of HTTP/2 to the client", GROUP, [plain, framed], measures.http2_bulk, [bulk]),
    ]


_WORKERS = [with_workers(loop, 2) for loop in LOOPS]

ASKED: Sequence[Row] = (
    Row("redis", "redis GET, 50 clients", GROUP, EVERYBODY, measures.redis(50), _requests_and_cpu()),
    Row(
        "http",
        "HTTP, 64 clients, keep-alive",
        GROUP,
        EVERYBODY,
        measures.http(64, keep_alive=True),
        _requests_and_cpu(),
    ),
    Row(
        "bulk-up",
        "one stream to the backend",
        GROUP,
        EVERYBODY,
        measures.bulk(to_backend=True),
        against_haproxy(measures.BANDWIDTH, 1.3),
    ),
    Row(
        "bulk-down",
        "one stream to the client",
        GROUP,
        EVERYBODY,
        measures.bulk(to_backend=False),
        against_haproxy(measures.BANDWIDTH, 1.3),
    ),
    Row(
        "connections",
        "HTTP, 64 clients, a new connection each",
        GROUP,
        EVERYBODY,
        measures.http(64, keep_alive=False),
        against_haproxy(measures.RATE, 0.8),
    ),
    Row(
        "no-ops",
        "redis GET, 50 clients, one and five no-op faults in both directions",
        GROUP,
        [with_passes(loop, count) for loop in LOOPS for count in (0, 1, 5)],
        measures.redis(50),
        _passes_against_none(),
    ),
    Row(
        "memory",
        "memory of an idle connection",
        GROUP,
        [HAPROXY_ALONE, *(with_passes(loop, count) for loop in LOOPS for count in (0, 3))],
        measures.memory,
        [*_memory(0, 4.0), *_memory(3, 12.0)],
    ),
    Row(
        "held",
        f"{IDLE:,} idle connections".replace(",", " "),
        GROUP,
        [*VAURIEN, *_WORKERS],
        measures.held,
        [
            Target(one.kind, f"{measures.HELD}, {one.label}".removesuffix(", "), of(one, measures.HELD), IDLE)
            for one in (*VAURIEN, *_WORKERS)
        ],
        rounds=1,
    ),
    Row("start", "start of a program, a test and a proxy", GROUP, [DEFAULT], start.start, _start()),
    Row("control", "changes through the interface", GROUP, [DEFAULT], control.control, _control()),
    _framed("redis", measures.gets(50)),
    _framed("http", measures.http_with_errors(50)),
    _pipelined(),
    *_http2(),
    _tls("http", "HTTP, 64 clients, keep-alive", measures.http(64, keep_alive=True), measures.RATE, 0.65),
    _tls(
        "connections",
        "HTTP, 64 clients, a new connection each",
        measures.http(64, keep_alive=False),
        measures.RATE,
        0.9,
    ),
    _tls("stream", "one stream to the client", measures.tls_stream, measures.BANDWIDTH, 0.9),
    Row(
        "processes",
        "redis GET, 64 clients in 2 processes",
        GROUP,
        [HAPROXY_ALONE, DEFAULT],
        measures.gets(64, processes=2),
        [Target(DEFAULT.kind, f"{measures.RATE} / {HAPROXY_ALONE}", ratio(DEFAULT, HAPROXY_ALONE, measures.RATE), 1.0)],
    ),
    _late(50, f"{measures.RATE} / 5000, which {LATENCY} ms allow", _of_possible(50), 0.99),
    _late(500, f"{measures.RATE} / {HAPROXY_ALONE} without latency", _of_haproxy, 0.84),
    Row(
        "slicer",
        "one stream to the client, in slices of 64 bytes",
        GROUP,
        [DEFAULT, with_fault(DEFAULT.kind, "slicer average_size=64 size_variation=0 delay=0 stream=downstream")],
        measures.bulk(to_backend=False),
    ),
    _handler(1),
    _handler(50),
)
