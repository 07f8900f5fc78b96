from __future__ import annotations

import operator
import os
import select
import socket
import struct

import pytest

from vaurien import platform
from vaurien.legacy import sockets
from vaurien.legacy.sockets import PluginSocket, ReceivedText


@pytest.fixture
def pair():
    one, other = socket.socketpair()
    mine = sockets.take_over(one, 10)
    with mine, other:
        yield mine, other


@pytest.mark.parametrize(
    ("one", "other"), [(ReceivedText(), ""), ("", ReceivedText()), (ReceivedText(), b""), (b"", ReceivedText())]
)
def test_empty_bytes_are_equal_to_both_kinds_of_nothing(one, other):
    assert operator.eq(one, other) is True
    assert operator.ne(one, other) is False
    assert hash(one) == hash(other)


@pytest.mark.parametrize("other", ["", "data", b"", b"dat", None])
def test_other_bytes_are_equal_to_the_same_bytes_only(other):
    for one, two in ((ReceivedText(b"data"), other), (other, ReceivedText(b"data"))):
        assert operator.eq(one, two) is False
        assert operator.ne(one, two) is True


def test_in_everything_else_they_are_bytes():
    data = ReceivedText(b"data")
    assert data == b"data"
    assert {data: 1}[b"data"] == 1
    assert type(data[1:]) is type(data + b"!") is bytes


def test_what_is_received_is_a_chunk_up_to_the_end(pair):
    mine, other = pair
    other.sendall(b"data")
    assert mine.recv(1024) == b"data"
    other.close()
    assert mine.recv(1024) == ""


def test_a_text_is_sent_one_byte_for_each_character(pair):
    mine, other = pair
    mine.sendall("caf\xe9 ")
    assert mine.send("au") == 2
    mine.sendall(b" lait")
    mine.sendall(memoryview(b"!"))
    assert other.recv(1024) == b"caf\xe9 au lait!"


def test_a_text_that_bytes_cannot_hold_is_refused(pair):
    with pytest.raises(UnicodeEncodeError):
        pair[0].sendall("\u20ac")


def test_it_counts_reads_and_bytes_sent(pair):
    mine, other = pair
    with mine.makefile("rwb", buffering=0) as file:
        file.write(b"12")
        mine.sendall("345")
        mine.send(b"6")
        other.sendall(b"abc")
        file.read(1)
        mine.recv(1)
    assert not sockets.at_end(mine)
    assert (mine.sent, mine.reads) == (6, 2)


def test_taking_over_keeps_the_descriptor_and_the_kind(pair):
    one, other = socket.socketpair()
    with other:
        descriptor = one.fileno()
        taken = sockets.take_over(one, 5)
        assert one.fileno() == -1
        assert (taken.fileno(), taken.family, taken.gettimeout()) == (descriptor, socket.AF_UNIX, 5)
        taken.close()


@pytest.mark.parametrize("timeout", [0, None])
def test_no_timeout_means_that_the_socket_blocks(timeout):
    one, other = socket.socketpair()
    with other, sockets.take_over(one, timeout) as taken:
        assert taken.gettimeout() is None


def test_it_is_as_good_as_any_socket(pair):
    mine, other = pair
    other.sendall(b"line\nrest and more")
    assert select.select([mine], [], [], 0)[0] == [mine]
    buffer = bytearray(5)
    assert mine.recv_into(buffer) == 5
    assert buffer == b"line\n"
    with mine.makefile("rb") as file:
        assert file.read(4) == b"rest"
    with mine.dup() as second:
        assert isinstance(second, PluginSocket)
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    mine.shutdown(socket.SHUT_WR)
    assert other.recv(1) == b""


def test_marking_a_socket_as_closed_does_no_harm(pair):
    mine, other = pair
    mine.close()
    mine._closed = True
    assert other.recv(1) == b""
    assert mine.fileno() == -1
    assert sockets.is_closed(mine)
    mine.close()


def test_a_socket_that_is_only_marked_counts_as_closed_and_its_descriptor_is_freed(pair):
    mine, other = pair
    mine._closed = True
    assert sockets.is_closed(mine)
    assert not sockets.is_closed(other)
    descriptor = mine.fileno()
    mine.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_at_end_tells_an_end_from_silence_and_from_data(pair):
    mine, other = pair
    assert not sockets.at_end(mine)
    other.sendall(b"x")
    other.shutdown(socket.SHUT_WR)
    assert not sockets.at_end(mine)
    mine.recv(1)
    assert sockets.at_end(mine)


