"""The built-in behaviors of Mozilla's Vaurien, for plugins to subclass and to call by super().

A plugin imports them by the old paths (``vaurien.behaviors.error.Error``). Under a legacy protocol they also act in the
place of the engine's behaviors of the same names, which know nothing of what such a protocol reads and sends.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from vaurien.legacy.behavior import Dummy
from vaurien.legacy.sockets import PluginSocket, at_end, get_data, ready

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, MutableSet

_READ = 65536

_STATUSES = {500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable"}


class Delay(Dummy):
    """Wait once per request: before it is sent, or before its answer is read."""

    name = "delay"
    options = {
        "sleep": ("Delay in seconds", float, 1),
        "before": ("If True adds before the backend is called. Otherwise after", bool, True),
    }

    def __init__(self, settings: Mapping[str, Any] | None = None, proxy: Any = None) -> None:
        super().__init__(settings, proxy)
        self._waited: MutableSet[socket.socket] = weakref.WeakSet()  # for the answer to this client's request

    def on_before_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        if to_backend and self.option("before"):
            time.sleep(self.option("sleep"))
        return True

    def on_between_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        if to_backend and not self.option("before"):
            self._waited.add(source)
            time.sleep(self.option("sleep"))
        return True

    def on_after_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        if to_backend and not self.option("before") and source not in self._waited:
            time.sleep(self.option("sleep"))  # a protocol of the first releases does not call `on_between_handle`
        self._waited.discard(source)
        return True


class Error(Dummy):
    """Answer instead of the backend: a 50x and the end for http, else 1000 random bytes.

    With *inject* 100 random bytes come in the middle of the first part of the backend's answer instead.
    """

    name = "error"
    options = {
        "inject": ("Inject errors inside valid data", bool, False),
        "warmup": ("Number of calls before erroring out", int, 0),
    }

    def __init__(self, settings: Mapping[str, Any] | None = None, proxy: Any = None) -> None:
        super().__init__(settings, proxy)
        self.current = 0
        """Requests so far, up to the warm-up."""
        self._lock = threading.Lock()
        self._spoilt: MutableSet[socket.socket] = weakref.WeakSet()  # clients whose next answer is

    def on_before_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        if not to_backend:
            return not self._inject(source, dest)
        if _ended(source) or not self._warm():
            return True
        if self.option("inject"):
            self._spoilt.add(source)
            dest.sendall(source.recv(_READ))
            return False
        source.recv(_READ)
        if getattr(protocol, "name", "") == "http":
            status = random.choice(tuple(_STATUSES))  # noqa: S311 - chance, not secrecy
            head = f"HTTP/1.1 {status} {_STATUSES[status]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            source.sendall(head.encode())
            source.close()
        else:
            source.sendall(os.urandom(1000))
        return False

    def _warm(self) -> bool:
        """Whether this request comes after the warm-up."""
        with self._lock:
            if self.current >= self.option("warmup"):
                return True
            self.current += 1
            return False

    def _inject(self, backend: socket.socket, client: socket.socket) -> bool:
        """Spoil the answer of *backend* if it is to be, and is there; whether it was."""
        if client not in self._spoilt or _ended(backend):
            return False
        self._spoilt.discard(client)
        data = backend.recv(_READ)
        half = len(data) // 2
        client.sendall(data[:half] + os.urandom(100) + data[half:])
        return True


class Transient(Error):
    """Answer the first *agitate* requests with an error; those that follow pass."""

    name = "transient"
    options = {**Error.options, "agitate": ("Number of calls that fail", int, 1)}

    def __init__(self, settings: Mapping[str, Any] | None = None, proxy: Any = None) -> None:
        super().__init__(settings, proxy)
        self.failed = 0
        """Requests that were answered with an error."""

    def _warm(self) -> bool:
        if not super()._warm():
            return False
        with self._lock:
            self.failed += 1
            return self.failed <= int(self.option("agitate"))


class Hang(Dummy):
    """Read what the client sends, and never answer. Ends when the client does."""

    name = "hang"

    def on_before_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        client, backend = (source, dest) if to_backend else (dest, source)
        speaking = [client, backend]
        while client in speaking:
            for one in ready(speaking, None):
                if not get_data(one, _READ):
                    speaking.remove(one)
        client.close()
        return False


class Blackout(Dummy):
    """Close the client's socket, without a word."""

    name = "blackout"

    def on_before_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        (source if to_backend else dest).close()
        return False


class Abort(Dummy):
    """Send the request on, and close the backend's socket before its answer is read."""

    name = "abort"

    def on_between_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        if to_backend:
            dest.close()
        return not to_backend

    def on_after_handle(self, protocol: Any, source: socket.socket, dest: socket.socket, to_backend: bool) -> bool:
        if to_backend:  # for a protocol of the first releases
            dest.close()
        return True


BUILT_IN: Mapping[str, type[Dummy]] = {one.name: one for one in (Delay, Error, Transient, Hang, Blackout, Abort)}
"""For the name of a built-in behavior that does something, the class here that does the same."""


def _ended(sock: socket.socket) -> bool:
    return isinstance(sock, PluginSocket) and at_end(sock)
