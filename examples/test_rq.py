"""RQ: the broker goes away while a job runs.

Needs redis-server and rq. REDIS says where the server is, localhost:6379 if it is not set.

    pytest examples/test_rq.py               the naive jobs fail as expected, the hardened one passes
    pytest examples/test_rq.py --runxfail    shows how the naive jobs fail
"""

import os
import time
import uuid

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry as ConnectionRetry
from rq import Queue, Retry, SimpleWorker
from rq.job import JobStatus

REDIS = os.environ.get("REDIS", "localhost:6379")
pytestmark = pytest.mark.vaurien(backend=REDIS, protocol="redis")


class Bank:
    """Somebody else's service. A charge with a key that it has seen before is the same charge."""

    def open(self, meanwhile):
        """Begin with no charges. *meanwhile* is what happens elsewhere during the first one."""
        self.charges, self.seen, self.meanwhile = [], set(), [meanwhile]

    def charge(self, order, key=None):
        if key is None or key not in self.seen:
            self.charges.append(order)
        self.seen.add(key)
        while self.meanwhile:
            self.meanwhile.pop()()


bank = Bank()


def charge(order):
    bank.charge(order)


def charge_once(order):
    """RQ runs a job at least once, not exactly once: it has to bear being run again."""
    bank.charge(order, key=f"order-{order}")


def and_forget(queue, order):
    return queue.enqueue(charge, order)


def and_retry(queue, order):
    return queue.enqueue(charge, order, retry=Retry(max=3))


def once_and_retry(queue, order):
    return queue.enqueue(charge_once, order, retry=Retry(max=3))


@pytest.fixture
def queue(vaurien_proxy):
    client = redis.Redis.from_url(vaurien_proxy.url("redis"), retry=ConnectionRetry(NoBackoff(), 1))
    queue = Queue(f"orders-{uuid.uuid4()}", connection=client)
    yield queue
    queue.delete()
    client.close()


def work(queue):
    """One life of a worker, as a process manager starts it: to the end of the queue, or to its own."""
    worker = SimpleWorker([queue], connection=queue.connection)
    try:
        worker.work(burst=True, logging_level="CRITICAL")
    except redis.ConnectionError:
        pass
    finally:
        if worker.pubsub_thread:
            worker.pubsub_thread.stop()


NAIVE = pytest.mark.xfail(raises=AssertionError, strict=True)


@pytest.mark.parametrize(
    "enqueue",
    [pytest.param(and_forget, marks=NAIVE), pytest.param(and_retry, marks=NAIVE), once_and_retry],
)
def test_an_order_is_charged_once_though_the_broker_went_away(vaurien_proxy, queue, enqueue):
    # The broker goes away while the money changes hands; the worker cannot say that it is done, and dies of it.
    bank.open(meanwhile=vaurien_proxy.down)
    job = enqueue(queue, "4711")
    work(queue)
    vaurien_proxy.up()
    # RQ's workers do this every few minutes: a job that was begun by a worker that is gone is taken up again.
    queue.started_job_registry.cleanup(time.time() + 24 * 3600)
    work(queue)
    assert bank.charges == ["4711"]
    assert job.get_status() == JobStatus.FINISHED