def test_a_reset_is_not_an_end_and_reading_it_is_empty(wire):
    wire.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.client.close()
    assert sockets.ready([wire.client_sock], 10) == [wire.client_sock]
    assert not sockets.at_end(wire.client_sock)
    assert not sockets.at_end(wire.client_sock)
    with pytest.raises(ConnectionResetError):  # the look has not taken it away
        wire.client_sock.recv(1)
    wire.server.close()
    assert sockets.get_data(wire.backend_sock) == ""


def test_reset_is_what_the_peer_sees(wire):
    sockets.reset(wire.client_sock)
    assert sockets.is_closed(wire.client_sock)
    with pytest.raises(ConnectionResetError):
        wire.client.recv(1)


def test_get_data_is_empty_for_a_reset(wire):
    sockets.reset(wire.client_sock)
    assert sockets.get_data(wire.client) == ""


def test_get_data_is_empty_for_a_timeout_and_for_a_closed_socket(pair):
    mine, _ = pair
    mine.settimeout(0.001)
    assert sockets.get_data(mine) == ""
    mine.close()
    assert sockets.get_data(mine) == ""


def test_get_data_reads_any_socket_up_to_the_buffer(pair):
    mine, other = pair
    mine.sendall(b"12345")
    assert sockets.get_data(other, 3) == b"123"
    data = sockets.get_data(other)
    assert data == b"45"


def test_get_data_waits_on_a_socket_that_a_plugin_made_non_blocking(pair, monkeypatch):
    mine, other = pair
    mine.setblocking(False)
    real = sockets.ready

    def arrives(socks, timeout):
        other.sendall(b"late")
        return real(socks, timeout)

    monkeypatch.setattr(sockets, "ready", arrives)
    assert sockets.get_data(mine) == b"late"


def test_ready_without_poll_says_the_same(pair, monkeypatch):
    mine, other = pair
    mine.sendall(b"x")
    monkeypatch.delattr(select, "poll")
    assert sockets.ready([mine, other], 0) == [other]


def test_the_end_of_sending_leaves_the_other_direction_open(wire):
    sockets.end_sending(wire.client_sock)
    assert wire.client.recv(1) == b""
    wire.client.sendall(b"still here")
    assert wire.client_sock.recv(100) == b"still here"
    wire.client_sock.close()
    sockets.end_sending(wire.client_sock)


@pytest.fixture(params=["kernel", "python"])
def impatient(request, monkeypatch):
    """A socket that waits a hundredth of a second, and its peer; the kernel or Python keeps the time."""
    monkeypatch.setattr(platform, "TIMED_BY_KERNEL", request.param == "kernel" and platform.TIMED_BY_KERNEL)
    one, other = socket.socketpair()
    with sockets.take_over(one, 0.01) as mine, other:
        yield mine, other


def test_a_read_gives_up_after_the_timeout(impatient):
    mine, _ = impatient
    with pytest.raises(TimeoutError):
        mine.recv(1)
    with pytest.raises(TimeoutError):
        mine.recv_into(bytearray(1))
    with mine.makefile("rb") as file, pytest.raises(TimeoutError):
        file.read(1)


def test_a_send_gives_up_after_the_timeout(impatient):
    mine, _ = impatient
    with pytest.raises(TimeoutError):
        while True:
            mine.send(bytes(100_000))
    with pytest.raises(TimeoutError):
        mine.sendall(bytes(10_000_000))


def test_a_plugin_may_choose_another_timeout(impatient):
    mine, other = impatient
    assert mine.gettimeout() == 0.01
    mine.setblocking(False)
    with pytest.raises(BlockingIOError):
        mine.recv(1)
    mine.settimeout(10)
    assert mine.gettimeout() == 10
    other.sendall(b"x")
    assert mine.recv(1) == b"x"


@pytest.mark.skipif(not hasattr(socket, "MSG_DONTWAIT"), reason="not on this system")
def test_a_call_that_must_not_wait_says_that_it_would(pair):
    mine, _ = pair
    if platform.TIMED_BY_KERNEL:  # else Python waits for it all the same
        with pytest.raises(BlockingIOError):
            mine.recv(1, socket.MSG_DONTWAIT)


def test_it_is_closed_while_the_guard_is_held():
    """Another thread that holds the guard may use the descriptor: it is open, or the socket has none any more."""
    seen = []

    class Guard:
        def __enter__(self):
            seen.append(taken.fileno() >= 0)

        def __exit__(self, *_):
            seen.append(taken.fileno() >= 0)

    one, other = socket.socketpair()
    with other:
        taken = sockets.take_over(one, 5, Guard())
        file = taken.makefile("rb")
        taken.close()
        assert seen == [True, True]  # the file still needs it
        file.close()
    assert seen == [True, True, True, False]
