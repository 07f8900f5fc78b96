"""Congestion control for connections that never leave this machine.

BBR spaces out what a socket sends by the rate that it believes the path to have, and wakes a timer for each portion. On
the loopback interface there is no path: what it measures is when the reader was last scheduled. There Reno takes its
place, which is in every kernel and open to every user (tcp(7), `tcp_allowed_congestion_control`).
"""

from __future__ import annotations

import functools
import ipaddress
import socket

from vaurien import platform

_RENO = b"reno"
PACED = b"bbr"
"""How the names of those that pace begin: bbr, bbr2, bbr3."""
_NAME = 16
"""Bytes of a name (TCP_CA_NAME_MAX in the kernel's tcp.h)."""


def use_reno_on_loopback(unconnected: socket.SocketType, host: str) -> None:
    """Have *unconnected* send to the numeric address *host* unpaced, if that is this machine.

    A listening socket hands it on to those that it accepts. It must be done before the handshake: a connection that has
    begun with BBR stays paced. Raises OSError.
    """
    if platform.CONGESTION_CONTROL and paced(host):
        unconnected.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _RENO)


@functools.lru_cache
def paced(host: str) -> bool:
    """Whether the system would pace what is sent to *host*, although it stays here."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:  # all addresses of this machine
        return False
    if not local:
        return False
    with socket.socket() as probe:
        return probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME).startswith(PACED)
