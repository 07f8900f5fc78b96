"""What the other side sees, asserted with raw sockets, in the direct and in the hooked lane."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import threading
import time

import pytest

from tests.room import ipv6
from tests.running import PATIENCE, backend, pair, read, read_all, reset, running, until
from vaurien import platform
from vaurien.events import Accepted, Closed, Failed
from vaurien.model import Address, Fault, Stream

NOOP = Fault(name="noop", behavior="tests.plugins.Noop")


@pytest.fixture(params=["direct", "hooked"])
def faults(request: pytest.FixtureRequest) -> tuple[Fault, ...]:
    return () if request.param == "direct" else (NOOP,)


def test_the_lane_is_the_one_meant(faults: tuple[Fault, ...]) -> None:
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy, pair(proxy, listening):
        lane = "hooked" if faults else "direct"
        until(lambda: len(proxy.links()) == 2)  # its dial may have been answered before it knows
        assert all(lane in link for link in proxy.links())


def test_bytes_pass_both_ways_unchanged(faults: tuple[Fault, ...]) -> None:
    up, down = os.urandom(3_000_000), os.urandom(5_000_000)
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with pair(proxy, listening) as (client, server):
            got: dict[str, bytes] = {}
            threads = [
                threading.Thread(target=lambda: got.update(up=read(server, len(up)))),
                threading.Thread(target=lambda: got.update(down=read(client, len(down)))),
                threading.Thread(target=client.sendall, args=(up,)),
                threading.Thread(target=server.sendall, args=(down,)),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
            client.close()
            assert read_all(server) == b""
        assert _digest(got["up"]) == _digest(up)
        assert _digest(got["down"]) == _digest(down)
        closed = proxy.events.wait(Closed)[0]
    assert (closed.sent, closed.received, closed.end) == (len(up), len(down), "client closed")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_client_that_half_closes_gets_its_answer(faults: tuple[Fault, ...]) -> None:
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b"question"
            server.sendall(b"answer")
            server.close()
            assert read_all(client) == b"answer"


def test_a_backend_that_half_closes_still_hears(faults: tuple[Fault, ...]) -> None:
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with pair(proxy, listening) as (client, server):
            server.sendall(b"bye")
            server.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"bye"
            client.sendall(b"but")
            assert read(server, 3) == b"but"


@pytest.mark.parametrize("side", ["backend", "client"])
def test_a_reset_becomes_a_reset(faults: tuple[Fault, ...], side: str) -> None:
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"x")
            assert read(server, 1) == b"x"
            resets, sees = (server, client) if side == "backend" else (client, server)
            reset(resets)
            with pytest.raises(ConnectionResetError):
                sees.recv(1)
        assert proxy.events.wait(Closed)[0].end == f"{side} reset"


@pytest.mark.skipif(not platform.EPOLL, reason="elsewhere it shows at the next write")
@pytest.mark.parametrize("side", ["backend", "client"])
def test_a_reset_after_the_end_of_a_stream_becomes_a_reset(faults: tuple[Fault, ...], side: str) -> None:
    """Nobody writes to the socket any more, and there is nothing more to read from it."""
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with pair(proxy, listening) as (client, server):
            resets, sees = (server, client) if side == "backend" else (client, server)
            resets.shutdown(socket.SHUT_WR)
            assert read_all(sees) == b""
            reset(resets)
            poll = select.poll()
            poll.register(sees, 0)
            assert poll.poll(PATIENCE * 1000) == [(sees.fileno(), select.POLLERR | select.POLLHUP)]
        assert proxy.events.wait(Closed)[0].end == f"{side} reset"


def test_what_is_late_arrives_although_both_streams_of_its_sender_have_ended() -> None:
    late = Fault("late", "latency", {"latency": 300}, Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", late) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"late")
            client.shutdown(socket.SHUT_WR)
            server.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
            assert read_all(server) == b"late"
        assert proxy.events.wait(Closed)[0].end == "backend closed"


def test_bytes_sent_before_a_reset_are_delivered_first(faults: tuple[Fault, ...]) -> None:
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with pair(proxy, listening) as (client, server):
            server.sendall(b"last words")
            assert client.recv(100, socket.MSG_PEEK) == b"last words"
            reset(server)
            proxy.events.wait(Closed)
            assert read(client, 10) == b"last words"
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_a_reset_on_writing_is_passed_on_after_what_was_sent(faults: tuple[Fault, ...]) -> None:
    """The backend answers and closes with unread bytes: its kernel sends FIN and then RST."""
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"a")
            assert read(server, 1) == b"a"
            server.sendall(b"answer")
            server.close()
            assert read_all(client) == b"answer"
            with pytest.raises(ConnectionError):
                _send_until_it_fails(client)
            assert proxy.events.wait(Closed)[0].end == "backend reset"


def _send_until_it_fails(one: socket.socket) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        one.sendall(b"more")


def test_a_backend_that_is_down_is_a_reset_within_100_ms(faults: tuple[Fault, ...]) -> None:
    with backend() as listening:
        free = listening.getsockname()
    with running(free, "", *faults) as proxy:
        took = []
        while len(took) < 10 and min(took, default=1.0) >= 0.1:  # others may be busy on the same machine
            before = time.monotonic()
            with pytest.raises(ConnectionResetError), proxy.connect() as client:  # it may come before connect returns
                client.recv(1)
            took.append(time.monotonic() - before)
        assert min(took) < 0.1  # a refusal is told at once: it is not a time-out
        assert "refused" in proxy.events.wait(Failed)[0].error


def test_a_black_hole_does_not_delay_other_clients(faults: tuple[Fault, ...]) -> None:
    with _black_hole() as hole, backend() as listening:
        with running(hole, "", *faults, timeout=3600) as proxy, proxy.connect():
            proxy.events.wait(Accepted)
            proxy.call(lambda: proxy.proxy.set_backend(Address(*listening.getsockname())))
            with pair(proxy, listening) as (client, server):
                client.sendall(b"through")
                assert read(server, 7) == b"through"
                assert not proxy.events.of(Failed)


def test_a_black_hole_is_a_reset_after_the_time_out(faults: tuple[Fault, ...]) -> None:
    with _black_hole() as hole, running(hole, "", *faults, timeout=0.2) as proxy:
        with pytest.raises(ConnectionResetError), proxy.connect() as stuck:
            stuck.recv(1)
        assert "no answer within 0.2 s" in proxy.events.wait(Failed)[0].error


@contextlib.contextmanager
def _black_hole():
    """An address that never answers a SYN: a listener whose queue is full."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()


