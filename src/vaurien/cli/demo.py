"""``make demo``: break a few hundred requests, and show what became of them.

An HTTP backend, a proxy in front of it, and a client that keeps a few connections alive, all in this process. The
client asks one request after the other, so that with the same seed the same requests are hit.
"""

from __future__ import annotations

import asyncio
import http.client
import http.server
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from vaurien.events import Accepted, Event, MixHit
from vaurien.model import Address, Mix, Policy, ProxyConfig, Share
from vaurien.proxies.proxy import TcpProxy

REQUESTS = 240
CONNECTIONS = 4
SEED = "3"
DELAY = 0.1
TIMEOUT = 10.0
PROTOCOL = "http"
MIX = Mix.parse("20:delay,10:error")


class Outcome(msgspec.Struct, frozen=True):
    """What the client saw of one request: a status, or an error's name; *connection* and *exchange* identify it."""

    connection: str
    exchange: int
    seen: str
    seconds: float


class HitObserver:
    """An observer that remembers which behavior was drawn for which request."""

    def __init__(self) -> None:
        self._peers: dict[int, str] = {}
        self._drawn: dict[tuple[str, int], str] = {}

    def __call__(self, event: Event) -> None:
        """Remember *event*."""
        if isinstance(event, Accepted):
            self._peers[event.connection] = event.peer
        elif isinstance(event, MixHit):
            self._drawn[self._peers[event.connection], event.exchange] = event.behavior

    def hit(self, outcome: Outcome) -> str:
        """The behavior that hit the request of *outcome*, or ``nothing``."""
        return self._drawn.get((outcome.connection, outcome.exchange), "nothing")


class DemoClient:
    """One connection kept alive, and opened again when it was broken."""

    def __init__(self, address: Address) -> None:
        self._http = http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT)
        self._name = ""
        self._asked = 0

    def ask(self) -> Outcome:
        """Make one request and wait for what comes of it."""
        started = time.perf_counter()
        try:
            seen = self._exchange()
        except (OSError, http.client.HTTPException) as error:
            seen = type(error).__name__
            self.close()
        return Outcome(self._name, self._asked, seen, time.perf_counter() - started)

    def _exchange(self) -> str:
        if self._http.sock is None:
            self._connect()
        self._asked += 1
        self._http.request("GET", "/")
        response = self._http.getresponse()
        response.read()
        return str(response.status)

    def _connect(self) -> None:
        self._http.connect()
        host, port = self._http.sock.getsockname()
        self._name, self._asked = f"{host}:{port}", 0

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


class _Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = b"hello\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        """Say nothing: the table does."""


@contextmanager
def backend() -> Iterator[Address]:
    """An HTTP server in a thread, on a free port of the loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hello)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a reset is what a fault may do
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield Address("127.0.0.1", server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(address: Address, requests: int) -> list[Outcome]:
    """What became of *requests* requests, in turn over all connections."""
    clients = [DemoClient(address) for _ in range(CONNECTIONS)]
    try:
        return [clients[number % CONNECTIONS].ask() for number in range(requests)]
    finally:
        for client in clients:
            client.close()


async def ask_through_proxy(target: Address, requests: int, delay: float) -> dict[str, list[Outcome]]:
    """What became of *requests* requests through a proxy in front of *target*, by the behavior that hit them."""
    observer = HitObserver()
    proxy = TcpProxy(configuration(target, delay), observers=[observer])
    await proxy.start()
    try:
        outcomes = await asyncio.to_thread(ask, proxy.address, requests)
    finally:
        await proxy.stop()
    names = ["nothing", *(share.behavior for share in MIX.shares)]
    return {name: [outcome for outcome in outcomes if observer.hit(outcome) == name] for name in names}


def configuration(target: Address, delay: float) -> ProxyConfig:
    """The mix in front of *target*, with a delay of *delay* seconds."""
    settings = {"delay": {"sleep": delay}}
    shares = tuple(Share(share.percent, share.behavior, settings.get(share.behavior, {})) for share in MIX.shares)
    return ProxyConfig(
        name="demo",
        listen=Address("127.0.0.1"),
        backend=target,
        protocol=PROTOCOL,
        policy=Policy(Mix(shares)),
        seed=SEED,
    )


def run(requests: int = REQUESTS, delay: float = DELAY) -> dict[str, list[Outcome]]:
    """The outcomes without a proxy (``no proxy``) and with one, by what hit them."""
    with backend() as address:
        print(f"An HTTP server listens on {address}: {requests} requests to it, without a proxy…")
        direct = ask(address, requests)
        print(f"The same {requests} requests through the proxy, some of them delayed, some answered with an error…\n")
        return {"no proxy": direct, **asyncio.run(ask_through_proxy(address, requests, delay))}


def table(groups: dict[str, list[Outcome]]) -> str:
    """A line for each group: how many requests, what the client saw, how long it took."""
    lines = [f"{'hit by':<18}{'requests':>9}{'median':>11}{'95 %':>11}{'longest':>11}   the client saw"]
    for name, outcomes in groups.items():
        if not outcomes:
            continue
        times = sorted(1000 * outcome.seconds for outcome in outcomes)
        figures = (statistics.median(times), times[int(0.95 * (len(times) - 1))], times[-1])
        seen = Counter(outcome.seen for outcome in outcomes)
        columns = "".join(f"{figure:>8.1f} ms" for figure in figures)
        words = ", ".join(f"{count} x {what}" for what, count in sorted(seen.items()))
        lines.append(f"{name:<18}{len(outcomes):>9}{columns}   {words}")
    return "\n".join(lines)


def main() -> int:
    """Run the demo. The exit status is 0 when every request that nothing hit was answered with 200."""
    print(f"{REQUESTS} requests in turn over {CONNECTIONS} connections kept alive, through")
    print(f"  vaurien --protocol {PROTOCOL} --behavior {MIX} --behavior-delay-sleep {DELAY} --seed {SEED}\n")
    groups = run()
    print(table(groups))
    print("\nThe seed decides which requests are hit: another run hits the same ones.")
    print("Next: docs/tutorial/break-your-first-connection.md")
    print("To see it live, in a browser: make dashboard")
    return 0 if all(outcome.seen == "200" for outcome in groups["nothing"]) else 1


if __name__ == "__main__":
    sys.exit(main())
