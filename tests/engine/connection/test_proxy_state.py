"""Options of a proxy as a whole: limits, stopping, kept and reused sockets."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading

import pytest

from tests.room import ipv6, room
from tests.running import PATIENCE, THREAD, Echo, backend, pair, read, read_all, reset, running
from vaurien.events import Accepted, Closed, Event, Failed
from vaurien.model import Fault

NOOP = Fault(name="noop", behavior="tests.plugins.Noop")


def test_max_connections_makes_clients_wait_in_the_backlog() -> None:
    with Echo() as echo, running(echo.address, max_connections=1) as proxy:
        with proxy.connect() as first, proxy.connect() as second:
            first.sendall(b"1")
            assert read(first, 1) == b"1"
            second.sendall(b"2")
            assert len(proxy.events.of(Accepted)) == 1
            first.close()
            assert read(second, 1) == b"2"


def test_stop_waits_for_connections_and_refuses_new_ones() -> None:
    with Echo() as echo, running(echo.address) as proxy, proxy.connect() as client:
        client.sendall(b"1")
        assert read(client, 1) == b"1"
        stopping = threading.Thread(target=proxy.stop, args=(PATIENCE,))
        stopping.start()
        while True:  # the listener is closed before the wait begins
            try:
                proxy.connect().close()
            except ConnectionRefusedError:
                break
            except ConnectionResetError:  # it was in the backlog when the listener was closed
                continue
        client.sendall(b"2")
        assert read(client, 1) == b"2"
        client.close()
        stopping.join(PATIENCE)
        assert not stopping.is_alive()
    assert "stopped" not in {closed.end for closed in proxy.events.of(Closed) if closed.sent}


@pytest.mark.parametrize("mix", ["", "100:hang", "100:delay"])
def test_stop_without_grace_resets(mix: str) -> None:
    with Echo() as echo, running(echo.address, mix) as proxy, proxy.connect() as client:
        client.sendall(b"1")
        if mix:
            proxy.events.wait(Accepted)
        else:
            assert read(client, 1) == b"1"
        proxy.stop()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert proxy.events.of(Closed)[0].end == "stopped"


def test_keep_alive_off_ends_after_one_exchange() -> None:
    with backend() as listening, running(listening.getsockname(), protocol_options={"keep_alive": False}) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"first")
            assert read(server, 5) == b"first"
            server.sendall(b"answer")
            assert read(client, 6) == b"answer"
            client.sendall(b"second")
            assert read_all(server) == b""
            assert read_all(client) == b""
        assert proxy.events.wait(Closed)[0].end == "one exchange"


def test_keep_alive_off_passes_an_answer_up_to_its_end() -> None:
    with backend() as listening, running(listening.getsockname(), protocol_options={"keep_alive": False}) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"first")
            assert read(server, 5) == b"first"
            server.sendall(b"x" * 100_000)
            server.close()
            assert read_all(client) == b"x" * 100_000


@pytest.mark.parametrize("faults", [(), (NOOP,)])
@pytest.mark.parametrize("leave", [reset, lambda server: server.close()])
def test_stay_connected_dials_again_for_the_same_client(faults, leave) -> None:
    with backend() as listening, running(listening.getsockname(), "", *faults, stay_connected=True) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"first")
            assert read(server, 5) == b"first"
            server.sendall(b"answer")
            assert read(client, 6) == b"answer"
            leave(server)
            client.sendall(b"second")
            again, _ = listening.accept()
            with again:
                assert read(again, 6) == b"second"
                again.sendall(b"answer")
                assert read(client, 6) == b"answer"
                client.close()
                assert read_all(again) == b""
        closed = proxy.events.wait(Closed)[0]
        assert (closed.sent, closed.received) == (11, 12)


def test_reuse_socket_gives_the_backend_to_the_next_client() -> None:
    with Echo() as echo, running(echo.address, protocol_options={"reuse_socket": True}) as proxy:
        for number in range(5):
            with proxy.connect() as client:
                client.sendall(b"ping")
                assert read(client, 4) == b"ping"
            proxy.events.wait(Closed, number + 1)
        assert echo.connections == 1


def test_reuse_socket_hands_out_no_dead_and_no_dirty_socket() -> None:
    with backend() as listening, running(listening.getsockname(), protocol_options={"reuse_socket": True}) as proxy:
        for number, spoil in enumerate((lambda one: one.close(), lambda one: one.sendall(b"left over"))):
            client = proxy.connect()
            server, _ = listening.accept()
            client.sendall(b"ping")
            assert read(server, 4) == b"ping"
            server.sendall(b"pong")
            assert read(client, 4) == b"pong"
            client.close()
            proxy.events.wait(Closed, 2 * number + 1)
            spoil(server)
            with proxy.connect() as client:
                fresh, _ = listening.accept()  # would time out if the spoilt one were used
                fresh.close()
                assert read_all(client) == b""
            proxy.events.wait(Closed, 2 * number + 2)
            server.close()


def test_a_client_that_leaves_in_the_middle_of_an_exchange_spoils_the_socket() -> None:
    with backend() as listening, running(listening.getsockname(), protocol_options={"reuse_socket": True}) as proxy:
        with proxy.connect() as client:
            server, _ = listening.accept()
            client.sendall(b"question")
            assert read(server, 8) == b"question"
        with server:
            server.settimeout(PATIENCE)
            assert read_all(server) == b""


SHORT = """
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from vaurien.events import Failed
from vaurien.model import Address, ProxyConfig
from vaurien.proxies.proxy import TcpProxy