def test_back_pressure_reaches_the_source(faults: tuple[Fault, ...]) -> None:
    """A client that does not read stops its backend: the proxy keeps no more than the kernel and a buffer hold."""
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with pair(proxy, listening) as (client, server):
            server.setblocking(False)
            sent = 0
            quiet = time.monotonic() + PATIENCE
            while time.monotonic() < quiet:
                try:
                    sent += server.send(bytes(1 << 16))
                    stalled = time.monotonic() + 0.3
                except BlockingIOError:
                    if time.monotonic() > stalled:
                        break
            assert 0 < sent < 64 << 20
            held = proxy.call(lambda: max(link.held for one in proxy.proxy.live for link in one.links))
            assert held <= 1 << 20
            server.setblocking(True)
            server.shutdown(socket.SHUT_WR)
            assert len(read_all(client)) == sent


def test_ipv6_and_names(faults: tuple[Fault, ...]) -> None:
    ipv6()
    with backend(socket.AF_INET6, "::1") as listening:
        address = Address("::1", listening.getsockname()[1])
        with running(address, "", *faults, listen="[::1]:0") as proxy, pair(proxy, listening) as (client, server):
            assert client.family == socket.AF_INET6
            client.sendall(b"six")
            assert read(server, 3) == b"six"
    with backend() as listening:
        address = Address("localhost", listening.getsockname()[1])
        with running(address, "", *faults, listen="localhost:0") as proxy, pair(proxy, listening) as (client, server):
            client.sendall(b"name")
            assert read(server, 4) == b"name"


def test_a_name_that_does_not_resolve_is_a_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def look_up(host, *more, **options):
        if host == "no-such-host.invalid":  # a resolver whose servers do not answer takes its time to say so
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with running(Address("no-such-host.invalid", 1)) as proxy:
        with pytest.raises(ConnectionResetError), proxy.connect() as client:  # it may come before connect returns
            client.recv(1)
        assert "no-such-host.invalid" in proxy.events.wait(Failed)[0].error


def test_unix_sockets_on_both_sides(faults: tuple[Fault, ...], tmp_path) -> None:
    inside, outside = str(tmp_path / "backend"), str(tmp_path / "proxy")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(inside)
        listening.listen()
        listening.settimeout(PATIENCE)
        with running(Address(path=inside), "", *faults, listen=f"unix:{outside}"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(outside)
                server, _ = listening.accept()
                with server:
                    client.sendall(b"local")
                    assert read(server, 5) == b"local"
                    server.close()
                    assert read_all(client) == b""
        assert not os.path.exists(outside)


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path) -> None:
    from vaurien.errors import BindError

    path = str(tmp_path / "proxy")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with backend() as listening, running(listening.getsockname(), listen=f"unix:{path}"):
        with pytest.raises(BindError, match="in use"), running(listening.getsockname(), listen=f"unix:{path}"):
            pass
        assert os.path.exists(path)


def test_a_port_in_use_is_named() -> None:
    from vaurien.errors import BindError

    with backend() as taken:
        host, port = taken.getsockname()
        with pytest.raises(BindError, match=rf"cannot listen on {host}:{port}: Address already in use"):
            with running((host, port), listen=f"{host}:{port}"):
                pass


def test_a_byte_of_urgent_data_is_left_out_and_the_stream_is_whole(faults: tuple[Fault, ...]) -> None:
    with backend() as listening, running(listening.getsockname(), "", *faults) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"be")
            assert read(server, 2) == b"be"
            client.send(b"!", socket.MSG_OOB)
            client.sendall(b"hind")
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b"hind"
