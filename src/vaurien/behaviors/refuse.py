"""Refuse connections: close the listening port."""

from __future__ import annotations

from typing import ClassVar

from vaurien.hooks import Behavior


class Refuse(Behavior, frozen=True):
    """Close the proxy's port: clients are refused.

    The client gets ``ECONNREFUSED``, at once, as if the server had not been started; the backend sees nothing. It
    concerns the whole proxy: nothing chooses among clients, and a mix cannot have it. Connections that are open go on.
    When the fault is removed, or its *ttl* is over, the proxy listens again on the same port; on Linux no other program
    can have had it meanwhile. The system refuses without telling the proxy, so refused clients are not counted.
    """

    closes_port: ClassVar[bool] = True
