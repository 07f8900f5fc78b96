"""A random walk: checked conversations through a proxy whose faults change all the time: ``python -m benchmarks.walk``.

```
  clients ──► vaurien (tcp, http) ──► a backend that answers by script      every byte is known to both ends
                 ▲
                 └── faults, mixes and handlers come, change and go, by the HTTP interface, 20 a second
```

What a client and the backend receive has to be what the other sent: all of it while the faults that were there only
delay; a beginning of it when one of them ends connections; anything when one changes bytes. Every change has to be
taken. At the end all faults go, and every conversation has to end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.contestants import PROGRAM, QUIET
from benchmarks.errors import BenchmarkError
from benchmarks.processes import end_in_order, free_port, started
from benchmarks.soak import await_interface
from vaurien.client import Client, Refused

PATIENCE = 20.0
"""Seconds that a conversation may take: faults that only delay do not stay for long."""

CHANGES = 20.0
"""Changes in a second."""

CLIENTS = 24
"""Conversations at the same time."""

AT_ONCE = 4
"""Faults that a proxy has at the most."""

HEADER = struct.Struct("!IIII")
"""Of a request: its number, the bytes of its body, those of the answer, and the seed of both."""

DELAYS, ENDS, ALTERS = range(3)
"""What a fault may do to a conversation, from harmless to worst."""

_FAULTS: Sequence[tuple[int, str, Mapping[str, Any]]] = (
    (DELAYS, "latency", {"latency": 3, "jitter": 3}),
    (DELAYS, "bandwidth", {"rate": 5_000}),
    (DELAYS, "bandwidth", {"rate": 5_000, "shared": "proxy"}),
    (DELAYS, "bandwidth", {"rate": 5_000, "shared": "client"}),
    (DELAYS, "slicer", {"average_size": 500, "size_variation": 200, "delay": 10}),
    (DELAYS, "coalesce", {"size": 65_536, "wait": 20}),
    (DELAYS, "packet_loss", {"loss_rate": 0.05, "rto": 10}),
    (DELAYS, "replace", {"pattern": "this stands nowhere", "by": "x"}),
    (DELAYS, "freeze", {}),
    (DELAYS, "slow_close", {"delay": 10}),
    (DELAYS, "slow_accept", {"delay": 10}),
    (DELAYS, "delay", {"sleep": 0.01}),
    (DELAYS, "noop", {}),
    (ENDS, "refuse", {}),
    (ENDS, "reset_peer", {"timeout": 20}),
    (ENDS, "limit_data", {"bytes": 20_000}),
    (ENDS, "limit_time", {"after": 50}),
    (ENDS, "blackout", {}),
    (ENDS, "abort", {}),
    (ENDS, "hang", {}),
    (ALTERS, "timeout", {"timeout": 50}),  # it discards data, and may be changed to the other direction
    (ALTERS, "corrupt", {"rate": 1}),
    (ALTERS, "inject", {"data": "!", "offset": 100}),
    (ALTERS, "error", {}),
)
"""What a fault does at its worst, its behavior and its options."""

_MIXES = (
    "",
    "20:delay",
    "30:benchmarks.walk_handler.Copy",
    "100:benchmarks.walk_handler.Copy",
    "20:benchmarks.walk_handler.Copy,20:delay",
)

_CONFIG = """
[[proxy]]
name = "{name}"
listen = "127.0.0.1:{port}"
backend = "127.0.0.1:{backend}"
protocol = "{protocol}"
"""


def stream(seed: int, size: int) -> bytes:
    """*size* bytes that *seed* determines and that no two seeds share."""
    block = hashlib.blake2b(seed.to_bytes(8, "big")).digest()
    return (block * (size // len(block) + 1))[:size]


class Failure(msgspec.Struct, frozen=True):
    """A conversation, or a change, that went wrong."""

    where: str
    what: str


class Weather:
    """What faults there were, when: the worst of a time is what a conversation in it had to bear."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float | None, int]] = []

    def begin(self, worst: int) -> int:
        """A fault comes; returns its place, for `end`."""
        self._spans.append((time.monotonic(), None, worst))
        return len(self._spans) - 1

    def end(self, place: int) -> None:
        """The fault of that place has gone."""
        begin, _, worst = self._spans[place]
        self._spans[place] = (begin, time.monotonic(), worst)

    def worst(self, begin: float, end: float) -> int:
        """What a conversation from *begin* to *end* had to bear at the most."""
        there = (worst for start, stop, worst in self._spans if start <= end and (stop is None or stop >= begin))
        return max(there, default=DELAYS)


