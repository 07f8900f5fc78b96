"""What behaviors can do to a live connection, and what a change of the policy does to them."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

import pytest

from tests.running import LOOP, PATIENCE, Echo, Running, backend, pair, pour, read, read_all, reset, running
from vaurien.engine.loop.clock import SLACK
from vaurien.errors import OptionError, UnknownName
from vaurien.events import Closed, Failed, Injected, MixHit, PolicyChanged
from vaurien.model import TO_BACKEND, Fault, Mix, Policy, Scope, Share, Stream

NOOP = Fault(name="noop", behavior="tests.plugins.Noop")


def late(seconds: float = 0.05, name: str = "late", stream: Stream = Stream.BOTH) -> Fault:
    return Fault(name=name, behavior="tests.plugins.Late", options={"after": seconds}, stream=stream)


def lanes(proxy: Running) -> set[str]:
    return {"hooked" if "hooked" in link else "direct" for link in proxy.links()}


def test_lanes_switch_live_and_lose_nothing() -> None:
    data = os.urandom(40_000_000)
    with backend() as listening, running(listening.getsockname()) as proxy, pair(proxy, listening) as (client, server):
        got: list[bytes] = []
        switched = threading.Event()

        def send() -> None:
            client.sendall(data[:20_000_000])
            assert switched.wait(PATIENCE)
            client.sendall(data[20_000_000:])

        threads = [
            threading.Thread(target=lambda: got.append(read(server, len(data)))),
            threading.Thread(target=send),
        ]
        for thread in threads:
            thread.start()
        switches = 0
        while threads[0].is_alive():
            proxy.set_policy("", *([NOOP, late(0.001)] if switches % 2 else [late(0.002)] if switches % 3 else []))
            switches += 1
            if switches == 12:
                switched.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert got[0] == data
        proxy.set_policy("")
        client.sendall(b"x")  # both links go back to the direct lane once nothing waits in them
        assert read(server, 1) == b"x"
        assert lanes(proxy) == {"direct"}


def test_removing_a_fault_releases_what_it_held_in_order() -> None:
    with backend() as listening, running(listening.getsockname(), "", late(3600)) as proxy:
        with pair(proxy, listening) as (client, server):
            held = 0
            for part in (b"one,", b"two,", b"three"):
                client.sendall(part)
                held += len(part)
                proxy.until(lambda: _held(proxy) == held)  # noqa: B023 - it is awaited here
            proxy.set_policy("")
            assert read(server, 13) == b"one,two,three"


def _held_back(proxy: Running) -> bool:
    """Whether the client is not read, for the moment."""
    return [one.link(TO_BACKEND).reading for one in proxy.proxy.live if one.links] == [False]


def _held(proxy: Running) -> int:
    return sum(link.held for one in proxy.proxy.live for link in one.links)


def test_two_latencies_add_up_and_keep_the_order() -> None:
    with backend() as listening, running(listening.getsockname(), "", late(0.05, "a"), late(0.07, "b")) as proxy:
        with pair(proxy, listening) as (client, server):
            before = time.monotonic()
            client.sendall(b"first")
            assert read(server, 5) == b"first"
            assert time.monotonic() - before >= 0.12 - 2 * SLACK
            hits = {event.fault for event in proxy.events.of(Injected)}
    assert hits == {"a", "b"}


def test_the_end_of_the_stream_waits_behind_what_waits() -> None:
    with backend() as listening, running(listening.getsockname(), "", late(0.05)) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"slow")
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b"slow"
            server.sendall(b"answer")
            server.close()
            assert read_all(client) == b"answer"


def test_a_delay_line_is_bounded() -> None:
    limit = 1 << 20
    with backend() as listening, running(listening.getsockname(), "", late(3600), delay_line=limit) as proxy:
        with pair(proxy, listening) as (client, _server):
            pour(client, lambda: proxy.call(lambda: _held_back(proxy)))
            assert limit <= proxy.call(lambda: _held(proxy)) <= limit + (1 << 18)


@pytest.mark.parametrize("before", [[], [NOOP]], ids=["alone", "second"])
def test_a_hook_that_is_interrupted_passes_on_the_rest(before: list[Fault]) -> None:
    slow = Fault(name="slow", behavior="tests.plugins.Slow", stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", *before, slow) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"12345678")
            assert read(server, 4) == b"1234"
            proxy.set_policy("")
            assert read(server, 4) == b"5678"


@pytest.mark.parametrize("before", [[], [NOOP]], ids=["alone", "second"])
def test_a_hook_that_sends_when_it_is_interrupted_does_so_once(before: list[Fault]) -> None:
    insists = Fault(name="insists", behavior="tests.plugins.Insists", stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", *before, insists) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"once")
            proxy.events.wait(Injected)
            client.shutdown(socket.SHUT_WR)
            proxy.set_policy("")
            assert read_all(server) == b"once"


@pytest.mark.parametrize("before", [[], [NOOP]], ids=["alone", "second"])
def test_each_chunk_that_a_fault_swallows_counts_where_it_is(before: list[Fault]) -> None:
    keeps = Fault(name="keeps", behavior="tests.plugins.Keeps", stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", *before, keeps) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"ab")
            proxy.events.wait(Injected)
            client.sendall(b"c")
            proxy.events.wait(Injected, 2)
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b"abc"
        hits = proxy.events.of(Injected)
    assert [(hit.fault, hit.stream, hit.offset) for hit in hits[:2]] == [
        ("keeps", Stream.UPSTREAM, 0),
        ("keeps", Stream.UPSTREAM, 2),
    ]


@pytest.mark.parametrize("before", [[], [NOOP]], ids=["alone", "second"])
def test_an_alarm_that_goes_off_at_a_chunk_comes_behind_it(before: list[Fault]) -> None:
    rings = Fault(name="rings", behavior="tests.plugins.Rings", stream=Stream.UPSTREAM)
    with backend() as listening, running(listening.getsockname(), "", *before, rings) as proxy:
        with pair(proxy, listening) as (client, server):
            for data in (b"a", b"b"):
                client.sendall(data)
                assert read(server, 2) == data + b"!"


def test_a_fault_that_was_not_drawn_for_a_connection_is_not_in_its_way() -> None:
    never = Fault(name="never", behavior="tests.plugins.Passes", probability=0.0)
    with backend() as listening, running(listening.getsockname(), "", never) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"x")
            assert read(server, 1) == b"x"
            assert all(" direct " in link for link in proxy.links())


def test_what_follows_a_request_that_was_held_goes_on_too() -> None:
    """The link read ahead to see the client leave, and does so no more."""
    with backend() as listening, running(listening.getsockname(), "100:hang", protocol="redis") as proxy:
        with pair(proxy, listening) as (client, server):
            for held in (1, 2, 3):
                proxy.set_policy("100:hang")
                client.sendall(b"*1\r\n$4\r\nPING\r\n")
                proxy.events.wait(Injected, held)
                proxy.set_policy("")
                assert read(server, 14) == b"*1\r\n$4\r\nPING\r\n"
                client.sendall(b"*1\r\n$4\r\nECHO\r\n")
                assert read(server, 14) == b"*1\r\n$4\r\nECHO\r\n"


def test_a_changed_fault_is_cured_like_a_removed_one() -> None:
    with backend() as listening, running(listening.getsockname(), "100:hang") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"anybody?")
            proxy.events.wait(Injected)
            client.sendall(b" there?")
            proxy.set_policy("0:hang")
            assert read(server, 15) == b"anybody? there?"
            client.sendall(b" yes")
            assert read(server, 4) == b" yes"


def test_a_connection_that_ends_is_let_go_with_the_fault_that_holds_its_bytes() -> None:
    """`close` delivers what was sent; on a delay line of an hour that takes an hour, or until the fault is removed."""
    hang = Fault(name="hang", behavior="hang")
    with backend() as listening, running(listening.getsockname(), "", hang, late(3600)) as proxy:
        with pair(proxy, listening) as (client, server):
            server.sendall(b"late")
            proxy.until(lambda: _held(proxy) == 4)
            client.sendall(b"anybody?")
            proxy.events.wait(Injected, 2)
            client.shutdown(socket.SHUT_WR)
            proxy.until(
                lambda: all(one.ending for one in proxy.proxy.live)
            )  # the hang has ended the connection, and the bytes are still held
            proxy.set_policy("")
            assert read_all(client) == b"late"
            proxy.events.wait(Closed)


@pytest.mark.parametrize("leave", [reset, lambda client: client.close()])
def test_hang_notices_that_the_client_left(leave) -> None:
    with backend() as listening, running(listening.getsockname(), "100:hang") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"anybody?")
            proxy.events.wait(Injected)
            leave(client)
            assert read_all(server) == b""
            proxy.events.wait(Closed)


def test_blackout_ends_the_stream_in_order() -> None:
    with backend() as listening, running(listening.getsockname(), "100:blackout") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(bytes(100_000))  # unread bytes must not turn the FIN into a reset
            assert read_all(client) == b""
            assert read_all(server) == b""


def test_blackout_as_a_fault_comes_before_the_dial() -> None:
    blackout = Fault(name="dark", behavior="blackout")
    with Echo() as echo, running(echo.address, "", blackout) as proxy, proxy.connect() as client:
        assert read_all(client) == b""
        assert proxy.events.wait(Closed)[0].end == "closed by dark"
        assert echo.connections == 0


def test_abort_delivers_the_request_and_loses_the_answer() -> None:
    with backend() as listening, running(listening.getsockname(), "100:abort") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"commit")
            assert read(server, 6) == b"commit"
            server.sendall(b"done")
            assert read_all(client) == b""


def test_an_error_replaces_the_answer_and_keeps_the_connection() -> None:
    with backend() as listening, running(listening.getsockname(), "100:transient") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"fails")
            assert len(read(client, 1000)) == 1000
            client.sendall(b"works")
            assert read(server, 5) == b"works"


def test_inject_puts_garbage_into_the_middle_of_the_answer() -> None:
    fault = Fault(name="e", behavior="error", options={"inject": True})
    with backend() as listening, running(listening.getsockname(), "", fault) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"question")
            assert read(server, 8) == b"question"
            server.sendall(b"leftright")
            answer = read(client, 109)
            assert answer.startswith(b"left")
            assert answer.endswith(b"right")


def test_warmup_counts_the_exchanges_of_the_whole_proxy() -> None:
    fault = Fault(name="e", behavior="error", options={"warmup": 2})
    with Echo() as echo, running(echo.address, "", fault) as proxy:
        for expected in (4, 4, 1000):
            with proxy.connect() as client:
                client.sendall(b"ping")
                assert len(client.recv(2000)) == expected


def test_limit_passes_exactly_so_many_bytes_then_ends_in_order() -> None:
    limit = Fault(name="limit", behavior="tests.plugins.Limit", options={"size": 10}, stream=Stream.DOWNSTREAM)
    with backend() as listening, running(listening.getsockname(), "", limit, late(0.05)) as proxy:
        with pair(proxy, listening) as (client, server):
            server.sendall(b"0123456789abcdef")
            assert read_all(client) == b"0123456789"


def test_a_reset_by_a_behavior_is_a_reset_on_both_sides() -> None:
    with backend() as listening, running(listening.getsockname(), "100:tests.plugins.Resets") as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"x")
            for one in (client, server):
                with pytest.raises(ConnectionResetError):
                    one.recv(1)
        assert proxy.events.wait(Closed)[0].end == "reset by tests.plugins.Resets"


@pytest.mark.parametrize("before", [[], [NOOP]], ids=["alone", "second"])
@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("hook", ["on_connect", "on_start", "on_request", "on_response", "on_data", "on_eof"])
def test_a_behavior_that_raises_ends_its_own_connection_and_is_named(
    hook: str, error: str, before: list[Fault]
) -> None:
    broken = Fault(name="bad", behavior="tests.plugins.Broken", options={"hook": hook, "error": error})
    with Echo() as echo, running(echo.address) as proxy, proxy.connect() as other:
        other.sendall(b"fine")
        assert read(other, 4) == b"fine"
        proxy.set_policy("", *before, broken)
        with pytest.raises(ConnectionError), proxy.connect() as client:
            client.sendall(b"x")
            with contextlib.suppress(OSError):  # ENOTCONN when the reset is already there; reading tells of it
                client.shutdown(socket.SHUT_WR)
            read_all(client)
            read_all(client)
        failed = proxy.events.wait(Failed)[0]
        proxy.set_policy("")
        assert failed.where == "behavior bad"
        assert f"{error}: broken {hook}" in failed.error
        if hook != "on_start":  # which begins on connections that are there already as well
            other.sendall(b"still")
            assert read(other, 5) == b"still"


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("hook", ["on_connect", "on_start", "on_request", "on_response", "on_data", "on_eof"])
def test_a_task_of_a_hook_that_raises_ends_its_own_connection(hook: str, error: str) -> None:
    options = {"hook": hook, "error": error, "task": True}
    broken = Fault(name="bad", behavior="tests.plugins.Broken", options=options)
    with Echo() as echo, running(echo.address) as proxy:
        with proxy.connect() as other:
            other.sendall(b"fine")
            assert read(other, 4) == b"fine"
            proxy.set_policy("", broken)
            with pytest.raises(ConnectionError), proxy.connect() as client:
                client.sendall(b"x")
                if hook == "on_eof":  # otherwise the connection may have ended by the time at which the task runs
                    with contextlib.suppress(OSError):  # ENOTCONN when the reset is already there; reading tells of it
                        client.shutdown(socket.SHUT_WR)
                read_all(client)
                read_all(client)
            failed = proxy.events.wait(Failed)[0]
            proxy.set_policy("")
        assert failed.where in ("behavior bad", "behavior on_connect")
        assert f"{error}: broken {hook}" in failed.error
        with proxy.connect() as another:
            another.sendall(b"still")
            assert read(another, 5) == b"still"


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at", "add_done_callback", "thread", "add_reader"])
def test_a_callback_that_a_hook_gives_to_the_loop_ends_its_own_connection(method: str, error: str) -> None:
    options = {"hook": "on_request", "error": error, "callback": method}
    broken = Fault(name="bad", behavior="tests.plugins.Broken", options=options)
    with Echo() as echo, running(echo.address) as proxy, proxy.connect() as other:
        other.sendall(b"fine")
        assert read(other, 4) == b"fine"
        proxy.set_policy("", broken)
        with proxy.connect() as client:
            client.sendall(b"x")
            with pytest.raises(ConnectionError):
                read_all(client)
        failed = proxy.events.wait(Failed)
        proxy.set_policy("")
        assert [one.where for one in failed] == ["behavior bad"]
        assert f"{error}: broken on_request" in failed[0].error
        other.sendall(b"still")
        assert read(other, 5) == b"still"


@pytest.mark.skipif(LOOP == "uvloop", reason="uvloop's transports call protocols past the loop's methods")
@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("method", ["connection_made", "data_received", "pipe", "server", "datagram"])
def test_a_protocol_that_a_hook_gives_to_the_loop_ends_its_own_connection(method: str, error: str) -> None:
    """The loop's transports call its methods."""
    test_a_callback_that_a_hook_gives_to_the_loop_ends_its_own_connection(method, error)


