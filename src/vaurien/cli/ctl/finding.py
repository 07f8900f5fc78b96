"""Which interface a command asks, and how long it waits for one that starts."""

from __future__ import annotations

import socket
import time

from vaurien.client import Unreachable
from vaurien.client.plain import endpoint

URLS = ("http://localhost:8080", "http://localhost:8474")
"""Where ``vaurien --http`` and ``vaurien serve`` offer their interface, if they are told no other place."""

_PAUSE = 0.05
"""Seconds between two tries."""

_PATIENCE = 5.0
"""Seconds that an address may take to accept a connection when no time is given."""


def find(url: str | None, wait: float = 0.0, advice: str = ", --wait SECONDS waits for one that starts") -> str:
    """*url*; or, where that is ``None``, the first of `URLS` that accepts a connection.

    With *wait*, it has accepted one, after so many seconds at most. Raises `Unreachable` where nothing has, which ends
    with *advice*, and ValueError for a *url* that is none.
    """
    if url is not None and not wait:
        return url
    end = time.monotonic() + wait
    while True:
        reasons = []
        for one in URLS if url is None else (url,):
            reason = _refusal(one, max(end - time.monotonic(), _PAUSE) if wait else _PATIENCE)
            if reason is None:
                return one
            reasons.append(reason)
        left = end - time.monotonic()
        if left <= 0:
            raise Unreachable(_explained(url, wait, reasons[-1], advice))
        time.sleep(min(_PAUSE, left))


def _refusal(url: str, timeout: float) -> OSError | None:
    """Why no connection to *url* is accepted; ``None`` if one is."""
    where = endpoint(url)
    try:
        if "path" in where:
            with socket.socket(socket.AF_UNIX) as unix:
                unix.settimeout(timeout)
                unix.connect(where["path"])
        else:
            socket.create_connection((where["host"], where["port"]), timeout).close()
    except OSError as error:
        return error
    return None


def _explained(url: str | None, wait: float, reason: OSError, advice: str) -> str:
    within = f" within {wait:g} seconds" if wait else ""
    if url is not None:
        return f"{url} does not answer{within} ({reason}); is vaurien running there with --http, or vaurien serve?"
    return (
        f"neither {URLS[0]} (vaurien --http) nor {URLS[1]} (vaurien serve) answers{within} ({reason}); "
        f"is one of them running? --host names another address{'' if wait else advice}"
    )
