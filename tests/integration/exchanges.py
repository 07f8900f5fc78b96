"""What the tests of every protocol do with its exchanges through a running proxy."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.running import PATIENCE, Running, read_all, running
from tests.servers import Server
from vaurien.events import Accepted, Closed, Encrypted, Failed, Injected, MixHit, ProtocolLost
from vaurien.model import Fault, Mix, Policy, Share

CALM: dict[str, tuple[str, tuple[Fault, ...]]] = {
    "no fault": ("", ()),
    "dummy": ("100:dummy", ()),
    "before": ("", (Fault(name="delay", behavior="delay", options={"sleep": 0.001}),)),
    "after": ("", (Fault(name="delay", behavior="delay", options={"sleep": 0.001, "before": False}),)),
}
"""Policies under which a client gets the results that it gets without a proxy."""


def where(server: Server) -> tuple[str, int]:
    return server.host, server.port


def fault(behavior: str, **options: object) -> Fault:
    """*behavior* in each exchange."""
    return Fault(name=behavior, behavior=behavior, options=options)


@contextlib.contextmanager
def framed(server: Server, protocol: str, mix: str = "", *faults: Fault, **config: Any) -> Iterator[Running]:
    """A proxy in front of *server* that must understand everything and fail at nothing."""
    with running(where(server), mix, *faults, protocol=protocol, **config) as proxy:
        yield proxy
        assert proxy.events.of(ProtocolLost, Failed) == []


def same_as_without(
    workload: Callable[[str, int], object], server: Server, protocol: str, policy: str, *, least: int = 1
) -> None:
    """*workload* has the same results through the proxy as without it; the delay, if any, hit *least* exchanges."""
    mix, faults = CALM[policy]
    expected = workload(*where(server))
    with framed(server, protocol, mix, *faults) as proxy:
        assert workload(*proxy.address) == expected
        hits = proxy.events.of(Injected)
    assert len({(event.connection, event.exchange) for event in hits}) == len(hits)
    assert len(hits) >= least if faults else not hits


def drawn(count: int, percent: float, *, connection: int = 1, seed: str = "0") -> set[int]:
    """Which of the first *count* exchanges of a connection a mix of one share hits, from 1: by the rule in the docs."""
    dice = random.Random(f"{seed}:test:{connection}:mix")
    return {number for number in range(1, count + 1) if dice.random() * 100 < percent}


def chosen(proxy: Running, connection: int = 1) -> set[int]:
    """The exchanges that the mix did hit."""
    return {event.exchange for event in proxy.events.of(MixHit) if event.connection == connection}


def mix_errors(proxy: Running, percent: float, code: str) -> None:
    """From now on *percent* of the exchanges fail with *code*."""
    policy = Policy(Mix((Share(percent, "error", {"code": code}),)))
    proxy.call(lambda: proxy.proxy.set_policy(policy))


def accepted(proxy: Running) -> int:
    """How many connections there were."""
    return len(proxy.events.of(Accepted))


def exchanges(proxy: Running, count: int) -> list[int | None]:
    """The exchanges that faults hit, in order, once there are *count*."""
    return [event.exchange for event in proxy.events.wait(Injected, count)]


class Recorder:
    """A backend that says *greeting*, keeps what it gets, and at its end says *answer* and ends too."""

    def __init__(self, greeting: bytes = b"", answer: bytes = b"\x00end") -> None:
        self.received = b""
        self._greeting, self._answer = greeting, answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(PATIENCE)
        self.address: tuple[str, int] = self._listening.getsockname()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE)
        self._listening.close()

    def _serve(self) -> None:
        with self._listening.accept()[0] as one:
            one.settimeout(PATIENCE)
            one.sendall(self._greeting)
            self.received = read_all(one)
            one.sendall(self._answer)


VERBATIM = {"http": {"overwrite_host_header": False}}
"""Options with which a protocol changes no byte."""


def passes_unharmed(
    protocol: str, said: bytes, *, greeting: bytes = b"", answer: bytes = b"\x00end"
) -> list[ProtocolLost | Encrypted]:
    """Say *said* through a proxy of *protocol*: both sides get each other's bytes. Returns what it lost track of."""
    with (
        Recorder(greeting, answer) as backend,
        running(backend.address, protocol=protocol, protocol_options=VERBATIM.get(protocol, {})) as proxy,
    ):
        with proxy.connect() as client:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == greeting + answer
        (end,) = proxy.events.wait(Closed)
        assert (end.sent, end.received) == (len(said), len(greeting + answer))
        assert proxy.events.of(Failed) == []
        lost: list[ProtocolLost | Encrypted] = proxy.events.of(ProtocolLost, Encrypted)
    assert backend.received == said
    return lost