def test_shares_and_seeds() -> None:
    """20 % over 2,000 exchanges, and the same seed gives the same hits."""
    first, second, other = (_hits(seed) for seed in ("1", "1", "2"))
    assert 0.17 <= len(first) / 2000 <= 0.23
    assert first == second
    assert first != other


def _hits(seed: str) -> list[tuple[int, int]]:
    mix = Mix((Share(20, "delay", {"sleep": 0.001}),))
    with Echo() as echo, running(echo.address, seed=seed) as proxy:
        proxy.call(lambda: proxy.proxy.set_policy(Policy(mix)))
        for _ in range(4):
            with proxy.connect() as client:
                for _ in range(500):
                    client.sendall(b"ping")
                    assert read(client, 4) == b"ping"
        proxy.events.wait(Closed, 4)
        return sorted((event.connection, event.exchange) for event in proxy.events.of(MixHit))


def test_another_fault_does_not_shift_the_dice() -> None:
    often = Fault(name="often", behavior="delay", options={"sleep": 0.001}, probability=0.5, scope=Scope.EXCHANGE)
    rare = Fault(name="rare", behavior="delay", options={"sleep": 0.001}, probability=0.2, scope=Scope.EXCHANGE)
    alone, together = (_fault_hits(*faults) for faults in ([rare], [often, rare]))
    assert alone == together


