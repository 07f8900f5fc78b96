"""A relay between a real client and a real server that only watches: a framer is fed what passes."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator

from vaurien.framing import HEAD_LIMIT, Head, Mark, Piece, Protocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction


class Watched:
    """One connection: the heads that its framing found, and hashes of the bytes fed and given back."""

    def __init__(self, protocol: Protocol, client: socket.socket, backend: socket.socket) -> None:
        self.framing = protocol.framer()
        self.heads: dict[Direction, list[Head]] = {each: [] for each in Direction}
        self.ends = {Mark.REQUEST_END: 0, Mark.RESPONSE_END: 0}
        self.sockets = {TO_BACKEND: backend, TO_CLIENT: client}  # by the direction that writes to it
        self._fed = {each: hashlib.md5() for each in Direction}
        self._given = {each: hashlib.md5() for each in Direction}
        self._lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(side,)) for side in Direction]

    def check(self) -> list[tuple[dict[str, str], dict[str, str]]]:
        """Everything was understood and every request answered; the fields of the exchanges, in order."""
        assert self.framing.lost is None
        assert not self.framing.waiting
        for side in Direction:
            assert self._fed[side].digest() == self._given[side].digest()
        asked = [head for head in self.heads[TO_BACKEND] if head.answered]
        assert self.ends == {Mark.REQUEST_END: len(self.heads[TO_BACKEND]), Mark.RESPONSE_END: len(asked)}
        return [(dict(a.fields), dict(b.fields)) for a, b in zip(asked, self.heads[TO_CLIENT], strict=True)]

    def _run(self, direction: Direction) -> None:
        source, target = self.sockets[direction.back], self.sockets[direction]
        with contextlib.suppress(OSError):  # a reset is a peer's right
            while data := source.recv(65536):
                with self._lock:
                    self._fed[direction].update(data)
                    self._note(direction, self.framing.feed(direction, data))
                    if self.framing.other_direction_ready:
                        self._note(direction.back, self.framing.feed(direction.back, b""))
                    assert self.framing.held(direction) <= HEAD_LIMIT
                target.sendall(data)
        with self._lock:
            self._note(direction, self.framing.end(direction))
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _note(self, direction: Direction, pieces: list[Piece]) -> None:
        for what, data in pieces:
            self._given[direction].update(data)
            if isinstance(what, Head):
                self.heads[direction].append(what)
            elif what is not Mark.BODY:
                self.ends[what] += 1


class Relay:
    """Listens, and passes on to *backend*. Close the clients before asking for what was watched."""

    def __init__(self, protocol: Protocol, backend: tuple[str, int]) -> None:
        self._protocol, self._backend = protocol, backend
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._watched: list[Watched] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # shut down by ended()
            while True:
                client, _ = self._listener.accept()
                backend = socket.create_connection(self._backend)
                for each in (client, backend):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._watched.append(Watched(self._protocol, client, backend))
                for thread in self._watched[-1].threads:
                    thread.start()

    def ended(self) -> list[Watched]:
        """The connections there were, once all have ended."""
        with contextlib.suppress(OSError):  # a second time
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
        self._accepting.join()
        self._listener.close()
        for watched in self._watched:
            for thread in watched.threads:
                thread.join(60)
                assert not thread.is_alive(), "a connection did not end"
            for each in watched.sockets.values():
                each.close()
        return self._watched

    def exchanges(self) -> list[tuple[dict[str, str], dict[str, str]]]:
        """The exchanges of all connections, checked."""
        return [exchange for watched in self.ended() for exchange in watched.check()]


@contextlib.contextmanager
def relayed(protocol: Protocol, backend: tuple[str, int]) -> Iterator[Relay]:
    relay = Relay(protocol, backend)
    try:
        yield relay
    finally:
        relay.ended()
