"""pymemcache and python-binary-memcached through a proxy in front of memcached, and the meta commands by hand."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.integration import exchanges
from tests.integration.exchanges import CALM, accepted, chosen, drawn, fault, framed, mix_errors
from tests.running import PATIENCE, read
from tests.servers import Server
from vaurien.events import Closed, Injected
from vaurien.protocols.memcache import MemcacheProtocol

bmemcached = pytest.importorskip("bmemcached")
refused = pytest.importorskip("bmemcached.exceptions")
pymemcache = pytest.importorskip("pymemcache")
pytestmark = pytest.mark.server

WORDS = {
    "out-of-memory": (0x82, "out of memory storing object"),
    "internal": (0x84, "internal error"),
    "busy": (0x85, "busy"),
    "temporary": (0x86, "temporary failure"),
}


def text(host: str, port: int) -> pymemcache.Client:
    return pymemcache.Client((host, port), timeout=PATIENCE, no_delay=True)


def texts(host: str, port: int) -> object:
    one = text(host, port)
    one.flush_all()
    large = b"x\r\n" * 300_000
    results: list[object] = [one.set("large", large, noreply=False), one.get("large") == large, one.get("absent")]
    with pytest.raises(pymemcache.MemcacheServerError, match="too large"):
        one.set("larger", bytes(20_000_000), noreply=False)
    many = {f"key{number:05}": b"END\r\n" * (number % 7) for number in range(1000)}
    results += [one.set_many(many, noreply=False), one.get_many([*many, "absent"]) == many]
    results += [one.set("n", "1", noreply=True), one.incr("n", 5), one.decr("n", 2), one.add("n", "2", noreply=False)]
    results += [one.touch("n", 60, noreply=False), one.append("n", "0", noreply=False), one.get("n")]
    value, unique = one.gets("n")
    results += [value, one.cas("n", "9", unique), one.cas("n", "8", unique), one.delete("n", noreply=False)]
    results += [one.version(), sorted(one.stats("settings")), one.get("n")]
    for number in range(200):  # noreply and replies in turn
        one.set("mixed", str(number), noreply=True)
        results.append(one.get("mixed"))
    with pytest.raises(pymemcache.MemcacheClientError):
        one.incr("key00001", 1)
    one.quit()
    return results


def binary(host: str, port: int) -> bmemcached.Client:
    return bmemcached.Client((f"{host}:{port}",), socket_timeout=PATIENCE)


def binaries(host: str, port: int) -> object:
    one = binary(host, port)
    one.flush_all()
    many = {f"k{number}": f"v{number}" for number in range(300)}
    results: list[object] = [one.set_multi(many), one.get_multi([*many, *(f"absent{n}" for n in range(50))]) == many]
    results += [one.set("large", "x" * 900_000, compress_level=0), len(one.get("large")), one.get("absent")]
    results += [one.add("k1", "x"), one.replace("k1", "y"), one.incr("n", 1), one.incr("n", 1), one.decr("n", 1)]
    results += [one.delete_multi(list(many)[:10]), one.cas("k20", "w", 1), one.delete("k20"), one.delete("k20")]
    results += [len(stats) > 10 for stats in one.stats().values()]
    one.disconnect_all()
    return results


META = (
    b"ms a 2 O1 k\r\nhi\r\nms b 1 q\r\nx\r\nmn\r\n"
    b"mg zz v q O1\r\nmg a v q O2 k\r\nmg zy q k v\r\nmn\r\nmg a v O7\r\n"
    b"md zz q O8\r\nmd zz\r\nmd b q\r\nma n N0 J5 v\r\nma n q v O4\r\nma zz q v O5\r\nmn\r\nms bad S1\r\nmg\r\n"
    b"set big 0 0 900000 noreply\r\n" + bytes(900_000) + b"\r\nget big a zz\r\nget zz\r\nquit\r\n"
)


def metas(host: str, port: int) -> object:
    with socket.create_connection((host, port), timeout=PATIENCE) as one:
        one.sendall(b"flush_all noreply\r\n" + META)
        with one.makefile("rb") as answers:
            return answers.read()


@pytest.mark.parametrize("policy", CALM)
@pytest.mark.parametrize("work", [texts, binaries, metas])
def test_clients_get_what_they_get_without_a_proxy(memcached_server: Server, policy: str, work) -> None:
    exchanges.same_as_without(work, memcached_server, "memcache", policy, least=15)


@pytest.mark.parametrize("code", MemcacheProtocol.error_codes)
def test_each_error_in_text(memcached_server: Server, code: str) -> None:
    with framed(memcached_server, "memcache") as proxy:
        one = text(*proxy.address)
        one.set("k", "v", noreply=False)
        proxy.set_policy("", fault("error", code=code))
        for ask in (
            lambda: one.get("k"),
            lambda: one.get_many(["k", "l"]),
            lambda: one.set("k", "w" * 500_000, noreply=False),
            lambda: one.delete("k", noreply=False),
        ):
            with pytest.raises(pymemcache.MemcacheServerError, match=WORDS[code][1]):
                ask()
        proxy.set_policy("")
        assert one.get("k") == b"v"
        one.close()


@pytest.mark.parametrize("code", MemcacheProtocol.error_codes)
def test_each_error_in_binary(memcached_server: Server, code: str) -> None:
    with framed(memcached_server, "memcache") as proxy:
        one = binary(*proxy.address)
        assert one.set("k", "v")
        proxy.set_policy("", fault("error", code=code))
        for ask in (lambda: one.get("k"), lambda: one.set("k", "w"), lambda: one.incr("k", 1), lambda: one.delete("k")):
            with pytest.raises(refused.MemcachedException, match=WORDS[code][1]) as caught:
                ask()
            assert caught.value.code == WORDS[code][0]
        proxy.set_policy("")
        assert one.get("k") == "v"
        one.disconnect_all()
        assert accepted(proxy) == 1


def test_the_seed_says_which_requests_fail(memcached_server: Server) -> None:
    with framed(memcached_server, "memcache", seed="7") as proxy, proxy.connect() as one:
        mix_errors(proxy, 20, "busy")
        answers = one.makefile("rb")
        failed = set()
        for number in range(1, 1001):
            one.sendall(b"get absent\r\n")
            answer = answers.readline()
            assert answer in (b"END\r\n", b"SERVER_ERROR busy\r\n")
            if answer != b"END\r\n":
                failed.add(number)
        answers.close()
    assert failed == drawn(1000, 20, seed="7") == chosen(proxy)


def test_the_seed_says_which_of_a_mixed_pipeline_fail(memcached_server: Server) -> None:
    """Changes without a reply, retrievals, changes with one: what is hit without a reply has none, and no effect."""
    said = [
        (b"set s%d 0 0 2 noreply\r\nok\r\n" % n, b"get s%d nothing\r\n" % (n - 1), b"add a%d 0 0 1\r\nx\r\n" % n)[n % 3]
        for n in range(1, 1001)
    ]
    hit = drawn(1000, 20)
    with framed(memcached_server, "memcache", "20:error") as proxy, proxy.connect() as one:
        with socket.create_connection(exchanges.where(memcached_server)) as direct:
            direct.sendall(b"flush_all\r\n")
            assert read(direct, 4) == b"OK\r\n"
        sending = threading.Thread(target=one.sendall, args=(b"".join(said),))
        sending.start()
        answers = one.makefile("rb")
        for number, request in enumerate(said, 1):
            if b"noreply" in request:
                continue
            answer = answers.readline()
            assert answer.startswith(b"SERVER_ERROR") == (number in hit)
            if number in hit:
                continue
            if request.startswith(b"add"):
                assert answer == b"STORED\r\n"
            elif number == 1 or number - 1 in hit:
                assert answer == b"END\r\n"
            else:
                assert answer + read_lines(answers, 2) == b"VALUE s%d 0 2\r\nok\r\nEND\r\n" % (number - 1)
        sending.join(PATIENCE)
        one.shutdown(socket.SHUT_WR)
        assert answers.read() == b""
        answers.close()
    assert chosen(proxy) == hit


def read_lines(answers, count: int) -> bytes:
    return b"".join(answers.readline() for _ in range(count))


def test_abort_lets_the_backend_do_its_work(memcached_server: Server) -> None:
    direct = text(*exchanges.where(memcached_server))
    direct.delete("done", noreply=False)
    with framed(memcached_server, "memcache", "100:abort") as proxy:
        one = text(*proxy.address)
        with pytest.raises(pymemcache.exceptions.MemcacheUnexpectedCloseError):
            one.set("done", "yes", noreply=False)
        assert direct.get("done") == b"yes"
        assert proxy.events.wait(Closed)[0].end == "closed by abort"
    direct.close()


def test_blackout_keeps_the_request_from_the_backend(memcached_server: Server) -> None:
    direct = text(*exchanges.where(memcached_server))
    direct.delete("done", noreply=False)
    with framed(memcached_server, "memcache", "100:blackout") as proxy:
        one = text(*proxy.address)
        with pytest.raises(pymemcache.exceptions.MemcacheUnexpectedCloseError):
            one.set("done", "yes", noreply=False)
        assert direct.get("done") is None
    direct.close()


def test_hang_is_a_timeout(memcached_server: Server) -> None:
    with framed(memcached_server, "memcache", "100:hang") as proxy:
        one = pymemcache.Client(proxy.address, timeout=0.2)
        with pytest.raises(TimeoutError):
            one.get("k")
        proxy.events.wait(Closed)
        assert exchanges.exchanges(proxy, 1) == [1]
        proxy.set_policy("")
        assert one.get("absent") is None
        one.close()


def test_transient_fails_at_first(memcached_server: Server) -> None:
    with framed(memcached_server, "memcache", "", fault("transient", agitate=2, code="temporary")) as proxy:
        one = text(*proxy.address)
        for _ in range(2):
            with pytest.raises(pymemcache.MemcacheServerError, match="temporary failure"):
                one.get("absent")
        assert one.get("absent") is None
        one.close()
        assert len(proxy.events.of(Injected)) == 2
