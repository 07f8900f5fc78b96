"""What a listener asks of its sockets for each client."""

from __future__ import annotations

import asyncio
import socket

import pytest

from vaurien.engine.loop.clock import Clock
from vaurien.engine.net.binding import bind
from vaurien.engine.net.listener import Listener, peer_name
from vaurien.model import Address


@pytest.mark.parametrize("listen", [Address("127.0.0.1", 0), Address(path="proxy.sock")], ids=["internet", "unix"])
def test_a_client_is_of_the_kind_of_its_listener_and_does_not_block(listen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clients = asyncio.run(_accepted(listen, 2))
    for client, peer in clients:
        assert (client.family, client.type) == (socket.AF_UNIX if listen.path else socket.AF_INET, socket.SOCK_STREAM)
        assert not client.getblocking()
        assert peer_name(peer) == ("unix" if listen.path else f"127.0.0.1:{peer[1]}")
        client.close()


@pytest.mark.parametrize(
    ("peer", "name"),
    [(("::1", 5, 0, 0), "[::1]:5"), (("::ffff:127.0.0.1", 5, 0, 0), "127.0.0.1:5"), ("", "unix"), (b"\0x", "unix")],
)
def test_names(peer, name):
    assert peer_name(peer) == name


async def _accepted(listen, count):
    loop = asyncio.get_running_loop()
    clock, found, done = Clock(loop), [], loop.create_future()

    def accepted(client, peer):
        found.append((client, peer))
        if len(found) == count:
            done.set_result(None)

    listener = Listener(loop, clock, accepted, lambda: True, pytest.fail, bind)
    address = await listener.bind(listen, 10)
    family, where = (socket.AF_UNIX, address.path) if address.path else (socket.AF_INET, (address.host, address.port))
    clients = [socket.socket(family) for _ in range(count)]
    try:
        for client in clients:
            client.connect(where)
        await asyncio.wait_for(done, 10)
    finally:
        listener.close()
        clock.close()
        for client in clients:
            client.close()
    return found
