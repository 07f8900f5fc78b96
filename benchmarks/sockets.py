"""Clients of our own, on plain sockets: for round trips, for streams, for connections that say nothing or that end."""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import ssl
import time
from collections.abc import Iterable, Iterator

from benchmarks.backends import ZEROS
from benchmarks.errors import BenchmarkError

PATIENCE = 60.0
"""Seconds that an answer may take."""

_NO_ANSWER = 3.0
"""Seconds after which a connection counts as one that is not served."""

_PING, _PONG = b"PING\r\n", b"+PONG\r\n"
"""An inline command of redis, and its answer."""

_ZEROS = b"GET /zeros HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_READ = 1 << 18
"""Bytes to read at once."""


def round_trips(port: int, count: int) -> list[float]:
    """Seconds of *count* PINGs to redis, one after the other on one connection."""
    times = []
    with connected(port) as client:
        for _ in range(count):
            began = time.perf_counter()
            _ping(client)
            times.append(time.perf_counter() - began)
    return times


def stream_rate(port: int, seconds: float, requests: int) -> float:
    """Bytes per second that come from nginx's ``/zeros``, asked for *requests* times at once, during *seconds*."""
    total = 0
    with connected(port) as client:
        client.sendall(_ZEROS * requests)
        buffer = bytearray(_READ)
        client.recv_into(buffer)
        began = last = time.perf_counter()
        while last - began < seconds:
            size = client.recv_into(buffer)
            if not size:
                raise BenchmarkError(f"the stream on port {port} ended after {total} bytes")
            total, last = total + size, time.perf_counter()
    return total / (last - began)


def tls_stream(port: int, seconds: float) -> tuple[float, int]:
    """The rate, as of `stream_rate`, and the number of bytes, of nginx's ``/zeros`` in TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    total = 0
    with context.wrap_socket(connected(port)) as client:
        buffer = bytearray(_READ)
        began = last = time.perf_counter()
        asked = 0
        while last - began < seconds:
            if total >= asked * ZEROS:  # without the heads: there is always one to be read still
                client.sendall(_ZEROS * 4)
                asked += 4
            size = client.recv_into(buffer)
            if not size:
                raise BenchmarkError(f"the stream on port {port} ended after {total} bytes")
            total, last = total + size, time.perf_counter()
    return total / (last - began), total


def stream_sizes(port: int, count: int, seconds: float, requests: int) -> list[int]:
    """How many bytes each of *count* streams got during the same *seconds*, which begin when each has got some."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for number in range(count):
            client = stack.enter_context(connected(port))
            client.sendall(_ZEROS * requests)
            selector.register(client, selectors.EVENT_READ, number)
        sizes, buffer, waiting = [0] * count, bytearray(_READ), set(range(count))
        end = time.perf_counter() + PATIENCE
        while (now := time.perf_counter()) < end:
            for key, _ in selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                size = key.fileobj.recv_into(buffer)
                if not size:
                    raise BenchmarkError(f"stream {key.data} on port {port} ended after {sizes[key.data]} bytes")
                sizes[key.data] += size
                waiting.discard(key.data)
            if not waiting and end - now > seconds:
                sizes, end = [0] * count, now + seconds
    return sizes


@contextlib.contextmanager
def idle(port: int, count: int) -> Iterator[None]:
    """*count* connections to redis that said PING once, so that their backends are connected, and now say nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            _ping(stack.enter_context(connected(port)))
        yield


@contextlib.contextmanager
def as_many_as_possible(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections to redis that all answer, at most *count*; no more once one of them got no answer."""
    with contextlib.ExitStack() as stack:
        clients: list[socket.socket] = []
        while len(clients) < count:
            client = stack.enter_context(connected(port, _NO_ANSWER))
            if not _answers(client):
                break
            clients.append(client)
        yield clients


def answering(clients: Iterable[socket.socket]) -> int:
    """How many of *clients* still answer."""
    return sum(map(_answers, clients))


def unharmed(port: int, count: int) -> int:
    """How many of *count* connections to redis still answer when all have been made."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            with contextlib.suppress(ConnectionResetError):  # before the system has told of the connection
                clients.append(stack.enter_context(connected(port)))
        return answering([client for client in clients if _answers(client)])


def answered(port: int) -> bool:
    """Whether redis answers on a new connection."""
    with connected(port) as client:
        return _answers(client)


def _answers(client: socket.socket) -> bool:
    try:
        _ping(client)
    except (OSError, BenchmarkError):
        return False
    return True


def connection_time(port: int, requests: int) -> float:
    """Seconds from connect to the end of a connection, that asks nginx for *requests* files, or redis for nothing."""
    began = time.perf_counter()
    with connected(port) as client:
        client.sendall(_ZEROS * requests or _PING)
        _read_to_end(client)
        return time.perf_counter() - began


def close_time(port: int) -> float:
    """Seconds from our end of a connection to redis to the other's."""
    with connected(port) as client:
        _ping(client)
        began = time.perf_counter()
        client.shutdown(socket.SHUT_WR)
        _read_to_end(client)
        return time.perf_counter() - began


def digest(port: int, path: str) -> str:
    """The SHA-256, in hexadecimal, of what nginx has at *path*, as it comes in on one connection."""
    with connected(port) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        head, found = b"", b""
        while not found:
            data = client.recv(_READ)
            head, found, body = (head + data).partition(b"\r\n\r\n")
            if not data:
                raise BenchmarkError(f"the answer on port {port} ended after {head!r}")
        seen = hashlib.sha256(body)
        buffer = bytearray(_READ)
        while size := client.recv_into(buffer):
            seen.update(memoryview(buffer)[:size])
        return seen.hexdigest()


def connected(port: int, timeout: float = PATIENCE) -> socket.socket:
    """A connection to *port* of the loopback, which does not wait to fill packets."""
    client = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _ping(client: socket.socket) -> None:
    client.sendall(_PING)
    answer = b""
    while len(answer) < len(_PONG):
        data = client.recv(len(_PONG) - len(answer))
        if not data:
            break
        answer += data
    if answer != _PONG:
        raise BenchmarkError(f"redis answered {answer!r} to PING, not {_PONG!r}")


def _read_to_end(client: socket.socket) -> None:
    buffer = bytearray(_READ)
    try:
        while client.recv_into(buffer):
            pass
    except OSError as error:
        raise BenchmarkError(f"a connection that should have ended in order: {error}") from None
