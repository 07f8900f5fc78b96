"""Nothing moves, and nothing is lost."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from tests.running import PATIENCE, backend, pair, read, read_all, running
from vaurien.behaviors.freeze import Freeze
from vaurien.events import Closed
from vaurien.model import Fault
from vaurien.testing import Chunk, End, Remove, Sent, play

FREEZE = Fault(name="ice", behavior="freeze")


def test_nothing_leaves_until_it_is_removed() -> None:
    script = [Chunk(b"a"), Chunk(b"b", at=1), End(at=2), Remove(at=3), Chunk(b"z", at=4, to_backend=False)]
    played = play(Freeze(), script)
    assert played.up == (Sent(3, b"a"), Sent(3, b"b"))
    assert (played.up_end, played.down, played.end, played.hits) == (3, (Sent(4, b"z"),), None, 1)


def test_the_end_of_the_stream_is_frozen_too() -> None:
    assert play(Freeze(), [End(at=1)]).up_end is None
    assert play(Freeze(), [End(at=1), Remove(at=2)]).up_end == 2


def test_a_sender_is_held_back_and_goes_on_later() -> None:
    data = os.urandom(30_000_000)
    with backend() as listening, running(listening.getsockname(), "", FREEZE) as proxy:
        with pair(proxy, listening) as (client, server):
            client.settimeout(0.3)
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < len(data):
                    sent += client.send(data[sent : sent + 65536])
            server.settimeout(0.05)
            with pytest.raises(TimeoutError):
                server.recv(1)
            assert not proxy.events.of(Closed)
            client.settimeout(PATIENCE)
            server.settimeout(PATIENCE)
            proxy.set_policy("")

            def send() -> None:
                client.sendall(data[sent:])
                client.shutdown(socket.SHUT_WR)

            thread = threading.Thread(target=send)
            thread.start()
            got = read_all(server)
            thread.join(PATIENCE)
            assert got == data


def test_a_live_connection_freezes_and_thaws() -> None:
    with backend() as listening, running(listening.getsockname()) as proxy, pair(proxy, listening) as (client, server):
        for number in range(3):
            proxy.set_policy("", FREEZE)
            client.sendall(b"up%d" % number)
            server.sendall(b"down%d" % number)
            proxy.set_policy("")
            assert read(server, 3) == b"up%d" % number
            assert read(client, 5) == b"down%d" % number
