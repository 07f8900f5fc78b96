"""`bandwidth` lets no more pass than it says, also at 100 MB/s; `make bench` measures how much does."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.control.conftest import where
from tests.integration.test_control_stress import daemon
from tests.running import PATIENCE

RATE = 100_000_000
SIZE = 50_000_000
NEVER_FASTER = 1.05 * RATE


def sends(listening):
    """Send `SIZE` bytes to everybody."""
    while True:
        try:
            client, _ = listening.accept()
        except OSError:  # closed: the test is over
            return
        with client:
            client.sendall(bytes(SIZE))


def delivered(address):
    """Bytes per second that a client gets."""
    left, buffer = SIZE, bytearray(1 << 20)
    began = time.monotonic()
    with socket.create_connection(address, timeout=PATIENCE) as client:
        while left:
            left -= client.recv_into(buffer)
    return SIZE / (time.monotonic() - began)


@pytest.mark.slow
def test_13_bandwidth_never_delivers_more_than_it_says_at_100_mb_per_second():
    with daemon() as (_, api), socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=sends, args=[listening])
        thread.start()
        try:
            upstream = f"127.0.0.1:{listening.getsockname()[1]}"
            made = api("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": upstream}).json()
            toxic = {"type": "bandwidth", "attributes": {"rate": RATE // 1000}}
            assert api("POST", "/proxies/p/toxics", toxic).status == 200
            assert delivered(where(made["listen"])) <= NEVER_FASTER
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)
