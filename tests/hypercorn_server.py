"""Hypercorn in a thread: an application of ASGI behind HTTP/1.1 and HTTP/2 without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import free_port, listens
from tests.waiting import PATIENCE, until


@contextlib.contextmanager
def hypercorn(application: Any) -> Iterator[tuple[str, int]]:
    """The address at which *application* is served. Where hypercorn is not installed the test skips."""
    serving, config = pytest.importorskip("hypercorn.asyncio"), pytest.importorskip("hypercorn.config")
    settings, port = config.Config(), free_port()
    settings.bind, settings.errorlog = [f"127.0.0.1:{port}"], None
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    served = serving.serve(application, settings, shutdown_trigger=stop.wait)
    thread = threading.Thread(target=lambda: loop.run_until_complete(served))
    thread.start()
    try:
        until(lambda: listens(port))
        yield "127.0.0.1", port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.close()