def _fault_hits(*faults: Fault) -> list[int]:
    with Echo() as echo, running(echo.address, "", *faults) as proxy, proxy.connect() as client:
        for _ in range(300):
            client.sendall(b"ping")
            assert read(client, 4) == b"ping"
        return [event.exchange for event in proxy.events.of(Injected) if event.fault == "rare"]


def test_scope_connection_throws_once_per_connection() -> None:
    half = Fault(name="half", behavior="delay", options={"sleep": 0.001}, probability=0.5)
    with Echo() as echo, running(echo.address, "", half) as proxy:
        for _ in range(40):
            with proxy.connect() as client:
                for _ in range(3):
                    client.sendall(b"ping")
                    assert read(client, 4) == b"ping"
        hits = [closed.hits.get("half", 0) for closed in proxy.events.wait(Closed, 40)]
    assert set(hits) == {0, 3}


def test_a_policy_is_checked_whole_before_anything_changes() -> None:
    with Echo() as echo, running(echo.address, "100:dummy") as proxy:
        before = proxy.proxy.policy
        with pytest.raises(UnknownName, match="did you mean 'delay'"):
            proxy.set_policy("10:dely")
        with pytest.raises(OptionError, match="expected seconds"):
            proxy.set_policy("", Fault(name="d", behavior="delay", options={"sleep": -1}))
        with pytest.raises(OptionError, match="no language of errors"):
            proxy.set_policy("", Fault(name="d", behavior="error", options={"code": "503"}))
        assert proxy.proxy.policy == before
        assert not proxy.events.of(PolicyChanged)