class Backend:
    """Answers each request by what its header says, once its body is whole; a wrong body is noted."""

    def __init__(self) -> None:
        self.wrong: list[tuple[str, float, float, str]] = []
        """A request that was not what its header says: of which proxy, when its connection began, when it came, how."""

    async def serve_plain(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection of the plain proxy."""
        begin = time.monotonic()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                header = await reader.readexactly(HEADER.size)
                number, size, answer, seed = HEADER.unpack(header)
                if max(size, answer) > 10_000_000:
                    self.wrong.append(("plain", begin, time.monotonic(), f"header {header!r}"))
                    break
                if await reader.readexactly(size) != stream(seed, size):
                    self.wrong.append(("plain", begin, time.monotonic(), f"request {number}, body of {size} bytes"))
                writer.write(header + stream(seed + 1, answer))
                await writer.drain()
        await _close(writer)

    async def serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection of the http proxy."""
        begin = time.monotonic()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                number, size, answer, seed = (int(part) for part in head.split()[1].strip("/").split("-"))
                if await reader.readexactly(size) != stream(seed, size):
                    self.wrong.append(("http", begin, time.monotonic(), f"request {number}, body of {size} bytes"))
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {answer}\r\n\r\n".encode() + stream(seed + 1, answer))
                await writer.drain()
        await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class Conversation:
    """What a client says and hears on one connection: a few requests, in turn, at once, or read slowly."""

    def __init__(self, number: int, dice: random.Random) -> None:
        self.number = number
        self.style = dice.choice(["in turn", "at once", "slow reader", "half-close"])
        sizes = [0, 1, 100, 3_000, 70_000, 300_000]
        self.requests = [
            (number * 100 + place, dice.choice(sizes), dice.choice(sizes), dice.randrange(2**32))
            for place in range(dice.randint(1, 6))
        ]

    def request(self, request: tuple[int, int, int, int], http: bool) -> bytes:
        """A request as bytes."""
        number, size, answer, seed = request
        if http:
            head = f"POST /{number}-{size}-{answer}-{seed} HTTP/1.1\r\nHost: walk\r\nContent-Length: {size}\r\n\r\n"
            return head.encode() + stream(seed, size)
        return HEADER.pack(*request) + stream(seed, size)

    def answer(self, request: tuple[int, int, int, int], http: bool) -> bytes:
        """Its answer."""
        _, _, answer, seed = request
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {answer}\r\n\r\n".encode() if http else HEADER.pack(*request)
        return head + stream(seed + 1, answer)

    async def hold(self, port: int, http: bool) -> bytes:
        """Hold it; returns everything that was heard, also when the connection ends early."""
        heard = bytearray()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return b""
        with contextlib.suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(PATIENCE):
                await (self._in_turn if self.style == "in turn" else self._all)(reader, writer, heard, http)
        await _close(writer)
        return bytes(heard)

    async def _in_turn(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray, http: bool
    ) -> None:
        """Say the next thing once the last one is answered."""
        for request in self.requests:
            writer.write(self.request(request, http))
            await writer.drain()
            await self._read(reader, heard, len(heard) + len(self.answer(request, http)))

    async def _all(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray, http: bool
    ) -> None:
        """Say everything, and hear meanwhile."""
        wanted = sum(len(self.answer(request, http)) for request in self.requests)

        async def speak() -> None:
            for request in self.requests:
                writer.write(self.request(request, http))
                await writer.drain()
            if self.style == "half-close":
                writer.write_eof()

        speaking = asyncio.create_task(speak())
        try:
            if self.style == "slow reader":
                await asyncio.sleep(0.2)
            await self._read(reader, heard, wanted)
            if self.style == "half-close":  # the end comes behind the last answer, and nothing else
                heard += await reader.read()
        finally:
            speaking.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await speaking

    async def _read(self, reader: asyncio.StreamReader, heard: bytearray, until: int) -> None:
        while len(heard) < until:
            data = await reader.read(min(65_536, until - len(heard)))
            if not data:
                raise ConnectionResetError
            heard += data

    def verdict(self, heard: bytes, http: bool, worst: int) -> str | None:
        """What is wrong with what was *heard* when the *worst* of the time was that."""
        wanted = b"".join(self.answer(request, http) for request in self.requests)
        if worst == ALTERS or heard == wanted or (worst == ENDS and wanted.startswith(heard)):
            return None
        at = next((at for at, (one, other) in enumerate(zip(heard, wanted, strict=False)) if one != other), None)
        differs = f"first difference at {at}" if at is not None else "a beginning of it"
        return f"{self.style}: heard {len(heard)} of {len(wanted)} bytes, {differs}"


class Walk:
    """One walk: the conversations, the changes, and what went wrong."""

    def __init__(self, client: Client, ports: Mapping[str, int], backend: Backend, seed: int) -> None:
        self._client, self._ports, self._backend = client, ports, backend
        self._dice = random.Random(seed)
        self._weather = {name: Weather() for name in ports}
        self._handlers = {name: Weather() for name in ports}  # a handler ends a connection that is half-closed
        self._mixes: dict[str, int] = {}
        self._there: dict[str, dict[str, int]] = {name: {} for name in ports}
        self._count = 0
        self.failures: list[Failure] = []
        self.changes: Counter[str] = Counter()
        self.conversations = 0

    async def run(self, seconds: float) -> None:
        """Walk for *seconds*, then let everything come to its end."""
        end = time.monotonic() + seconds
        clients = [asyncio.create_task(self._converse(end, random.Random(f"{number}"))) for number in range(CLIENTS)]
        while time.monotonic() < end:
            await self._change()
            await asyncio.sleep(1 / CHANGES)
        await self._clear()
        await asyncio.gather(*clients)
        for name, begin, at, text in self._backend.wrong:
            if self._weather[name].worst(begin, at) < ALTERS:
                self.failures.append(Failure(f"the backend of {name}", text))
        await asyncio.to_thread(self._client.list_proxies)

    async def _converse(self, end: float, dice: random.Random) -> None:
        while time.monotonic() < end:
            self.conversations += 1
            number = self.conversations
            name = dice.choice(list(self._ports))
            one, begin = Conversation(number, dice), time.monotonic()
            heard = await one.hold(self._ports[name], name == "http")
            now = time.monotonic()
            worst = self._weather[name].worst(begin, now)
            if one.style == "half-close":
                worst = max(worst, self._handlers[name].worst(begin, now))
            wrong = one.verdict(heard, name == "http", worst)
            if wrong is not None:
                took = time.monotonic() - begin
                self.failures.append(Failure(f"conversation {number} of {name}", f"{wrong}, after {took:.1f} s"))

    async def _change(self) -> None:
        name = self._dice.choice(list(self._ports))
        there = self._there[name]
        what = self._dice.choice(["add", "add", "remove", "change", "mix"])
        if what == "mix":
            await self._mix(name, self._dice.choice(_MIXES))
        elif what == "change" and there:
            fault = self._dice.choice(list(there))
            await self._call("change", self._client.change_fault, name, fault, stream=self._dice.choice(_STREAMS))
        elif what == "remove" or len(there) >= AT_ONCE:
            await self._remove(name)
        else:
            await self._add(name)

    async def _mix(self, name: str, mix: str) -> None:
        place = self._handlers[name].begin(ENDS if "Copy" in mix else DELAYS)
        if await self._call("mix", self._client.change_proxy, name, mix=mix) and name in self._mixes:
            self._handlers[name].end(self._mixes[name])
        self._mixes[name] = place

    async def _add(self, name: str) -> None:
        worst, behavior, options = self._dice.choice(_FAULTS)
        if name == "plain" and behavior == "error":
            return
        self._count += 1
        fault = f"{behavior}-{self._count}"
        more: dict[str, Any] = {"name": fault, "behavior": behavior, "options": options}
        if behavior != "refuse":
            more |= {"stream": self._dice.choice(_STREAMS), "probability": self._dice.choice([0.3, 1.0])}
        place = self._weather[name].begin(worst)
        if await self._call(f"add {behavior}", self._client.add_fault, name, **more):
            self._there[name][fault] = place
        else:
            self._weather[name].end(place)

    async def _remove(self, name: str) -> None:
        there = self._there[name]
        if there:
            fault = self._dice.choice(list(there))
            if await self._call(f"remove {fault.split('-')[0]}", self._client.remove_fault, name, fault):
                self._weather[name].end(there.pop(fault))

    async def _clear(self) -> None:
        for name, there in self._there.items():
            await self._mix(name, "")
            while there:
                await self._remove(name)

    async def _call(self, what: str, call: Callable[..., Any], *arguments: Any, **fields: Any) -> bool:
        """Make a change; one that is not taken is a failure."""
        self.changes[what] += 1
        try:
            await asyncio.to_thread(call, *arguments, **fields)
        except Refused as error:
            self.failures.append(Failure(f"{what} {arguments} {fields}", str(error)))
            return False
        return True


_STREAMS = ["upstream", "downstream", "both"]


@contextlib.contextmanager
def proxied(backends: Mapping[str, int], words: Sequence[str]) -> Iterator[tuple[Client, Mapping[str, int]]]:
    """A vaurien with a proxy before each of *backends*, and *words* on its command line."""
    with tempfile.TemporaryDirectory(prefix="vaurien-walk-") as folder:
        ports = {name: free_port() for name in backends}

        def command(port: int, _: Path) -> list[str]:
            ports[next(iter(ports))] = port
            protocols = {"plain": "tcp", "http": "http"}
            text = "".join(
                _CONFIG.format(name=name, port=ports[name], backend=backends[name], protocol=protocols[name])
                for name in backends
            )
            file = Path(folder, "walk.toml")
            file.write_text(text)
            allowed = ["--allow-plugin", "benchmarks.walk_handler.*"]
            return [*PROGRAM, "--config", str(file), "--api", f"unix:{folder}/api", *allowed, *QUIET, *words]

        with started(command):
            await_interface(Path(folder, "api"))
            yield Client(path=f"{folder}/api"), ports


async def walk(seconds: float, seed: int, words: Sequence[str]) -> Walk:
    """One walk of *seconds*. Raises `BenchmarkError` when the program does not start."""
    backend = Backend()
    plain = await asyncio.start_server(backend.serve_plain, "127.0.0.1", 0)
    http = await asyncio.start_server(backend.serve_http, "127.0.0.1", 0)
    async with plain, http:
        backends = {"plain": plain.sockets[0].getsockname()[1], "http": http.sockets[0].getsockname()[1]}
        with proxied(backends, words) as (client, ports):
            one = Walk(client, ports, backend, seed)
            await one.run(seconds)
    return one


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk, and say what went wrong; exit status 1 when something did."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.walk", description="Checked traffic, changing faults.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (5)")
    parser.add_argument("--seed", type=int, default=1, help="which changes, in which order (1)")
    parser.add_argument("words", nargs="*", help="further options of vaurien, behind --, such as: -- --workers 2")
    given = parser.parse_args(arguments)
    try:
        one = asyncio.run(walk(60 * given.minutes, given.seed, given.words))
    except BenchmarkError as error:
        print(f"walk: {error}", file=sys.stderr)
        return 2
    print(f"{one.conversations} conversations, {sum(one.changes.values())} changes, {len(one.failures)} failures")
    for failure in one.failures[:20]:
        print(f"  {failure.where}: {failure.what}")
    return 1 if one.failures else 0


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
