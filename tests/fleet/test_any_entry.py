"""Whatever another program writes into the store: a node takes it, or says what is wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from vaurien.errors import VaurienError
from vaurien.fleet.desired import Desired
from vaurien.fleet.entries import FaultEntry, Keys, MixEntry, ProxyEntry, Selector, Stop
from vaurien.fleet.limits import Limits, Probe
from vaurien.fleet.node import Node
from vaurien.fleet.store import MemoryStore, Stored
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig
from vaurien.proxies.hub import Hub

ON = Selector("zone=a", 0.5, 3, ("n",))
HERE = Address("127.0.0.1", 9)
ENTRIES = {
    Keys.proxy("p"): ProxyEntry(ProxyConfig(name="p", listen=HERE, backend=HERE, protocol="http"), ON),
    Keys.fault("p", "f"): FaultEntry("p", Fault("f", "latency", {"latency": 5}, match={"path": "/x"}, ttl=3), 1.0, ON),
    Keys.mix("p"): MixEntry("p", Mix.parse("20:delay"), ON),
    Keys.LIMITS: Limits(3, 0.5, True, 5.0, Probe("http://localhost:9090", "up > 0")),
    Keys.STOP: Stop("an incident"),
}
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ANY_JSON = st.recursive(
    LEAVES, lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(), some, max_size=3), max_leaves=5
)


def places(value, path=()):
    """The ways to all values inside *value*."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*path, key))


@st.composite
def written(draw):
    """An entry in which something is another thing, and its key."""
    key = draw(st.sampled_from(sorted(ENTRIES)))
    whole = {"": copy.deepcopy(msgspec.to_builtins(ENTRIES[key]))}
    path = draw(st.sampled_from([("", *path) for path in places(whole[""])]))
    holder = whole
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = draw(ANY_JSON)
    return key, json.dumps(whole[""]).encode()


def taken(key, value):
    """Have a node look at the only entry of the store, as it does before it brings anything about."""

    async def look():
        node = Node(MemoryStore(), Hub(), "n", {"zone": "a"})
        desired = Desired.of({key: Stored(value, 1, 0.0)})
        for entry in desired.proxies.values():
            with contextlib.suppress(VaurienError):
                node.check(entry.proxy)
        policies = [Policy(faults=(one.fault,)) for some in desired.faults.values() for one in some]
        for policy in (*policies, *(Policy(one.mix) for one in desired.mixes.values())):
            with contextlib.suppress(VaurienError):
                node.check(ProxyConfig(name="p", listen=HERE, backend=HERE, protocol="http", policy=policy))
        for some in desired.faults.values():
            assert all(one.on.fits("n", {"zone": "a"}, key) in (True, False) for one in some)
        return desired

    return asyncio.run(look())


@given(written())
def test_an_entry_in_which_something_is_another_thing(entry):
    taken(*entry)


@given(st.sampled_from(sorted(ENTRIES)), st.binary(max_size=50).filter(lambda value: b"{" not in value))
def test_bytes_that_are_no_entry(key, value):
    assert key in taken(key, value).unreadable
