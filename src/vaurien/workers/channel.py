"""Messages over a stream socket between two processes, in order, each with descriptors if it needs some.

    ┌────────────┬───────────────┬─────────────────┐
    │ length (4) │ descriptors(1)│ message (length)│   a descriptor travels with the first byte of its message
    └────────────┴───────────────┴─────────────────┘

The system delivers descriptors with the first byte of the write that sent them (unix(7), SCM_RIGHTS), so they arrive no
later than their message.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence

_HEAD = struct.Struct("!IB")
_READ = 256 * 1024
_DESCRIPTORS = 128
"""Descriptors that are received at once; the system allows 253 in a message."""


class Channel:
    """One end. *received* gets each message with its descriptors; *lost* is called once, when the other end closes."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        received: Callable[[bytes, list[int]], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop, self._end = loop, end
        self._received, self._lost = received, lost
        self._read = bytearray()
        self._descriptors: list[int] = []
        self._unsent: deque[tuple[memoryview, list[int]]] = deque()
        self._closed = False
        end.setblocking(False)
        loop.add_reader(end.fileno(), self._readable)

    def send(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send *message*; what the socket does not take now is sent later. The caller may close *descriptors* then."""
        if self._closed:
            return
        data = memoryview(_HEAD.pack(len(message), len(descriptors)) + message)
        if self._unsent:
            self._unsent.append((data, [os.dup(one) for one in descriptors]))
            return
        left = self._write(data, descriptors)
        if left:
            sent_some = len(left) < len(data)
            self._unsent.append((left, [] if sent_some else [os.dup(one) for one in descriptors]))
            self._loop.add_writer(self._end.fileno(), self._writable)

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return sum(len(data) for data, _ in self._unsent)

    def flush(self) -> None:
        """Block until everything is sent."""
        if self._closed or not self._unsent:
            return
        self._end.setblocking(True)
        try:
            while self._unsent and not self._closed:
                self._send_next()
        finally:
            self._end.setblocking(False)
        if not self._closed:
            self._loop.remove_writer(self._end.fileno())

    def close(self) -> None:
        """Close this end; the other end notices. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._end.fileno())
        self._loop.remove_writer(self._end.fileno())
        self._end.close()
        for one in [*self._descriptors, *(one for _, those in self._unsent for one in those)]:
            os.close(one)
        self._unsent.clear()

    def _write(self, data: memoryview, descriptors: Sequence[int]) -> memoryview:
        """Send as much of *data* as the socket takes, with *descriptors*; returns the rest."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            return data[self._end.sendmsg([data], rights) :]
        except BlockingIOError:
            return data
        except OSError:  # the other end is closed, which reading notices
            return data[:0]

    def _send_next(self) -> None:
        data, descriptors = self._unsent[0]
        left = self._write(data, descriptors)
        if len(left) == len(data):
            return
        for one in descriptors:
            os.close(one)
        if left:
            self._unsent[0] = (left, [])
        else:
            self._unsent.popleft()

    def _writable(self) -> None:
        self._send_next()
        if not self._unsent:
            self._loop.remove_writer(self._end.fileno())

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self._end.recvmsg(
                _READ, socket.CMSG_SPACE(_DESCRIPTORS * array.array("i").itemsize), _CLOSE_ON_EXEC
            )
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found = array.array("i")
                found.frombytes(content[: len(content) - len(content) % found.itemsize])
                self._descriptors += found
        if not data:
            self.close()
            self._lost()
            return
        self._read += data
        self._deliver()

    def _deliver(self) -> None:
        start = 0
        while len(self._read) - start >= _HEAD.size and not self._closed:
            length, count = _HEAD.unpack_from(self._read, start)
            end = start + _HEAD.size + length
            if len(self._read) < end:
                break
            message = bytes(self._read[start + _HEAD.size : end])
            start = end
            descriptors, self._descriptors = self._descriptors[:count], self._descriptors[count:]
            self._received(message, descriptors)
        del self._read[:start]


_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