async def main():
    def observe(event):
        if isinstance(event, Failed):
            print("failed", event.connection, event.where, event.error, flush=True)
    backend = Address.parse(sys.argv[1])
    proxy = TcpProxy(ProxyConfig(name="short", listen=Address("127.0.0.1", 0), backend=backend), observers=[observe])
    await proxy.start()
    print(proxy.address, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await proxy.stop()

asyncio.run(main())
"""


def test_a_descriptor_limit_of_256_with_1000_clients_recovers() -> None:
    room(3000)
    with Echo() as echo:
        host, port = echo.address
        command = [sys.executable, "-c", SHORT, f"{host}:{port}"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            where, _, listen = process.stdout.readline().strip().rpartition(":")
            clients = [socket.create_connection((where, int(listen)), timeout=60) for _ in range(1000)]
            for client in clients:
                client.sendall(b"ping")
            for client in clients:  # each gets its turn as those before it leave
                assert read(client, 4) == b"ping"
                client.close()
            with socket.create_connection((where, int(listen)), timeout=PATIENCE) as client:
                client.sendall(b"ping")
                assert read(client, 4) == b"ping"
            complaints = process.communicate("", timeout=PATIENCE)[0].splitlines()
    assert process.returncode == 0
    assert len(complaints) == 1
    assert "too many open files" in complaints[0]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOBUFS, errno.EPERM, errno.EINVAL])
def test_accept_backs_off_when_the_system_refuses(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """No room, a firewall, or a reason that nobody has thought of: one line, and it tries again after a pause."""
    real = socket.SocketType._accept  # type: ignore[attr-defined]
    failures = iter(range(3))

    def accept(self: socket.socket):
        if threading.current_thread().name == THREAD and next(failures, None) is not None:
            raise OSError(code, os.strerror(code))
        return real(self)

    with Echo() as echo, running(echo.address) as proxy:
        with monkeypatch.context() as patched:
            patched.setattr(socket.socket, "_accept", accept, raising=False)
            with proxy.connect() as client:
                client.sendall(b"ping")
                assert read(client, 4) == b"ping"
        [failed] = proxy.events.of(Failed)
        assert failed.where == "accept"
        assert failed.error.startswith(f"{os.strerror(code)}; clients wait")


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
def test_small_chunks_are_not_held_back(listen: str) -> None:
    if listen.startswith("["):
        ipv6()
    with Echo() as echo, running(echo.address, listen=listen) as proxy, proxy.connect() as client:
        client.sendall(b"1")
        assert read(client, 1) == b"1"
        [connection] = proxy.proxy.live
        for one in (connection.client, connection.backend):
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_observer_is_spared_what_it_ignores() -> None:
    class Few(list[Event]):
        ignores = frozenset({Accepted})
        __call__ = list.append

    few = Few()
    with Echo() as echo, running(echo.address, observers=[few]) as proxy:
        proxy.connect().close()
        proxy.events.wait(Closed)
    kinds = [type(event) for event in proxy.events.of(Event)]
    assert Accepted in kinds
    assert [type(event) for event in few] == [kind for kind in kinds if kind is not Accepted]
