"""Clients of the HTTP interface: `Client`, and `AsyncClient` for asyncio. They need the standard library only.

Both have the same methods, one for each operation of ``/api/v1``, declared once as a table of `Call`. What is in the
path is given by position, what is in the body by name::

    client.create_proxy(name="redis", backend="localhost:6379")
    client.add_fault("redis", behavior="latency", options={"latency": 100})

and the answer is what the interface says, as dictionaries and lists. The calls of Mozilla's Vaurien
(`Client.get_behavior` and its kin) are about the first proxy.
"""

from __future__ import annotations

from vaurien.client.aio import AsyncClient
from vaurien.client.calls import Call
from vaurien.client.plain import Client, at
from vaurien.client.transport import Refused, Unreachable

__all__ = ["AsyncClient", "Call", "Client", "Refused", "Unreachable", "at"]
