"""A relay in threads, between a real client and a real server, which shows a framer what both say."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType

from tests.protocols.pairing import Pairing
from tests.protocols.servers import PATIENCE
from vaurien.framing import Framing
from vaurien.model import TO_BACKEND, TO_CLIENT, Direction


class Relay:
    """Listens on *port* and relays to *backend*; each connection has its own `Pairing` in *pairings*.

    At the end of the ``with`` block it waits until all connections are through, and raises what went wrong in them.
    """

    def __init__(self, backend: tuple[str, int], framer: Callable[[], Framing]) -> None:
        self._backend = backend
        self._framer = framer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[Exception] = []
        self.port: int = self._listener.getsockname()[1]
        self.pairings: list[Pairing] = []

    def __enter__(self) -> Relay:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for end in [self._listener, *(self._clients if error is not None else [])]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:  # grows while the accepting thread, which is the first, runs
            thread.join(PATIENCE)
            assert not thread.is_alive()
        self._listener.close()
        if self._failures and error is None:
            raise self._failures[0]

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            backend = socket.create_connection(self._backend, timeout=PATIENCE)
            client.settimeout(PATIENCE)
            self._clients.append(client)
            pairing = Pairing(self._framer())
            self.pairings.append(pairing)
            self._start(self._serve, client, backend, pairing)

    def _serve(self, client: socket.socket, backend: socket.socket, pairing: Pairing) -> None:
        lock = threading.Lock()
        up = threading.Thread(target=self._pump, args=(TO_BACKEND, client, backend, pairing, lock), daemon=True)
        with client, backend:
            up.start()
            self._pump(TO_CLIENT, backend, client, pairing, lock)
            up.join(PATIENCE)

    def _pump(
        self, direction: Direction, source: socket.socket, target: socket.socket, pairing: Pairing, lock: threading.Lock
    ) -> None:
        try:
            while data := source.recv(65536):
                with lock:
                    given = pairing.feed(direction, data)  # fed before it is sent: an answer is fed after it
                target.sendall(given)
        except ConnectionError:
            pass  # a client that leaves without a word
        except Exception as failure:  # shown by the thread of the test
            self._failures.append(failure)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
