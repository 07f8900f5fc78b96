"""What is dialled must not come back to the program."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.room import ipv6
from vaurien.engine.net.own_addresses import OwnAddresses, listening_at


def own(*names: tuple[str, int]) -> OwnAddresses:
    made = OwnAddresses("loop", "itself")
    made.assign(names)
    return made


@pytest.mark.parametrize(
    ("name", "where", "included"),
    [
        (("127.0.0.1", 80), ("127.0.0.1", 80), True),
        (("127.0.0.1", 80), ("127.0.0.1", 81), False),
        (("127.0.0.1", 80), ("127.0.0.2", 80), False),
        (("127.0.0.1", 80), ("0.0.0.0", 80), True),
        (("127.0.0.1", 80), ("::ffff:127.0.0.1", 80, 0, 0), True),
        (("::1", 80), ("::1", 80, 0, 0), True),
        (("::1", 80), ("::", 80, 0, 0), True),
        (("0.0.0.0", 80), ("127.0.0.9", 80), True),
        (("0.0.0.0", 80), ("192.0.2.1", 80), False),
        (("0.0.0.0", 80), ("::1", 80, 0, 0), False),
        (("127.0.0.1", 80), "/run/socket", False),
    ],
)
def test_an_address_is_known_by_each_of_its_names(name: tuple[str, int], where: Any, included: bool) -> None:
    assert own(name).includes(where) == included


def test_another_address_of_this_machine_is_known_where_it_listens_everywhere() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but the loopback's")
        here = probe.getsockname()[0]
    assert own(("0.0.0.0", 80)).includes((here, 80))
    assert not own(("127.0.0.1", 80)).includes((here, 80))


def test_names_of_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.socket(socket.AF_UNIX) as unix:
        assert listening_at([unix, one]) == [one.getsockname()]


def test_a_socket_for_both_families_has_two_names() -> None:
    ipv6()
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        port = both.getsockname()[1]
        assert listening_at([both]) == [("::", port), ("0.0.0.0", port)]
