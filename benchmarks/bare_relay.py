"""The least that a thread for each connection costs in Python: blocking sockets, one poll object, nothing else.

``python -m benchmarks.bare_relay PORT BACKEND_PORT``: what a handler that copies is compared to.
"""

from __future__ import annotations

import select
import socket
import sys
import threading

CHUNK = 65536
"""Bytes read at once, as the handler does that it is compared with."""


def relay(client: socket.socket, port: int) -> None:
    """Connect *client* to the backend at *port*, until one of them ends."""
    with client, socket.create_connection(("127.0.0.1", port)) as backend:
        sides = {client.fileno(): (client, backend), backend.fileno(): (backend, client)}
        readable = select.poll()
        for source, _ in sides.values():
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            readable.register(source, select.POLLIN)
        while True:
            for descriptor, _ in readable.poll():
                source, target = sides[descriptor]
                data = source.recv(CHUNK)
                if not data:
                    return
                target.sendall(data)


def main(port: int, backend: int) -> None:
    """Accept clients on *port* for ever."""
    with socket.create_server(("127.0.0.1", port), backlog=512) as listening:
        while True:
            client, _ = listening.accept()
            threading.Thread(target=relay, args=(client, backend), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
