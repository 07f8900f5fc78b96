"""The correction that needs a program of its own: `bandwidth` delivers what it says, also at 100 MB/s."""

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
TRIES = 5
"""How often it may be tried: the machine must be able to move more than that, with others on it."""


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
    with socket.create_connection(address, timeout=PATIENCE) as client:
        began = time.monotonic()
        while left:
            left -= client.recv_into(buffer)
        return SIZE / (time.monotonic() - began)


@pytest.mark.slow
def test_13_bandwidth_delivers_what_it_says_at_100_mb_per_second():
    with daemon() as (_, api), socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=sends, args=[listening])
        thread.start()
        try:
            upstream = f"127.0.0.1:{listening.getsockname()[1]}"
            made = api("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": upstream}).json()
            toxic = {"type": "bandwidth", "attributes": {"rate": RATE // 1000}}
            assert api("POST", "/proxies/p/toxics", toxic).status == 200
            rates = [delivered(where(made["listen"]))]
            while rates[-1] < 0.9 * RATE and len(rates) < TRIES:
                rates.append(delivered(where(made["listen"])))
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)
    assert 0.9 * RATE <= max(rates) <= 1.05 * RATE, rates
