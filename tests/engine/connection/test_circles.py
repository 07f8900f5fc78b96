"""Several proxies that dial each other in a circle, which only names hide."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import pytest

from tests.running import Echo, Events, Running, looping, read, read_all
from tests.waiting import in_loop
from vaurien.events import Accepted, Closed, Failed
from vaurien.model import Address, ProxyConfig
from vaurien.proxies.proxy import TcpProxy


@contextlib.contextmanager
def together(*backends: Address) -> Iterator[list[Running]]:
    """Proxies in one loop, each of which has the next one as its backend, unless it is given."""
    with looping() as loop:
        run = functools.partial(in_loop, loop)

        async def start(number: int) -> Running:
            events = Events()
            config = ProxyConfig(name=f"p{number}", listen=Address("127.0.0.1"), backend=backends[number])
            proxy = TcpProxy(config, observers=[events])
            await proxy.start()
            return Running(loop, proxy, events)

        proxies = [run(start(number)) for number in range(len(backends))]
        try:
            yield proxies
        finally:
            for one in proxies:
                run(one.proxy.stop())


@contextlib.contextmanager
def circle(host: str, count: int) -> Iterator[list[Running]]:
    with together(*[Address("127.0.0.1", 1)] * count) as proxies:
        for number, one in enumerate(proxies):
            after = Address(host, proxies[(number + 1) % count].address[1])
            one.call(lambda one=one, after=after: one.proxy.set_backend(after))
        yield proxies


def has_come(proxy: Running) -> int:
    return len(proxy.events.of(Accepted))


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_circle_ends_where_it_began(host: str, count: int) -> None:
    with circle(host, count) as proxies:
        with contextlib.suppress(ConnectionError), proxies[0].connect() as client:  # reset while it connects, or later
            assert read_all(client) == b""
        for proxy in proxies:
            proxy.events.wait(Closed)
        errors = [event.error for proxy in proxies for event in proxy.events.of(Failed)]
        assert len(errors) == 1
        assert errors[0].endswith("the connection has come from there: this is a circle of proxies")
        assert [has_come(proxy) for proxy in proxies] == [1] * count


def test_a_chain_is_no_circle() -> None:
    with Echo() as echo, together(*[Address(*echo.address)] * 3) as proxies:
        first, middle, last = proxies
        first.call(lambda: first.proxy.set_backend(Address(*middle.address)))
        middle.call(lambda: middle.proxy.set_backend(Address(*last.address)))
        with first.connect() as client, middle.connect() as other:
            for one in (client, other, client):
                one.sendall(b"hello")
                assert read(one, 5) == b"hello"
        assert not [event for proxy in proxies for event in proxy.events.of(Failed)]


def test_a_forward_proxy_may_be_come_through_twice() -> None:
    """Its client says where it goes on, and says so as often as it sends."""
    with Echo() as echo, together(Address.parse("forward"), Address(*echo.address)) as (forward, beside):
        beside.call(lambda: beside.proxy.set_backend(Address(*forward.address)))
        with forward.connect() as client:
            for host, port in (beside.address, echo.address):
                client.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
                answer = b""
                while not answer.endswith(b"\r\n\r\n"):
                    answer += read(client, 1)
                assert answer.split()[1] == b"200"
            client.sendall(b"hello")
            assert read(client, 5) == b"hello"


def test_an_ended_way_says_nothing_of_the_next_client() -> None:
    """Its port may be another client's."""
    with circle("localhost", 2) as (one, other):
        for count in range(1, 4):
            with contextlib.suppress(ConnectionError), one.connect() as client:
                read_all(client)
            one.events.wait(Closed, count)
            assert len(other.events.wait(Closed, count)) == count
            assert has_come(one) == has_come(other) == count
