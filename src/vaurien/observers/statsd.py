"""Counters for a statsd server, one UDP datagram each.

The datagram is ``NAME:VALUE|c``, with ``|@RATE`` when it stands for more than itself, as in statsd's
``docs/metric_types.md``. The network may lose it, and the system may refuse to send it: no connection waits for a
counter. Those that were refused are counted, and the user is told.
"""

from __future__ import annotations

import re
import socket
from random import Random

from vaurien.console import to_user
from vaurien.errors import OptionError
from vaurien.events import Accepted, Closed, Event, Failed, Injected

_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")  # dots make levels; colon, bar and at sign are statsd's own


class Statsd:
    """An observer that counts, below *prefix*, what happens to connections.

    ``start`` and ``end`` count connections, ``to_backend`` and ``to_client`` the bytes that an ended connection had
    passed each way, ``failed`` what went wrong, ``fault.NAME`` the hits of a fault. *sample_rate* is the share of
    counters that are sent, 0 to 1; *random* draws them. *host* is resolved once. Raises `OptionError` for a host that
    does not resolve or a rate out of range. As an observer it raises nothing; `lost` counts the datagrams that the
    system refused to send.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8125,
        prefix: str = "vaurien",
        sample_rate: float = 1.0,
        *,
        random: Random | None = None,
    ) -> None:
        if not 0 <= sample_rate <= 1:
            raise OptionError("statsd sample rate", sample_rate, "a number from 0 to 1")
        self._prefix = f"{prefix}." if prefix else ""
        self._rate = sample_rate
        self._suffix = f"|@{sample_rate:g}" if sample_rate < 1 else ""
        self._random = random or Random()  # noqa: S311 - which counters are sent is no secret
        self._socket = _connected(host, port)
        self._name = f"statsd at {host}:{port}"
        self._reason = ""
        self._closed = False
        self.lost = 0
        """How many counters were lost."""

    def __call__(self, event: Event) -> None:
        """Send the counters of *event*."""
        if isinstance(event, Accepted):
            self._count("start")
        elif isinstance(event, Injected):
            self._count("fault." + _NOT_A_NAME.sub("_", event.fault))
        elif isinstance(event, Failed):
            self._count("failed")
        elif isinstance(event, Closed):
            self._count("to_backend", event.sent)
            self._count("to_client", event.received)
            self._count("end")

    def close(self) -> None:
        """Close the socket, and tell the user how many counters were lost. Idempotent."""
        self._socket.close()
        if self.lost and not self._closed:
            counters = "1 counter was" if self.lost == 1 else f"{self.lost} counters were"
            to_user(f"{self._name}: {counters} lost ({self._reason})")
        self._closed = True

    def _count(self, name: str, value: int = 1) -> None:
        if self._rate < 1 and self._random.random() >= self._rate:
            return
        try:
            self._socket.send(f"{self._prefix}{name}:{value}|c{self._suffix}".encode())
        except OSError as error:  # no server (an ICMP message), no route, no buffer, closed
            self._reason = error.strerror or str(error)
            if not self.lost:
                to_user(f"{self._name}: {self._reason}; counters are lost")
            self.lost += 1


def _connected(host: str, port: int) -> socket.socket:
    """A UDP socket whose datagrams go to *host* and *port*."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long for DNS
        raise OptionError("statsd host", host, f"a host that resolves ({error})") from None
    sender = socket.socket(family, kind, proto)
    sender.setblocking(False)
    try:
        sender.connect(address)
    except OSError as error:
        sender.close()
        raise OptionError("statsd host", host, f"a host with a route to it ({error})") from None
    return sender
