"""The base classes of legacy protocols, and what moves the bytes where the proxy's protocol is none."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from vaurien import framing
from vaurien.legacy.configurable import BUFFER, Configurable
from vaurien.legacy.sockets import end_sending, get_data, is_closed, ready, reset

ROUNDS = 32
"""Chunks moved at most in one go (about 256 KiB), so that a change of the mix reaches a stream that never pauses."""


class BaseProtocol(Configurable):
    """Base of protocols: subclasses define ``_handle(self, source, dest, to_backend[, on_between_handle])``.

    It is called when *source* can be read. It moves a request and, as a rule, its response, calling *on_between_handle*
    in between, where false means that the response must not be read. It returns whether the connection goes on.
    """

    options = {
        "reuse_socket": ("If True, the socket is reused.", bool, False),
        "buffer": ("Bytes read at once", int, BUFFER),
        "keep_alive": ("Keep the connection after the first exchange", bool, False),
    }

    def _get_data(self, sock: socket.socket, buffer: int | None = None) -> bytes:
        """Up to *buffer* bytes (else the option ``buffer``); empty at the end or for an error (see `get_data`)."""
        return get_data(sock, self._buffer() if buffer is None else buffer)

    def _abort_handling(self, to_backend: bool, backend_sock: socket.socket) -> None:
        """The backend said nothing more: close *backend_sock*, unless backend sockets are reused."""
        if not to_backend and not self.option("reuse_socket"):
            backend_sock.close()


class TCP(BaseProtocol):
    """tcp for legacy plugins to derive from: it knows no messages.

    With ``keep_alive`` each call moves one chunk. Without, the data at hand is the request, and everything up to the
    other side's end is the response; then the connection ends. It is on by default, where Mozilla's Vaurien had it off:
    there, a backend that keeps its connections open looked hung.
    """

    name = "tcp"
    options = BaseProtocol.options | {"keep_alive": (*BaseProtocol.options["keep_alive"][:2], True)}

    def _handle(
        self,
        source: socket.socket,
        dest: socket.socket,
        to_backend: bool,
        on_between_handle: Callable[..., bool] | None = None,
    ) -> bool:
        data = self._get_data(source)
        if not data:
            self._abort_handling(to_backend, dest)
            return False
        dest.sendall(self._rewrite(data) if to_backend else data)
        if to_backend and on_between_handle is not None and not on_between_handle():
            dest.close()
            return False
        return bool(self.option("keep_alive")) or self._take_all(dest, source)

    def _rewrite(self, data: bytes) -> bytes:
        """What the backend gets for *data*."""
        return data

    def _take_all(self, source: socket.socket, dest: socket.socket) -> bool:
        while data := self._get_data(source):
            dest.sendall(data)
        if not self.option("reuse_socket"):
            source.close()
        return False


class Unframed(framing.Protocol, frozen=True):
    """Stands for a legacy protocol where the engine asks for marks of messages: it has none but turns, as tcp."""


class Transparent(BaseProtocol):
    """Moves the bytes for a legacy behavior on a proxy whose protocol is no legacy plugin: one *turn* per call.

    A turn is what the client sends until the backend answers, and what is there of the answer; the rest of a long
    answer, and what a backend says unasked, is a call of its own. An end is passed on as an end, and leaves the other
    direction open; a reset is passed on as a reset. *name* is that of the proxy's protocol, which behaviors may ask.
    """

    def __init__(self, name: str = "tcp", settings: dict[str, Any] | None = None, proxy: Any = None) -> None:
        super().__init__(settings, proxy)
        self.name = name

    def _handle(
        self,
        source: socket.socket,
        dest: socket.socket,
        to_backend: bool,
        on_between_handle: Callable[..., bool],
    ) -> bool:
        if self._move(source, dest) and to_backend:
            if not on_between_handle():
                dest.close()
            elif not is_closed(source):
                self._await_answer(source, dest)
        return not (is_closed(source) or is_closed(dest))

    def _await_answer(self, client: socket.socket, backend: socket.socket) -> None:
        """Move what is there of the answer once it comes, and more of the request until then."""
        waiting = [backend, client]
        while not is_closed(backend) and (readable := ready(waiting, client.gettimeout())):
            if backend in readable:
                self._move(backend, client)
                return
            if not self._move(client, backend):
                waiting = [backend]

    def _move(self, source: socket.socket, dest: socket.socket) -> bool:
        """Move what is there, unless *dest* has something to say. False: that was the end, and *dest* was told so."""
        try:
            for _ in range(ROUNDS):
                data = source.recv(self._buffer())
                if not data:
                    end_sending(dest)
                    return False
                dest.sendall(data)
                if ready([source, dest], 0) != [source]:
                    break
        except (ConnectionError, TimeoutError):  # one side was reset, or does not read: neither is the plugin's doing
            reset(source)
            reset(dest)
            return False
        return True
