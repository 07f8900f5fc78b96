"""A proxy in front of a container, in the manner of Testcontainers: a cache that is not there.

There is no container here: `RedisContainer` runs the program redis-server, so that the example runs without Docker. If
you have Docker, import the class of that name from `testcontainers.redis`. The proxy asks for no more than both have:
`get_container_host_ip` and `get_exposed_port`.

    pytest examples/test_containers.py               the naive code fails as expected, the hardened one passes
    pytest examples/test_containers.py --runxfail    shows how the naive code fails
"""

import contextlib
import shutil
import socket
import subprocess
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


class RedisContainer:
    """As much of Testcontainers' class as a test needs, without a container."""

    def start(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        command = [shutil.which("redis-server"), "--port", str(self._port), "--save", "", "--bind", "127.0.0.1"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self._port)).close()
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.01)

    def stop(self):
        self._process.terminate()
        self._process.wait()

    def get_container_host_ip(self):
        return "127.0.0.1"

    def get_exposed_port(self, port):
        return self._port

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


@pytest.fixture(scope="module")
def container():
    with RedisContainer() as container:
        yield container


@pytest.fixture
def proxy(vaurien, container):
    return vaurien(f"{container.get_container_host_ip()}:{container.get_exposed_port(6379)}", protocol="redis")


def price(cache):
    """The price of a book, from the cache if it is known there."""
    known = cache.get("price")
    if known is None:
        known = look_up()
        cache.set("price", known)
    return int(known)


def price_for_certain(cache):
    """A cache makes things faster; nothing may depend on it."""
    with contextlib.suppress(redis.RedisError):
        return price(cache)
    return look_up()


def look_up():
    return 42


@pytest.mark.parametrize(
    "ask",
    [pytest.param(price, marks=pytest.mark.xfail(raises=redis.ConnectionError, strict=True)), price_for_certain],
)
def test_a_page_has_its_price_without_the_cache(proxy, ask):
    with redis.Redis.from_url(proxy.url("redis"), retry=Retry(NoBackoff(), 0), socket_timeout=0.5) as cache:
        assert ask(cache) == 42
        with proxy.down():
            assert ask(cache) == 42
        assert ask(cache) == 42
