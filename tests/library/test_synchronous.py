from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
import threading
import time
import warnings

import pytest

import vaurien
from tests.library.conftest import says
from tests.running import PATIENCE, until
from vaurien.engine.net.listener import Listener
from vaurien.errors import BindError, Conflict, OptionError, UnknownName, VaurienError
from vaurien.events import Accepted, Closed, Failed
from vaurien.library import loop_thread

RST = (ConnectionResetError, BrokenPipeError)


@pytest.fixture
def proxy(backend):
    with vaurien.Proxy(backend) as proxy:
        yield proxy


def ended(client):
    """Whether nothing comes back but an end, in order or not."""
    try:
        return says(client) == b""
    except RST:
        return True


@contextlib.contextmanager
def forked(tell):
    """Runs *tell* in a forked child, which ends once it is asked what it said."""
    (asked, asking), (reading, writing) = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads; it is what this is about
        child = os.fork()
    if child == 0:
        try:
            os.write(writing, tell().encode())
            os.read(asked, 1)
        finally:
            os._exit(0)

    def said():
        os.write(asking, b"?")
        os.waitpid(child, 0)
        return os.read(reading, 1000).decode()

    try:
        yield said
    finally:
        for one in (asked, asking, reading, writing):
            os.close(one)


class TestWhereItIs:
    def test_a_client_reaches_the_backend(self, proxy, connect):
        assert says(connect(proxy)) == b"hello"

    def test_the_address_in_all_its_forms(self, proxy, backend):
        assert (proxy.host, proxy.port) == (proxy.address.host, proxy.address.port)
        assert proxy.host == "127.0.0.1"
        assert str(proxy.backend) == "{}:{}".format(*backend)
        assert proxy.url("redis") == f"redis://127.0.0.1:{proxy.port}" == f"redis://{proxy.address}"

    def test_a_unix_socket_has_no_url(self, backend, tmp_path):
        with vaurien.Proxy(backend, listen=f"unix:{tmp_path}/s") as proxy:
            assert proxy.address.path == f"{tmp_path}/s"
            with pytest.raises(VaurienError, match=r"has no URL; expected a host and a port$"):
                proxy.url("redis")

    def test_it_shows_its_state(self, backend):
        proxy = vaurien.Proxy(backend, name="cache")
        where = f"127.0.0.1:{backend[1]}"
        assert repr(proxy) == f"<Proxy 'cache' not started -> {where}>"
        with proxy:
            assert repr(proxy) == f"<Proxy 'cache' 127.0.0.1:{proxy.port} -> {where}>"
        assert repr(proxy) == f"<Proxy 'cache' closed -> {where}>"

    def test_an_address_that_somebody_has(self, backend):
        with pytest.raises(BindError, match=r"^cannot listen on 127\.0\.0\.1:\d+: Address already in use; expected an"):
            vaurien.Proxy(("127.0.0.1", 1), listen=backend).start()
        assert not loop_thread.is_running()


