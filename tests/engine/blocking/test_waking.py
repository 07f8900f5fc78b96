"""What a lane's thread waits by, on every kind of system."""

from __future__ import annotations

import select
import socket
import threading

import pytest

from tests.running import PATIENCE
from vaurien import platform
from vaurien.engine.blocking import polling
from vaurien.engine.blocking.wakeup import Wakeup

LINUX = pytest.mark.skipif(not platform.HANG_UP_POLLED, reason="the end of a stream is polled for on Linux")


@pytest.fixture(params=["eventfd", "a pair of sockets"])
def wakeup(request, monkeypatch):
    if request.param == "eventfd" and not platform.EVENTFD:
        pytest.skip("there is none")
    monkeypatch.setattr(platform, "EVENTFD", request.param == "eventfd")
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


@pytest.fixture(params=["poll", "select"])
def poll(request):
    return polling.new() if request.param == "poll" else polling.SelectPoll()


@pytest.fixture
def pair():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_a_thread_that_waits_is_woken(wakeup, poll):
    poll.register(wakeup.fileno(), polling.masks().read)
    assert poll.poll(0) == []
    thread = threading.Thread(target=wakeup.set)
    thread.start()
    assert [fd for fd, _ in poll.poll(PATIENCE * 1000)] == [wakeup.fileno()]
    thread.join()


def test_it_stays_set_however_often_it_is_set(wakeup):
    assert not wakeup.wait(0)
    for _ in range(3):
        wakeup.set()
    assert wakeup.wait(PATIENCE)
    assert wakeup.wait(0)


def test_closed_it_can_be_set_and_closed_again(wakeup):
    wakeup.close()
    wakeup.set()
    wakeup.close()


def test_what_can_be_read_is_found_and_nothing_else(poll, pair):
    one, other = pair
    for sock in pair:
        poll.register(sock.fileno(), polling.masks().read)
    assert poll.poll(0) == []
    other.sendall(b"x")
    assert [fd for fd, _ in poll.poll()] == [one.fileno()]
    poll.unregister(one.fileno())
    assert poll.poll(0) == []


@LINUX
def test_an_end_shows_before_the_bytes_in_front_of_it_are_read(pair):
    one, other = pair
    poll, masks = polling.new(), polling.masks()
    poll.register(one.fileno(), masks.read)
    other.sendall(b"x")
    ((_, event),) = poll.poll()
    assert not event & (masks.ending | masks.hang_up)
    other.shutdown(socket.SHUT_WR)
    ((_, event),) = poll.poll()
    assert event & masks.ending
    assert event & masks.hang_up
    assert masks.unknown & masks.ending
    assert not masks.unknown & masks.hang_up


def test_elsewhere_any_event_may_be_an_end(monkeypatch):
    monkeypatch.setattr(platform, "HANG_UP_POLLED", False)
    masks = polling.masks()
    assert (masks.hang_up, masks.read) == (0, select.POLLIN)
    assert select.POLLIN & masks.ending
    assert masks.unknown & masks.ending
