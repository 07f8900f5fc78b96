"""redis-py through a proxy in front of Redis: everything works, and what fails is what the fault says."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.integration import exchanges
from tests.integration.exchanges import CALM, accepted, chosen, drawn, fault, framed, mix_errors
from tests.running import PATIENCE, Running, read, running
from tests.servers import Server
from vaurien.events import Closed, Injected
from vaurien.model import Mix, Policy, Share
from vaurien.protocols.redis import RedisProtocol

redis = pytest.importorskip("redis")
errors = redis.exceptions
pytestmark = pytest.mark.server

RAISED: dict[str, type[Exception]] = {
    "ERR": errors.ResponseError,
    "LOADING": errors.BusyLoadingError,
    "BUSY": errors.ResponseError,
    "READONLY": errors.ReadOnlyError,
    "OOM": errors.OutOfMemoryError,
    "MISCONF": errors.ResponseError,
    "MASTERDOWN": errors.MasterDownError,
    "NOREPLICAS": errors.ResponseError,
    "NOAUTH": errors.AuthenticationError,
    "CLUSTERDOWN": errors.ClusterDownError,
    "TRYAGAIN": errors.TryAgainError,
    "MOVED": errors.MovedError,
    "ASK": errors.AskError,
}
"""What redis-py makes of each error; what has no class of its own is known by its first word."""


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def resp(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    return version


def client(host: str, port: int, resp: int, **options: object) -> redis.Redis:
    return redis.Redis(host, port, protocol=resp, socket_timeout=PATIENCE, retry=None, **options)


def connection(proxy: Running, resp: int = 2) -> redis.Connection:
    """One connection, which does not connect again by itself."""
    one = redis.Connection(*proxy.address, protocol=resp, socket_timeout=PATIENCE, retry=None)
    one.connect()
    return one


def ask(one: redis.Connection, *words: object) -> object:
    one.send_command(*words)
    return one.read_response()


def values(one: redis.Redis) -> list[object]:
    large = bytes(range(256)) * 80_000  # 20 MB
    results: list[object] = [one.set("large", large), one.get("large") == large, one.strlen("large"), one.get("absent")]
    results += [one.hset("h", mapping={"a": "1", "b": "\r\n"}), one.hgetall("h"), one.lrange("absent", 0, -1)]
    results += [
        one.rpush("l", *range(1000)),
        one.lrange("l", 0, -1),
        sorted(one.sadd("s", *"abc") and one.smembers("s")),
    ]
    results += [one.zadd("z", {"a": 1.5, "b": -2}), one.zrange("z", 0, -1, withscores=True), one.incrbyfloat("f", 0.5)]
    results += [one.eval("return {KEYS[1], ARGV[1], {1, {2}}, redis.status_reply('fine')}", 1, "k", "v")]
    results += [one.xadd("x", {"a": "b"}, id="1-1"), one.xread({"x": "0"}), one.xrange("x")]
    results += [sorted(one.scan_iter(count=2)), one.type("z"), one.object("encoding", "f"), one.echo("x" * 100_000)]
    return results


def pipelines(one: redis.Redis) -> list[object]:
    pipe = one.pipeline(transaction=False)
    for number in range(300):
        pipe.set(f"p{number}", "v" * number).get(f"p{number}")
    pipe.lpush("p1", "not a list")
    results: list[object] = [repr(result) for result in pipe.execute(raise_on_error=False)]
    with one.pipeline() as transaction:
        transaction.watch("p1")
        before = transaction.get("p1")
        transaction.multi()
        transaction.set("p1", "new").get("p1").incr("n")
        results += [before, transaction.execute()]
        transaction.watch("p1")
        one.set("p1", "meanwhile")
        transaction.multi()
        transaction.get("p1")
        with pytest.raises(errors.WatchError):
            transaction.execute()
    return results


def unasked(one: redis.Redis) -> list[object]:
    """What is not a reply to a request at once: messages, blocking commands, MONITOR."""
    results: list[object] = []
    with one.pubsub() as subscriber:
        subscriber.subscribe("a", "b")
        subscriber.psubscribe("c*")
        results += [subscriber.get_message(timeout=PATIENCE) for _ in range(3)]
        for number in range(20):
            one.publish("a" if number % 2 else "cc", f"message {number}")
        subscriber.ping()
        results += [subscriber.get_message(timeout=PATIENCE) for _ in range(21)]
        subscriber.unsubscribe()
        results += [subscriber.get_message(timeout=PATIENCE) for _ in range(2)]
    taken: list[object] = []
    taker = threading.Thread(target=lambda: taken.append(one.blpop("queue", timeout=PATIENCE)))
    taker.start()
    one.rpush("queue", "thing")
    taker.join(PATIENCE)
    results += [*taken, one.blpop("queue", timeout=0.01)]
    with one.monitor() as watching:
        one.set("watched", "value")
        results.append(
            next(seen for seen in (watching.next_command() for _ in range(9)) if "SET" in seen["command"])["command"]
        )
    return results


def accounts(one: redis.Redis) -> list[object]:
    host, port = (one.connection_pool.connection_kwargs[name] for name in ("host", "port"))
    resp = one.connection_pool.connection_kwargs["protocol"]
    one.acl_setuser("me", enabled=True, passwords=["+secret"], categories=["+@all"], keys=["*"], reset=True)
    with client(host, port, resp, username="me", password="secret") as known:
        results: list[object] = [known.acl_whoami(), known.get("absent")]
    with (
        client(host, port, resp, username="me", password="wrong") as unknown,
        pytest.raises(errors.AuthenticationError),
    ):
        unknown.ping()
    return results


@pytest.mark.parametrize("work", [values, pipelines, unasked, accounts])
@pytest.mark.parametrize("policy", CALM)
def test_clients_get_what_they_get_without_a_proxy(redis_server: Server, resp: int, policy: str, work) -> None:
    def workload(host: str, port: int) -> object:
        with client(host, port, resp) as one:
            one.flushall()
            return work(one)

    exchanges.same_as_without(workload, redis_server, "redis", policy, least=5)


@pytest.mark.parametrize("code", RedisProtocol.error_codes)
def test_each_error_is_what_the_client_knows_it_as(redis_server: Server, resp: int, code: str) -> None:
    with framed(redis_server, "redis") as proxy:
        one = connection(proxy, resp)
        proxy.set_policy("", fault("error", code=code))
        with pytest.raises(redis.RedisError) as caught:
            raise ask(one, "GET", "k")  # redis-py returns errors inside replies, and raises those of connections
        assert type(caught.value) is RAISED[code]
        if RAISED[code] is errors.ResponseError:
            assert str(caught.value).startswith(code if code != "ERR" else "internal error")
        proxy.set_policy("")
        assert ask(one, "ECHO", "still here") == b"still here"
        one.disconnect()
        # redis-py itself leaves after an error that it counts among those of connections
        assert accepted(proxy) == 1 + issubclass(RAISED[code], errors.ConnectionError)


def test_clients_raise_the_error(redis_server: Server, resp: int) -> None:
    with framed(redis_server, "redis") as proxy, client(*proxy.address, resp) as one:
        one.ping()
        proxy.set_policy("", fault("error", code="OOM"))
        with pytest.raises(errors.OutOfMemoryError):
            one.set("k", "v" * 1_000_000)
        pipe = one.pipeline(transaction=False).get("k").get("k")
        results = pipe.execute(raise_on_error=False)
        assert [type(result) for result in results] == [errors.OutOfMemoryError] * 2
        proxy.set_policy("")
        one.delete("k")
        assert one.get("k") is None
        assert accepted(proxy) == 1


def test_the_seed_says_which_requests_fail(redis_server: Server, resp: int) -> None:
    with framed(redis_server, "redis", seed="7") as proxy:
        one = connection(proxy, resp)
        mix_errors(proxy, 20, "READONLY")
        failed = set()
        for number in range(1, 1001):
            try:
                assert ask(one, "ECHO", str(number)) == str(number).encode()
            except redis.RedisError:
                failed.add(number)
        one.disconnect()
    assert failed == drawn(1000, 20, seed="7")
    assert len(chosen(proxy)) == len(failed)


@pytest.mark.parametrize("size", [0, 5000])
def test_the_seed_says_which_requests_of_a_pipeline_fail(redis_server: Server, size: int) -> None:
    said = [b"%d %s" % (number, b"x" * size) for number in range(1, 1001)]
    with framed(redis_server, "redis", "20:error") as proxy, proxy.connect() as one:
        sending = threading.Thread(
            target=one.sendall, args=(b"".join(b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(w), w) for w in said),)
        )
        sending.start()
        replies = one.makefile("rb")
        failed = set()
        for number, word in enumerate(said, 1):
            line = replies.readline()
            if line.startswith(b"-"):
                failed.add(number)
            else:
                assert line == b"$%d\r\n" % len(word)
                assert replies.read(len(word) + 2) == word + b"\r\n"
        sending.join(PATIENCE)
        one.shutdown(socket.SHUT_WR)
        assert replies.read() == b""
        replies.close()
        proxy.events.wait(Closed)
    assert failed == drawn(1000, 20) == chosen(proxy)


def test_hits_of_a_pipeline_that_is_repeated_keep_the_order_of_its_replies(redis_server: Server) -> None:
    words = [b"word %d" % number for number in range(8)]
    pipeline = b"".join(b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(word), word) for word in words)
    with framed(redis_server, "redis") as proxy:
        mix = Mix((Share(20, "error"), Share(20, "delay", {"sleep": 0.001})))
        proxy.call(lambda: proxy.proxy.set_policy(Policy(mix)))
        one = proxy.connect()
        replies = one.makefile("rb")
        failed = set()
        for number in range(400):
            if number % len(words) == 0:
                one.sendall(pipeline)
            if replies.readline().startswith(b"-"):
                failed.add(number + 1)
            else:
                assert replies.readline() == words[number % len(words)] + b"\r\n"
        replies.close()
        one.close()
    hit = [(event.exchange, event.fault) for event in proxy.events.of(Injected)]
    assert failed == drawn(400, 20) == {exchange for exchange, name in hit if name == "error"}
    assert drawn(400, 40) - failed == {exchange for exchange, name in hit if name == "delay"}


def test_abort_lets_the_backend_do_its_work(redis_server: Server) -> None:
    with framed(redis_server, "redis") as proxy, client(*exchanges.where(redis_server), 2) as direct:
        direct.delete("done")
        one = connection(proxy)
        proxy.set_policy("100:abort")
        with pytest.raises(errors.ConnectionError, match="closed"):
            ask(one, "SET", "done", "yes")
        assert direct.get("done") == b"yes"
        (end,) = proxy.events.wait(Closed)
        assert end.end == "closed by abort"


def test_blackout_keeps_the_request_from_the_backend(redis_server: Server) -> None:
    with framed(redis_server, "redis") as proxy, client(*exchanges.where(redis_server), 2) as direct:
        direct.delete("done")
        one = connection(proxy)
        proxy.set_policy("100:blackout")
        with pytest.raises(errors.ConnectionError, match="closed"):
            ask(one, "SET", "done", "yes")
        assert direct.get("done") is None


def test_hang_is_cured_live(redis_server: Server) -> None:
    with framed(redis_server, "redis") as proxy:
        one = connection(proxy)
        proxy.set_policy("100:hang")
        one.send_command("ECHO", "first")
        one.send_command("ECHO", "second")
        proxy.events.wait(Injected)
        proxy.set_policy("")
        assert [one.read_response(), one.read_response()] == [b"first", b"second"]
        assert accepted(proxy) == 1


def test_transient_fails_at_first(redis_server: Server) -> None:
    with framed(redis_server, "redis") as proxy:
        one = connection(proxy)
        proxy.set_policy("", fault("transient", warmup=2, agitate=3, code="READONLY"))
        results = [ask_safely(one, number) for number in range(8)]
        assert results == [0, 1, errors.ReadOnlyError, errors.ReadOnlyError, errors.ReadOnlyError, 5, 6, 7]


def ask_safely(one: redis.Connection, number: int) -> object:
    try:
        return int(ask(one, "ECHO", number))  # type: ignore[call-overload]
    except redis.RedisError as error:
        return type(error)


def test_inject_spoils_the_reply_and_asks_the_backend(redis_server: Server) -> None:
    with running(exchanges.where(redis_server), protocol="redis") as proxy, proxy.connect() as one:
        one.sendall(b"PING\r\n")
        assert read(one, 7) == b"+PONG\r\n"
        proxy.set_policy("", fault("error", inject=True, warmup=1))
        one.sendall(b"PING\r\n")
        assert read(one, 7) == b"+PONG\r\n"
        one.sendall(b"PING\r\n")
        spoiled = read(one, 107)
        assert spoiled.startswith(b"+PO")
        assert spoiled.endswith(b"NG\r\n")
