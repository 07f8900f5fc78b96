"""A port that is closed for a while."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.running import PATIENCE, Echo, Running, backend, pair, read, running
from tests.waiting import in_loop
from vaurien import platform
from vaurien.engine.net import reserved_port as held
from vaurien.errors import BindError, OptionError
from vaurien.events import PolicyChanged
from vaurien.model import Address, Fault, Mix, Policy, Scope, Window


def refuse(name: str = "it", **fields: Any) -> Fault:
    return Fault(name=name, behavior="refuse", **fields)


@pytest.fixture(params=["as it is", "without Linux"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a socket cannot end its listening, another one takes its place."""
    if request.param == "without Linux":
        monkeypatch.setattr(platform, "PORT_STAYS_BOUND", False)


def answered(proxy: Running) -> bool:
    """Whether a client is let in, and served."""
    try:
        with proxy.connect() as client:
            client.sendall(b"x")
            return read(client, 1) == b"x"
    except ConnectionRefusedError:
        return False


@pytest.mark.usefixtures("system")
def test_clients_are_refused_until_it_is_removed_and_those_that_are_here_stay() -> None:
    with Echo() as echo, running(echo.address) as proxy:
        address = proxy.address
        with proxy.connect() as live:
            for _ in range(3):
                proxy.set_policy("", refuse())
                assert not answered(proxy)
                live.sendall(b"still")
                assert read(live, 5) == b"still"
                proxy.set_policy("")
                assert answered(proxy)
        assert proxy.address == address


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", ":0"])
def test_it_may_be_there_from_the_start_on_every_address(listen: str) -> None:
    with Echo() as echo, running(echo.address, "", refuse(), listen=listen) as proxy:
        hosts = {where[4][0] for where in socket.getaddrinfo(listen.removesuffix(":0") or "localhost", 1)}
        for host in hosts:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, proxy.address[1]), PATIENCE)
        proxy.set_policy("")
        for host in hosts:
            with socket.create_connection((host, proxy.address[1]), PATIENCE) as client:
                client.sendall(b"x")
                assert read(client, 1) == b"x"


def test_a_unix_socket_refuses_too(tmp_path: Path) -> None:
    path = tmp_path / "it.sock"
    with Echo() as echo, running(echo.address, listen=f"unix:{path}") as proxy:
        for _ in range(2):
            proxy.set_policy("", refuse())
            with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
                client.connect(str(path))
            proxy.set_policy("")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"x")
                assert read(client, 1) == b"x"
        proxy.set_policy("", refuse())
    assert not path.exists()


@pytest.mark.skipif(not platform.PORT_STAYS_BOUND, reason="elsewhere somebody may be faster")
@pytest.mark.parametrize("reuse", [0, 1])
@pytest.mark.parametrize("live", [False, True])
def test_nobody_else_can_have_the_port_meanwhile(reuse: int, live: bool) -> None:
    with Echo() as echo, running(echo.address) as proxy, contextlib.ExitStack() as open_:
        if live:
            open_.enter_context(proxy.connect()).sendall(b"x")
        proxy.set_policy("", refuse())
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            with pytest.raises(OSError, match="in use"):
                other.bind(proxy.address)
        proxy.set_policy("")
        assert answered(proxy)


def test_who_has_connected_before_is_served() -> None:
    """The loop is busy while clients connect: the system has taken them, and the proxy not yet."""
    with Echo() as echo, running(echo.address) as proxy:
        clients: list[socket.socket] = []

        def connect_and_close() -> None:
            clients.extend(proxy.connect() for _ in range(10))
            proxy.proxy.set_policy(Policy(faults=(refuse(),)))

        proxy.call(connect_and_close)
        assert not answered(proxy)
        for client in clients:
            with client:
                client.sendall(b"x")
                assert read(client, 1) == b"x"


def test_its_time_to_live_opens_the_port_again() -> None:
    with Echo() as echo, running(echo.address, "", refuse(ttl=0.05)) as proxy:
        proxy.events.wait(PolicyChanged)
        assert answered(proxy)