class TestFaults:
    def test_a_fault_for_a_block(self, proxy, connect):
        client = connect(proxy)
        with proxy.fault("blackout", scope="exchange") as fault:
            assert repr(fault).startswith("<LiveChange Fault(name='blackout'")
            assert proxy.policy.faults == (fault.value,)
            assert ended(client)
        assert says(connect(proxy)) == b"hello"
        assert proxy.hits("blackout") == 1

    def test_a_fault_until_it_is_removed(self, proxy):
        fault = proxy.fault("latency", latency="1s", name="slow", stream="upstream", probability=0.5, ttl="1m")
        assert fault.value.options == {"latency": 1000.0}
        assert (fault.value.stream, fault.value.ttl) == ("upstream", 60.0)
        with pytest.raises(Conflict, match="fault 'slow' exists already"):
            proxy.fault("delay", name="slow")
        fault.remove()
        fault.remove()
        proxy.fault("delay", name="slow")

    def test_a_fault_is_removed_and_not_its_successor(self, proxy):
        first = proxy.fault("latency")
        first.remove()
        with proxy.fault("latency", latency=1) as second:
            first.remove()
            assert second.value in proxy.policy.faults

    def test_removing_a_fault_of_a_closed_proxy_does_nothing(self, backend):
        with vaurien.Proxy(backend) as proxy:
            fault, mix = proxy.fault("latency"), proxy.mix("100:error")
        fault.remove()
        mix.remove()

    @pytest.mark.parametrize(
        ("call", "error", "text"),
        [
            (lambda proxy: proxy.fault("latncy"), UnknownName, "'latncy'; did you mean 'latency'?"),
            (
                lambda proxy: proxy.fault("latency", latncy=1),
                UnknownName,
                "unknown option 'latncy' of fault 'latency'; did you mean 'latency'?",
            ),
            (lambda proxy: proxy.fault("latency", latency="x"), OptionError, "expected milliseconds, zero or more"),
            (lambda proxy: proxy.fault("error", match={"pth": "/"}), UnknownName, "'pth'"),
            (lambda proxy: proxy.mix("20:eror"), UnknownName, "did you mean 'error'?"),
            (lambda proxy: proxy.mix("20:delay", delay={"slep": 1}), UnknownName, "did you mean 'sleep'?"),
            (lambda proxy: proxy.hits("latencies"), UnknownName, "unknown fault 'latencies' of proxy 'vaurien'"),
        ],
    )
    def test_what_is_wrong_is_raised_at_the_call_and_changes_nothing(self, proxy, call, error, text):
        with proxy.fault("latency"), proxy.mix("1:delay"):
            before = proxy.policy
            with pytest.raises(error) as raised:
                call(proxy)
            assert text in str(raised.value)
            assert proxy.policy is before

    def test_mixes_come_back_in_order(self, backend):
        def mix():
            return str(proxy.policy.mix)

        with vaurien.Proxy(backend, mix="1:delay", mix_options={"delay": {"before": False}}) as proxy:
            with proxy.mix("20:error") as outer:
                assert mix() == "20:error"
                with proxy.mix("30:delay", delay={"sleep": "500ms"}) as inner:
                    assert inner.value.shares[0].options == {"sleep": 0.5, "before": False}
                    outer.remove()
                    assert mix() == "30:delay"
                assert mix() == "1:delay"
            assert mix() == "1:delay"

    def test_the_mix_hits(self, backend, connect):
        with vaurien.Proxy(backend, mix="100:blackout") as proxy:
            assert ended(connect(proxy))
            proxy.wait_for_hits("blackout")
            assert proxy.hits() == {"blackout": 1}

    def test_what_requests_ask_for_hits(self, backend, connect):
        with vaurien.Proxy(backend, protocol="http", protocol_options={"header_faults": True}) as proxy:
            assert proxy.hits() == {"header_faults": 0}
            client = connect(proxy)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nx-envoy-fault-abort-request: 418\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 418"
            assert proxy.expect("header_faults", at_most=1) == 1

    def test_a_preset_may_have_a_schedule(self, backend):
        with vaurien.Proxy(backend, preset="brown-out") as proxy:
            assert proxy.hits()


