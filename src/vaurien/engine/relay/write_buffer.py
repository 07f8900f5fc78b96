"""Bytes that the destination of a link has not taken yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from vaurien.engine.net.endpoint import Data, Endpoint

Send: TypeAlias = Callable[[Data], int]
"""Sends some of the bytes and returns how many. Raises BlockingIOError when none can be sent now."""


class WriteBuffer:
    """Bytes that wait for a destination, in order.

    While it is watching, it sends whenever the destination is writable: *emptied* is called once there is nothing left,
    and *failed*, with the error, when sending failed.
    """

    __slots__ = ("_data", "_destination", "_emptied", "_failed", "_loop")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        emptied: Callable[[], None],
        failed: Callable[[OSError], None],
        data: bytes | memoryview = b"",
    ) -> None:
        self._loop, self._emptied, self._failed = loop, emptied, failed
        self._data = bytearray(data)
        self._destination: Endpoint | None = None  # that is watched

    @property
    def size(self) -> int:
        """How many bytes."""
        return len(self._data)

    def add(self, data: bytes | memoryview) -> None:
        """*data* waits too."""
        self._data += data

    def watch(self, destination: Endpoint) -> None:
        """Send when *destination* is writable."""
        self._destination = destination
        self._loop.add_writer(destination.fileno(), self._flush)

    def unwatch(self) -> None:
        """Send nothing until it watches again."""
        if self._destination is not None:
            self._loop.remove_writer(self._destination.fileno())
            self._destination = None

    def _flush(self) -> None:
        assert self._destination is not None  # noqa: S101 - only a watched destination calls this
        try:
            sent = self._destination.send(self._data)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(error)
            return
        del self._data[:sent]
        if not self._data and not self._destination.unsent:
            self._emptied()
