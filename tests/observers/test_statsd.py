from __future__ import annotations

import random
import socket
from contextlib import closing

import pytest

from tests.running import PATIENCE
from vaurien.errors import OptionError
from vaurien.events import Accepted, Closed, Failed, Injected, MixHit
from vaurien.observers.statsd import Statsd

ACCEPTED = Accepted(proxy="web", at=0, connection=1, peer="p")
CLOSED = Closed(
    proxy="web", at=1, connection=1, peer="p", sent=10, received=20, end="client closed", duration=0.1, hits={}
)
INJECTED = Injected(proxy="web", at=0, connection=1, fault="delay", exchange=1)


@pytest.fixture
def server():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(PATIENCE)
        yield receiver


def counted(server, *events, **options):
    """What arrives, up to a datagram that says that nothing more comes (UDP on loopback keeps the order)."""
    host, port = server.getsockname()
    with closing(Statsd(host, port, **options)) as statsd:
        for event in events:
            statsd(event)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.sendto(b"end of test", (host, port))
    return list(iter(lambda: server.recv(100).decode(), "end of test"))


def test_a_connection_counts_its_start_its_bytes_and_its_end(server):
    assert counted(server, ACCEPTED, CLOSED) == [
        "vaurien.start:1|c",
        "vaurien.to_backend:10|c",
        "vaurien.to_client:20|c",
        "vaurien.end:1|c",
    ]


def test_a_fault_counts_its_hits(server):
    assert counted(server, INJECTED, prefix="mine") == ["mine.fault.delay:1|c"]


def test_a_failure_counts(server):
    event = Failed(proxy="web", at=0, connection=1, where="dial", error="refused")
    assert counted(server, event, prefix="") == ["failed:1|c"]


def test_other_events_do_not_count(server):
    assert counted(server, MixHit(proxy="web", at=0, connection=1, exchange=1, behavior="delay")) == []


def test_a_name_cannot_change_the_datagram(server):
    event = Injected(proxy="web", at=0, connection=1, fault="my.pkg.Fault:1|c\nx", exchange=1)
    assert counted(server, event) == ["vaurien.fault.my_pkg_Fault_1_c_x:1|c"]


def test_a_sampled_counter_says_its_rate(server):
    sent = counted(server, *[ACCEPTED] * 1000, sample_rate=0.1, random=random.Random(1))
    dice = random.Random(1)
    assert len(sent) == sum(dice.random() < 0.1 for _ in range(1000))
    assert set(sent) == {"vaurien.start:1|c|@0.1"}


def test_nothing_is_sent_at_rate_zero(server):
    assert counted(server, *[ACCEPTED] * 100, sample_rate=0) == []


def test_a_server_that_is_not_there_costs_nothing_and_is_told_of(server, capsys):
    host, port = server.getsockname()
    server.close()
    with closing(Statsd(host, port)) as statsd:
        for _ in range(10):
            statsd(ACCEPTED)  # the ICMP answer to one datagram fails the next one
        assert statsd.lost > 0
        lost = statsd.lost
    counters = "1 counter was" if lost == 1 else f"{lost} counters were"
    assert capsys.readouterr().err.splitlines() == [
        f"vaurien: statsd at {host}:{port}: Connection refused; counters are lost",
        f"vaurien: statsd at {host}:{port}: {counters} lost (Connection refused)",
    ]


def test_a_closed_observer_raises_nothing(server):
    statsd = Statsd(*server.getsockname())
    statsd.close()
    statsd(ACCEPTED)
    assert statsd.lost == 1


def test_a_rate_out_of_range_is_refused():
    with pytest.raises(OptionError, match=r"statsd sample rate: 2 is not valid; expected a number from 0 to 1"):
        Statsd(sample_rate=2)


def test_a_host_that_does_not_resolve_is_refused():
    with pytest.raises(OptionError, match=r"statsd host: 'no\.\.host' is not valid; expected a host that resolves"):
        Statsd("no..host")


def test_a_host_without_a_route_is_refused():
    with pytest.raises(
        OptionError, match=r"statsd host: '255\.255\.255\.255' is not valid; expected a host with a route"
    ):
        Statsd("255.255.255.255")  # the system wants SO_BROADCAST for it