class TestConnections:
    def test_cutting_ends_in_order(self, proxy, connect):
        client = connect(proxy)
        assert says(client) == b"hello"
        assert proxy.close_connections() == 1
        assert client.recv(1) == b""

    def test_resetting_does_not(self, proxy, connect):
        client = connect(proxy)
        assert says(client) == b"hello"
        assert proxy.reset_connections() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert proxy.wait_for_connections(0) == []

    def test_waiting_for_connections(self, proxy, connect):
        clients = [connect(proxy) for _ in range(3)]
        opened = proxy.wait_for_connections(3)
        assert [connection.number for connection in opened] == [1, 2, 3]
        assert {connection.peer for connection in opened} == {"{}:{}".format(*one.getsockname()) for one in clients}
        for client in clients:
            client.close()
        assert proxy.wait_for_connections(0) == proxy.connections == []

    def test_waiting_in_vain(self, proxy):
        with pytest.raises(
            TimeoutError, match=r"^proxy 'vaurien': 0 connections are open, not at least 2, after 0.01 s"
        ):
            proxy.wait_for_connections(2, timeout=0.01)
        proxy.fault("latency")
        with pytest.raises(TimeoutError, match=r"^proxy 'vaurien': fault 'latency' has acted 0 times, not 1, after"):
            proxy.wait_for_hits("latency", timeout=0.01)

    def test_a_proxy_that_is_down_refuses_and_keeps_its_port(self, proxy, connect):
        client, port = connect(proxy), proxy.port
        assert says(client) == b"hello"
        with proxy.down():
            assert client.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                connect(proxy)
            assert proxy.port == port
            assert proxy.hits() == {}
            with socket.socket() as other:
                with pytest.raises(OSError, match="in use"):
                    other.bind(("127.0.0.1", port))
        assert says(connect(proxy)) == b"hello"

    def test_up_and_down_by_hand(self, proxy, connect):
        outage = proxy.down()
        proxy.down()
        outage.remove()
        proxy.up()
        proxy.down()
        proxy.up()
        assert says(connect(proxy)) == b"hello"

    def test_an_outage_is_no_fault_of_that_name(self, proxy):
        with proxy.fault("latency", name="down"):
            with pytest.raises(Conflict, match="fault 'down' exists already"):
                proxy.down()
            proxy.up()
            assert len(proxy.policy.faults) == 1

    def test_closed_while_it_is_down(self, backend):
        with vaurien.Proxy(backend) as proxy, proxy.down():
            proxy.close()

    def test_a_backend_that_is_not_there_is_a_reset_and_an_event(self, nobody, connect):
        with vaurien.Proxy(nobody) as proxy:
            with pytest.raises(ConnectionResetError):
                connect(proxy).recv(1)
            proxy.wait_for_connections(0)
            [failed] = [event for event in proxy.events if isinstance(event, Failed)]
        assert failed.where == "dial"
        assert failed.error == f"backend 127.0.0.1:{nobody[1]}: Connection refused"

    def test_what_happened_stays(self, backend, connect):
        with vaurien.Proxy(backend) as proxy:
            client = connect(proxy)
            assert says(client) == b"hello"
        kinds = [type(event) for event in proxy.events]
        assert kinds.index(Accepted) < kinds.index(Closed)
        assert proxy.hits() == {}


