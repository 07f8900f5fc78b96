"""A relay between a real client and a real server that frames what passes, and answers some requests itself."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from vaurien.framing import Framing, Head, Mark, Piece, Protocol
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction

Refuse = Callable[[Head], bool]


@dataclass
class Dialogue:
    """One connection: what its framing made of it, and which requests were answered here."""

    framing: Framing
    requests: list[Head] = field(default_factory=list)
    refused: list[Head] = field(default_factory=list)
    answered: int = 0
    fed: dict[Direction, Any] = field(default_factory=lambda: {each: hashlib.sha256() for each in Direction})
    given: dict[Direction, Any] = field(default_factory=lambda: {each: hashlib.sha256() for each in Direction})
    closed: threading.Event = field(default_factory=threading.Event)
    """The backend has ended, and the client was told."""
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def commands(self) -> list[str]:
        return [head.fields["command"] for head in self.requests]

    def asked(self, part: str) -> list[Head]:
        """The requests whose query has *part* in it."""
        return [head for head in self.requests if part in head.fields.get("query", "")]

    def check(self) -> None:
        """Nothing was lost, and every request that has an answer got it."""
        assert self.ended.wait(30)
        assert self.framing.lost is None
        assert not self.framing.waiting
        assert self.answered == sum(head.answered for head in self.requests) - len(self.refused)
        for direction in Direction:
            assert self.given[direction].digest() == self.fed[direction].digest()


class Relay:
    """Listens on *port* and passes on to *backend*; requests for which *refuse* is true get *code* as their error."""

    def __init__(self, protocol: Protocol, backend: tuple[str, int], cut: int = 65536) -> None:
        self.protocol, self.backend, self.cut = protocol, backend, cut
        self.refuse: Refuse = lambda head: False
        self.code: str | None = None
        self.dialogues: list[Dialogue] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self._sockets: list[socket.socket] = []

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
        self._threads[0].join()
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        for each in self._sockets:
            each.close()

    def only(self) -> Dialogue:
        """The one connection there was, when it has ended."""
        (dialogue,) = self.dialogues
        assert dialogue.ended.wait(30)
        return dialogue

    def check(self) -> None:
        """All that passed was understood, and there was something."""
        assert self.dialogues
        for dialogue in self.dialogues:
            dialogue.check()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # shut down by close()
            while True:
                client, _ = self._listener.accept()
                backend = socket.create_connection(self.backend)
                for each in (client, backend):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [client, backend]
                link = _Connection(self, client, backend)
                self.dialogues.append(link.dialogue)
                self._threads += [link.start(TO_BACKEND), link.start(TO_CLIENT)]


class _Connection:
    def __init__(self, relay: Relay, client: socket.socket, backend: socket.socket) -> None:
        self.relay, self.client, self.backend = relay, client, backend
        self.dialogue = Dialogue(relay.protocol.framer())
        self._lock = threading.Lock()
        self._out: list[tuple[socket.socket, bytes]] = []
        self._refusing: Head | None = None
        self._ends = 0

    def start(self, direction: Direction) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=[direction])
        thread.start()
        return thread

    def _run(self, direction: Direction) -> None:
        source, target = (self.client, self.backend) if direction is TO_BACKEND else (self.backend, self.client)
        with contextlib.suppress(OSError):  # a reset is a peer's right
            while data := source.recv(65536):
                for at in range(0, len(data), self.relay.cut):
                    self._pass(direction, data[at : at + self.relay.cut])
        with self._lock:
            self._take(direction, self.dialogue.framing.end(direction))
            self._ends += 1
            out, self._out = self._out, []
            if self._ends == 2:
                self.dialogue.ended.set()
        with contextlib.suppress(OSError):
            for sink, data in out:
                sink.sendall(data)
            target.shutdown(socket.SHUT_WR)
        if direction is TO_CLIENT:
            self.dialogue.closed.set()

    def _pass(self, direction: Direction, data: bytes) -> None:
        with self._lock:
            framing = self.dialogue.framing
            self.dialogue.fed[direction].update(data)
            self._take(direction, framing.feed(direction, data))
            if framing.other_direction_ready:
                self._take(direction.back, framing.feed(direction.back, b""))
            out, self._out = self._out, []
        for target, part in out:
            target.sendall(part)

    def _take(self, direction: Direction, pieces: list[Piece]) -> None:
        for what, data in pieces:
            self.dialogue.given[direction].update(data)
            self._watch(direction, what, data)

    def _watch(self, direction: Direction, what: Head | Mark, data: bytes) -> None:
        if isinstance(what, Head) and what.request:
            self.dialogue.requests.append(what)
            if self.relay.refuse(what):
                self._refusing = what
        if what is Mark.RESPONSE_END:
            self.dialogue.answered += 1
        if self._refusing is None or direction is TO_CLIENT:
            self._out.append((self.backend if direction is TO_BACKEND else self.client, data))
        elif what is Mark.REQUEST_END:
            self._answer(self._refusing)

    def _answer(self, head: Head) -> None:
        self._refusing = None
        framing = self.dialogue.framing
        framing.withdraw(head)
        self.dialogue.refused.append(head)
        reply = self.relay.protocol.error_reply(head, random.Random(1), self.relay.code)
        self._out.append((self.client, reply.data))
        if reply.close:
            self.client.sendall(b"".join(part for target, part in self._out if target is self.client))
            self._out = [(target, part) for target, part in self._out if target is self.backend]
            for each in (self.client, self.backend):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def relayed(protocol: Protocol, backend: tuple[str, int], cut: int = 65536) -> Iterator[Relay]:
    """A relay that is checked and closed at the end."""
    relay = Relay(protocol, backend, cut)
    try:
        yield relay
        relay.check()
    finally:
        relay.close()
