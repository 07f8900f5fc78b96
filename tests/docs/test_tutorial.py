"""What the tutorial tells its reader to see is what there is to see."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from vaurien.cli import demo
from vaurien.model import Address, Mix, Policy, ProxyConfig, Share
from vaurien.proxies.proxy import TcpProxy

TEXT = (Path(__file__).parents[2] / "docs/tutorial/break-your-first-connection.md").read_text(encoding="utf-8")

QUICK = {"delay": {"sleep": 0.001}}


def ask_ten_times(address):
    """As ``curl`` in a loop does: a new connection for each."""
    seen = []
    for _ in range(10):
        client = demo.DemoClient(address)
        seen.append(client.ask().seen)
        client.close()
    return seen


async def through_proxy(backend, mix, seed, protocol):
    shares = tuple(Share(share.percent, share.behavior, QUICK.get(share.behavior, {})) for share in mix.shares)
    config = ProxyConfig(
        name="vaurien",
        listen=Address("127.0.0.1"),
        backend=backend,
        protocol=protocol,
        policy=Policy(Mix(shares)),
        seed=seed,
    )
    chosen = {}
    proxy = TcpProxy(config, observers=[lambda event: chosen.update(hits(event))])
    await proxy.start()
    seen = await asyncio.to_thread(ask_ten_times, proxy.address)
    await proxy.stop()
    return seen, chosen


def hits(event):
    return {event.connection: event.behavior} if hasattr(event, "behavior") else {}


def test_the_requests_that_the_tutorial_names_are_hit():
    protocol, mix, seed = re.search(r"--protocol (\w+) --behavior (\S+) --seed (\d+)", TEXT).groups()
    with demo.backend() as backend:
        seen, chosen = asyncio.run(through_proxy(backend, Mix.parse(mix), seed, protocol))
    assert "The third and the fifth say `200` after a second" in TEXT
    assert "The fourth and the ninth say `500`, `503`" in TEXT
    assert chosen == {3: "delay", 5: "delay", 4: "error", 9: "error"}
    assert [number for number, status in enumerate(seen, 1) if status != "200"] == [4, 9]