def test_two_of_a_kind_are_as_one_and_the_port_opens_when_both_are_gone() -> None:
    with Echo() as echo, running(echo.address, "", refuse("1"), refuse("2")) as proxy:
        proxy.set_policy("", refuse("2"))
        assert not answered(proxy)
        proxy.set_policy("")
        assert answered(proxy)


def test_other_faults_come_and_go_while_the_port_is_closed() -> None:
    slow = Fault(name="slow", behavior="latency", options={"latency": 1})
    with backend() as listening, running(listening.getsockname()) as proxy, pair(proxy, listening) as (client, server):
        for faults in ((refuse(),), (refuse(), slow), (slow, refuse()), (slow,)):
            proxy.set_policy("20:dummy", *faults)
            client.sendall(b"hello")
            assert read(server, 5) == b"hello"
        with proxy.connect():
            pass


def _wait(proxy: Running, what: Coroutine[Any, Any, None]) -> None:
    in_loop(proxy.loop, what)


def test_stopped_disabled_and_moved_it_keeps_its_word() -> None:
    with Echo() as echo, running(echo.address, "", refuse()) as proxy:
        address = proxy.address
        _wait(proxy, proxy.proxy.disable())
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(address)  # who does not listen at all does not hold the port
        _wait(proxy, proxy.proxy.start())
        assert not answered(proxy)
        _wait(proxy, proxy.proxy.move(Address("127.0.0.1", 0)))
        assert proxy.address != address
        assert not answered(proxy)
        proxy.set_policy("")
        assert answered(proxy)


def test_a_port_that_cannot_be_opened_stays_closed_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: held.ReservedPort, backlog: int) -> socket.socket:
        raise OSError(98, "Address already in use")

    with Echo() as echo, running(echo.address, "", refuse()) as proxy:
        with monkeypatch.context() as patch:
            patch.setattr(held.ReservedPort, "listen", fails)
            with pytest.raises(BindError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"):
                proxy.set_policy("")
        assert [fault.name for fault in proxy.proxy.policy.faults] == ["it"]
        assert not answered(proxy)
        proxy.set_policy("")
        assert answered(proxy)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"probability": 0.5},
            "fault 'it' probability: 0.5 is not valid; expected none: 'refuse' takes no probability, it closes",
        ),
        ({"scope": Scope.EXCHANGE}, "fault 'it' scope: 'exchange' is not valid"),
        ({"match": {"client": "10.0.0.0/8"}}, "fault 'it' match: {'client': '10.0.0.0/8'} is not valid"),
        ({"window": Window(skip=3)}, "fault 'it' window: {'skip': 3, "),
    ],
)
def test_it_cannot_choose(fields: dict[str, Any], message: str) -> None:
    with Echo() as echo, running(echo.address) as proxy:
        with pytest.raises(OptionError) as raised:
            proxy.set_policy("", refuse(**fields))
        assert message in str(raised.value)
        assert answered(proxy)


def test_it_is_no_share_of_a_mix() -> None:
    with Echo() as echo, running(echo.address) as proxy:
        with pytest.raises(OptionError, match="behavior: 'refuse' is not valid; expected a fault of its own"):
            proxy.call(lambda: proxy.proxy.set_policy(Policy(Mix.parse("20:refuse"))))


def test_a_hundred_changes_with_clients_that_come_all_the_time_leave_nothing_behind() -> None:
    stop, outcomes = threading.Event(), []
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    with Echo() as echo, running(echo.address) as proxy:

        def come() -> None:
            while not stop.is_set():
                with contextlib.suppress(ConnectionResetError):  # in the moment between the system's yes and ours
                    outcomes.append(answered(proxy))

        comer = threading.Thread(target=come)
        comer.start()
        changes = 0
        while changes < 100 or len(outcomes) < 4:
            proxy.set_policy("", refuse())
            proxy.set_policy("")
            changes += 1
        stop.set()
        comer.join(PATIENCE)
        with proxy.connect():  # it goes on
            pass
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == before