class TestTheEnd:
    @pytest.mark.parametrize("call", ["close_connections", "reset_connections", "down", "up", "start"])
    def test_use_after_close(self, backend, call):
        with vaurien.Proxy(backend) as proxy:
            pass
        with pytest.raises(VaurienError, match=r"^proxy 'vaurien' (is closed; expected|was started already)"):
            getattr(proxy, call)()
        with pytest.raises(VaurienError, match=r"^proxy 'vaurien' is closed; expected the call before the end"):
            proxy.address  # noqa: B018
        proxy.close()

    def test_use_before_start(self, backend):
        proxy = vaurien.Proxy(backend)
        with pytest.raises(VaurienError, match=r"^proxy 'vaurien' is not started; expected the call in its with block"):
            proxy.fault("latency")
        proxy.close()

    def test_starting_twice(self, proxy, connect):
        with pytest.raises(VaurienError, match=r"^proxy 'vaurien' was started already; expected a new one$"):
            proxy.start()
        assert says(connect(proxy)) == b"hello"

    def test_nothing_is_left(self, backend, connect):
        before, open_before = threading.enumerate(), len(os.listdir("/proc/self/fd"))
        with vaurien.Proxy(backend) as one, vaurien.Proxy(backend) as two:
            assert says(connect(one)) == says(connect(two)) == b"hello"
            assert {one.name for one in threading.enumerate()} >= {"vaurien"}
            with one.down():
                pass
        assert not [left for left in threading.enumerate() if left not in before and left.name.startswith("vaurien")]
        until(lambda: len(os.listdir("/proc/self/fd")) - open_before <= 4)  # the clients' ends, and the server's

    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"faults": ["latency latency=5000"]},
            {"protocol": "http", "faults": ["hang scope=exchange"]},
            {"mix": "100:tests.plugins.Forward"},
        ],
        ids=["direct", "hooked", "framed", "blocking"],
    )
    def test_closing_does_not_wait_for_traffic_to_end(self, backend, connect, settings):
        with vaurien.Proxy(backend, **settings) as proxy:
            client = connect(proxy)

            def pour():
                with pytest.raises(RST):
                    until(lambda: client.sendall(bytes(65536)))

            pouring = threading.Thread(target=pour)
            pouring.start()
            proxy.wait_for_connections(1)
            proxy.close()
            pouring.join(PATIENCE)
            assert not pouring.is_alive()

    def test_closing_while_somebody_waits(self, proxy):
        errors = []

        def wait():
            try:
                proxy.wait_for_connections(1)
            except VaurienError as error:
                errors.append(str(error))

        waiting = threading.Thread(target=wait)
        waiting.start()
        until(lambda: proxy._proxy_host._waiting)
        proxy.close()
        waiting.join()
        assert errors == ["proxy 'vaurien' was closed during the wait"]

    def test_closed_by_several_at_once(self, proxy):
        threads = [threading.Thread(target=proxy.close) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert not loop_thread.is_running()

    def test_two_starts_at_once_make_one_proxy(self, backend, monkeypatch):
        """The second one comes while the first one binds."""
        begun, go_on = threading.Event(), threading.Event()
        bind = Listener.bind

        async def slow(listener, address, backlog):
            begun.set()
            await asyncio.to_thread(go_on.wait, PATIENCE)
            return await bind(listener, address, backlog)

        monkeypatch.setattr(Listener, "bind", slow)
        proxy = vaurien.Proxy(backend)
        first = threading.Thread(target=proxy.start)
        first.start()
        assert begun.wait(PATIENCE)
        with pytest.raises(VaurienError, match="was started already; expected a new one"):
            proxy.start()
        go_on.set()
        first.join()
        proxy.close()
        assert not loop_thread.is_running()

    def test_forgotten_ones_are_told(self, backend):
        proxy = vaurien.Proxy(backend).start()
        home, host = proxy._home, proxy._proxy_host
        with pytest.warns(ResourceWarning, match=r"^unclosed <Proxy 'vaurien'"):
            del proxy
        home.run(host.stop(0))
        loop_thread.release(home)


class TestThreads:
    def test_any_thread_may_call(self, proxy, connect):
        errors = []

        def steer(number):
            try:
                for _ in range(20):
                    with proxy.fault("latency", name=f"slow-{number}", latency=0):
                        assert proxy.hits(f"slow-{number}") == 0
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=steer, args=(number,)) for number in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert errors == []
        assert proxy.policy.faults == ()

    def test_its_own_thread_cannot_wait_for_itself(self, proxy):
        with pytest.raises(VaurienError, match=r"its own thread cannot wait for it; expected another thread$"):
            proxy._proxy_host.call(lambda: proxy.wait_for_connections(0))
        with pytest.raises(VaurienError, match=r"its own thread cannot wait for it; expected another thread$"):
            proxy._proxy_host.call(proxy.close)
        proxy._proxy_host.call(proxy.close_connections)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_forked_child_has_no_proxy_and_can_have_one(self, proxy, backend, connect):
        def in_child():
            try:
                proxy.close_connections()
            except VaurienError as error:
                yield str(error)
            proxy.close()
            with vaurien.Proxy(backend) as own, socket.create_connection((own.host, own.port), PATIENCE) as client:
                yield says(client).decode()

        with forked(lambda: "\n".join(in_child())) as said:
            assert said() == (
                f"proxy 'vaurien' belongs to process {os.getpid()}; a forked process needs one of its own\nhello"
            )
        assert says(connect(proxy)) == b"hello"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_forked_child_does_not_keep_alive_what_the_parent_ends(self, backend, connect):
        with vaurien.Proxy(backend) as proxy:
            first, second = connect(proxy), connect(proxy)
            assert says(first) == says(second) == b"hello"
            with forked(lambda: "here") as said:
                assert proxy.reset_connections() == 2
                for client in (first, second):
                    with pytest.raises(ConnectionResetError):
                        client.recv(1)
                with proxy.down(), pytest.raises(ConnectionRefusedError):
                    connect(proxy)
                assert says(connect(proxy)) == b"hello"
                port = proxy.port
                proxy.close()
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port), PATIENCE)
                assert said() == "here"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors in /proc")
def test_five_hundred_proxies_leave_nothing_and_take_no_time(backend):
    with vaurien.Proxy(backend):  # what is imported and cached once is no leak
        pass
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    took = []
    for _ in range(10):
        began = time.monotonic()
        for _ in range(50):
            with vaurien.Proxy(backend) as proxy:
                with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
                    assert says(client) == b"hello"
        took.append(time.monotonic() - began)
    assert min(took) < 3  # others may be busy on the same machine
    gc.collect()
    assert not [one for one in threading.enumerate() if one.name.startswith("vaurien")]
    until(lambda: threading.active_count() <= threads)  # the server's end a moment after their clients
    until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
