"""The correction that needs a program of its own: `bandwidth` delivers what it says, also at 100 MB/s."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.control.conftest import where
from tests.integration.test_control_stress import daemon
from tests.machine import waited
from tests.running import PATIENCE

RATE = 100_000_000
SIZE = 50_000_000
TRIES = 5
"""How often it may be tried: the machine must be able to move more than that, with others on it."""

NEVER_FASTER = 1.05 * RATE
"""By the clock on the wall."""

NOT_SLOWER = 0.9 * RATE
"""But for the time in which the programs wait for a processor."""


def sends(listening):
    """Send `SIZE` bytes to everybody."""
    while True:
        try:
            client, _ = listening.accept()
        except OSError:  # closed: the test is over
            return
        with client:
            client.sendall(bytes(SIZE))


def delivered(address, pid):
    """Bytes per second that a client gets, and would get of a proxy *pid* that never waits for a processor."""
    left, buffer = SIZE, bytearray(1 << 20)
    began, lost = time.monotonic(), waited(pid)
    with socket.create_connection(address, timeout=PATIENCE) as client:
        while left:
            left -= client.recv_into(buffer)
        took = time.monotonic() - began
        return SIZE / took, SIZE / max(took - (waited(pid) - lost), 1e-9)


@pytest.mark.slow
def test_13_bandwidth_delivers_what_it_says_at_100_mb_per_second():
    with daemon() as (process, api), socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=sends, args=[listening])
        thread.start()
        try:
            upstream = f"127.0.0.1:{listening.getsockname()[1]}"
            made = api("POST", "/proxies", {"name": "p", "listen": "127.0.0.1:0", "upstream": upstream}).json()
            toxic = {"type": "bandwidth", "attributes": {"rate": RATE // 1000}}
            assert api("POST", "/proxies/p/toxics", toxic).status == 200
            rates = [delivered(where(made["listen"]), process.pid)]
            while rates[-1][1] < NOT_SLOWER and len(rates) < TRIES:
                rates.append(delivered(where(made["listen"]), process.pid))
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)
    assert max(real for real, _ in rates) <= NEVER_FASTER, rates
    assert max(undisturbed for _, undisturbed in rates) >= NOT_SLOWER, rates
