"""redis-py: a connection that breaks, and a reply that is lost.

Needs redis-server and redis-py. REDIS says where the server is, localhost:6379 if it is not set.

    pytest examples/test_redis.py               the naive clients fail as expected, the hardened ones pass
    pytest examples/test_redis.py --runxfail    shows how the naive clients fail
"""

import os
import uuid

import pytest
import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry

REDIS = os.environ.get("REDIS", "localhost:6379")
pytestmark = pytest.mark.vaurien(backend=REDIS, protocol="redis")

COUNT_ONCE = """
if redis.call('SET', KEYS[2], '', 'NX', 'EX', 86400) then
    return redis.call('INCR', KEYS[1])
end
"""


def no_retries(url):
    """What redis-py did by itself up to version 5."""
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0))


def retries(url):
    """Asks again, later and later; and waits neither for the connection nor for a reply as long as it takes."""
    backoff = ExponentialWithJitterBackoff(base=0.01, cap=0.5)
    return redis.Redis.from_url(url, retry=Retry(backoff, 5), socket_connect_timeout=1, socket_timeout=1)


def count_each_time(client, counter, order):
    """The retries are redis-py's, so nobody sees that the command may come twice."""
    client.incr(counter)


def count_once(client, counter, order):
    """Remembers the order together with the count; whoever comes a second time is known."""
    client.eval(COUNT_ONCE, 2, counter, f"counted:{order}")


@pytest.fixture
def order():
    return str(uuid.uuid4())


NAIVE = pytest.mark.xfail(raises=redis.ConnectionError, strict=True)


@pytest.mark.parametrize("connect", [pytest.param(no_retries, marks=NAIVE), retries])
def test_a_connection_that_breaks_is_not_noticed(vaurien_proxy, order, connect):
    with connect(vaurien_proxy.url("redis")) as client:
        client.set(order, "paid")
        # Redis restarts, or a load balancer does, while the command is on its way: it does not arrive.
        with vaurien_proxy.fault("blackout", match={"command": "GET"}, scope="exchange", window={"count": 1}):
            assert client.get(order) == b"paid"
        assert vaurien_proxy.hits("blackout") == 1


@pytest.mark.parametrize("connect", [pytest.param(no_retries, marks=NAIVE), retries])
def test_a_redis_that_starts_is_waited_for(vaurien_proxy, order, connect):
    with connect(vaurien_proxy.url("redis")) as client:
        with vaurien_proxy.fault(
            "error", code="LOADING", match={"command": "GET"}, scope="exchange", window={"count": 2}
        ):
            assert client.get(order) is None


COUNTED_TWICE = pytest.mark.xfail(raises=AssertionError, strict=True)


@pytest.mark.parametrize("count", [pytest.param(count_each_time, marks=COUNTED_TWICE), count_once])
def test_an_order_is_counted_once(vaurien_proxy, order, count):
    counter = f"orders:{order}"
    with retries(vaurien_proxy.url("redis")) as client:
        # Redis has done what it was asked, but the reply does not arrive: the client cannot know, and asks again.
        with vaurien_proxy.fault("abort", match={"command": "regex:INCR|EVAL"}, scope="exchange", window={"count": 1}):
            count(client, counter, order)
        assert vaurien_proxy.hits("abort") == 1
        assert client.get(counter) == b"1"
