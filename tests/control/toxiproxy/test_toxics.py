"""Toxics on the wire: what Toxiproxy's own tests of its toxics, links and proxies ask for, asked through its interface.

Times have lower bounds; how exact they are is measured where nothing else runs, in the benchmarks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time

import pytest

from tests.control.conftest import where
from tests.running import PATIENCE, backend, read, read_all, until
from vaurien.engine.loop.clock import SLACK

HELLO = b"hello world\n"
BIG = b"hello world " * 40_000
"""480 kB, as much as their tests send."""


@pytest.fixture
def listening():
    with backend() as listening:
        yield listening


@pytest.fixture
def p(api, listening):
    """A proxy called p in front of *listening*; its address."""
    return api.proxy(f"127.0.0.1:{listening.getsockname()[1]}")


@contextlib.contextmanager
def pair(api, listening):
    """A client of the proxy p, and the server's side of its connection."""
    with api.connect() as client:
        server, _ = listening.accept()
        server.settimeout(PATIENCE)
        with server:
            yield client, server


def add(api, kind, stream="downstream", name="t", toxicity=1, **attributes):
    body = {"name": name, "type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes}
    assert api("POST", "/proxies/p/toxics", body).status == 200


def update(api, name="t", **body):
    assert api("PATCH", f"/proxies/p/toxics/{name}", body).status == 200


def remove(api, name="t"):
    assert api("DELETE", f"/proxies/p/toxics/{name}").status == 204


def passes(sender, receiver, data=HELLO):
    sender.sendall(data)
    assert read(receiver, len(data)) == data


def took(sender, receiver, data):
    """Seconds from when *data* was sent to when all of it was there."""
    began = time.monotonic()
    sending = threading.Thread(target=sender.sendall, args=(data,))
    sending.start()
    assert read(receiver, len(data)) == data
    sending.join(PATIENCE)
    return time.monotonic() - began


# Proxies.


@pytest.mark.parametrize("parts", [[b"hello world"], [b"hello world", b"hello world"], [bytes(64 * 1024)]])
@pytest.mark.usefixtures("p")
def test_what_a_client_sends_before_it_closes_arrives(api, listening, parts):
    with pair(api, listening) as (client, server):
        for part in parts:
            client.sendall(part)
        client.close()
        assert read_all(server) == b"".join(parts)


def test_a_proxy_may_be_disabled_again_and_again(api, p):
    for _ in range(3):
        assert api("PATCH", "/proxies/p", {"enabled": False}).json()["enabled"] is False
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(p, timeout=PATIENCE)
    for _ in range(3):
        assert api("PATCH", "/proxies/p", {"enabled": True}).json()["enabled"] is True
        socket.create_connection(p, timeout=PATIENCE).close()


def test_two_proxies_cannot_have_one_address_until_the_first_leaves_it(api, p):
    other = {"name": "q", "listen": f"127.0.0.1:{p[1]}", "upstream": "127.0.0.1:1"}
    assert api("POST", "/proxies", other).status == 500
    assert api("GET", "/proxies/q").status == 404
    api("PATCH", "/proxies/p", {"enabled": False})
    assert api("POST", "/proxies", other).status == 201


def test_the_name_of_the_same_address_keeps_connections(api, listening, p):
    with pair(api, listening) as (client, server):
        passes(client, server)
        assert where(api("POST", "/proxies/p", {"listen": f"localhost:{p[1]}"}).json()["listen"]) == p
        passes(client, server)
        passes(server, client)


# Links.


@pytest.mark.usefixtures("p")
def test_a_connection_outlives_toxics_and_resets(api, listening):
    with pair(api, listening) as (client, server):
        for stream in ("upstream", "downstream"):
            add(api, "noop", stream, name=stream)
        for _ in range(3):
            passes(client, server)
            passes(server, client)
            assert api("POST", "/reset").status == 204


@pytest.mark.usefixtures("p")
def test_toxics_come_and_go_under_traffic(api, listening):
    done = threading.Event()

    def change():
        while not done.is_set():
            for stream, other in (("upstream", "downstream"), ("downstream", "upstream")):
                api("POST", "/proxies/p/toxics", {"name": stream, "type": "noop", "stream": stream})
                api("DELETE", f"/proxies/p/toxics/{other}")

    changing = threading.Thread(target=change)
    with pair(api, listening) as (client, server):
        changing.start()
        try:
            for _ in range(100):
                passes(client, server)
                passes(server, client)
        finally:
            done.set()
            changing.join(PATIENCE)


@pytest.mark.usefixtures("p")
def test_no_data_is_dropped_when_a_latency_comes_and_goes(api, listening):
    numbers = b"".join(struct.pack(">H", number) for number in range(65_535))
    done = threading.Event()

    def change():
        while not done.is_set():
            add(api, "latency", latency=1000)
            remove(api)

    with pair(api, listening) as (client, server):

        def send():
            for start in range(0, len(numbers), 200):
                server.sendall(numbers[start : start + 200])
            server.shutdown(socket.SHUT_WR)

        threads = [threading.Thread(target=change), threading.Thread(target=send)]
        for thread in threads:
            thread.start()
        try:
            assert read_all(client) == numbers
        finally:
            done.set()
            for thread in threads:
                thread.join(PATIENCE)


@pytest.mark.usefixtures("p")
def test_a_toxicity_of_0_becomes_1(api, listening):
    with pair(api, listening) as (client, server):
        add(api, "timeout", toxicity=0)
        passes(server, client, b"*")
        began = time.monotonic()
        update(api, toxicity=1, attributes={"timeout": 100})
        server.sendall(b"*")
        assert client.recv(1) == b""
        assert time.monotonic() - began >= 0.1 - SLACK


@pytest.mark.parametrize("rate", [0, -1])
@pytest.mark.usefixtures("p")
def test_a_line_that_is_cut_lets_go_of_its_toxics(api, listening, rate):
    """Also while a sender writes as fast as it can, and when the connection is gone."""
    with pair(api, listening) as (client, server):
        add(api, "bandwidth", "downstream", name="down", rate=rate)
        add(api, "bandwidth", "upstream", name="up", rate=rate)
        server.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += server.send(bytes(65536))
        remove(api, "down")
        remove(api, "up")
        server.settimeout(PATIENCE)
        assert len(read(client, sent)) == sent
        add(api, "bandwidth", "downstream", name="down", rate=rate)
        server.sendall(b"never read")
    remove(api, "down")
    until(lambda: not api.connections())


# Bandwidth.


@pytest.mark.usefixtures("p")
def test_bandwidth_paces_what_passes(api, listening):
    with pair(api, listening) as (client, server):
        add(api, "bandwidth", "upstream", rate=1000)
        assert took(client, server, BIG) >= 0.45  # 480 kB at 1 MB/s, less what may pass at once


# Latency.


@pytest.mark.parametrize(("up", "down"), [(100, None), (None, 100), (100, 100), (300, 50), (50, 300), (0, 0)])
@pytest.mark.usefixtures("p")
def test_latency_delays_each_direction_by_itself(api, listening, up, down):
    data = b"hello world " + b"a" * 32 * 1024 + b"\n"
    if up is not None:
        add(api, "latency", "upstream", name="up", latency=up)
    if down is not None:
        add(api, "latency", "downstream", name="down", latency=down)
    with pair(api, listening) as (client, server):
        assert took(client, server, data) >= (up or 0) / 1000 - SLACK
        assert took(server, client, data) >= (down or 0) / 1000 - SLACK


@pytest.mark.usefixtures("p")
def test_two_latencies_add_up(api, listening):
    add(api, "latency", "upstream", name="one", latency=100)
    add(api, "latency", "upstream", name="two", latency=100)
    with pair(api, listening) as (client, server):
        assert took(client, server, HELLO) >= 0.2 - 2 * SLACK


@pytest.mark.usefixtures("p")
def test_jitter_stays_in_its_bounds(api, listening):
    add(api, "latency", "upstream", latency=40, jitter=20)
    with pair(api, listening) as (client, server):
        times = [took(client, server, HELLO) for _ in range(20)]
    assert not [one for one in times if one < 0.02 - SLACK]


@pytest.mark.usefixtures("p")
def test_connections_end_while_latencies_come_and_go(api, listening):
    accepted = threading.Thread(target=lambda: [listening.accept()[0].close() for _ in range(100)])
    accepted.start()
    for _ in range(100):
        add(api, "latency", "upstream", latency=10)
        with api.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(b"hello")
        remove(api)
    accepted.join(PATIENCE)
    until(lambda: not api.connections())


@pytest.mark.usefixtures("p")
def test_latency_does_not_limit_the_rate(api, listening):
    """24 MB are under way together; one after the other, 100 pieces would take 10 seconds."""
    add(api, "latency", latency=100)
    with pair(api, listening) as (client, server):
        assert took(server, client, bytes(240_000) * 100) < 5


# Slow close.


@pytest.mark.usefixtures("p")
def test_slow_close_delays_the_end_alone(api, listening):
    add(api, "slow_close", delay=200)
    with pair(api, listening) as (client, server):
        began = time.monotonic()
        server.sendall(HELLO)
        server.shutdown(socket.SHUT_WR)
        assert read(client, len(HELLO)) == HELLO
        assert client.recv(1) == b""
        assert time.monotonic() - began >= 0.2 - SLACK


# Limits.


@pytest.mark.parametrize(
    ("limit", "sizes", "expected", "ends"),
    [
        (100, [50], 50, False),
        (100, [100], 100, True),
        (100, [150], 100, True),
        (100, [25, 25, 25, 25], 100, True),
        (100, [90, 20], 100, True),
        (0, [100], 0, True),
        (-5, [100], 0, True),
    ],
)
@pytest.mark.usefixtures("p")
def test_limit_data_passes_exactly_so_much(api, listening, limit, sizes, expected, ends):
    add(api, "limit_data", "upstream", bytes=limit)
    data = os.urandom(sum(sizes))
    with pair(api, listening) as (client, server):
        start = 0
        for size in sizes:
            client.sendall(data[start : start + size])
            start += size
        if ends:
            assert read_all(server) == data[:expected]
        else:
            assert read(server, expected) == data


@pytest.mark.usefixtures("p")
def test_limit_data_goes_on_counting_when_it_is_changed(api, listening):
    add(api, "limit_data", "upstream", bytes=1000)
    with pair(api, listening) as (client, server):
        passes(client, server, bytes(90))
        update(api, attributes={"bytes": 100})
        client.sendall(b"x" * 20)
        assert read_all(server) == b"x" * 10


# Resets.


@pytest.mark.parametrize(("stream", "timeout"), [("upstream", 0), ("upstream", 100), ("downstream", 100)])
def test_reset_peer_resets_both_sides_in_time(api, listening, p, stream, timeout):
    add(api, "reset_peer", stream, timeout=timeout)
    began = time.monotonic()
    with pytest.raises(ConnectionResetError), socket.create_connection(p, timeout=PATIENCE) as client:
        server, _ = listening.accept()
        server.settimeout(PATIENCE)
        with server:
            speaker = client if stream == "upstream" else server
            speaker.sendall(HELLO)
            with pytest.raises(ConnectionResetError):
                server.recv(1000)
        assert time.monotonic() - began >= timeout / 1000 - SLACK
        client.recv(1000)


@pytest.mark.usefixtures("p")
def test_reset_peer_with_a_timeout_leaves_idle_connections_alone(api, listening):
    with pair(api, listening) as (client, server):
        add(api, "reset_peer", "upstream", timeout=50)
        end = time.monotonic() + 0.15
        while time.monotonic() < end:  # three times as long as the toxic would need
            passes(server, client)
        client.sendall(HELLO)
        with pytest.raises(ConnectionResetError):
            server.recv(1000)
        with pytest.raises(ConnectionResetError):
            client.recv(1000)


# Slices.


@pytest.mark.parametrize(("average", "variation"), [(1024, 512), (1024, 1024), (4096, 0)])
@pytest.mark.usefixtures("p")
def test_a_slicer_delivers_the_whole(api, listening, average, variation):
    add(api, "slicer", "upstream", average_size=average, size_variation=variation, delay=10)
    with pair(api, listening) as (client, server):
        took(client, server, BIG)


@pytest.mark.usefixtures("p")
def test_a_slicer_of_one_byte_sends_one_byte_at_a_time(api, listening):
    add(api, "slicer", "upstream", average_size=1, delay=20_000)
    with pair(api, listening) as (client, server):
        began = time.monotonic()
        client.sendall(b"hello world " * 2)
        pieces = [server.recv(100)]
        while sum(map(len, pieces)) < 24:
            pieces.append(server.recv(100))
        assert b"".join(pieces) == b"hello world " * 2
        assert time.monotonic() - began >= 23 * (0.02 - SLACK)


# Timeouts.


@pytest.mark.usefixtures("p")
def test_a_timeout_holds_up_no_removal(api, listening):
    with pair(api, listening) as (client, server):
        passes(client, server)
        add(api, "latency", "upstream", name="before", latency=10)
        add(api, "timeout", "upstream", name="silent", timeout=0)
        for _ in range(5):
            client.sendall(b"hello")
        began = time.monotonic()
        remove(api, "before")
        assert time.monotonic() - began < 5


@pytest.mark.usefixtures("p")
def test_the_removal_of_a_timeout_closes_the_connection(api, listening):
    with pair(api, listening) as (client, server):
        passes(client, server)
        passes(server, client)
        add(api, "timeout", "upstream", timeout=0)
        remove(api)
        assert client.recv(1) == b""
        assert server.recv(1) == b""
