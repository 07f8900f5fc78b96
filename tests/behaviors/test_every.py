"""What holds for every built-in behavior."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
from typing import Any

import pytest

from tests.behaviors.known import ACTING, LOSSY, NAMES, NOT_FOR_TCP, OF_CHUNKS, TRANSPARENT, protocol_for, suits
from tests.running import PATIENCE, backend, pair, read_all, running
from vaurien import options, plugins
from vaurien.errors import OptionError
from vaurien.framing import Protocol
from vaurien.hooks import Behavior
from vaurien.model import Fault, Policy, Scope
from vaurien.testing import Chunk, End, check_behavior, check_declaration, play


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_to_the_contract(name: str) -> None:
    behavior = plugins.find(name, "behavior").target
    check_behavior(behavior, loses=name in LOSSY)
    check_behavior(behavior, ACTING.get(name, {}), loses=name in LOSSY)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_declared_in_full(name: str) -> None:
    check_declaration(plugins.find(name, "behavior").target)


@pytest.mark.parametrize("name", NAMES)
def test_its_page_says_what_each_peer_sees(name: str) -> None:
    text = (plugins.find(name, "behavior").target.__doc__ or "").lower()
    words = {"client", "backend", "peer", "peers", "both"}
    assert words & set(text.replace(",", " ").replace(".", " ").split())


@pytest.mark.parametrize(
    ("name", "scope"),
    [(name, scope) for name in sorted(TRANSPARENT) for scope in Scope if suits(name, scope)],
)
def test_every_byte_comes_through(name: str, scope: Scope) -> None:
    up, down = (random.Random(side).randbytes(700_000) for side in "ud")
    fault = Fault(name=name, behavior=name, options=TRANSPARENT[name], scope=scope)
    with backend() as listening, running(listening.getsockname(), "", fault) as proxy:
        with pair(proxy, listening) as (client, server):
            got: dict[str, str] = {}
            threads = [
                threading.Thread(target=_send, args=(client, up)),
                threading.Thread(target=_send, args=(server, down)),
                threading.Thread(target=lambda: got.update(up=_digest(read_all(server)))),
                threading.Thread(target=lambda: got.update(down=_digest(read_all(client)))),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
    assert got == {"up": _digest(up), "down": _digest(down)}


def _send(one: socket.socket, data: bytes) -> None:
    one.sendall(data)
    one.shutdown(socket.SHUT_WR)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", sorted(OF_CHUNKS & {*TRANSPARENT}))
@pytest.mark.parametrize(("size", "count"), [(1, 300), (10_000_000, 2)])
def test_chunks_of_any_size_come_through(name: str, size: int, count: int) -> None:
    made = options.build(plugins.find(name, "behavior").target, TRANSPARENT[name], owner=name)
    data = random.Random(name).randbytes(size * count)
    script = [Chunk(data[size * place : size * (place + 1)], at=place / 100) for place in range(count)]
    played = play(made, [*script, End(at=1000)])
    assert played.to_backend == data
    assert played.up_end is not None


@pytest.mark.parametrize(
    ("name", "scope"), [(name, scope) for name in NAMES for scope in Scope if not suits(name, scope)]
)
def test_a_scope_that_means_nothing_to_it_is_refused(name: str, scope: Scope) -> None:
    """Dice thrown for chunks could not choose what acts on requests: it would act on all of them."""
    fault = Fault(name="it", behavior=name, scope=scope, probability=0.5)
    with backend() as listening, running(listening.getsockname(), protocol=protocol_for(name)) as proxy:
        with pytest.raises(OptionError, match=f"fault 'it' (scope: '{scope}'|probability: 0.5) is not valid; expected"):
            proxy.set_policy("", fault)


@pytest.mark.parametrize("name", sorted(set(TRANSPARENT) - {"delay", "dummy", "noop", "transient", "slow_accept"}))
def test_a_fault_that_is_not_drawn_leaves_no_trace(name: str) -> None:
    fault = Fault(name=name, behavior=name, options=ACTING.get(name, {}), probability=0.0)
    with backend() as listening, running(listening.getsockname(), "", fault) as proxy:
        with pair(proxy, listening) as (client, server):
            client.sendall(bytes(200))
            client.shutdown(socket.SHUT_WR)
            assert read_all(server) == bytes(200)
            server.close()
            assert read_all(client) == b""


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("latency", {"latency": -1}, "option latency: -1 is not valid; expected milliseconds, zero or more"),
        ("latency", {"correlation": 2}, "option correlation: 2 is not valid; expected a number from 0 to 1"),
        ("latency", {"distribution": "flat"}, "expected one of uniform, normal, pareto, exponential, constant"),
        ("bandwidth", {"rate": -5}, "option rate: -5 is not valid; expected a number of 0 or more"),
        ("bandwidth", {"rate": "nan"}, "option rate: 'nan' is not valid"),
        ("slicer", {"average_size": 0}, "option average_size: 0 is not valid; expected a number of bytes, one or more"),
        ("slicer", {"average_size": 4, "size_variation": 5}, "size_variation to be at most average_size, 4"),
        ("coalesce", {"size": 0}, "expected a number of bytes, one or more"),
        ("corrupt", {"rate": 1001}, "expected a number from 0 to 1000"),
        ("corrupt", {"first": 10, "last": 9}, "last to be first, 10, or more"),
        ("replace", {"pattern": "(", "regex": True}, "a regular expression"),
        ("replace", {"pattern": "a", "by": r"\1", "regex": True}, "a regular expression"),
        ("replace", {"pattern": "a", "by": r"\g<b>", "regex": True}, "a regular expression"),
        ("replace", {"pattern": "a*", "regex": True}, "pattern to match at least one byte"),
        ("limit_data", {"bytes": 1.5}, "option bytes: 1.5 is not valid"),
        ("packet_loss", {"loss_rate": 1.01}, "expected a number from 0 to 1"),
        ("reset_peer", {"side": "left"}, "expected one of both, client, backend"),
    ],
)
def test_a_value_out_of_range_is_refused_when_it_is_set(name: str, options: dict[str, Any], message: str) -> None:
    fault = Fault(name="it", behavior=name, options=options)
    with backend() as listening, running(listening.getsockname()) as proxy:
        with pytest.raises(OptionError) as caught:
            proxy.call(lambda: proxy.proxy.set_policy(Policy(faults=(fault,))))
    assert message in str(caught.value)
    assert f"behavior {name!r}" in str(caught.value)


@pytest.mark.parametrize("name", sorted({*NAMES} - NOT_FOR_TCP))
def test_it_works_with_plain_tcp(name: str) -> None:
    made: Behavior = plugins.find(name, "behavior").target()
    made.check(Protocol())
