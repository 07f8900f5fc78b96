"""Redis between real clients (redis-py, redis-cli, redis-benchmark) and redis-server, watched by the framer."""

import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.protocols.framed_relay import Relay, relayed
from tests.servers import Server, require, started
from vaurien.protocols.redis import RedisProtocol

redis = pytest.importorskip("redis")

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A redis-server with DEBUG, that does not wait for more replicas before it serves one."""
    program = require("redis-server")
    words = ["--bind", "127.0.0.1", "--save", "", "--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"]
    with started(lambda port, folder: [program, *words, "--port", str(port), "--dir", folder]) as server:
        yield server


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    with relayed(RedisProtocol(), (server.host, server.port)) as relay:
        yield relay


@pytest.fixture(params=[2, 3])
def client(request: pytest.FixtureRequest, relay: Relay) -> Iterator[redis.Redis]:
    with redis.Redis(
        port=relay.port, protocol=request.param, socket_timeout=30, single_connection_client=True
    ) as client:
        client.flushall()
        yield client


def commands(relay: Relay) -> Counter[str]:
    return Counter(asked["command"] for asked, _ in relay.exchanges())


def test_values_of_all_kinds(relay: Relay, client: redis.Redis) -> None:
    client.set("text", "value")
    assert client.get("text") == b"value"
    assert client.get("missing") is None
    assert client.incrbyfloat("number", 1.5) == 1.5
    client.rpush("list", *range(500))
    assert len(client.lrange("list", 0, -1)) == 500
    client.hset("hash", mapping={"a": "1", "b": ""})
    assert client.hgetall("hash") == {b"a": b"1", b"b": b""}
    client.sadd("set", "a", "b")
    assert client.smembers("set") == {b"a", b"b"}
    client.zadd("zset", {"a": 1.5})
    assert client.zscore("zset", "a") == 1.5
    client.xadd("stream", {"field": "value"})
    assert client.xread({"stream": 0}, count=1)
    assert client.geoadd("geo", (13.36, 38.11, "x")) == 1
    assert client.eval("return {1, {2, {3, 'x'}}, redis.status_reply('S')}", 1, "text") == [1, [2, [3, b"x"]], b"S"]
    assert client.info()["redis_version"]
    assert client.command_count() > 200
    with pytest.raises(redis.ResponseError):
        client.lpush("text", 1)
    client.close()
    exchanges = relay.exchanges()
    keys = {asked["command"]: asked.get("key") for asked, _ in exchanges}
    assert keys["XREAD"] == "stream"
    assert keys["EVAL"] == "text"
    assert keys["LPUSH"] == "text"
    assert keys["INFO"] is None


def test_pipelines_and_transactions(relay: Relay, client: redis.Redis) -> None:
    with client.pipeline(transaction=False) as pipe:
        for number in range(5000):
            pipe.set(f"k{number}", "x" * (number % 100))
            pipe.get(f"k{number}")
        assert len(pipe.execute()) == 10000
    with client.pipeline(transaction=True) as pipe:
        pipe.set("a", 1).incr("a").lrange("none", 0, -1)
        assert pipe.execute() == [True, 2, []]
    client.close()
    counted = commands(relay)
    assert (counted["SET"], counted["GET"], counted["MULTI"], counted["EXEC"]) == (5001, 5000, 1, 1)


def test_a_large_value(relay: Relay, client: redis.Redis) -> None:
    size = 100 * 2**20
    client.set("large", bytes(size))
    assert client.strlen("large") == size
    assert len(client.get("large")) == size
    client.delete("large")
    client.close()
    assert commands(relay)["GET"] == 1


def test_messages(relay: Relay, client: redis.Redis) -> None:
    with client.pubsub() as pubsub:
        pubsub.subscribe("a", "b")
        pubsub.psubscribe("c*")
        for _ in range(3):
            assert pubsub.get_message(timeout=30)["type"] in ("subscribe", "psubscribe")
        for channel in ("a", "b", "cc"):
            client.publish(channel, "x" * 1000)
        assert [pubsub.get_message(timeout=30)["channel"] for _ in range(3)] == [b"a", b"b", b"cc"]
        pubsub.ping("hello")
        assert pubsub.get_message(timeout=30)["type"] == "pong"
        pubsub.unsubscribe()
        pubsub.punsubscribe()
        for _ in range(3):
            assert pubsub.get_message(timeout=30)["type"] in ("unsubscribe", "punsubscribe")
    client.close()
    counted = commands(relay)
    names = ("SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "PUBLISH")
    assert [counted[name] for name in names] == [1, 1, 1, 1, 3]


def test_blocking_commands(relay: Relay, client: redis.Redis) -> None:
    with redis.Redis(port=relay.port, single_connection_client=True) as other:
        taken: list[object] = []
        thread = threading.Thread(target=lambda: taken.append(client.blpop(["queue"], timeout=30)))
        thread.start()
        while thread.is_alive() and not any(each["cmd"] == "blpop" for each in other.client_list()):
            pass  # the thread ends with the pop's own timeout
        other.rpush("queue", "job")
        thread.join()
        assert taken == [(b"queue", b"job")] or taken == [[b"queue", b"job"]]
    client.close()
    assert commands(relay)["BLPOP"] == 1


def test_monitor(relay: Relay, client: redis.Redis) -> None:
    with redis.Redis(port=relay.port, protocol=2) as other, other.monitor() as monitor:
        client.set("k", "v" * 100000)
        line = monitor.next_command()
        while "SET" not in line["command"]:
            line = monitor.next_command()
    client.close()
    assert commands(relay)["MONITOR"] == 1


def test_invalidations_are_pushed(relay: Relay) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=30) as client, client.makefile("rb") as replies:
        client.sendall(
            b"HELLO 3\r\nCLIENT TRACKING ON\r\nSET k 1\r\nGET k\r\nSET k 2\r\nPING\r\nDEBUG JMAP\r\nQUIT\r\n"
        )
        received = replies.read()
    assert b">2\r\n$10\r\ninvalidate\r\n" in received
    names = [asked["command"] for asked, _ in relay.exchanges()]
    assert names == ["HELLO", "CLIENT", "SET", "GET", "SET", "PING", "DEBUG", "QUIT"]


@pytest.mark.parametrize("kind", ["string", "attrib", "push", "double", "bignum", "map", "set", "verbatim", "true"])
def test_every_type_of_resp3(relay: Relay, kind: str) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=30) as client, client.makefile("rb") as replies:
        client.sendall(b"HELLO 3\r\nDEBUG PROTOCOL %s\r\nQUIT\r\n" % kind.encode())
        assert b"ERR" not in replies.read()
    (watched,) = relay.ended()
    assert watched.framing.lost is None
    if kind != "push":  # a command that is answered by a push only
        assert len(watched.check()) == 3


def test_client_reply_off_and_skip(relay: Relay) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=30) as client, client.makefile("rb") as replies:
        client.sendall(
            b"CLIENT REPLY OFF\r\nSET a 1\r\nCLIENT REPLY ON\r\nCLIENT REPLY SKIP\r\nSET b 1\r\nGET a\r\nQUIT\r\n"
        )
        assert replies.read() == b"+OK\r\n$1\r\n1\r\n+OK\r\n"
    (watched,) = relay.ended()
    assert [head.answered for head in watched.heads[True]] == [False, False, True, False, False, True, True]
    watched.check()


def test_a_replica_synchronizes(relay: Relay, server: Server) -> None:
    with redis.Redis(port=server.port) as direct:
        direct.set("k", "v")
        with socket.create_connection(("127.0.0.1", relay.port), timeout=30) as client:
            client.sendall(b"PING\r\n")
            assert client.recv(7, socket.MSG_WAITALL) == b"+PONG\r\n"  # PSYNC is refused while output is pending
            client.sendall(b"PSYNC ? -1\r\n")
            received = b""
            while b"REDIS00" not in received:
                data = client.recv(65536)
                assert data
                received += data
            client.sendall(b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n1\r\n")
    (watched,) = relay.ended()
    assert watched.framing.lost is None
    assert [head.fields["command"] for head in watched.heads[True]] == ["PING", "PSYNC"]
    assert len(watched.heads[False]) == 2


def test_redis_cli(relay: Relay) -> None:
    cli = [require("redis-cli"), "-p", str(relay.port)]
    script = "PING\nSET k 'a b'\nGET k\nMULTI\nINCR n\nEXEC\nHELLO 3\nHGETALL none\n"
    done = subprocess.run(cli, input=script, capture_output=True, text=True, check=True, timeout=30)
    assert "a b" in done.stdout
    counted = commands(relay)
    assert counted["PING"] == 1
    assert counted["HGETALL"] == 1


def test_redis_benchmark(relay: Relay) -> None:
    tests = "ping_inline,ping_mbulk,set,get,lpush,lrange_100,mset"
    command = [
        require("redis-benchmark"),
        "-p",
        str(relay.port),
        "-q",
        "-n",
        "1000",
        "-c",
        "4",
        "-P",
        "16",
        "-t",
        tests,
    ]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    counted = commands(relay)
    for name in ("PING", "SET", "GET", "LPUSH", "LRANGE", "MSET"):
        assert counted[name] >= 1000, name
