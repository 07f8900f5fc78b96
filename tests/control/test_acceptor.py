"""The accepting of clients while the system has no room."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket

import pytest

from vaurien.control.acceptor import Acceptor


class Listening:
    """A listening socket whose `accept` does what *outcomes* say, then blocks; it is readable all the time."""

    def __init__(self, *outcomes):
        self._outcomes = list(outcomes)
        self._readable, self._peer = socket.socketpair()
        self._peer.send(b"x")
        self.family = socket.AF_INET
        self.calls = 0

    def fileno(self):
        return self._readable.fileno()

    def accept(self):
        self.calls += 1
        if not self._outcomes:
            raise BlockingIOError
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, int):
            raise OSError(outcome, os.strerror(outcome))
        return outcome, None

    def close(self):
        self._readable.close()
        self._peer.close()


@pytest.fixture
def client():
    with contextlib.ExitStack() as stack:

        def made():
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.enter_context(socket.create_connection(listening.getsockname()))
            return stack.enter_context(listening.accept()[0])

        yield made


def play(listening, seconds=0.0, room=True):
    """What an acceptor of *listening* does within some turns of the loop: clients, rooms made, complaints."""
    seen = [], [], []

    def make_room():
        seen[1].append(True)
        return room

    async def run():
        acceptor = Acceptor([listening], seen[0].append, make_room, seen[2].append)
        for _ in range(8):
            await asyncio.sleep(0)
        await asyncio.sleep(seconds)
        acceptor.close()

    asyncio.run(run())
    return seen


def test_clients_are_accepted_and_answers_leave_at_once(client):
    one, other = client(), client()
    accepted, rooms, complaints = play(Listening(one, other))
    assert accepted == [one, other]
    assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not one.getblocking()
    assert (rooms, complaints) == ([], [])


def test_the_reserve_is_for_one_more_client_while_there_are_no_descriptors(client):
    one = client()
    accepted, rooms, complaints = play(Listening(errno.EMFILE, one, errno.EMFILE))
    assert accepted == [one]
    assert len(rooms) == 2  # one for the client, one before the next attempt
    [complaint] = complaints
    assert complaint == "the HTTP interface is short of room for clients: Too many open files; older ones must leave"


def test_the_reserve_is_there_again_once_a_client_has_left(client):
    one, other = client(), client()
    seen = []

    async def run():
        listening = Listening(errno.EMFILE, one, errno.EMFILE, other)
        acceptor = Acceptor([listening], seen.append, lambda: bool(acceptor.client_left()), lambda _: None)
        for _ in range(8):
            await asyncio.sleep(0)
        acceptor.close()

    asyncio.run(run())
    assert seen == [one, other]


@pytest.mark.parametrize("error", [errno.ENOBUFS, errno.EPERM, errno.EINVAL])
def test_other_shortages_and_errors_do_not_spin(error):
    listening = Listening(*[error] * 1000)
    accepted, _, complaints = play(listening)
    assert accepted == []
    assert listening.calls < 5
    assert len(complaints) == 1


def test_a_client_that_left_before_it_was_accepted_is_passed_over(client):
    one = client()
    accepted, rooms, complaints = play(Listening(errno.ECONNABORTED, one))
    assert (accepted, rooms, complaints) == ([one], [], [])


def test_it_accepts_again_after_the_back_off(client):
    one = client()
    accepted, _, _ = play(Listening(errno.ENOMEM, one), seconds=0.3)
    assert accepted == [one]
