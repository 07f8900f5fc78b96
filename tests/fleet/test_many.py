"""Five hundred nodes in a real store: one runs, the reports of the others are written as theirs would be."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.hubs import config
from vaurien.fleet.desired import Desired, EditScope, edit_scope
from vaurien.fleet.entries import Keys, Selector, encode
from vaurien.fleet.limits import Limits
from vaurien.fleet.node import Node, NodeReport
from vaurien.model import Address, Fault
from vaurien.proxies.hub import Hub

COUNT = 500

pytestmark = pytest.mark.server


def test_limits_and_selectors_count_five_hundred_nodes(nats):
    from vaurien.fleet.nats_store import NatsStore, Where

    async def play():
        hub = Hub()
        await hub.create(config("own", backend=Address("127.0.0.1", 9)))
        node = Node(NatsStore(Where.parse(f"{nats.url}/many")), hub, "n0", {"zone": "0"})
        await node.start(required=True)
        try:
            others = [
                NodeReport(f"n{number}", f"h:{number}:1", {"zone": str(number % 5)}, "1", 0.0, proxies={"own": "tcp"})
                for number in range(1, COUNT)
            ]
            await asyncio.gather(
                *(node.store.claim(Keys.node(one.name), msgspec.json.encode(one), revision=0) for one in others)
            )
            assert len(await node.reports()) == COUNT
            await node.refresh()
            await add(node, "some", Selector("zone=1", share=0.3, max_nodes=20))
            some = hit(node, "some")
            assert len(some) == 20
            assert all(int(name[1:]) % 5 == 1 for name in some)
            await node.desired.write({Keys.LIMITS: encode(Limits(max_nodes=22))})
            await add(node, "all", Selector())
            assert len(hit(node, "all")) == 22
            assert hit(node, "all") > some
        finally:
            await node.stop()
            await hub.stop()

    asyncio.run(asyncio.wait_for(play(), 60))


async def add(node, name, on):
    edit_scope.set(EditScope(on, "test"))
    await node.desired.update_policy("own", lambda policy: policy.with_fault(Fault(name, "freeze")))


def hit(node, name):
    """The nodes that the fault *name* is for."""
    [entry] = [one for one in Desired.of(node.store.entries).faults["own"] if one.fault.name == name]
    names = {f"n{number}": {"zone": str(number % 5)} for number in range(COUNT)}
    return {one for one, labels in names.items() if entry.on.fits(one, labels, Keys.fault("own", name))}