def test_a_client_that_pipelines_without_reading_is_held_back() -> None:
    """Replies of our own must not pile up in memory."""
    with Echo() as echo, running(echo.address, "100:error") as proxy, proxy.connect() as client:
        pour(client, lambda: proxy.call(lambda: _held_back(proxy)))
        assert proxy.call(lambda: _held(proxy)) < 4 << 20


@pytest.mark.parametrize("way", ["timeout", "wait_for", "group", "anyio"])
def test_a_plugins_hooks_may_use_what_needs_a_current_task(way: str) -> None:
    uses = Fault(name="uses", behavior="tests.plugins.UsesTask", options={"way": way})
    with backend() as listening, running(listening.getsockname(), "", uses) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(b"ask")
            assert read(server, 4) == b"ask!"
            server.sendall(b"answer")
            assert read(client, 7) == b"answer!"
            proxy.set_policy("")
            assert read(client, 7) == b"stopped"
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == b""
            server.close()
            assert read_all(client) == b""
        assert proxy.events.wait(Closed)[0].end == "client closed"
        assert not proxy.events.of(Failed)


def test_a_context_variable_that_one_connection_sets_is_not_seen_by_another() -> None:
    remembers = Fault(name="remembers", behavior="tests.plugins.Remembers", stream=Stream.UPSTREAM)
    with Echo() as echo, running(echo.address, "", remembers) as proxy:
        with proxy.connect() as one, proxy.connect() as other:
            for client in (one, other):
                client.sendall(b"x")
                assert read(client, 2) == b"x0"
